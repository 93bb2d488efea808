"""One target over one network, ready to be loaded: what `prediction` asks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.core.queueing import Stage, StageTime, tandem, time_at
from edgewise.study import prediction_spread
from edgewise.study.cells import EDGE, GATEWAY
from edgewise.study.prediction_path import Path, path_of
from edgewise.study.prediction_pauses import Pauses
from edgewise.study.prediction_simulation import Runs, Server, Waits
from edgewise.study.prediction_spread import Spread
from edgewise.study.results import Calibration, NetworkProfile

SERVER: Final = "server"
_DRAWS: Final = 200
# Of the time that a server with exponential times and the rates of a batching one adds: batches take no exponential time. Against
# simulations of batches of 4 to 16 at utilisations of 0.3 to 0.85 the whole latency is then within 6 %.
_BATCH_EVENNESS: Final = 0.66
_STEPS: Final = 2000

_BATCHES = "batches: one server that takes all that wait, as the calibration found its speed by size; within some 10 %"
_ROUTES = {
    "prefer-edge": "the edge answers all: neither a refusal nor a hedge is counted",
    "prefer-cloud": "the cloud answers all: neither hedges nor what the edge takes over from a busy cloud are counted",
}
_CROSSING = frozenset({"cloud-only", "prefer-cloud"})
_STAYING = frozenset({"edge-only", "prefer-edge"})


@dataclass(frozen=True, slots=True)
class Model:
    """One target over one network.

    Attributes:
        path: to it; None for none.
        notes: what predictions leave out.
        factor: by which its service times are longer than the calibration found.
        base_shift_ms: by which the latency of a lone request is.
    """

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
        *,
        arrival_scv: float,
        base_rtt_ms: float = 0.0,
        route: str = "",
    ) -> "Model":
        """The arguments are those of `prediction.predict`.

        Raises: FailedPreconditionError: the route cannot be predicted.
        """
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
        batches = calibration.largest_batch > 1 and len(calibration.capacity_per_s) > 1
        if batches:
            notes.append(_BATCHES)
        path = path_of(calibration, profile, base_rtt_ms) if profile is not None else None
        if path is not None and path.path_spread_ms:
            notes.append("the path changes every 15 s: a run sees few of them")
        server = Server(calibration.capacity_per_s, calibration.service_scv, batches, pauses=Pauses.of(calibration))
        return Model(calibration, path, server, arrival_scv, tuple(notes))

    @property
    def limit_per_s(self) -> float:
        """What it can take."""
        return min(stage.capacity_per_s[-1] for stage in self.stages)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """In the order in which they are passed."""
        capacity, scv = self.server.capacity_per_s, self.server.service_scv
        if self.server.batches:
            capacity, scv = _while_batches_take_turns(capacity), 1.0
        served = Stage(SERVER, tuple(value / self.factor for value in capacity), scv)
        if self.path is None:
            return (served,)
        ways = (self.path.up.stage(), served, self.path.down.stage())
        return tuple(stage for stage in ways if stage is not None)

    def times(self, rate: float) -> tuple[StageTime, ...]:
        """At each stage; infinite waits where it gets more than it can take."""
        return tandem(self.stages, rate, self.arrival_scv)

    def drawn(self, rng: np.random.Generator) -> "Model":
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
        waits_s = math.fsum(time.wait_s for time in times)
        if self.server.batches:
            served = next(time for time in times if time.name == SERVER)
            alone_s = self.factor / self.server.capacity_per_s[0]
            waits_s += _BATCH_EVENNESS * (served.wait_s + served.service_s - alone_s) - served.wait_s
        return self.unqueued_ms(times) + self._pause_cost_ms(rate) + 1e3 * waits_s

    def _pause_cost_ms(self, rate: float) -> float:
        """Mean, in the steady state.

        Who comes while the first one after a pause is served waits for what that one takes longer (P. D. Welch, "On a generalized
        M/G/1 queuing process in which the first customer of each busy period receives exceptional service", 1964).
        """
        pauses = self.server.pauses
        if pauses is None:
            return 0.0
        mean_ms = pauses.mean_ms(rate, self.arrival_scv, self.server.capacity_per_s)
        # What comes evenly meets nobody as long as there are pauses at all.
        if rate <= 0 or not self.arrival_scv or self.server.batches or len(self.server.capacity_per_s) > 1:
            return mean_ms
        each_ms = 1e3 * self.factor / self.server.capacity_per_s[0]
        idle = 1 - rate * each_ms / 1e3
        first_ms = mean_ms / idle
        longer = 1 + rate * first_ms / 1e3
        return (mean_ms + rate / 1e3 * first_ms * (each_ms + first_ms / 2)) / longer

    def mean_ms(
        self, rate: float, times: Sequence[StageTime], waits: Waits | None, runs: Runs, seed: int
    ) -> tuple[float, float, float]:
        """Mean, and the bounds of 95 % of calibrations and runs."""
        rng = np.random.default_rng([seed, 11])
        if waits is None:
            mean_ms = self.steady_ms(rate)
            drawn = np.array([self.drawn(rng).steady_ms(rate) for _ in range(_DRAWS)])
            if self.path is not None:
                drawn += (
                    self.path.path_spread_ms * rng.uniform(-1, 1, (2, drawn.size)).sum(axis=0) / math.sqrt(runs.runs)
                )
            return (
                mean_ms,
                float(min(mean_ms, np.quantile(drawn, 0.025, method="nearest"))),
                float(max(mean_ms, np.quantile(drawn, 0.975, method="nearest"))),
            )
        unqueued_ms = self.unqueued_ms(times)
        mean_ms = unqueued_ms + float(waits.means_ms.mean())
        means = unqueued_ms + waits.moved_means_ms(runs.requests)
        count = means.size
        service_ms = 1e3 / self.calibration.capacity_per_s[0]
        means = means + rng.standard_normal(count) * math.hypot(
            _base_error_ms(self.calibration), self.calibration.capacity_error_ratio * service_ms
        )
        if self.path is not None and self.path.path_spread_ms:
            paths = rng.uniform(-1, 1, (count, runs.runs, 2)).sum(axis=2).mean(axis=1)
            means = means + self.path.path_spread_ms * paths
        low_ms, high_ms = (float(np.quantile(means, ratio, method="nearest")) for ratio in (0.025, 0.975))
        return mean_ms, min(mean_ms, low_ms), max(mean_ms, high_ms)

    def simulated_server(self, times: Sequence[StageTime]) -> Server:
        """The server as a simulation takes it: always as slow as when all of it works, and waits made shorter for that."""
        capacity = self.server.capacity_per_s
        if len(capacity) == 1 or self.server.batches:
            return self.server
        served = next(time for time in times if time.name == SERVER)
        even = tuple(capacity[-1] * (count + 1) / len(capacity) for count in range(len(capacity)))
        rate = served.utilisation * capacity[-1] / self.factor
        plain_s, actual_s = (
            time_at(Stage(SERVER, rates, self.server.service_scv), rate, served.arrival_scv).wait_s
            for rates in (even, capacity)
        )
        return replace(self.server, wait_ratio=actual_s / plain_s if plain_s > 0 else 1.0)

    def spread(self, rate: float, times: Sequence[StageTime], waits: Waits | None) -> Spread:
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
            return total.plus(prediction_spread.of_values(waits.waits_ms, None, step_ms))
        total = total.moved(self._pause_cost_ms(rate))
        for time in times:
            scv = (self.server.service_scv if time.name == SERVER else 0.0) + max(0.0, time.arrival_scv - 1)
            total = total.plus(
                prediction_spread.of_wait(1e3 * time.wait_s, time.waiting_ratio, time.utilisation, scv, step_ms)
            )
        return total


def _while_batches_take_turns(capacity_per_s: tuple[float, ...]) -> tuple[float, ...]:
    """The rate with 1, 2, ... inside a server of batches: one batch is run while the next gathers.

    With k inside a round of two batches takes 2 a + d k, a and d being those of a batch of n, a + d n.
    """
    lasts_s = [(size + 1) / capacity for size, capacity in enumerate(capacity_per_s)]
    each_s = (lasts_s[-1] - lasts_s[0]) / (len(lasts_s) - 1)
    fixed_s = lasts_s[0] - each_s
    rounds = (inside / (2 * fixed_s + each_s * inside) for inside in range(2, 2 * len(lasts_s) + 1))
    return (1 / lasts_s[0], *rounds)


def _base_error_ms(calibration: Calibration) -> float:
    """Standard error of the mean latency of a lone request: that of independent samples, or what its blocks scattered if more."""
    samples = np.array(calibration.base_samples_ms)
    sampled_ms = float(samples.std(ddof=1) / math.sqrt(samples.size)) if samples.size > 1 else 0.0
    return max(sampled_ms, calibration.base_error_ratio * calibration.base_ms)


def check(calibration: Calibration, arrival_scv: float) -> None:
    """See whether something can be predicted from this.

    Raises: InvalidArgumentError: something is out of range.
    """
    wrong = {
        f"arrival_scv is {arrival_scv:g}; expected 0 or more": not (math.isfinite(arrival_scv) and arrival_scv >= 0),
        f"the calibration of {calibration.target} has no capacity over 0": not calibration.capacity_per_s
        or not all(math.isfinite(value) and value > 0 for value in calibration.capacity_per_s),
        f"the calibration of {calibration.target} has no latency over 0": not (
            math.isfinite(calibration.base_ms) and calibration.base_ms > 0
        ),
    }
    for what, is_so in wrong.items():
        if is_so:
            raise InvalidArgumentError(what)
