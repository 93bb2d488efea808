"""Two studies side by side: which cells became faster or slower, and whether that can be chance.

What is compared are the figures of the cells with their intervals, which `statistics.Resampled` made by a bootstrap over the runs and the blocks
within them. That is all that the records know about how sure a figure is, so that summaries suffice; resampling the figures of three
runs once more could not tell a difference that is there from chance (of 20 ways to part six runs in two, the most extreme two are a
tenth). The interval of a ratio follows from those of its two sides (Zou and Donner's method of variance estimates recovery), which keeps
that they are lopsided. Cells have several figures, and a study many cells: with 60 × 5 tests at 5 % some 15 would be "shown" by chance
alone, so Holm's correction holds the probability of a single false one at 5 % over all of them, with Student's t for the few runs that
the intervals rest on.

Two things no arithmetic sees. Studies that were measured one after the other differ by whatever else the machine did in between: a change
of less than `least_change` is never called one, and where their environments differ the comparison says so. And a
cell of one run tells nothing about how much runs differ: nothing is ever shown of it.

Source: G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008);
    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.results import CellResult, Estimate, StudyResult
from edgewise.study.statistics import CONFIDENCE, NOTHING, student_t, student_tail

LATENCIES: Final = ("mean", "p50", "p99")
SHARES: Final = ("availability", "accuracy")
LEAST_CHANGE: Final = 0.05
LEAST_SHARE_CHANGE: Final = 0.005
_MAX_NOTES: Final = 8
_OF_EACH_STUDY: Final = frozenset({"date", "runs", "void runs", "sessions", "generator lag", "generator load"})
"""Facts about the measuring, which always differ, and cause nothing in runs that are valid."""


class Verdict(StrEnum):
    """What became of a cell from A to B."""

    SLOWER = "slower"
    """A latency is shown to be higher, whatever else improved."""
    WORSE = "worse"
    """Fewer answers, or fewer right ones; no latency is shown to be higher."""
    FASTER = "faster"
    BETTER = "better"
    """More answers, or more right ones; no latency is shown to differ."""
    NO_DIFFERENCE = "no difference shown"
    ONLY_IN_A = "only in A"
    ONLY_IN_B = "only in B"


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one cell in both studies.

    Attributes:
        figure: of `LATENCIES` (in ms) or `SHARES`.
        a, b: nan where a study has none.
        ratio: B over A, with its 95 % interval for this figure alone; nan where there is none.
        p_value: of a difference as large by chance, corrected for all figures of all cells; nan where it was not tested.
        shown: the p-value is below 5 % and the change is no trifle.
    """

    figure: str
    a: Estimate
    b: Estimate
    ratio: Estimate
    p_value: float = math.nan
    shown: bool = False

    @property
    def worse(self) -> bool:
        """It is shown, and for the worse."""
        return self.shown and (self.b.value > self.a.value) == (self.figure in LATENCIES)

    @property
    def better(self) -> bool:
        """It is shown, and for the better."""
        return self.shown and not self.worse


@dataclass(frozen=True, slots=True)
class CellComparison:
    """One cell in both studies; without changes where only one has it."""

    name: str
    verdict: Verdict
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two studies side by side.

    Attributes:
        title_a, title_b: of the studies.
        cells: in the order of A, then those that only B has.
        notes: what else differs between the studies and may be the cause, for people.
    """

    title_a: str
    title_b: str
    cells: tuple[CellComparison, ...]
    notes: tuple[str, ...] = ()

    @property
    def regressions(self) -> tuple[CellComparison, ...]:
        """The cells that became slower or worse."""
        return tuple(cell for cell in self.cells if cell.verdict in {Verdict.SLOWER, Verdict.WORSE})

    @property
    def regressed(self) -> bool:
        """Whether there is any: `edgewise study compare` exits with 1 then."""
        return bool(self.regressions)

    @property
    def verdict(self) -> str:
        """One line for all of it."""
        both = [cell for cell in self.cells if cell.changes]
        if not both:
            return "The studies share no cell: there is nothing to compare."
        parts = []
        for verdict in (Verdict.SLOWER, Verdict.WORSE, Verdict.FASTER, Verdict.BETTER):
            cells = [cell for cell in both if cell.verdict == verdict]
            if cells:
                parts.append(f"{verdict} in {len(cells)} ({_worst(cells)})")
        shown = (
            f"B is {', '.join(parts)} of {len(both)} cells" if parts else f"No difference is shown in {len(both)} cells"
        )
        means = [change.ratio.value for cell in both for change in cell.changes if change.figure == "mean"]
        logs = [math.log(ratio) for ratio in means if ratio > 0.0 and math.isfinite(ratio)]
        typical = f"; mean latency B/A is {math.exp(sum(logs) / len(logs)):.3f} over all" if logs else ""
        return f"{shown}{typical}."


def compare(
    a: StudyResult,
    b: StudyResult,
    *,
    least_change: float = LEAST_CHANGE,
    least_share_change: float = LEAST_SHARE_CHANGE,
) -> Comparison:
    """Compare a study with an earlier one.

    Args:
        a: the earlier study; b the later.
        least_change: by which latencies differ at least for it to count, as a ratio: 0.05 is five percent.
        least_share_change: likewise of availability and accuracy, as a difference: 0.005 is half a percentage point.
    Returns: cells matched by their names.
    Raises:
        InvalidArgumentError: a least change is negative.
    """
    if least_change < 0.0 or least_share_change < 0.0:
        raise InvalidArgumentError("the least change that counts is 0 or more")
    of_a = {cell.cell.name: cell for cell in a.cells}
    of_b = {cell.cell.name: cell for cell in b.cells}
    both = [name for name in of_a if name in of_b]
    tests = [_change(figure, of_a[name], of_b[name]) for name in both for figure in (*LATENCIES, *SHARES)]
    changes = _shown(_corrected(tests), least_change, least_share_change)
    figures = len(LATENCIES) + len(SHARES)
    found = {name: tuple(changes[place * figures : (place + 1) * figures]) for place, name in enumerate(both)}
    return Comparison(
        title_a=a.title,
        title_b=b.title,
        cells=(
            *(
                CellComparison(name, _verdict(found[name]), found[name])
                if name in found
                else CellComparison(name, Verdict.ONLY_IN_A)
                for name in of_a
            ),
            *(CellComparison(name, Verdict.ONLY_IN_B) for name in of_b if name not in of_a),
        ),
        notes=tuple(_notes(a, b)),
    )


def render(comparison: Comparison) -> str:
    """The comparison as a table for a terminal, with the verdict at its end."""
    rows = [("cell", *(f"{figure} B/A" for figure in (*LATENCIES, *SHARES)), "verdict")]
    for cell in comparison.cells:
        shown = [_shown_ratio(change) for change in cell.changes] or [""] * (len(LATENCIES) + len(SHARES))
        rows.append((cell.name, *shown, cell.verdict.value))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"A: {comparison.title_a}", f"B: {comparison.title_b}", ""]
    lines += ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", "Ratios with 95 % intervals; * is shown after the correction for all figures of all cells."]
    lines += [f"Note: {note}" for note in comparison.notes]
    return "\n".join([*lines, comparison.verdict]) + "\n"


def _figure(cell: CellResult, name: str) -> Estimate:
    match name:
        case "mean":
            return cell.mean_ms
        case "p50" | "p99":
            return cell.quantiles_ms.get(float(name[1:]) / 100.0, NOTHING)
        case "availability":
            return cell.availability
        case _:
            return cell.accuracy


def _change(name: str, a: CellResult, b: CellResult) -> Change:
    """A figure in both, with the p-value of it alone."""
    first, second = _figure(a, name), _figure(b, name)
    tested = (_logs(first), _logs(second)) if name in LATENCIES else (first, second)
    one, two = _degrees(a), _degrees(b)
    p_value = _p_value(*tested, one + two) if one and two else math.nan
    return Change(name, first, second, _ratio(first, second), p_value)


def _degrees(cell: CellResult) -> int:
    """Of freedom, of one side; 0 where nothing can be tested.

    The variance that an interval rests on is the sum of one between runs, with a degree less than there are runs, and one within them, with
    many. Twice the fewer held the probability of a false alarm at 8 % or less in simulated studies of 1 to 180 cells whose runs differed by up
    to three times what their blocks let expect, and far below 5 % where they differed less.
    """
    return max(0, 2 * (sum(1 for run in cell.runs if not run.void) - 1))


def _logs(estimate: Estimate) -> Estimate:
    if not estimate.low > 0.0:
        return NOTHING
    return Estimate(math.log(estimate.value), math.log(estimate.low), math.log(estimate.high))


def _ratio(a: Estimate, b: Estimate) -> Estimate:
    """B over A, its limits recovered from theirs."""
    if not a.value > 0.0 or math.isnan(b.value):
        return NOTHING
    value = b.value / a.value
    if math.isnan(a.low) or math.isnan(b.low):
        return Estimate(value, math.nan, math.nan)
    if a.low <= 0.0 or b.low <= 0.0:
        return Estimate(value, 0.0, math.inf)
    one, two = _logs(a), _logs(b)
    return Estimate(
        value,
        value * math.exp(-math.hypot(two.value - two.low, one.high - one.value)),
        value * math.exp(math.hypot(two.high - two.value, one.value - one.low)),
    )


def _p_value(a: Estimate, b: Estimate, degrees: int) -> float:
    """Two-sided, of no difference, from the side of the interval of b - a that looks towards zero."""
    difference = b.value - a.value
    if math.isnan(difference) or math.isnan(a.low) or math.isnan(b.low):
        return math.nan
    if difference == 0.0:
        # Without a single loss in either study there is nothing to test, and the correction need not count it.
        return math.nan if a == b and a.value in {0.0, 1.0} else 1.0
    half = (
        math.hypot(b.value - b.low, a.high - a.value)
        if difference > 0.0
        else math.hypot(b.high - b.value, a.value - a.low)
    )
    if half == 0.0:
        return 0.0
    at_limit = student_t(0.5 + CONFIDENCE / 2.0, degrees)
    return min(1.0, 2.0 * student_tail(abs(difference) / half * at_limit, degrees))


def _corrected(tests: Sequence[Change]) -> list[Change]:
    """Holm: the smallest p-value times the number of tests, the next times one less, never falling."""
    order = sorted(
        (place for place, test in enumerate(tests) if not math.isnan(test.p_value)),
        key=lambda place: tests[place].p_value,
    )
    corrected = list(tests)
    reached = 0.0
    for rank, place in enumerate(order):
        reached = max(reached, min(1.0, tests[place].p_value * (len(order) - rank)))
        corrected[place] = replace(tests[place], p_value=reached)
    return corrected


def _shown(tests: Iterable[Change], least_change: float, least_share_change: float) -> list[Change]:
    """Mark what is shown: no chance, and no trifle."""
    result = []
    for test in tests:
        if test.figure in LATENCIES:
            large = test.ratio.value >= 1.0 + least_change or test.ratio.value <= 1.0 / (1.0 + least_change)
        else:
            large = abs(test.b.value - test.a.value) >= least_share_change
        result.append(replace(test, shown=large and test.p_value < 1.0 - CONFIDENCE))
    return result


def _verdict(changes: Sequence[Change]) -> Verdict:
    worse = [change.figure for change in changes if change.worse]
    better = [change.figure for change in changes if change.better]
    if worse:
        return Verdict.SLOWER if any(figure in LATENCIES for figure in worse) else Verdict.WORSE
    if better:
        return Verdict.FASTER if any(figure in LATENCIES for figure in better) else Verdict.BETTER
    return Verdict.NO_DIFFERENCE


def _worst(cells: Sequence[CellComparison]) -> str:
    """The largest change that is shown among cells of one verdict."""
    name, change = max(
        ((cell.name, change) for cell in cells for change in cell.changes if change.shown),
        key=lambda pair: abs(math.log(pair[1].ratio.value)) if pair[1].ratio.value > 0.0 else math.inf,
    )
    return f"{'most' if len(cells) > 1 else 'in'} {name}: {change.figure} ×{_shown_ratio(change, star=False)}"


def _shown_ratio(change: Change, *, star: bool = True) -> str:
    ratio = change.ratio
    if math.isnan(ratio.value):
        return "-"
    interval = "" if math.isnan(ratio.low) else f" [{ratio.low:.3f}, {ratio.high:.3f}]"
    return f"{ratio.value:.3f}{interval}{'*' if star and change.shown else ''}"


def _notes(a: StudyResult, b: StudyResult) -> Iterable[str]:
    differing = [
        name
        for name in dict.fromkeys((*a.environment, *b.environment))
        if name not in _OF_EACH_STUDY and a.environment.get(name) != b.environment.get(name)
    ]
    for name in differing[:_MAX_NOTES]:
        yield f"{name} was {a.environment.get(name, 'unknown')!r} in A and is {b.environment.get(name, 'unknown')!r} in B"
    if len(differing) > _MAX_NOTES:
        yield f"{len(differing) - _MAX_NOTES} more facts about the environment differ"
    if a.seed != b.seed:
        yield f"the seed was {a.seed} in A and is {b.seed} in B"
