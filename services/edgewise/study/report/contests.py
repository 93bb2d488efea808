"""Who wins where: two targets, cell by cell.

A target wins a cell when the 95 % intervals of the two do not overlap; otherwise no difference is shown. That is stricter than a
test of the difference at 5 %: of two equal targets with like intervals about 1 in 180 cells would be given away. Latency
is that of what was answered, so a target that leaves requests unanswered cannot win by it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from edgewise.study.report.index import Index, Setting
from edgewise.study.results import CellResult, Estimate

SERVES_RATIO: Final = 0.99
"""A target that answers less of its requests than this does not keep up."""


class Metric(StrEnum):
    """What is compared."""

    MEAN = "mean"
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"

    def of(self, found: CellResult) -> Estimate:
        """The figure of a cell, in ms."""
        if self is Metric.MEAN:
            return found.mean_ms
        ratio = {Metric.P50: 0.5, Metric.P95: 0.95, Metric.P99: 0.99}[self]
        return found.quantiles_ms.get(ratio, Estimate(math.nan, math.nan, math.nan))


class Reason(StrEnum):
    """Why a contest ended as it did."""

    LATENCY = "latency"
    """The intervals of the latencies do not overlap."""
    ANSWERS = "answers"
    """One target answers too few of its requests, the other does not."""
    OVERLAP = "overlap"
    """The intervals overlap, or there is none."""
    OVERLOAD = "overload"
    """Neither answers enough of its requests."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Two targets at one network and load.

    Attributes:
        winner: the target that is shown to be better; "" where no difference is shown.
        difference_ms: latency of the first less that of the second, with the bounds that the verdict uses: they do not hold 0
            where the intervals do not overlap. Plus or minus infinity where the answers decide.
        ratio: latency of the first over that of the second.
    """

    setting: Setting
    profile: str
    load: float
    first: CellResult
    second: CellResult
    winner: str
    reason: Reason
    difference_ms: Estimate
    ratio: float

    @property
    def faster(self) -> str:
        """The target with the lower figure, shown or not; "" where there is none."""
        if self.winner:
            return self.winner
        if math.isnan(self.difference_ms.value) or self.difference_ms.value == 0:
            return ""
        return self.first.cell.target if self.difference_ms.value < 0 else self.second.cell.target

    @property
    def factor(self) -> float:
        """How many times slower the slower one is; nan where answers decide or figures are missing."""
        if self.reason is Reason.ANSWERS or not self.ratio > 0:
            return math.nan
        return max(self.ratio, 1 / self.ratio)


def contest(
    setting: Setting, profile: str, load: float, *, first: CellResult, second: CellResult, metric: Metric
) -> Contest:
    """Compare two cells."""
    a, b = metric.of(first), metric.of(second)
    difference = Estimate(a.value - b.value, a.low - b.high, a.high - b.low)
    ratio = a.value / b.value if b.value > 0 else math.nan
    winner, reason = "", Reason.OVERLAP
    keeps_up = [found.availability.value >= SERVES_RATIO for found in (first, second)]
    if not all(keeps_up):
        reason = Reason.OVERLOAD
        better, worse = (first, second) if keeps_up[0] else (second, first)
        if any(keeps_up) and better.availability.low > worse.availability.high:
            winner, reason = better.cell.target, Reason.ANSWERS
            sign = -math.inf if better is first else math.inf
            difference = Estimate(sign, sign, sign)
    elif difference.high < 0:
        winner, reason = first.cell.target, Reason.LATENCY
    elif difference.low > 0:
        winner, reason = second.cell.target, Reason.LATENCY
    return Contest(setting, profile, load, first, second, winner, reason, difference, ratio)


def contests(index: Index, setting: Setting, pair: tuple[str, str], metric: Metric) -> Iterator[Contest]:
    """Of every profile and load at which both targets were measured."""
    for load in index.loads(setting):
        for profile in index.profiles_of(setting):
            first = index.cell(setting, pair[0], profile, load)
            second = index.cell(setting, pair[1], profile, load)
            if first is not None and second is not None:
                yield contest(setting, profile, load, first=first, second=second, metric=metric)


@dataclass(frozen=True, slots=True)
class Crossover:
    """Where the winner changes, along an axis.

    Attributes:
        below, above: the targets that win on either side.
        at: estimate, where straight lines between the measured differences cross 0; nan where they cannot.
        low, high: between them the bounds of the difference hold 0.
        last_below, first_above: the nearest measured points at which the winners are shown.
    """

    below: str
    above: str
    at: float
    low: float
    high: float
    last_below: float
    first_above: float


def crossovers(points: Sequence[tuple[float, Contest]]) -> list[Crossover]:
    """Changes of the shown winner along an axis.

    Args:
        points: place on the axis and contest, by rising place.
    """
    found = []
    shown = [place for place, (_, one) in enumerate(points) if one.winner]
    for left, right in pairwise(shown):
        below, above = points[left][1].winner, points[right][1].winner
        if below != above:
            found.append(_crossover(points[left : right + 1], below, above))
    return found


def _crossover(between: Sequence[tuple[float, Contest]], below: str, above: str) -> Crossover:
    places = [place for place, _ in between]
    values = [one.difference_ms for _, one in between]
    middle = zeros(places, [value.value for value in values])
    at = (middle[0] + middle[-1]) / 2 if middle else math.nan
    # The bound that is nearer to 0 on each side.
    rises = values[0].value < values[-1].value
    lows = zeros(places, [value.high if rises else value.low for value in values])
    highs = zeros(places, [value.low if rises else value.high for value in values])
    low, high = (lows[0] if lows else places[0]), (highs[-1] if highs else places[-1])
    return Crossover(below, above, at, low, high, places[0], places[-1])


def zeros(places: Sequence[float], values: Sequence[float]) -> list[float]:
    """Where straight lines between the points cross 0; steps to or from infinity cross nowhere that is known."""
    found = []
    for (x, y), (next_x, next_y) in pairwise(zip(places, values, strict=True)):
        if math.isfinite(y) and math.isfinite(next_y) and y != next_y and min(y, next_y) <= 0 <= max(y, next_y):
            found.append(x + (next_x - x) * y / (y - next_y))
    return found
