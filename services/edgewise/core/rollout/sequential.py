"""Is the new version worse? A test that may be looked at after every request, and that adds up over sites.

Each request of a canary is given to the new version with probability w and to the old one otherwise, by a draw of its own. A request
may hit (end in an error, take longer than it should). Then

    x = 1/w for a hit of the new version, -1/(1 - w) for one of the old, 0 for no hit

has the mean p_new - p_old, whatever the site, the hour and the load are at that moment, since the draw alone decides who is asked. Under
the hypothesis that this mean is at most m, the product of 1 + b (x - m) over all requests cannot be expected to grow, for any stake
0 <= b < 1 / (m + 1/(1 - w)); the chance that it ever exceeds 1/alpha is at most alpha (Ville's inequality), however often one looks, and
whenever one stops. The other direction is the same with 1 - b (x - m). Several stakes are played beside one another, each with an equal
part of the money.

The product depends on counts alone: requests, hits of the new, hits of the old version. So a site reports three numbers for each share it
had, and the products of sites multiply: ten sites with a hundred requests each know as much as one with a thousand, though one is
slow and another is seldom asked. Nothing is normal, independent or asymptotic here.

Source: I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024), for the bets;
D. G. Horvitz and D. J. Thompson, "A Generalization of Sampling Without Replacement", JASA 47 (1952), for the weights.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.paired import Paired, worst

_STAKES: Final = (0.95, *(2.0 ** (-step / 2.0) for step in range(1, 19)))
"""Parts of the largest stake. The best one is about (p - m) / variance, which spans a few powers of ten."""
_BISECTIONS: Final = 40


@dataclass(frozen=True, slots=True)
class Compared:
    """Requests of one site that were divided between two versions by chance, in one share.

    Attributes:
        share: the probability that a request went to the new version, 0 < share < 1.
        new_count, old_count: requests.
        new_hits, old_hits: how many of them hit.
    """

    share: float
    new_count: int
    new_hits: int
    old_count: int
    old_hits: int

    def __post_init__(self) -> None:
        if not 0.0 < self.share < 1.0:
            raise InvalidArgumentError(f"a share of {self.share:g} compares nothing; it lies between 0 and 1")
        _check_counts(self.new_hits, self.new_count)
        _check_counts(self.old_hits, self.old_count)

    def outcomes(self) -> tuple[tuple[float, int], ...]:
        """(x, how often) of each value that occurs; the extreme values always, since they bound the stakes."""
        hits = self.new_hits + self.old_hits
        return (
            (1.0 / self.share, self.new_hits),
            (-1.0 / (1.0 - self.share), self.old_hits),
            (0.0, self.new_count + self.old_count - hits),
        )


@dataclass(frozen=True, slots=True)
class Observed:
    """Requests of one version that has nothing beside it, against a share of hits that is known.

    Attributes:
        count, hits: requests, and how many of them hit.
        reference: the share of hits to compare with, 0 <= reference < 1.
    """

    count: int
    hits: int
    reference: float = 0.0

    def __post_init__(self) -> None:
        _check_counts(self.hits, self.count)
        if not 0.0 <= self.reference < 1.0:
            raise InvalidArgumentError(f"a reference of {self.reference:g} is no share below 1")

    def outcomes(self) -> tuple[tuple[float, int], ...]:
        """(x, how often), x being the hit less the reference."""
        return ((1.0 - self.reference, self.hits), (-self.reference, self.count - self.hits))


Evidence: TypeAlias = Compared | Observed | Paired


def merged(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """The same evidence in as few parts as there are shares, references and comparisons: what counts is the sums.

    A comparison is the same wherever it was made, and counts once. Where sites differ in what came of it, the worst stands.
    """
    compared: dict[float, list[int]] = {}
    observed: dict[float, list[int]] = {}
    paired: dict[str, Paired] = {}
    for one in evidence:
        if isinstance(one, Compared):
            sums = compared.setdefault(one.share, [0, 0, 0, 0])
            sums[0] += one.new_count
            sums[1] += one.new_hits
            sums[2] += one.old_count
            sums[3] += one.old_hits
        elif isinstance(one, Paired):
            paired[one.of] = worst((one, paired.get(one.of, one)))
        else:
            sums = observed.setdefault(one.reference, [0, 0])
            sums[0] += one.count
            sums[1] += one.hits
    return (
        *(Compared(share, *sums) for share, sums in compared.items()),
        *(Observed(count, hits, reference) for reference, (count, hits) in observed.items()),
        *paired.values(),
    )


def log_evidence_above(evidence: Iterable[Evidence], margin: float) -> float:
    """How much speaks against "the new version's share of hits is at most `margin` above the old one's".

    Returns: the logarithm of an e-value; log(1 / alpha) or more refutes it with an error of at most alpha, at any time.
    """
    return _log_wealth(evidence, margin, 1.0)


def log_evidence_below(evidence: Iterable[Evidence], margin: float) -> float:
    """How much speaks against "the new version's share of hits is at least `margin` above the old one's"."""
    return _log_wealth(evidence, margin, -1.0)


def difference_bounds(evidence: Sequence[Evidence], alpha: float) -> tuple[float, float]:
    """What new less old may be: an interval that holds at all times at once.

    Returns: (low, high) in -1..1; the truth is ever below low, or ever above high, with a probability of at most alpha each.
    """
    least = math.log(1.0 / alpha)
    low = _refuted_until(lambda margin: log_evidence_above(evidence, margin) >= least)
    high = -_refuted_until(lambda margin: log_evidence_below(evidence, -margin) >= least)
    return low, high


def _refuted_until(refuted: Callable[[float], bool]) -> float:
    """The largest margin in -1..1 that is refuted; -1 when none is."""
    low, high = -1.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if refuted(middle):
            low = middle
        else:
            high = middle
    return low


def _log_wealth(evidence: Iterable[Evidence], margin: float, sign: float) -> float:
    """Of one who bets on x > margin (sign 1) or x < margin (sign -1), with all stakes at once."""
    terms: list[tuple[int, float]] = []
    for one in evidence:
        game = [(sign * (x - margin), times) for x, times in one.outcomes()]
        least = min(gain for gain, _ in game)
        if least < 0.0:
            # Parts of the most that cannot be lost whole are staked: a gain counts in such units.
            terms.extend((times, gain / -least) for gain, times in game if times)
        elif least > 0.0 or any(times for gain, times in game if gain > 0.0):
            # A game that cannot be lost refutes its hypothesis as soon as it is won: no stake bounds the win.
            return math.inf
    if not terms:
        return 0.0
    logs = [math.fsum(times * math.log1p(part * gain) for times, gain in terms) for part in _STAKES]
    most = max(logs)
    return most + math.log(math.fsum(math.exp(one - most) for one in logs) / len(logs))


def _check_counts(hits: int, count: int) -> None:
    if not 0 <= hits <= count:
        raise InvalidArgumentError(f"{hits} of {count} requests cannot have hit")
