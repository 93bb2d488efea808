"""How often a rule may choose: so much a second and so much an hour.

Two token buckets, as in RFC 2697 without colours: a bucket of N an hour holds N tokens at first and at most, and regains N an hour.
In any time T it gives out at most N + N T; what came in a burst is missing for a while afterwards.
"""

from dataclasses import dataclass
from typing import Final

_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Limit:
    """How often; both are above 0."""

    per_second: float
    per_hour: float

    def share(self, parts: int) -> "Limit":
        """What one of several gets that keep the limit together without knowing of each other."""
        return Limit(self.per_second / parts, self.per_hour / parts)


class RateLimit:
    """One rule's tokens.

    Args:
        limit: of what there may be. Rates below one are waited for; a bucket never holds less than one token.
        now_s: on any clock that runs on; one that goes back gives nothing.
    """

    __slots__ = ("_hour", "_hour_most", "_hour_rate", "_now_s", "_second", "_second_most", "_second_rate")

    def __init__(self, limit: Limit, now_s: float) -> None:
        self._second_rate = limit.per_second
        self._hour_rate = limit.per_hour / _HOUR_S
        self._second = self._second_most = max(1.0, limit.per_second)
        self._hour = self._hour_most = max(1.0, limit.per_hour)
        self._now_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one of each, if there is one of each."""
        passed_s = now_s - self._now_s
        if passed_s > 0.0:
            self._now_s = now_s
            self._second = min(self._second_most, self._second + passed_s * self._second_rate)
            self._hour = min(self._hour_most, self._hour + passed_s * self._hour_rate)
        if self._second < 1.0 or self._hour < 1.0:
            return False
        self._second -= 1.0
        self._hour -= 1.0
        return True
