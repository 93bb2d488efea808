"""Distributions of times on an even grid, and sums of independent ones."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_MOST_STEPS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Spread:
    """How a time is distributed.

    Attributes:
        low_ms: the time of the first mass.
        step_ms: between masses.
        mass: float64 [n], adds up to 1.
    """

    low_ms: float
    step_ms: float
    mass: NDArray[np.float64]

    @property
    def mean_ms(self) -> float:
        """Milliseconds."""
        return self.low_ms + self.step_ms * float(np.arange(self.mass.size) @ self.mass)

    def moved(self, by_ms: float) -> "Spread":
        """The same, so much later."""
        return Spread(self.low_ms + by_ms, self.step_ms, self.mass)

    def plus(self, other: "Spread") -> "Spread":
        """The sum of this and an independent one of the same step."""
        size = self.mass.size + other.mass.size - 1
        length = 1 << (size - 1).bit_length()
        product = np.fft.irfft(np.fft.rfft(self.mass, length) * np.fft.rfft(other.mass, length), length)[:size]
        mass = np.maximum(product, 0.0)
        return Spread(self.low_ms + other.low_ms, self.step_ms, mass / mass.sum())

    def quantile_ms(self, ratio: float) -> float:
        """The least time that at least this share does not exceed, between two steps by the line between them."""
        cumulated = np.cumsum(self.mass)
        index = int(np.searchsorted(cumulated, ratio * cumulated[-1]))
        below = float(cumulated[index - 1]) if index else 0.0
        share = (ratio * float(cumulated[-1]) - below) / float(self.mass[index]) if self.mass[index] else 1.0
        return self.low_ms + self.step_ms * (index + min(1.0, max(0.0, share)) - 0.5)


def of_values(values_ms: NDArray[np.float64], weights: NDArray[np.float64] | None, step_ms: float) -> Spread:
    """Values with their weights (equal ones for None); each is shared between its two neighbours, which keeps the mean.

    What is more than 65,536 steps above the least value is counted there.
    """
    low_ms = float(values_ms.min())
    places = np.minimum((values_ms - low_ms) / step_ms, _MOST_STEPS - 2)
    below = np.floor(places)
    above_share = places - below
    shares = np.full(values_ms.shape, 1.0 / values_ms.size) if weights is None else weights / weights.sum()
    index = below.astype(np.int64).ravel()
    size = int(index.max()) + 2
    mass = np.bincount(index, (shares * (1 - above_share)).ravel(), size)
    mass += np.bincount(index + 1, (shares * above_share).ravel(), size)[:size]
    return Spread(low_ms, step_ms, mass.astype(np.float64))


def of_wait(mean_ms: float, waiting_ratio: float, utilisation: float, service_scv: float, step_ms: float) -> Spread:
    """The wait in a queue, from its mean and the share of requests that wait.

    Its shape is that of M/G/1 with gamma distributed service times: a wait is a geometric number of residual service times
    (Pollaczek and Khinchine; Kleinrock, Queueing Systems, volume 1, section 5.7). For M/G/1 that is exact; for other queues
    the shape is stretched to the mean and to the share that waits.

    Args:
        mean_ms: over all requests, finite.
        waiting_ratio: in [0, 1].
        utilisation: in [0, 1).
    """
    if mean_ms <= 0 or waiting_ratio <= 0:
        return Spread(0.0, step_ms, np.ones(1))
    residual_ms = mean_ms / waiting_ratio * (1 - utilisation)
    service_ms = 2 * residual_ms / (1 + service_scv)
    # Far enough for one wait in a million, as far as the grid reaches.
    span_ms = service_ms + 14 * mean_ms / waiting_ratio
    size = min(_MOST_STEPS, 1 << max(4, math.ceil(math.log2(span_ms / step_ms + 2))))
    exceeding = 1 - np.minimum(1.0, np.cumsum(_gamma(service_ms, service_scv, step_ms, size)))
    # A residual time lies in a step with the chance that a service time exceeds it.
    residual = np.concatenate(([1.0], exceeding[:-1]))
    residual = (residual + exceeding) / 2
    # Half of a step's mass at each of its ends, which keeps the mean.
    residual = (residual + np.concatenate(([0.0], residual[:-1]))) / 2
    residual /= residual.sum()
    spectrum = np.fft.rfft(residual, 2 * size)
    waiting = np.fft.irfft(spectrum * (1 - utilisation) / (1 - utilisation * spectrum), 2 * size)[:size]
    waiting = np.maximum(waiting, 0.0)
    mass = waiting_ratio * waiting / waiting.sum()
    mass[0] += 1 - waiting_ratio
    return Spread(0.0, step_ms, mass)


def _gamma(mean: float, scv: float, step: float, size: int) -> NDArray[np.float64]:
    """Masses of a gamma distribution in steps of a grid; all in one step where it is narrower than that."""
    mass = np.zeros(size)
    if scv <= 0 or mean * math.sqrt(scv) < step:
        mass[min(size - 1, int(mean / step))] = 1.0
        return mass
    shape = 1 / scv
    scale = mean * scv
    middle = (np.arange(size) + 0.5) * step
    mass[:] = np.exp((shape - 1) * np.log(middle / scale) - middle / scale - math.lgamma(shape)) * step / scale
    total = float(mass.sum())
    return mass / total if total > 0 else mass
