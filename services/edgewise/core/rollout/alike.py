"""Is the new version worse, where examples that are much alike came from the same source? Each source counts once, whatever it has of examples.

A camera's night, a patient, a speaker: a version that is wrong about one picture of a source is wrong about the next. Sources are drawn independently of
each other, the pictures of one are not, so what is judged are sources: x = (lost - gained) / count of one, which lies between -1 and 1. How alike the
pictures of a source are need not be known.

One bets on each source that x is below the margin m, with a part b of all there is that cannot be lost whole: 1 + b (m - x) / (1 - m). Where the mean
is m or more the product over all sources is expected to be 1 at most, so that 20 or more come about in one of 20 cases at most (Markov's inequality).
Many parts are played beside one another, each with a share of the money fixed beforehand. The number of sources was fixed beforehand too, their order
does not matter, and nothing is approximated by a normal distribution: three sources prove nothing, whatever they say.

Source: I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024); T. M. Cover, "Universal Portfolios",
Mathematical Finance 1 (1991), for playing all parts.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgewise.core.errors import InvalidArgumentError

_STAKES: Final = tuple((step + 0.5) / 32 for step in range(32))
_MONEY: Final = tuple(stake / sum(_STAKES) for stake in _STAKES)
"""More of it on the large stakes: what differs within a source is averaged, so sources differ little, and few of them have to do."""


@dataclass(frozen=True, slots=True, order=True)
class Alike:
    """Sources with the same numbers.

    Attributes:
        sources: how many there are, at least 1.
        count: examples of each, at least 1.
        lost, gained: of these only the new version, and only the old one, was wrong about.
    """

    sources: int
    count: int
    lost: int
    gained: int

    def __post_init__(self) -> None:
        if (
            self.sources < 1
            or self.count < 1
            or min(self.lost, self.gained) < 0
            or self.lost + self.gained > self.count
        ):
            raise InvalidArgumentError(
                f"{self.sources} sources of {self.count} examples, {self.lost} lost and {self.gained} gained, cannot be"
            )

    @property
    def excess(self) -> float:
        """The new version's share of wrong answers less the old one's."""
        return (self.lost - self.gained) / self.count


def alike(sources: Iterable[tuple[int, int, int]]) -> tuple[Alike, ...]:
    """The same as few rows, in an order of their own.

    Args:
        sources: (count, lost, gained) of each.
    """
    numbers: dict[tuple[int, int, int], int] = {}
    for one in sources:
        numbers[one] = numbers.get(one, 0) + 1
    return tuple(sorted(Alike(times, *one) for one, times in numbers.items()))


@functools.lru_cache(maxsize=4096)
def log_evidence_below(rows: tuple[Alike, ...], margin: float) -> float:
    """How much speaks against "a source's share of wrong answers is, on average, at least `margin` larger for the new version".

    Args:
        margin: -1 <= margin < 1.

    Returns: the logarithm of an e-value: log(1 / alpha) or more refutes it with an error of at most alpha.
    """
    gains = [(one.sources, (margin - one.excess) / (1.0 - margin)) for one in rows]
    logs = [
        math.log(money) + math.fsum(times * math.log1p(stake * gain) for times, gain in gains)
        for stake, money in zip(_STAKES, _MONEY, strict=True)
    ]
    most = max(logs)
    return most + math.log(math.fsum(math.exp(one - most) for one in logs))
