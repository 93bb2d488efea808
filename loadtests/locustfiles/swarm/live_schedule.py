"""A schedule whose rate is changed while it runs, as buttons do: the next stretch is fixed shortly before it begins.

What an answer does has no way into it. Arrivals at rate 1 are drawn from the seed; a rate r makes time run r times as fast
for them, so that the same seed and the same changes give the same schedule.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_DRAWN_AT_ONCE = 4096


class LiveSchedule:
    """Due times, stretch by stretch.

    Args:
        process: "poisson" or "constant".
        seed: of Poisson arrivals.
        phase: in [0, 1), where between two of them the first constant arrival is; workers take turns by it.

    Attributes:
        fixed_until_ns: everything that is due before it has been given.
    """

    def __init__(self, process: Literal["poisson", "constant"], seed: tuple[int, ...], phase: float = 0.0) -> None:
        self.fixed_until_ns = 0
        self._generator = (
            np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))) if process == "poisson" else None
        )
        self._drawn = np.zeros(0)
        self._last = 0.0 if self._generator is not None else phase - 1.0
        self._expected = 0.0

    def extend(self, until_ns: int, rate: float) -> NDArray[np.int64]:
        """Fix what is due until then.

        Args:
            rate: requests a second from the end of the last stretch to the end of this one.
        Returns: int64 [n], nanoseconds from the start, rising.
        Raises: ValueError: the stretch ends before it begins, or the rate is negative or not finite.
        """
        if until_ns < self.fixed_until_ns or not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"no schedule until {until_ns} ns at {rate} requests/s behind {self.fixed_until_ns} ns")
        begins_ns, self.fixed_until_ns = self.fixed_until_ns, until_ns
        before = self._expected
        self._expected += rate * (until_ns - begins_ns) / 1e9
        if rate == 0:
            return np.zeros(0, np.int64)
        while not len(self._drawn) or self._drawn[-1] < self._expected:
            self._draw()
        count = int(np.searchsorted(self._drawn, self._expected, side="left"))
        arrivals, self._drawn = self._drawn[:count], self._drawn[count:]
        due_ns = begins_ns + np.rint((arrivals - before) / rate * 1e9).astype(np.int64)
        return np.clip(due_ns, begins_ns, until_ns)

    def _draw(self) -> None:
        if self._generator is None:
            more = self._last + np.arange(1, _DRAWN_AT_ONCE + 1)
        else:
            more = self._last + np.cumsum(self._generator.standard_exponential(_DRAWN_AT_ONCE))
        self._last = float(more[-1])
        self._drawn = np.concatenate((self._drawn, more))
