"""What latency to expect: of one cell, and where the cloud begins to win.

A request's latency is that of a lone one (`Calibration.base_ms`: all that the target does, without a queue), plus the way
(`prediction_path`), plus what it waits for others: on the uplink, at the server, on the downlink. The waits of the steady state
are those of `edgewise.core.queueing`; those of runs of a given length are simulated with the same queues
(`prediction_simulation`). Quantiles are those of the sum of the parts, taken as independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.core.queueing import Stage, StageTime, first_crossing, tandem, time_at
from edgewise.study import prediction_spread
from edgewise.study.cells import EDGE, GATEWAY, Cell
from edgewise.study.prediction_path import Path, path_of
from edgewise.study.prediction_simulation import Runs, Server, Waits, simulate
from edgewise.study.prediction_spread import Spread
from edgewise.study.results import Calibration, NetworkProfile, Prediction

SERVER: Final = "server"
_NORMAL_95: Final = 1.96
_STEPS: Final = 2000
_DRAWS: Final = 40
_BATCH_REQUESTS: Final = 20_000

_BATCHES = "batches: one server that takes all that wait, as the calibration found its speed by size; within some 10 %"
_ROUTES = {
    "prefer-edge": "the edge answers all: neither a refusal nor a hedge is counted",
    "prefer-cloud": "the cloud answers all: neither hedges nor what the edge takes over from a busy cloud are counted",
}
_CROSSING = frozenset({"cloud-only", "prefer-cloud"})
_STAYING = frozenset({"edge-only", "prefer-edge"})


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
    _check(calibration, cell.rate, arrival_scv, requests, warmup, runs)
    if cell.outage:
        raise FailedPreconditionError("an outage is not predicted: what it costs depends on the routing, so measure it")
    model = _Model.of(cell.target, calibration, profile, arrival_scv, base_rtt_ms, route)
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
        waits = simulate(asked, model.path, model.server, speed_error=error, seed=seed)
    mean_ms, low_ms, high_ms = model.mean_ms(cell.rate, times, waits, asked, seed)
    spread = model.spread(times, waits)
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
        _check(calibration, 0.0, arrival_scv, 0, 0, 1)
    pooled_scv = arrival_scv if cloud_arrival_scv is None else cloud_arrival_scv
    at_edge = _Model.of(EDGE, edge, None, arrival_scv, 0.0, "")
    at_cloud = _Model.of("", cloud, profile, pooled_scv, base_rtt_ms, "")

    def found(edge_model: "_Model", cloud_model: "_Model") -> float | None:
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


@dataclass(frozen=True, slots=True)
class _Model:
    """One target over one network, ready to be loaded."""

    calibration: Calibration
    path: Path | None
    server: Server
    arrival_scv: float
    notes: tuple[str, ...]
    factor: float = 1.0
    base_shift_ms: float = 0.0

    @staticmethod
    def of(
        target: str,
        calibration: Calibration,
        profile: NetworkProfile | None,
        arrival_scv: float,
        base_rtt_ms: float,
        route: str,
    ) -> "_Model":
        notes = []
        if target == GATEWAY:
            if route not in _CROSSING | _STAYING:
                known = ", ".join(sorted(_CROSSING | _STAYING))
                raise FailedPreconditionError(
                    f"what the route {route!r} does depends on what it finds, so it is measured and not predicted; "
                    f"predicted are {known}"
                )
            notes += [_ROUTES[route]] if route in _ROUTES else []
        if target == EDGE or (target == GATEWAY and route in _STAYING):
            profile = None
        batches = calibration.largest_batch > 1
        if batches:
            notes.append(_BATCHES)
        path = path_of(calibration, profile, base_rtt_ms) if profile is not None else None
        if path is not None and path.path_spread_ms:
            notes.append("the path changes every 15 s: a run sees few of them")
        server = Server(calibration.capacity_per_s, calibration.service_scv, batches)
        return _Model(calibration, path, server, arrival_scv, tuple(notes))

    @property
    def limit_per_s(self) -> float:
        """What it can take."""
        return min(stage.capacity_per_s[-1] for stage in self.stages)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """In the order in which they are passed."""
        capacity = tuple(value / self.factor for value in self.server.capacity_per_s)
        served = Stage(SERVER, capacity, self.server.service_scv)
        if self.path is None:
            return (served,)
        ways = (self.path.up.stage(), served, self.path.down.stage())
        return tuple(stage for stage in ways if stage is not None)

    def times(self, rate: float) -> tuple[StageTime, ...]:
        return tandem(self.stages, rate, self.arrival_scv)

    def drawn(self, rng: np.random.Generator) -> "_Model":
        """The same as another calibration might have found it."""
        slower = math.exp(self.calibration.capacity_error_ratio * rng.standard_normal())
        service_ms = 1e3 / self.calibration.capacity_per_s[0]
        shift_ms = (slower - 1) * service_ms + _base_error_ms(self.calibration) * rng.standard_normal()
        return replace(self, factor=slower, base_shift_ms=shift_ms)

    def unqueued_ms(self, times: Sequence[StageTime]) -> float:
        """Mean of all but the waits; with the time by which those in service slow each other."""
        fixed_ms = self.path.fixed_ms if self.path is not None else 0.0
        return self.calibration.base_ms + self.base_shift_ms + fixed_ms + self._slowdown_ms(times)

    def _slowdown_ms(self, times: Sequence[StageTime]) -> float:
        if self.server.batches:
            return 0.0
        served = next(time for time in times if time.name == SERVER)
        return 1e3 * (served.service_s - self.factor / self.server.capacity_per_s[0])

    def steady_ms(self, rate: float) -> float:
        """Mean of the steady state; infinite where there is none."""
        times = self.times(rate)
        if any(time.utilisation >= 1 for time in times):
            return math.inf
        return self.unqueued_ms(times) + 1e3 * math.fsum(time.wait_s for time in times)

    def mean_ms(
        self, rate: float, times: Sequence[StageTime], waits: Waits | None, runs: Runs, seed: int
    ) -> tuple[float, float, float]:
        """Mean, and the bounds of 95 % of calibrations and runs."""
        rng = np.random.default_rng([seed, 11])
        if waits is None:
            mean_ms = self.steady_ms(rate)
            drawn = np.array([self.drawn(rng).steady_ms(rate) for _ in range(5 * _DRAWS)])
            if self.path is not None:
                drawn += (
                    self.path.path_spread_ms * rng.uniform(-1, 1, (2, drawn.size)).sum(axis=0) / math.sqrt(runs.runs)
                )
            return (
                mean_ms,
                float(min(mean_ms, np.quantile(drawn, 0.025))),
                float(max(mean_ms, np.quantile(drawn, 0.975))),
            )
        stretch = self._stretch(times)
        unqueued_ms = self.unqueued_ms(times)
        mean_ms = unqueued_ms + stretch * float(waits.means_ms.mean())
        means = unqueued_ms + stretch * waits.moved_means_ms(runs.requests)
        count = means.size
        service_ms = 1e3 / self.calibration.capacity_per_s[0]
        means = means + rng.standard_normal(count) * math.hypot(
            _base_error_ms(self.calibration), self.calibration.capacity_error_ratio * service_ms
        )
        if self.path is not None and self.path.path_spread_ms:
            paths = rng.uniform(-1, 1, (count, runs.runs, 2)).sum(axis=2).mean(axis=1)
            means = means + self.path.path_spread_ms * paths
        low_ms, high_ms = (float(np.quantile(means, ratio)) for ratio in (0.025, 0.975))
        return mean_ms, min(mean_ms, low_ms), max(mean_ms, high_ms)

    def _stretch(self, times: Sequence[StageTime]) -> float:
        """By what waits are longer than simulated: there, servers are always as slow as when all of them work."""
        capacity = self.server.capacity_per_s
        if len(capacity) == 1 or self.server.batches:
            return 1.0
        served = next(time for time in times if time.name == SERVER)
        even = tuple(capacity[-1] * (count + 1) / len(capacity) for count in range(len(capacity)))
        rate = served.utilisation * capacity[-1] / self.factor
        plain_s = time_at(Stage(SERVER, even, self.server.service_scv), rate, served.arrival_scv).wait_s
        actual_s = time_at(Stage(SERVER, capacity, self.server.service_scv), rate, served.arrival_scv).wait_s
        return actual_s / plain_s if plain_s > 0 else 1.0

    def spread(self, times: Sequence[StageTime], waits: Waits | None) -> Spread:
        """Distribution of the sum."""
        samples = np.array(self.calibration.base_samples_ms or (self.calibration.base_ms,))
        mean_wait_ms = float(waits.means_ms.mean()) if waits is not None else 1e3 * sum(t.wait_s for t in times)
        varying_ms = float(samples.std()) + mean_wait_ms
        if self.path is not None:
            varying_ms += max(float(np.ptp(way.delays_ms)) for way in (self.path.up, self.path.down)) / 20
        step_ms = max(20 * varying_ms / _STEPS, 1e-3 * self.calibration.base_ms)
        total = prediction_spread.of_values(samples, None, step_ms)
        total = total.moved(self.calibration.base_ms - float(samples.mean()) + self._slowdown_ms(times))
        if self.path is not None:
            total = total.plus(self.path.spread(step_ms))
        if waits is not None:
            return total.plus(prediction_spread.of_values(self._stretch(times) * waits.waits_ms, None, step_ms))
        for time in times:
            scv = (self.server.service_scv if time.name == SERVER else 0.0) + max(0.0, time.arrival_scv - 1)
            total = total.plus(
                prediction_spread.of_wait(1e3 * time.wait_s, time.waiting_ratio, time.utilisation, scv, step_ms)
            )
        return total


def _base_error_ms(calibration: Calibration) -> float:
    """Standard error of the mean latency of a lone request."""
    samples = np.array(calibration.base_samples_ms)
    return float(samples.std(ddof=1) / math.sqrt(samples.size)) if samples.size > 1 else 0.0


def _check(calibration: Calibration, rate: float, arrival_scv: float, requests: int, warmup: int, runs: int) -> None:
    """Raises: InvalidArgumentError: something is out of range."""
    wrong = {
        f"the rate is {rate:g}; expected 0 or more requests a second": not (math.isfinite(rate) and rate >= 0),
        f"arrival_scv is {arrival_scv:g}; expected 0 or more": not (math.isfinite(arrival_scv) and arrival_scv >= 0),
        f"requests is {requests}; expected 0 or more": requests < 0,
        f"warmup is {warmup}; expected 0 or more": warmup < 0,
        f"runs is {runs}; expected 1 or more": runs < 1,
        f"the calibration of {calibration.target} has no capacity over 0": not calibration.capacity_per_s
        or not all(math.isfinite(value) and value > 0 for value in calibration.capacity_per_s),
        f"the calibration of {calibration.target} has no latency over 0": not (
            math.isfinite(calibration.base_ms) and calibration.base_ms > 0
        ),
    }
    for what, is_so in wrong.items():
        if is_so:
            raise InvalidArgumentError(what)
