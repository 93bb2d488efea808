"""What latency to expect: of one cell, and where the cloud begins to win.

A request's latency is that of a lone one (`Calibration.base_ms`: all that the target does, without a queue), plus the way
(`prediction_path`), plus what it waits for others: on the uplink, at the server, on the downlink. The waits of the steady state
are those of `edgewise.core.queueing`; those of runs of a given length are simulated with the same queues
(`prediction_simulation`). Quantiles are those of the sum of the parts, taken as independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.core.queueing import first_crossing
from edgewise.study.cells import CLOUD, EDGE, Cell
from edgewise.study.prediction_model import Model, check
from edgewise.study.prediction_simulation import Runs, simulate
from edgewise.study.results import Calibration, NetworkProfile, Prediction

_DRAWS: Final = 40
_BATCH_REQUESTS: Final = 20_000


def predict(
    cell: Cell,
    calibration: Calibration,
    profile: NetworkProfile | None,
    *,
    arrival_scv: float = 1.0,
    requests: int = 0,
    warmup: int = 0,
    runs: int = 1,
    base_rtt_ms: float = 0.0,
    route: str = "prefer-cloud",
    schedules_s: Sequence[NDArray[np.float64]] = (),
    warmup_s: float = 0.0,
    seed: int = 1,
) -> Prediction:
    """What to expect of a cell.

    Args:
        cell: `rate`, `target` and `batching` count; an outage is not predicted.
        calibration: of the same target, model, protocol and batching, without an emulated network.
        profile: of the network to the cloud; None for none. The edge is reached without it, and so is a gateway whose route
            keeps to the edge.
        arrival_scv: squared coefficient of variation of the gaps between requests: 1 for Poisson, 0 for even ones.
        requests: of each run that are counted; 0 for the steady state. Runs start empty, and short ones scatter.
        warmup: requests of each run before those.
        runs: whose mean is taken.
        base_rtt_ms: round trip that was there already during the calibration.
        route: of a gateway.
        schedules_s: for each run when its requests are due, in seconds, where that is known: the scatter of the arrivals is then
            no scatter any more.
        warmup_s: requests of `schedules_s` that are due before do not count; 0 leaves out the first `warmup` of each.
        seed: of the simulation.
    Returns: infinite latencies where a stage gets more than it can take.
    Raises:
        InvalidArgumentError: an argument is out of range.
        FailedPreconditionError: this cannot be predicted honestly: an outage, or a route whose share of sites depends on
            what it finds.
    """
    check(calibration, arrival_scv)
    if not (math.isfinite(cell.rate) and cell.rate >= 0):
        raise InvalidArgumentError(f"the rate is {cell.rate:g}; expected 0 or more requests a second")
    if requests < 0 or warmup < 0 or runs < 1 or not warmup_s >= 0:
        raise InvalidArgumentError(
            f"requests {requests}, warmup {warmup}, warmup_s {warmup_s:g}, runs {runs}: expected 0 or more, and 1 run or more"
        )
    if cell.outage:
        raise FailedPreconditionError("an outage is not predicted: what it costs depends on the routing, so measure it")
    model = Model.of(cell.target, calibration, profile, arrival_scv=arrival_scv, base_rtt_ms=base_rtt_ms, route=route)
    times = model.times(cell.rate)
    busiest = max(times, key=lambda time: time.utilisation)
    if busiest.utilisation >= 1:
        everything = math.inf
        return Prediction(
            cell, busiest.utilisation, busiest.name, *(everything,) * 6, note=f"the {busiest.name} is overloaded"
        )
    waits = None
    asked = Runs(cell.rate, arrival_scv, requests or _BATCH_REQUESTS, warmup, runs, schedules_s, warmup_s)
    if (requests or schedules_s or model.server.batches) and cell.rate > 0:
        error = calibration.capacity_error_ratio
        waits = simulate(asked, model.path, model.simulated_server(times), speed_error=error, seed=seed)
    mean_ms, low_ms, high_ms = model.mean_ms(cell.rate, times, waits, asked, seed)
    spread = model.spread(cell.rate, times, waits)
    p50, p95, p99 = (spread.quantile_ms(ratio) for ratio in (0.5, 0.95, 0.99))
    return Prediction(
        cell, busiest.utilisation, busiest.name, mean_ms, low_ms, high_ms, p50, p95, p99, note="; ".join(model.notes)
    )


@dataclass(frozen=True, slots=True)
class Crossover:
    """Where the cloud begins to win.

    Attributes:
        load_per_s: requests a second of one place, from which on the cloud's mean latency is the lower one.
        low_load_per_s, high_load_per_s: 95 % of calibrations like these two; the high one is infinite where some find none.
        utilisation: of the edge at this load; with its bounds.
        cloud_utilisation: of the busiest stage of the cloud's path.
        latency_ms: mean, of both.
    """

    load_per_s: float
    low_load_per_s: float
    high_load_per_s: float
    utilisation: float
    low_utilisation: float
    high_utilisation: float
    cloud_utilisation: float
    latency_ms: float


def crossover(
    edge: Calibration,
    cloud: Calibration,
    profile: NetworkProfile,
    *,
    pooled: float = 1,
    arrival_scv: float = 1.0,
    cloud_arrival_scv: float | None = None,
    base_rtt_ms: float = 0.0,
    seed: int = 1,
) -> Crossover | None:
    """From which load on the cloud answers sooner than the edge, in the mean of the steady state.

    Args:
        edge, cloud: without an emulated network.
        profile: of the network to the cloud.
        pooled: places whose load the cloud serves, each of which has an edge of its own.
        arrival_scv, cloud_arrival_scv: of what arrives at the edge, and at the cloud; None for the same. What many places
            send together lies near to 1, whatever each of them sends.
        base_rtt_ms, seed: as of `predict`.
    Returns: None when the cloud wins at no load that both can take.
    Raises: InvalidArgumentError: an argument is out of range.
    """
    if not (math.isfinite(pooled) and pooled > 0):
        raise InvalidArgumentError(f"pooled is {pooled:g}; expected the number of places, over 0")
    for calibration in (edge, cloud):
        check(calibration, arrival_scv)
    pooled_scv = arrival_scv if cloud_arrival_scv is None else cloud_arrival_scv
    at_edge = Model.of(EDGE, edge, None, arrival_scv=arrival_scv)
    at_cloud = Model.of(CLOUD, cloud, profile, arrival_scv=pooled_scv, base_rtt_ms=base_rtt_ms)

    def found(edge_model: Model, cloud_model: Model) -> float | None:
        limit = min(edge_model.limit_per_s, cloud_model.limit_per_s / pooled)

        def edge_loses_by(load: float) -> float:
            return edge_model.steady_ms(load) - cloud_model.steady_ms(load * pooled)

        return first_crossing(edge_loses_by, 0.0, limit * (1 - 1e-6))

    load = found(at_edge, at_cloud)
    if load is None:
        return None
    rng = np.random.default_rng([seed, 7])
    others = sorted(
        math.inf if other is None else other
        for other in (found(at_edge.drawn(rng), at_cloud.drawn(rng)) for _ in range(_DRAWS))
    )
    low, high = others[max(0, round(0.025 * _DRAWS) - 1)], others[min(_DRAWS - 1, round(0.975 * _DRAWS))]
    capacity = edge.capacity_per_s[-1]
    return Crossover(
        load_per_s=load,
        low_load_per_s=min(load, low),
        high_load_per_s=max(load, high),
        utilisation=load / capacity,
        low_utilisation=min(load, low) / capacity,
        high_utilisation=max(load, high) / capacity,
        cloud_utilisation=max(time.utilisation for time in at_cloud.times(load * pooled)),
        latency_ms=at_edge.steady_ms(load),
    )
