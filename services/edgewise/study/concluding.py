"""From a journal and its records to what came out: figures, predictions, what is missing, how it was measured."""

import contextlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import EdgewiseError, FailedPreconditionError
from edgewise.study import analysis, answers, prediction, records
from edgewise.study.calibration_pool import pooled
from edgewise.study.cells import Cell
from edgewise.study.engine.job import Recording
from edgewise.study.histogram import HdrHistogram
from edgewise.study.journal import Contents, Heading, RunLine
from edgewise.study.planning import Calibrated
from edgewise.study.results import Calibration, CellResult, Judgement, Prediction, StudyResult

NOT_REACHED: Final = "the study ended before it was measured"
HISTOGRAMS: Final = "histograms"
_MOST_DUE: Final = 25_000


@dataclass(slots=True)
class Schedules:
    """When the requests of a cell's runs were due.

    Attributes:
        due_s: float64 [n] for each run, the first of them.
    """

    due_s: list[NDArray[np.float64]] = field(default_factory=list)
    _before: list[int] = field(default_factory=list)

    def add(self, recording: Recording, warmup_s: float) -> None:
        """One more run."""
        self.due_s.append(recording.due_ns[:_MOST_DUE] / 1e9)
        self._before.append(int(np.searchsorted(recording.due_ns, round(warmup_s * 1e9))))

    def warmup(self) -> int:
        """Requests of a run that are not counted, in the mean."""
        return round(sum(self._before) / len(self._before)) if self._before else 0


def conclude(directory: Path, contents: Contents) -> StudyResult:
    """All that a study found so far.

    Args:
        directory: of the study.
        contents: of its journal.
    Raises: EdgewiseError: the figures cannot be computed.
    """
    heading = contents.heading
    by_cell: defaultdict[str, list[RunLine]] = defaultdict(list)
    for line in contents.runs:
        by_cell[line.result.run.cell.name].append(line)
    found: list[CellResult] = []
    schedules: dict[str, Schedules] = {}
    missing = dict(contents.missing)
    lags = HdrHistogram()
    for cell in heading.cells:
        lines = by_cell.get(cell.name, [])
        if not any(not line.result.void for line in lines):
            missing.setdefault(cell.name, _why_nothing(lines))
        if lines:
            try:
                schedules[cell.name] = Schedules()
                found.append(_cell(directory, contents, cell, lines, lags=lags, schedules=schedules[cell.name]))
            except EdgewiseError as error:
                # One damaged file does not take the rest along.
                missing[cell.name] = error.message
    return StudyResult(
        title=heading.title,
        seed=heading.seed,
        cells=tuple(found),
        calibrations=pooled(contents.calibrations),
        predictions=predictions(contents, schedules),
        profiles=heading.profiles,
        environment=environment(contents, lags),
        missing=missing,
        prices=heading.prices,
        mlperf=tuple(contents.mlperf),
        outages=heading.outages,
    )


def predictions(contents: Contents, schedules: Mapping[str, Schedules]) -> tuple[Prediction, ...]:
    """What the calibrations let expect of each planned cell that has no outage.

    Args:
        schedules: of the valid runs, by the name of the cell. They were drawn from the seed before anything was measured, so
            a prediction may know them: what is left to it is what the requests meet, and not how they fell.
    """
    return predicted(
        contents,
        lambda cell, calibrated: _prediction(contents.heading, cell, calibrated, schedules.get(cell.name, Schedules())),
    )


def predicted(contents: Contents, predict: Callable[[Cell, Calibration], Prediction]) -> tuple[Prediction, ...]:
    """What `predict` makes of each planned cell that a calibration is for and that has no outage, without those that it declines."""
    by_kind = {Calibrated.of(one): one for one in pooled(contents.calibrations)}
    expected = []
    for cell in contents.heading.cells:
        calibrated = by_kind.get(Calibrated.of(cell))
        if calibrated is None or cell.outage:
            continue
        # A route whose share of the sites depends on what it finds is not predicted.
        with contextlib.suppress(FailedPreconditionError):
            expected.append(predict(cell, calibrated))
    return tuple(expected)


def environment(contents: Contents, lags: HdrHistogram) -> dict[str, str]:
    """How it was measured, for people, in the order in which it is shown."""
    results = [line.result for line in contents.runs]
    void = [result for result in results if result.void]
    valid = len(results) - len(void)
    found = {**contents.heading.environment, **contents.heading.settings, **contents.notes}
    if lags.total:
        found["generator lag"] = f"{lags.quantile(0.99) / 1e6:.3f} ms at p99 over all valid runs"
    share = max((result.engine_share for result in results if not result.void), default=math.nan)
    if not math.isnan(share):
        found["generator load"] = f"at most {share:.0%} of one core"
    found["runs"] = f"{valid} valid, {len(void)} void"
    if void:
        reasons = Counter(_kind_of(result.void) for result in void)
        found["void runs"] = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
    if contents.sessions > 1:
        found["sessions"] = f"{contents.sessions}: it was stopped and gone on with"
    return found


def _cell(
    directory: Path,
    contents: Contents,
    cell: Cell,
    lines: Sequence[RunLine],
    *,
    lags: HdrHistogram,
    schedules: Schedules,
) -> CellResult:
    said: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def recordings() -> Iterator[Recording | None]:
        for line in lines:
            if line.result.void:
                yield None
                continue
            recording, _ = records.read(directory / line.file)
            schedules.add(recording, line.warmup_s)
            lags.record(np.maximum(recording.lag_ns(), 0))
            for question, verdict in answers.verdicts(cell.protocol, recording).items():
                said[question][verdict] += 1
            yield recording

    histogram = HdrHistogram()
    result = analysis.cell_result(
        cell,
        [line.result for line in lines],
        recordings(),
        warmup_s=lines[-1].warmup_s,
        seed=contents.heading.seed,
        histogram=histogram,
    )
    if histogram.total:
        _write_histogram(directory / HISTOGRAMS / f"{cell.name}.hgrm", histogram)
    return _with_judgements(result, contents, said)


def _write_histogram(path: Path, histogram: HdrHistogram) -> None:
    # Where it cannot be written, nothing is lost: the records have it all.
    with contextlib.suppress(FailedPreconditionError, OSError):
        path.parent.mkdir(exist_ok=True)
        with records.whole_file(path) as file:
            file.write(histogram.percentile_text().encode())


def _with_judgements(result: CellResult, contents: Contents, said: Mapping[int, Counter[str]]) -> CellResult:
    asked = contents.questions.get((result.cell.model, result.cell.protocol), [])
    found = tuple(
        Judgement(asked[index][0], asked[index][1], verdicts.most_common(1)[0][0])
        for index, verdicts in sorted(said.items())
        if index < len(asked)
    )
    return replace(result, judgements=found) if found else result


def _prediction(heading: Heading, cell: Cell, calibrated: Calibration, known: Schedules) -> Prediction:
    return prediction.predict(
        cell,
        calibrated,
        heading.profiles.get(cell.profile),
        arrival_scv=heading.arrival_scv,
        requests=round(cell.rate * heading.duration_s),
        warmup=known.warmup(),
        runs=len(known.due_s) or heading.repeats,
        route=heading.route,
        schedules_s=known.due_s,
        seed=heading.seed,
    )


def _why_nothing(lines: Sequence[RunLine]) -> str:
    if not lines:
        return NOT_REACHED
    which = "its only run is void" if len(lines) == 1 else f"each of its {len(lines)} runs is void"
    return f"{which}: {lines[-1].result.void}"


def _kind_of(reason: str) -> str:
    """A reason without its numbers' detail: what stands before the first comma."""
    return reason.partition(",")[0]
