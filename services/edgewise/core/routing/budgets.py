"""What the gateway may spend on second attempts, and when it may trust a link again.

`HedgeBudget` bounds second attempts because an answer is slow, `RetryBudget` those because a site said no, so that
neither multiplies the load of a site that is in trouble. `HoldDown` keeps traffic from following a link that flaps.
"""

from typing import Final

# A token is this many shares: whole numbers do not drift.
_SHARES: Final = 1_000_000
_FIRST_HEDGES: Final = 2
_SLOTS: Final = 10
_JITTER_RATIO: Final = 0.1


class HedgeBudget:
    """A token bucket that requests fill and hedges empty.

    Each request adds `ratio` tokens, up to `burst`; a hedge takes one. The bucket starts with two tokens (or `burst`,
    if that is less), so that the first requests can be hedged before they have earned it: after n requests there were
    at most ratio × n + 2 hedges, and within any n requests in a row at most ratio × n + burst.

    Args:
        ratio: hedges a request, 0 to 1; 0 allows none at all.
        burst: hedges that may come at once after a calm time, at least 1.
        tokens: that it starts with, where it goes on for another one.
    Raises: ValueError: ratio is not in [0, 1] or burst is under 1.
    Source: J. Dean, L. A. Barroso, "The Tail at Scale", CACM 2013 (hedged requests within a share); the bucket is the
        usual one.
    """

    __slots__ = ("_earned", "_full", "_tokens")

    def __init__(self, ratio: float, burst: float = 10.0, tokens: float | None = None) -> None:
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(f"the hedge ratio is {ratio}; it must be from 0 to 1")
        if not burst >= 1.0:
            raise ValueError(f"the hedge burst is {burst}; it must be at least 1")
        self._earned = int(ratio * _SHARES)
        self._full = int(burst * _SHARES)
        first = _FIRST_HEDGES * _SHARES if tokens is None else round(tokens * _SHARES)
        self._tokens = min(first, self._full) if self._earned else 0

    def request_seen(self) -> None:
        """A request arrived."""
        tokens = self._tokens + self._earned
        self._tokens = tokens if tokens < self._full else self._full  # noqa: FURB136 - min() would cost each request a call

    def take(self) -> bool:
        """Whether one more hedge may be sent; it is paid for when so."""
        if self._tokens < _SHARES:
            return False
        self._tokens -= _SHARES
        return True

    @property
    def tokens(self) -> float:
        """Hedges that could be sent at once."""
        return self._tokens / _SHARES


class RetryBudget:
    """What may be spent on attempts that are made because a site answered with an error of its own.

    Within the last `window_s` (in ten slots) there are at most

        ratio × requests + min_per_s × window_s

    retries. The second term lets a gateway with few requests retry as well. What is not used within the window is lost,
    so a calm hour does not pay for a storm.

    Args:
        ratio: retries a request.
        min_per_s: retries a second that no request has to earn.
        window_s: how long a request counts, and a retry.
    Raises: ValueError: a value is negative, or window_s is 0.
    Source: Finagle's RetryBudget, whose defaults these are, and `TpsBudget` of tower.
    """

    __slots__ = ("_balance", "_earned", "_ends_s", "_reserve", "_slot", "_slot_s", "_slots")

    def __init__(self, ratio: float = 0.2, min_per_s: float = 10.0, window_s: float = 10.0) -> None:
        if not ratio >= 0.0:
            raise ValueError(f"the retry ratio is {ratio}; it must not be negative")
        if not min_per_s >= 0.0:
            raise ValueError(f"min_per_s is {min_per_s}; it must not be negative")
        if not window_s > 0.0:
            raise ValueError(f"window_s is {window_s}; it must be above 0")
        self._earned = int(ratio * _SHARES)
        self._reserve = int(min_per_s * window_s * _SHARES)
        # What each tenth of the window earned less what it spent; a ring.
        self._slots = [0] * _SLOTS
        self._slot = 0
        self._slot_s = window_s / _SLOTS
        self._ends_s = float("-inf")
        self._balance = self._reserve

    def request_seen(self, now_s: float) -> None:
        """A request arrived."""
        if now_s >= self._ends_s:
            self._turn(now_s)
        self._slots[self._slot] += self._earned
        self._balance += self._earned

    def requests_seen(self, count: int, now_s: float) -> None:
        """So many requests arrived since the last call."""
        if now_s >= self._ends_s:
            self._turn(now_s)
        self._slots[self._slot] += count * self._earned
        self._balance += count * self._earned

    def take(self, now_s: float) -> bool:
        """Whether one more retry may be made; it is paid for when so."""
        if now_s >= self._ends_s:
            self._turn(now_s)
        if self._balance < _SHARES:
            return False
        self._slots[self._slot] -= _SHARES
        self._balance -= _SHARES
        return True

    def tokens(self, now_s: float) -> float:
        """Retries that could be made at once."""
        if now_s >= self._ends_s:
            self._turn(now_s)
        return max(self._balance, 0) / _SHARES

    def _turn(self, now_s: float) -> None:
        """Forget the slots whose time is over."""
        slots = self._slots
        late_s = now_s - self._ends_s
        if late_s >= self._slot_s * _SLOTS:
            for slot in range(_SLOTS):
                slots[slot] = 0
            self._ends_s = now_s + self._slot_s
        else:
            for _ in range(int(late_s / self._slot_s) + 1):
                self._slot = (self._slot + 1) % _SLOTS
                slots[self._slot] = 0
                self._ends_s += self._slot_s
        self._balance = self._reserve + sum(slots)


class HoldDown:
    """How long traffic stays away from a link that was lost.

    - A first outage holds for `base_s`.
    - An outage sooner than `stable_s` after the last failback is a flap. The first holds for `flap_s`, each further one
      twice as long as the one before, up to `cap_s`.
    - Each whole `stable_s` between failback and failover halves what flaps have built up; once it is under `flap_s`,
      the next outage is a first one again.

    Every hold-down is varied by up to 10 % either way, after the cap, so that many gateways do not come back at once.

    Args:
        base_s, flap_s, cap_s, stable_s: seconds, above 0; base_s <= flap_s <= cap_s.

    Attributes:
        until_s: no failback before; -inf until the first failover.
        hold_s: length of the current or latest hold-down; 0.0 before the first.
        flapping: flaps are remembered: `until_s` is not enough then, the link must also have been good for `hold_s`
            without a break before a failback.

    Raises: ValueError: the values are out of order.
    Source: RFC 2439, "BGP Route Flap Damping" (penalty, decay, ceiling); jitter as in AWS Architecture Blog,
        "Exponential Backoff And Jitter", but after the cap.
    """

    __slots__ = (
        "_base_s",
        "_cap_s",
        "_failed_back_s",
        "_flap_s",
        "_level_s",
        "_stable_s",
        "flapping",
        "hold_s",
        "until_s",
    )

    def __init__(self, base_s: float = 0.7, flap_s: float = 10.0, cap_s: float = 60.0, stable_s: float = 60.0) -> None:
        if not 0.0 < base_s <= flap_s <= cap_s:
            raise ValueError(f"0 < base_s <= flap_s <= cap_s does not hold for {base_s}, {flap_s}, {cap_s}")
        if not stable_s > 0.0:
            raise ValueError(f"stable_s is {stable_s}; it must be above 0")
        self._base_s = base_s
        self._flap_s = flap_s
        self._cap_s = cap_s
        self._stable_s = stable_s
        # What flaps have built up: 0, or a length from `flap_s` to `cap_s`.
        self._level_s = 0.0
        self._failed_back_s: float | None = None
        self.until_s = float("-inf")
        self.hold_s = 0.0
        self.flapping = False

    def failed_over(self, now_s: float, draw: float) -> None:
        """Traffic has just left the link. Once more before a failback starts the same hold-down again.

        Args:
            draw: uniform in [0, 1).
        """
        if self._failed_back_s is not None:
            self._level_s = self._level_after(now_s - self._failed_back_s)
            self._failed_back_s = None
        self.hold_s = (self._level_s or self._base_s) * (1.0 + _JITTER_RATIO * (2.0 * draw - 1.0))
        self.flapping = self._level_s > 0.0
        self.until_s = now_s + self.hold_s

    def failed_back(self, now_s: float) -> None:
        """Traffic goes to the link again."""
        self._failed_back_s = now_s

    def _level_after(self, good_s: float) -> float:
        if good_s < self._stable_s:
            return min(max(2.0 * self._level_s, self._flap_s), self._cap_s)
        halvings = min(good_s / self._stable_s, 64.0)
        level_s: float = self._level_s * 0.5 ** int(halvings)
        return level_s if level_s >= self._flap_s else 0.0
