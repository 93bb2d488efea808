"""From a journal and its records to what came out: figures, predictions, what is missing, how it was measured."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from edgewise.core.errors import EdgewiseError
from edgewise.study import analysis, answers, prediction, records
from edgewise.study.cells import Cell
from edgewise.study.engine.job import Recording
from edgewise.study.histogram import HdrHistogram
from edgewise.study.journal import Contents, RunLine
from edgewise.study.results import Calibration, CellResult, Judgement, Prediction, StudyResult

NOT_REACHED: Final = "the study ended before it was measured"


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
    missing = dict(contents.missing)
    lags = HdrHistogram()
    for cell in heading.cells:
        lines = by_cell.get(cell.name, [])
        if not any(not line.result.void for line in lines):
            missing.setdefault(cell.name, _why_nothing(lines))
        if lines:
            try:
                found.append(_cell(directory, contents, cell, lines, lags))
            except EdgewiseError as error:
                # One damaged file does not take the rest along.
                missing[cell.name] = error.message
    return StudyResult(
        title=heading.title,
        seed=heading.seed,
        cells=tuple(found),
        calibrations=tuple(contents.calibrations),
        predictions=predictions(contents, found),
        profiles=heading.profiles,
        environment=environment(contents, lags),
        missing=missing,
        prices=heading.prices,
        mlperf=tuple(contents.mlperf),
        outages=heading.outages,
    )


def predictions(contents: Contents, found: Sequence[CellResult] = ()) -> tuple[Prediction, ...]:
    """What the calibrations let expect of each planned cell that has no outage.

    Args:
        found: what was measured, for the variance of the arrivals as they were drawn and their number.
    """
    by_kind = {(one.target, one.model, one.protocol, one.batching): one for one in contents.calibrations}
    measured = {one.cell.name: one for one in found}
    expected = []
    for cell in contents.heading.cells:
        calibrated = by_kind.get((cell.target, cell.model, cell.protocol, cell.batching))
        if calibrated is None or cell.outage:
            continue
        expected.append(_prediction(contents, cell, calibrated, measured.get(cell.name)))
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


def _cell(directory: Path, contents: Contents, cell: Cell, lines: Sequence[RunLine], lags: HdrHistogram) -> CellResult:
    said: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def recordings() -> Iterator[Recording | None]:
        for line in lines:
            if line.result.void:
                yield None
                continue
            recording, _ = records.read(directory / line.file)
            lags.record(np.maximum(recording.lag_ns(), 0))
            for question, verdict in answers.verdicts(cell.protocol, recording).items():
                said[question][verdict] += 1
            yield recording

    result = analysis.cell_result(
        cell,
        [line.result for line in lines],
        recordings(),
        warmup_s=lines[-1].warmup_s,
        seed=contents.heading.seed,
    )
    return _with_judgements(result, contents, said)


def _with_judgements(result: CellResult, contents: Contents, said: Mapping[int, Counter[str]]) -> CellResult:
    asked = contents.questions.get((result.cell.model, result.cell.protocol), [])
    found = tuple(
        Judgement(asked[index][0], asked[index][1], verdicts.most_common(1)[0][0])
        for index, verdicts in sorted(said.items())
        if index < len(asked)
    )
    return replace(result, judgements=found) if found else result


def _prediction(contents: Contents, cell: Cell, calibrated: Calibration, measured: CellResult | None) -> Prediction:
    profile = contents.heading.profiles.get(cell.profile)
    valid = [run for run in measured.runs if not run.void] if measured is not None else []
    scvs = [run.arrival_scv for run in valid if not math.isnan(run.arrival_scv)]
    requests = (
        measured.requests
        if valid and measured is not None
        else round(cell.rate * contents.heading.duration_s * contents.heading.repeats)
    )
    return prediction.predict(
        cell,
        calibrated,
        profile,
        arrival_scv=sum(scvs) / len(scvs) if scvs else contents.heading.arrival_scv,
        requests=requests,
    )


def _why_nothing(lines: Sequence[RunLine]) -> str:
    if not lines:
        return NOT_REACHED
    return f"each of its {len(lines)} runs is void: {lines[-1].result.void}"


def _kind_of(reason: str) -> str:
    """A reason without its numbers' detail: what stands before the first comma."""
    return reason.partition(",")[0]
