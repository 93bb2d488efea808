"""What a link has shown for one model and one class of request sizes: how long answers take, and when one is late."""

from typing import TYPE_CHECKING, Final

from edgewise.core.routing.quantiles import LatencyQuantiles

if TYPE_CHECKING:
    from edgewise.core.routing.settings import RouterSettings

# Quantiles of fewer answers than this say too little to act on.
_FEW: Final = 20
# A site is tried again with requests that have little time after this long: it may have become quicker.
_LEAST_LASTS_S: Final = 60.0
_EXPIRY_LASTS_S: Final = 5.0
# The thresholds are looked up for every request, so they are worked out again only this often.
_ANSWERS_BETWEEN: Final = 16


class Path:
    """One model and size class on one link.

    Attributes:
        latency: of answers, from sending on.
        least_s: a request with less time left is hardly answered here.
        late_s: an attempt older than this is slower than nearly all: worth a closer look.
        hedge_s: an attempt older than this may be hedged.
        overdue_s: an attempt older than this is not merely slow.
        slow_s: answers whose median is above this come from a site that is not what it was.
        slow_trip_s: what `slow_s` was when the link was last given up for being slow.
    """

    __slots__ = (
        "_countdown",
        "_least_until_s",
        "_settings",
        "hedge_s",
        "late_s",
        "latency",
        "least_s",
        "overdue_s",
        "slow_s",
        "slow_trip_s",
    )

    def __init__(self, settings: "RouterSettings") -> None:
        self.latency = LatencyQuantiles(settings.half_life_s)
        self._settings = settings
        self._countdown = 1
        self.least_s = 0.0
        self._least_until_s = 0.0
        self.late_s = settings.unknown_latency_s
        self.hedge_s = settings.unknown_latency_s
        self.overdue_s = settings.unknown_latency_s
        self.slow_s = float("inf")
        self.slow_trip_s = float("inf")

    @property
    def known(self) -> bool:
        """Whether there were enough answers to judge by."""
        return self.latency.count >= _FEW

    def record(self, seconds: float, now_s: float) -> bool:
        """Learn from one answer.

        Returns: whether the latest answers are so much slower than those before that the site is not what it was.
        """
        self.latency.record(seconds, now_s)
        self._countdown -= 1
        return not self._countdown and self._learn(now_s)

    def believe(self, other: "Path") -> None:
        """Begin with what is known of the same at another endpoint of the site.

        Being slower than that one is no sign that anything has changed.
        """
        self.latency.believe(other.latency)
        self.least_s = other.least_s
        self._least_until_s = other._least_until_s  # noqa: SLF001 - of its own kind
        self.late_s = other.late_s
        self.hedge_s = other.hedge_s
        self.overdue_s = other.overdue_s

    def expired(self, age_s: float, now_s: float) -> None:
        """A request ran out of time here, so old: others need not try with no more time than that for a while."""
        if self.known:
            return  # what was answered says more
        if age_s > self.least_s or now_s >= self._least_until_s:
            self.least_s = age_s
            self._least_until_s = now_s + _EXPIRY_LASTS_S

    def too_slow(self, left_s: float, now_s: float) -> bool:
        """Whether a request that has so much time left is hardly answered here."""
        if now_s >= self._least_until_s:
            self.least_s = 0.0
        return left_s <= self.least_s

    def _learn(self, now_s: float) -> bool:
        latency = self.latency
        self.least_s = latency.q50
        self._least_until_s = now_s + _LEAST_LASTS_S
        # Before the slow answers have become what is usual.
        slow = latency.recently(now_s) > self.slow_s
        settings = self._settings
        # At first each answer counts; a link that was cut after its tenth has to be noticed as well.
        self._countdown = _ANSWERS_BETWEEN if latency.count >= 4 * _ANSWERS_BETWEEN else 1
        if latency.count < _FEW:
            ceiling_s = settings.unknown_latency_s
            self.overdue_s = max(min(ceiling_s, 4.0 * latency.q999), settings.overdue_floor_s)
            return False
        self.late_s = max(latency.q95, settings.late_floor_s)
        # Where the slowest answers are hardly slower than the usual ones, a second run gains nothing.
        gains = latency.q999 - latency.q995 > settings.hedge_gain_ratio * latency.q50
        self.hedge_s = max(latency.q995, settings.hedge_floor_s) if gains else float("inf")
        self.overdue_s = max(settings.overdue_factor * latency.q999, settings.overdue_floor_s)
        self.slow_s = settings.slow_factor * latency.q95 + settings.slow_margin_s
        return slow
