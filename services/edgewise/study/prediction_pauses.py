"""What a request takes longer because its target had nothing to do before: caches are cold, threads and cores asleep."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.results import Calibration

Array = NDArray[np.float64]

_GAPS: Final = 500
_DRAWN: Final = 200


@dataclass(frozen=True, slots=True)
class Pauses:
    """As a calibration found it.

    Attributes:
        pauses_ms: float64 [k], over 0, rising.
        costs_ms: float64 [k], of a request after such a pause.
        busy_ms: what a request takes; a pause begins when it ends.
    """

    pauses_ms: Array
    costs_ms: Array
    busy_ms: float

    @staticmethod
    def of(calibration: Calibration) -> "Pauses | None":
        """None where no difference was measured.

        Raises: InvalidArgumentError: the calibration's pauses are not over 0 and rising, or there is not one cost for each.
        """
        pauses_ms, costs_ms = np.array(calibration.pauses_ms), np.array(calibration.pause_costs_ms)
        if pauses_ms.size != costs_ms.size or (np.diff(pauses_ms, prepend=0.0) <= 0).any():
            raise InvalidArgumentError(
                f"the calibration of {calibration.target} has the pauses {calibration.pauses_ms} and the costs "
                f"{calibration.pause_costs_ms}; expected as many of both, the pauses over 0 and rising"
            )
        return Pauses(pauses_ms, costs_ms, calibration.base_ms) if pauses_ms.size else None

    def after_ms(self, paused_ms: Array) -> Array:
        """What requests take longer after such pauses; a pause of 0 or less is none.

        Between two measured ones along the logarithm, since caches are lost and cores fall asleep at many time scales.
        """
        known = np.maximum(paused_ms, self.pauses_ms[0])
        costs: Array = np.interp(np.log(known), np.log(self.pauses_ms), self.costs_ms)
        return np.where(paused_ms > 0, costs, 0.0)

    def mean_ms(self, rate: float, arrival_scv: float, capacity_per_s: Sequence[float]) -> float:
        """Of all requests of the steady state: who finds others there, or comes together with them, has had no pause.

        Args:
            rate: requests a second, under what can be served.
            arrival_scv: squared coefficient of variation of the gaps between them.
            capacity_per_s: with 1, 2, ... in service.
        """
        if rate <= 0:
            return float(self.costs_ms[-1])
        gaps_ms = _gaps(arrival_scv) * (1e3 / rate)
        # What is left of a gap that outlasts a request: as much as the next pause of a server that has become idle.
        left_ms = gaps_ms[gaps_ms > self.busy_ms] - self.busy_ms
        if not left_ms.size:
            return 0.0
        beside_ms = max(0.0, self.busy_ms - 1e3 / capacity_per_s[0])
        # Poisson arrivals see what any moment would show; even ones never meet as long as there are pauses at all.
        idle_ratio = math.pow(_idle_ratio(rate, capacity_per_s), min(1.0, arrival_scv))
        return idle_ratio * float((gaps_ms > beside_ms).mean()) * float(self.after_ms(left_ms).mean())


def _idle_ratio(rate: float, capacity_per_s: Sequence[float]) -> float:
    """Of the time, without anybody in service: a birth-death process with these rates."""
    ratios = np.cumprod(rate / np.array(capacity_per_s))
    behind = rate / capacity_per_s[-1]
    others = (1 + float(ratios[:-1].sum())) * (1 - behind) + float(ratios[-1])
    idle_ratio: float = max(0.0, 1 - behind) / others
    return idle_ratio


@cache
def _gaps(scv: float) -> Array:
    """Of arrivals, with mean 1: float64 [n], rising."""
    if scv <= 0:
        return np.ones(1)
    drawn = np.sort(np.random.default_rng(17).gamma(1 / scv, scv, _GAPS * _DRAWN))
    # Few that stand for many: a search for a crossover asks ten thousand times.
    few = drawn.reshape(_GAPS, _DRAWN).mean(axis=1)
    scaled: Array = few / few.mean()
    return scaled
