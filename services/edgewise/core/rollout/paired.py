"""Is the new version worse about examples whose answers are known? An exact test of pairs, for a number of examples that was fixed beforehand.

Both versions are asked the same examples, so what counts are the discordant ones: `lost`, where only the new version is wrong, and `gained`, where
only the old one is. At a margin of 0 this is McNemar's question. With a share p_lost and p_gained of all examples, the new version is worse by
d = p_lost - p_gained. Whether d is at least the margin is decided by how likely lost - gained is to be as small as it was seen where d is the margin.

That depends on how many examples are discordant at all, p_lost + p_gained, which nobody knows. A confidence interval says how many there may be, the
probability that it misses is added, and the least favourable share within it counts. Nothing is approximated by a normal distribution.

That holds for examples that are independent of each other. Where several are of one source, sources are judged, by `alike`.

Source: R. L. Berger and D. D. Boos, "P Values Maximized over a Confidence Set for the Nuisance Parameter", JASA 89 (1994); Q. McNemar, Psychometrika 12
(1947); C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), for the interval.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.alike import Alike, log_evidence_below

MAX_EXAMPLES: Final = 10_000
_MISSED: Final = 0.1
"""So much of the error that is allowed goes to the confidence interval of the discordant share."""
_BISECTIONS: Final = 20
_TRIED: Final = 3
_NEGLIGIBLE: Final = -40.0
"""Logarithm of a probability, compared with the largest, below which the rest is left out."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Examples that both versions answered, each example once; a wrong answer is a hit.

    Attributes:
        of: what was compared: a digest of the examples and of both variants. Where the same was compared twice, nothing more is known.
        count: examples, at most `MAX_EXAMPLES`.
        both: how many of them both versions answered wrongly.
        lost, gained: how many only the new one, and only the old one.
        rows: these three by source, where several examples are of one; () where each is of a source of its own.
    """

    of: str
    count: int
    both: int
    lost: int
    gained: int
    rows: tuple[Alike, ...] = ()

    def __post_init__(self) -> None:
        if self.count > MAX_EXAMPLES:
            raise InvalidArgumentError(f"{self.count} examples; {MAX_EXAMPLES} is the most")
        if min(self.both, self.lost, self.gained) < 0 or self.both + self.lost + self.gained > self.count:
            raise InvalidArgumentError(
                f"of {self.count} examples {self.both}, {self.lost} and {self.gained} cannot be wrong"
            )
        if self.rows and (self.count, self.lost, self.gained) != tuple(
            sum(row.sources * number for row, number in zip(self.rows, numbers, strict=True))
            for numbers in zip(*((row.count, row.lost, row.gained) for row in self.rows), strict=True)
        ):
            raise InvalidArgumentError(f"sources that do not add up to {self.count} examples")

    @property
    def sources(self) -> int:
        """How many there are."""
        return sum(row.sources for row in self.rows) if self.rows else self.count

    @property
    def new_hits(self) -> int:
        """Wrong answers of the new version."""
        return self.both + self.lost

    @property
    def old_hits(self) -> int:
        """Wrong answers of the old version."""
        return self.both + self.gained

    @property
    def excess(self) -> float:
        """The new version's share of wrong answers less the old one's, as it was seen; of a source, on average, where there are `rows`."""
        if self.rows:
            return math.fsum(row.sources * row.excess for row in self.rows) / self.sources
        return (self.lost - self.gained) / self.count if self.count else 0.0

    def is_proven_below(self, margin: float, alpha: float) -> bool:
        """Whether the new version is worse by less than a margin, with an error of at most alpha.

        Args:
            margin: of the share of wrong answers, -1 < margin < 1.
        """
        if self.rows:
            return log_evidence_below(self.rows, margin) >= -math.log(alpha)
        return _p_below(self.count, self.lost, self.gained, margin, alpha) <= alpha

    def is_proven_above(self, margin: float, alpha: float) -> bool:
        """Whether the new version is worse by more than a margin, with an error of at most alpha."""
        return self._exchanged().is_proven_below(-margin, alpha)

    def bounds(self, alpha: float) -> tuple[float, float]:
        """By how much the new version is worse: (low, high), each of them wrong with a probability of at most alpha."""
        return -self._exchanged()._least_proven(alpha), self._least_proven(alpha)  # noqa: SLF001  (one of its own kind)

    def outcomes(self) -> tuple[tuple[float, int], ...]:
        """(x, how often) of each value that may occur, as `sequential` bets on it: right as well, and slower to be sure."""
        if self.rows:
            # The extreme values bound the stakes, whether or not they occur.
            return ((1.0, 0), (-1.0, 0), *((row.excess, row.sources) for row in self.rows))
        return ((1.0, self.lost), (-1.0, self.gained), (0.0, self.count - self.lost - self.gained))

    def _exchanged(self) -> "Paired":
        """The old version held against the new one."""
        rows = tuple(Alike(row.sources, row.count, row.gained, row.lost) for row in self.rows)
        return Paired(self.of, self.count, self.both, self.gained, self.lost, rows)

    def _least_proven(self, alpha: float) -> float:
        """The smallest margin below which the new version is proven to be; 1 where nothing is."""
        low, high = -1.0, 1.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2.0
            if self.is_proven_below(middle, alpha):
                high = middle
            else:
                low = middle
        return high


def worst(pairs: Iterable[Paired]) -> Paired:
    """The comparison that speaks most against the new version, the same one in whatever order they are given."""
    return max(pairs, key=lambda one: (one.excess, -one.count, one.lost, one.both, one.of, one.rows))


@functools.lru_cache(maxsize=4096)
def _p_below(count: int, lost: int, gained: int, margin: float, alpha: float) -> float:
    """How likely lost - gained is to be so small where the new version is worse by the margin, at most."""
    if not count:
        return 1.0
    missed = alpha * _MISSED
    most = _upper(count, lost + gained, missed)
    least = abs(margin)
    if most <= least:
        # So many discordant examples as the margin takes are not to be expected: it is below, or it is far above.
        return missed if margin > 0.0 else 1.0
    shares = [most - (most - least) * step / _TRIED for step in range(_TRIED)]
    tails = (_tail(count, (share + margin) / 2.0, (share - margin) / 2.0, lost - gained) for share in shares)
    return min(1.0, max(tails) + missed)


def _upper(count: int, hits: int, missed: float) -> float:
    """The share that is not exceeded but with a probability of `missed`: Clopper and Pearson's."""
    if hits >= count:
        return 1.0
    low, high = hits / count, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if _at_most(count, middle, hits) > missed:
            low = middle
        else:
            high = middle
    return high


def _tail(count: int, lost: float, gained: float, difference: int) -> float:
    """The probability that lost - gained is at most `difference`, of so many examples with these probabilities, neither of which is 0.

    Of d discordant examples, at most k = (d + difference) / 2 may be lost. From one d to the next the probability of that follows by what a
    binomial distribution with one more draw has.
    """
    part = lost / (lost + gained)
    odds = math.log(part) - math.log1p(-part)
    total = 0.0
    before: tuple[int, float, float] | None = None
    for discordant, probability in _binomial(count, lost + gained):
        most = (discordant + difference) // 2
        if most < 0:
            continue
        if most >= discordant:
            total += probability
            continue
        if before is None:
            below, log = _at_most(discordant, part, most), _log_binomial(discordant, part, most)
        else:
            known, below, log = before
            below -= part * math.exp(log)
            log += math.log(discordant / (discordant - known)) + math.log1p(-part)
            if most > known:
                log += math.log((discordant - known) / most) + odds
                below += math.exp(log)
        before = most, below, log
        total += probability * max(below, 0.0)
    return min(1.0, total)


def _at_most(count: int, share: float, hits: int) -> float:
    """The probability of at most so many hits."""
    if hits >= count:
        return 1.0
    return min(1.0, math.fsum(probability for number, probability in _binomial(count, share) if number <= hits))


@functools.lru_cache(maxsize=1024)
def _binomial(count: int, share: float) -> tuple[tuple[int, float], ...]:
    """(hits, probability) of all numbers of hits that matter."""
    if share <= 0.0 or share >= 1.0 or not count:
        return (((count if share >= 1.0 else 0), 1.0),)
    centre = min(count, math.floor((count + 1) * share))
    odds = math.log(share) - math.log1p(-share)
    first = _log_binomial(count, share, centre)
    found = {centre: first}
    log = first
    for hits in range(centre + 1, count + 1):
        log += math.log((count - hits + 1) / hits) + odds
        if log < first + _NEGLIGIBLE:
            break
        found[hits] = log
    log = first
    for hits in range(centre - 1, -1, -1):
        log += math.log((hits + 1) / (count - hits)) - odds
        if log < first + _NEGLIGIBLE:
            break
        found[hits] = log
    return tuple((hits, math.exp(one)) for hits, one in sorted(found.items()))


def _log_binomial(count: int, share: float, hits: int) -> float:
    """The logarithm of the probability of so many hits, 0 < share < 1."""
    return (
        math.lgamma(count + 1)
        - math.lgamma(hits + 1)
        - math.lgamma(count - hits + 1)
        + hits * math.log(share)
        + (count - hits) * math.log1p(-share)
    )
