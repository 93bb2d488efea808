"""Talks with the hub, for as long as it takes: what it wants comes in by a long poll, what became of it goes out by reports.

Acting never waits for this. Each of the two loops tries again after a failure, later and later, and is back at once when the hub is.
"""

import logging
import time
from collections.abc import Callable
from random import Random
from typing import Final

from edgewise.agent.site.board import Board, Shown, Situation
from edgewise.agent.site.desired import DesiredStore
from edgewise.agent.site.hub_client import HubClient
from edgewise.agent.site.port import Trust
from edgewise.agent.site.reporting import Reporter
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.site.transfer import Patience
from edgewise.core.errors import EdgewiseError, PermissionDeniedError, UnavailableError

POLL_S: Final = 60.0
REPORT_S: Final = 15.0
"""A report goes out so often even when nothing changed."""
COUNTS_S: Final = 10.0
"""Reports that differ in counts alone are so far apart."""
REFRESH_S: Final = 600.0
_LOOK_S: Final = 10.0
_TIRED: Final = Patience(base_s=0.5, cap_s=30.0)
_log = logging.getLogger(__name__)


class Listening:
    """Learns what the hub wants.

    Args:
        site: this site's name.
        now_s: a monotonic clock.
    """

    def __init__(
        self,
        board: Board,
        hub: HubClient,
        trust: Trust,
        store: DesiredStore,
        *,
        site: str,
        poll_s: float = POLL_S,
        random: Random,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._hub = hub
        self._trust = trust
        self._store = store
        self._site = site
        self._poll_s = poll_s
        self._random = random
        self._now_s = now_s
        self._refreshed_s = float("-inf")
        self._etag = ""
        self._told = ""
        self._failures = 0

    def run(self) -> None:
        """Until the board is stopped."""
        while not self._board.stopped:
            try:
                self.once()
                self._failures = 0
                self._told = ""
            except EdgewiseError as error:
                self._failed(error.message)
            except Exception:  # noqa: BLE001  (the next question may go well)
                _log.exception("a fault while listening")
                self._failed("a fault of the agent")
            self.say()

    def once(self) -> None:
        """Ask the hub once, and follow what it says.

        Raises: EdgewiseError: it is away, or says what is not to be followed.
        """
        if self._now_s() - self._refreshed_s >= REFRESH_S or self._store.desired is None:
            self._refresh()
        found = self._hub.desired(self._site, self._etag, self._poll_s)
        if found is None:
            return
        try:
            changed = self._accepted(found.envelope)
        finally:
            self.say()
        # Only now: an answer that was not followed is asked for again.
        self._etag = found.etag
        if changed:
            _log.info("desired state %d: %d orders", self._store.generation, len(self._board.situation().orders))

    def say(self) -> None:
        """Put on the board what is asked of the site, and what it may do."""
        desired = self._store.desired
        orders = desired.orders if desired is not None else ()
        hold = self._trust.may_install() or (self._trust.stale(desired) if desired is not None else "")
        floors = {order.model: self._trust.floor(order.model) for order in orders}
        self._board.ask(Situation(self._store.generation, orders, hold, floors))

    def _accepted(self, envelope: bytes) -> bool:
        # A release that is ordered may be newer than what is trusted so far. An order to go back must not wait for that.
        problem: EdgewiseError | None = None
        try:
            self._refresh()
        except EdgewiseError as error:
            problem = error
        try:
            return self._store.accept(envelope)
        except PermissionDeniedError:
            if problem is not None:
                raise problem from None
            raise
        finally:
            if problem is not None:
                _log.warning("%s", problem.message)

    def _refresh(self) -> None:
        known = self._store.desired
        try:
            self._trust.refresh()
            self._refreshed_s = self._now_s()
        except UnavailableError:
            raise
        except EdgewiseError as error:
            # Refused: what was believed still is. Asked again soon, but not at once.
            self._refreshed_s = self._now_s() - REFRESH_S + _LOOK_S
            _log.error("%s", error.message)
        if known is None:
            self._store.read()

    def _failed(self, message: str) -> None:
        self._failures += 1
        if message != self._told:
            _log.warning("%s", message)
            self._told = message
        self._board.pause(_TIRED.delay_s(self._failures, self._random.random()))


class Reporting:
    """Tells the hub how the site is.

    Args:
        now_s: a monotonic clock.
    """

    def __init__(
        self,
        board: Board,
        hub: HubClient,
        reporter: Reporter,
        state: StateDirectory,
        *,
        site: str,
        random: Random,
        report_s: float = REPORT_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._hub = hub
        self._reporter = reporter
        self._state = state
        self._site = site
        self._random = random
        self._report_s = report_s
        self._now_s = now_s
        self._told = ""
        self._failures = 0

    def run(self) -> None:
        """Until the board is stopped."""
        said, said_s = Shown(), float("-inf")
        while not self._board.stopped:
            shown = self._board.shown()
            if _states(shown) == _states(said):
                least_s = self._report_s if shown == said else COUNTS_S
                left_s = said_s + least_s - self._now_s()
                if left_s > 0:
                    self._board.wait_to_report(shown, left_s)
                    continue
            if self._said(shown):
                said, said_s = shown, self._now_s()

    def _said(self, shown: Shown) -> bool:
        try:
            self._state.take_ballast()
            envelope = self._reporter.report(shown, self._board.situation().generation)
            self._hub.report(self._site, envelope)
        except EdgewiseError as error:
            self._failed(error.message)
            return False
        except Exception:  # noqa: BLE001  (the next report may go well)
            _log.exception("a fault while reporting")
            self._failed("a fault of the agent")
            return False
        self._failures = 0
        self._told = ""
        return True

    def _failed(self, message: str) -> None:
        self._failures += 1
        if message != self._told:
            _log.warning("no report: %s", message)
            self._told = message
        self._board.pause(_TIRED.delay_s(self._failures, self._random.random()))


def _states(shown: Shown) -> object:
    """All that is worth a report at once."""
    moves = [(one.rollout, one.state, one.want, one.stage, one.waiting, one.why) for one in shown.progress]
    return moves, shown.serving
