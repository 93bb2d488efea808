"""How sure a figure is: intervals for latencies that depend on each other, and for shares.

Requests of one run wait behind one another, so they are no independent sample, and an interval that took them for one would be far too
narrow. What is independent is the run (its own seed), and, nearly, a stretch of a run that is longer than its queue's memory. So runs
are resampled, and within them blocks of successive requests (Davison and Hinkley, "Bootstrap Methods and their Application",
1997, 3.8 and 8.2.3).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.histogram import bucket_high, bucket_of
from edgewise.study.results import Estimate

CONFIDENCE: Final = 0.95
REPLICATES: Final = 1000
NOTHING: Final = Estimate(math.nan, math.nan, math.nan)
MAX_BLOCKS_PER_RUN: Final = 32
MAX_BLOCKS: Final = 1024
"""Of all runs of a cell together: bounds the memory of the block histograms."""
_WEIGHTS_AT_ONCE: Final = 250


def wilson(
    successes: float, trials: float, *, effective_trials: float | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """A share with Wilson's score interval, which also holds for shares near 0 and 1.

    Args:
        effective_trials: how many independent trials they are worth, when they depend on each other; all of them by default.
    Returns: nan when nothing was tried.
    Raises:
        InvalidArgumentError: successes outside 0..trials.
    Source: E. B. Wilson, "Probable Inference", JASA 22 (1927); with a design effect as in E. L. Korn and B. I. Graubard,
        "Confidence Intervals for Proportions With Small Expected Number of Positive Counts", Survey Methodology 24 (1998).
    """
    if not 0 <= successes <= trials:
        raise InvalidArgumentError(f"{successes:g} successes of {trials:g} trials are impossible")
    if trials == 0:
        return NOTHING
    share = successes / trials
    count = trials if effective_trials is None else min(max(effective_trials, 1.0), trials)
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    scale = 1.0 + z * z / count
    middle = (share + z * z / (2.0 * count)) / scale
    half = z * math.sqrt(share * (1.0 - share) / count + z * z / (4.0 * count * count)) / scale
    # At 0 and 1 the bound is the share itself, which rounding would miss by a hair.
    return Estimate(
        share,
        0.0 if successes == 0 else max(0.0, min(middle - half, share)),
        1.0 if successes == trials else min(1.0, max(middle + half, share)),
    )


@dataclass(frozen=True, slots=True)
class Blocks:
    """One run, cut into blocks of successive requests.

    Attributes:
        asked, answered: int64 [blocks]: requests, and those of them that have a latency.
        sums_ns: float64 [blocks]: of the latencies.
        buckets: int64 [k], rising: the histogram's buckets that occur.
        counts: int32 [blocks, k].
    """

    asked: NDArray[np.int64]
    answered: NDArray[np.int64]
    sums_ns: NDArray[np.float64]
    buckets: NDArray[np.int64]
    counts: NDArray[np.int32]


def block_count(requests: int, runs: int) -> int:
    """Into how many blocks to cut a run: fewer and longer than would be best for white noise, since queues remember."""
    return max(1, min(math.isqrt(requests), MAX_BLOCKS_PER_RUN, max(1, MAX_BLOCKS // max(runs, 1))))


def blocks(latency_ns: NDArray[np.int64], answered: NDArray[np.bool_], count: int) -> Blocks:
    """Cut a run.

    Args:
        latency_ns: int64 [n], in the order of the due times; anything where not answered.
        answered: bool [n].
        count: of blocks.
    """
    size = answered.size
    of_request = np.arange(size, dtype=np.int64) * count // max(size, 1)
    of_answer = of_request[answered]
    values = latency_ns[answered]
    bucket = bucket_of(values)
    low = int(bucket.min()) if bucket.size else 0
    span = int(bucket.max()) - low + 1 if bucket.size else 0
    counts = np.bincount(of_answer * span + (bucket - low), minlength=count * span).reshape(count, span)
    occupied = np.flatnonzero(counts.any(axis=0))
    return Blocks(
        asked=np.bincount(of_request, minlength=count),
        answered=np.bincount(of_answer, minlength=count),
        sums_ns=np.bincount(of_answer, weights=values, minlength=count).astype(np.float64),
        buckets=occupied + low,
        counts=counts[:, occupied].astype(np.int32),
    )


class Resampled:
    """The bootstrap of one cell: the same draws for each of its figures.

    Args:
        runs: of the cell.
        rng: seeded.
        within: whether blocks are drawn within the runs; when a run's parts differ by plan (an outage), only runs are.
    """

    def __init__(
        self, runs: Sequence[Blocks], rng: np.random.Generator, *, within: bool = True, replicates: int = REPLICATES
    ) -> None:
        self._answered = np.concatenate([run.answered for run in runs]).astype(np.float64)
        self._sums = np.concatenate([run.sums_ns for run in runs])
        self._buckets = np.unique(np.concatenate([run.buckets for run in runs]))
        counts = np.zeros((self._buckets.size, self._answered.size), dtype=np.float32)
        start = 0
        for run in runs:
            at = np.searchsorted(self._buckets, run.buckets)
            counts[at, start : start + run.answered.size] = run.counts.T
            start += run.answered.size
        self._running = np.cumsum(counts, axis=0, out=counts)
        self._weights = _weights([run.answered.size for run in runs], rng, replicates, within=within)

    def mean_ms(self, value: float, *, confidence: float = CONFIDENCE) -> Estimate:
        """The mean latency `value`, with its interval."""
        total = self._weights @ self._answered
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = (self._weights @ self._sums) / total / 1e6
        return _interval(value, draws, confidence)

    def quantile_ms(self, value: float, ratio: float, *, confidence: float = CONFIDENCE) -> Estimate:
        """The latency `value` at the quantile `ratio`, with its interval."""
        total = self._weights @ self._answered
        need = np.maximum(np.ceil(ratio * total * (1.0 - 1e-9)), 1.0)
        low = np.zeros(total.size, dtype=np.int64)
        high = np.full(total.size, max(self._buckets.size - 1, 0), dtype=np.int64)
        while bool((low < high).any()):
            middle = (low + high) // 2
            reached = self._reached(middle) >= need
            high = np.where(reached, middle, high)
            low = np.where(reached, low, np.minimum(middle + 1, high))
        draws = np.where(total > 0, bucket_high(self._buckets[low]) / 1e6, math.nan)
        return _interval(value, draws, confidence)

    def _reached(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """How many answers lie in the buckets up to a place, for each replicate with its own place."""
        parts = [
            np.einsum(
                "rb,rb->r",
                self._weights[start : start + _WEIGHTS_AT_ONCE],
                self._running[places[start : start + _WEIGHTS_AT_ONCE]],
            )
            for start in range(0, places.size, _WEIGHTS_AT_ONCE)
        ]
        return np.concatenate(parts)


def _weights(sizes: Sequence[int], rng: np.random.Generator, replicates: int, *, within: bool) -> NDArray[np.float64]:
    """How often each replicate takes each block; float64 [replicates, all blocks]."""
    runs = len(sizes)
    # With a single run there is nothing to resample but its blocks.
    inside = within or runs == 1
    taken = rng.multinomial(runs, [1.0 / runs] * runs, size=replicates)
    parts = [
        rng.multinomial(taken[:, run] * size, [1.0 / size] * size)
        if inside
        else np.repeat(taken[:, run : run + 1], size, axis=1)
        for run, size in enumerate(sizes)
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _interval(value: float, draws: NDArray[np.float64], confidence: float) -> Estimate:
    known = draws[~np.isnan(draws)]
    if known.size == 0 or math.isnan(value):
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(known, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Estimate(value, min(float(low), value), max(float(high), value))
