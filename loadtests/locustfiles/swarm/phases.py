"""Which engine sends at a moment of a test, and how much."""

from collections.abc import Callable

from swarm.figures import CLOSED, OPEN


class Phases:
    """Of one test, from its start.

    Args:
        mode: "closed", "open" or "both".
        rate: requests a second of `users` users; 0 where none was given.
        users: of the whole test, all workers together, that make the rate.
        run_time_s: of the whole test; needed by "both", whose first half is closed.
        now_s: a clock.
        quiet: whether no request of a user is on its way.
        patience_s: how long the open half waits for that.
    """

    def __init__(
        self,
        mode: str,
        rate: float,
        users: int,
        run_time_s: float,
        *,
        now_s: Callable[[], float],
        quiet: Callable[[], bool],
        patience_s: float,
    ) -> None:
        self._mode = mode
        self._rate = rate
        self._users = max(1, users)
        self._half_s = run_time_s / 2.0
        self._now_s = now_s
        self._quiet = quiet
        self._patience_s = patience_s
        self._opened = False
        self.begin()

    def begin(self) -> None:
        """The test starts now."""
        self._began_s = self._now_s()

    def engine(self) -> str:
        """`CLOSED`, `OPEN`, or "" for neither: between the halves users' last requests end."""
        if self._mode != "both":
            return self._mode
        elapsed_s = self._now_s() - self._began_s
        if elapsed_s < self._half_s:
            return CLOSED
        self._opened = self._opened or self._quiet() or elapsed_s > self._half_s + self._patience_s
        return OPEN if self._opened else ""

    def rate_per_user(self) -> float:
        """Requests a second that one user stands for; 0 for as many as it can, in the closed loop only."""
        if self._rate:
            return self._rate / self._users
        return 0.0 if self._mode == CLOSED else 1.0
