"""How good the predictions were: each beside what was measured, and where cloud and edge changed places."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import EdgewiseError
from edgewise.study.cells import CLOUD, EDGE, Cell
from edgewise.study.planning import Calibrated
from edgewise.study.prediction import crossover
from edgewise.study.results import Calibration, CellResult, Estimate, Prediction, StudyResult

MOST_UTILISATION: Final = 0.95
"""Nearer to the capacity the wait is nobody's to predict: a hundredth of speed more or less is a fifth of it."""
LEAST_AVAILABILITY: Final = 0.99
"""Where more are lost than this leaves, the mean is that of another set of requests."""

_NORMAL_95: Final = 1.96
_DRAWS: Final = 2000
_STRAIGHT_OVER: Final = 0.97
_WORST: Final = 5
_FINE: Final = 0.05


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One cell.

    Attributes:
        prediction: of it.
        mean_ms, p50_ms, p99_ms: measured.
        mean_error, p50_error, p99_error: predicted over measured, less 1; nan where there is nothing to compare.
        counted: whether it is part of the mean error.
        reason: why it is not counted, or why it misses; "" where there is nothing to say.
    """

    cell: Cell
    prediction: Prediction
    mean_ms: Estimate
    p50_ms: Estimate
    p99_ms: Estimate
    mean_error: float
    p50_error: float
    p99_error: float
    counted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Inversion:
    """Where the cloud begins to win over one network, for one model.

    Attributes:
        pooled: places whose load the cloud serves.
        way_over_service: round trip over the edge's service time.
        measured: utilisation of the edge, between the loads that were measured; all nan where the curves do not cross.
        measured_load: requests a second of one place.
        predicted: of the steady state, from the calibrations; all nan where there is none.
        predicted_here: from the predictions of the same cells, read off as the measured one is; it knows how long the runs were.
        said: why something is missing; "" where nothing is.
    """

    profile: str
    model: str
    protocol: str
    batching: str
    pooled: float
    way_over_service: float
    measured: Estimate
    measured_load: Estimate
    predicted: Estimate
    predicted_here: float
    said: str = ""

    @property
    def difference(self) -> float:
        """Predicted less measured, both for these runs; of the steady state where some cell has no prediction; or nan."""
        predicted = self.predicted_here if math.isfinite(self.predicted_here) else self.predicted.value
        return predicted - self.measured.value


@dataclass(frozen=True, slots=True)
class Check:
    """All of it.

    Attributes:
        rows: of every cell that was both predicted and measured, in the order of the study.
        mean_absolute_error, p50_absolute_error, p99_absolute_error: means of the rows' absolute errors, as shares, over those
            that are counted; nan where none is.
        worst: the counted rows with the largest errors of the mean.
        inversions: by network and model.
    """

    rows: tuple[CheckRow, ...]
    mean_absolute_error: float
    p50_absolute_error: float
    p99_absolute_error: float
    worst: tuple[CheckRow, ...]
    inversions: tuple[Inversion, ...]


def check(result: StudyResult) -> Check:
    """Compare what a study predicted with what it measured."""
    predictions = {prediction.cell: prediction for prediction in result.predictions}
    by_kind = {Calibrated.of(one): one for one in result.calibrations}
    rows = tuple(
        _row(cell, predictions[cell.cell], by_kind.get(Calibrated.of(cell.cell)))
        for cell in result.cells
        if cell.cell in predictions
    )
    counted = [row for row in rows if row.counted]
    return Check(
        rows=rows,
        mean_absolute_error=_mean_absolute(row.mean_error for row in counted),
        p50_absolute_error=_mean_absolute(row.p50_error for row in counted),
        p99_absolute_error=_mean_absolute(row.p99_error for row in counted),
        worst=tuple(sorted(counted, key=lambda row: -abs(row.mean_error))[:_WORST]),
        inversions=tuple(_inversions(result, predictions, by_kind)),
    )


def render(checked: Check) -> str:
    """A text table, for people; ends with a line break."""
    if not checked.rows:
        return "nothing to check: no cell was both predicted and measured (a study predicts what it has calibrated)\n"
    width = max(len(row.cell.name) for row in checked.rows)
    lines = [
        f"{'':{width}}   util         predicted mean           measured mean     error      p50      p99   bottleneck",
        *(_line(row, width) for row in checked.rows),
        "",
    ]
    counted = sum(row.counted for row in checked.rows)
    if counted:
        lines.append(
            f"mean absolute error over {counted} of {len(checked.rows)} cells: mean {checked.mean_absolute_error:.1%}, "
            f"p50 {checked.p50_absolute_error:.1%}, p99 {checked.p99_absolute_error:.1%}"
        )
    else:
        lines.append(f"none of the {len(checked.rows)} cells can be counted")
    left_out = [row for row in checked.rows if not row.counted]
    lines += [f"not counted: {row.cell.name}: {row.reason}" for row in left_out]
    lines += [
        f"furthest off: {row.cell.name}: {row.mean_error:+.1%}: {row.reason}" for row in checked.worst if row.reason
    ]
    if checked.inversions:
        lines += ["", "where the cloud begins to win (utilisation of the edge)"]
        lines += [_inversion_line(inversion) for inversion in checked.inversions]
    return "\n".join(lines) + "\n"


# ---- rows


def _row(cell: CellResult, prediction: Prediction, calibration: Calibration | None) -> CheckRow:
    empty = Estimate(math.nan, math.nan, math.nan)
    p50, p99 = (cell.quantiles_ms.get(ratio, empty) for ratio in (0.5, 0.99))
    why_not = ""
    if math.isnan(cell.mean_ms.value):
        why_not = "nothing was answered"
    elif prediction.utilisation >= MOST_UTILISATION:
        why_not = f"the {prediction.bottleneck} is used to {prediction.utilisation:.0%}, where there is no steady state to measure"
    elif cell.availability.value < LEAST_AVAILABILITY:
        why_not = f"{1 - cell.availability.value:.1%} of the requests were not answered, and are not in the mean"
    mean_error = _error(prediction.mean_ms, cell.mean_ms.value)
    return CheckRow(
        cell=cell.cell,
        prediction=prediction,
        mean_ms=cell.mean_ms,
        p50_ms=p50,
        p99_ms=p99,
        mean_error=mean_error,
        p50_error=_error(prediction.p50_ms, p50.value),
        p99_error=_error(prediction.p99_ms, p99.value),
        counted=not why_not,
        reason=why_not or _why(cell, prediction, calibration, mean_error),
    )


def _why(cell: CellResult, prediction: Prediction, calibration: Calibration | None, error: float) -> str:
    """What an error may come from."""
    if abs(error) <= _FINE:
        return ""
    measured = cell.mean_ms
    reasons = []
    if prediction.low_mean_ms <= measured.value <= prediction.high_mean_ms:
        reasons.append(
            f"within what runs of this length scatter ({prediction.low_mean_ms:.1f} to {prediction.high_mean_ms:.1f} ms)"
        )
    elif prediction.low_mean_ms <= measured.high and measured.low <= prediction.high_mean_ms:
        reasons.append("the intervals of prediction and measurement overlap")
    else:
        reasons.append(
            "outside both intervals: something is not in the model, or the machine was not as fast as in the calibration"
        )
    base_ms = calibration.base_ms if calibration is not None else math.nan
    if prediction.utilisation > 0.5 and not math.isnan(base_ms):
        # d ln(wait) / d ln(capacity) of every queue whose wait goes like ρ / (1 - ρ).
        wait_share = max(0.0, 1 - base_ms / prediction.mean_ms)
        moved = 0.01 * wait_share / (1 - prediction.utilisation)
        reasons.append(
            f"the {prediction.bottleneck} is used to {prediction.utilisation:.0%}, so that 1 % less speed is {moved:.1%} more latency"
        )
    if prediction.note:
        reasons.append(prediction.note)
    return "; ".join(reasons)


def _error(predicted: float, measured: float) -> float:
    if math.isnan(measured) or not math.isfinite(predicted) or measured <= 0:
        return math.nan
    return predicted / measured - 1


def _mean_absolute(errors: Iterable[float]) -> float:
    kept = [abs(error) for error in errors if not math.isnan(error)]
    return math.fsum(kept) / len(kept) if kept else math.nan


def _line(row: CheckRow, width: int) -> str:
    prediction = row.prediction
    predicted = _interval(Estimate(prediction.mean_ms, prediction.low_mean_ms, prediction.high_mean_ms))
    mark = "" if row.counted else "  (not counted)"
    return (
        f"{row.cell.name:{width}} {prediction.utilisation:6.2f} {predicted:>22} {_interval(row.mean_ms):>23} "
        f"{_percent(row.mean_error)} {_percent(row.p50_error)} {_percent(row.p99_error)}   {prediction.bottleneck}{mark}"
    )


def _interval(estimate: Estimate) -> str:
    if math.isinf(estimate.value):
        return "overloaded"
    if math.isnan(estimate.value):
        return "-"
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def _percent(error: float) -> str:
    return f"{'-':>8}" if math.isnan(error) else f"{error:+8.1%}"


# ---- inversions


def _inversions(
    result: StudyResult,
    predictions: Mapping[Cell, Prediction],
    by_kind: Mapping[Calibrated, Calibration],
) -> Iterable[Inversion]:
    edges: dict[tuple[str, str, str], dict[float, CellResult]] = {}
    clouds: dict[tuple[str, str, str, str], dict[float, CellResult]] = {}
    for cell in result.cells:
        asked = cell.cell
        if asked.outage or math.isnan(cell.mean_ms.value):
            continue
        if asked.target == EDGE:
            edges.setdefault((asked.model, asked.protocol, asked.batching), {})[asked.load] = cell
        elif asked.target == CLOUD:
            clouds.setdefault((asked.profile, asked.model, asked.protocol, asked.batching), {})[asked.load] = cell
    for (profile, *kind), cloud in clouds.items():
        model, protocol, batching = kind
        edge = edges.get((model, protocol, batching), {})
        loads = sorted(edge.keys() & cloud.keys())
        edge_found = by_kind.get(Calibrated(EDGE, model, protocol, batching))
        cloud_found = by_kind.get(Calibrated(CLOUD, model, protocol, batching))
        if len(loads) < 2 or edge_found is None:
            continue
        pooled = cloud[loads[0]].cell.rate / cloud[loads[0]].cell.load
        capacity = edge_found.capacity_per_s[-1]
        measured_load, said = _measured(edge, cloud, loads, capacity)
        network = result.profiles.get(profile)
        predicted = Estimate(math.nan, math.nan, math.nan)
        if network is not None and cloud_found is not None:
            scv = float(np.median([run.arrival_scv for load in loads for run in edge[load].runs] or [1.0]))
            # The scatter of a finite schedule's own gaps is not irregularity of the process.
            scv = 1.0 if abs(scv - 1) < 0.25 else scv
            try:
                found = crossover(edge_found, cloud_found, network, pooled=pooled, arrival_scv=scv)
            except EdgewiseError as error:
                found, said = None, said or error.message
            if found is not None:
                predicted = Estimate(found.utilisation, found.low_utilisation, found.high_utilisation)
        here = _predicted_here(edge, cloud, loads, capacity, predictions)
        yield Inversion(
            profile,
            model,
            protocol,
            batching,
            pooled,
            (network.rtt_ms / 1e3 * capacity) if network is not None else math.nan,
            Estimate(measured_load.value / capacity, measured_load.low / capacity, measured_load.high / capacity),
            measured_load,
            predicted,
            here / capacity,
            said,
        )


def _measured(
    edge: Mapping[float, CellResult], cloud: Mapping[float, CellResult], loads: Sequence[float], capacity: float
) -> tuple[Estimate, str]:
    """The load at which the measured curves cross, and why there is none."""
    gaps = np.array([edge[load].mean_ms.value - cloud[load].mean_ms.value for load in loads])
    errors = np.array([math.hypot(_error_of(edge[load].mean_ms), _error_of(cloud[load].mean_ms)) for load in loads])
    where = _crossing(np.array(loads), gaps, capacity)
    nothing = Estimate(math.nan, math.nan, math.nan)
    if math.isnan(where):
        return nothing, f"the edge wins at every load up to {loads[-1]:g}/s"
    if where == loads[0] and gaps[0] > 0:
        return nothing, f"the cloud wins from the least load on, {loads[0]:g}/s"
    rng = np.random.default_rng(3)
    drawn = np.array(
        [_crossing(np.array(loads), gaps + errors * rng.standard_normal(gaps.size), capacity) for _ in range(_DRAWS)]
    )
    # A draw without a crossing has it beyond the loads that were measured.
    drawn = np.where(np.isnan(drawn), math.inf, drawn)
    low, high = (float(np.quantile(drawn, ratio, method="nearest")) for ratio in (0.025, 0.975))
    return Estimate(where, min(where, low), max(where, high)), ""


def _predicted_here(
    edge: Mapping[float, CellResult],
    cloud: Mapping[float, CellResult],
    loads: Sequence[float],
    capacity: float,
    predictions: Mapping[Cell, Prediction],
) -> float:
    """The load at which the predictions of the same cells cross; nan where they do not, or one is missing."""
    gaps = []
    for load in loads:
        at_edge, at_cloud = (predictions.get(side[load].cell) for side in (edge, cloud))
        if at_edge is None or at_cloud is None or math.isinf(at_cloud.mean_ms):
            return math.nan
        gaps.append(at_edge.mean_ms - at_cloud.mean_ms)
    return _crossing(np.array(loads), np.array(gaps), capacity)


def _crossing(loads: NDArray[np.float64], gaps: NDArray[np.float64], capacity: float) -> float:
    """Where the edge's excess over the cloud first becomes positive; nan where it never does.

    Between two loads along ρ / (1 - ρ), in which waits are nearly straight lines; along the load where that has no meaning.
    """
    if gaps[0] > 0:
        return float(loads[0])
    for index in range(1, gaps.size):
        if not gaps[index] > 0:
            continue
        left, right = float(loads[index - 1]), float(loads[index])
        share = 0.0 if math.isinf(gaps[index]) else float(gaps[index - 1] / (gaps[index - 1] - gaps[index]))
        if right >= _STRAIGHT_OVER * capacity:
            return left + share * (right - left)
        low, high = (load / (capacity - load) for load in (left, right))
        place = low + share * (high - low)
        return capacity * place / (1 + place)
    return math.nan


def _error_of(estimate: Estimate) -> float:
    """Standard error, from a 95 % interval; 0 where there is none."""
    error = (estimate.high - estimate.low) / (2 * _NORMAL_95)
    return error if math.isfinite(error) else 0.0


def _inversion_line(inversion: Inversion) -> str:
    name = " ".join(
        filter(None, (inversion.profile or "no network", inversion.model, inversion.protocol, inversion.batching))
    )
    pooled = f", {inversion.pooled:g} places pooled" if inversion.pooled != 1 else ""
    measured = _utilisation(inversion.measured)
    predicted = _utilisation(inversion.predicted)
    here = f", {inversion.predicted_here:.2f} in these runs" if math.isfinite(inversion.predicted_here) else ""
    difference = f", off by {inversion.difference:+.2f}" if math.isfinite(inversion.difference) else ""
    said = f"; {inversion.said}" if inversion.said else ""
    return (
        f"{name}{pooled}, round trip {inversion.way_over_service:.2f} service times: "
        f"predicted {predicted} in the steady state{here}; measured {measured}{difference}{said}"
    )


def _utilisation(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "never"
    high = f"{estimate.high:.2f}" if math.isfinite(estimate.high) else "never"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {high}]"
