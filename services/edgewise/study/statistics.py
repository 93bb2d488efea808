"""How sure a figure is: intervals for latencies that depend on each other, and for shares.

Requests of one run wait behind one another, so they are no independent sample, and an interval that took them for one would be far too
narrow. What is independent is the run (its own seed), and, nearly, a stretch of a run that is longer than its queue's memory. So runs
are resampled, and within them blocks of successive requests.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
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
_LEAST_BLOCKS: Final = 8
_WEIGHTS_AT_ONCE: Final = 250
_INNER_REPLICATES: Final = 300
_LEAST_MS: Final = 1e-6
_LEAST_DEGREES: Final = 4.0
"""Of freedom. The difference of two runs alone has one, with which no interval would say anything; that of blocks stands beside it."""
_NORMAL_DEGREES: Final = 1000.0
"""Beyond them Student's t is the normal distribution to three digits."""


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
    """Into how many blocks to cut a run: fewer and longer than would be best for white noise, since queues remember.

    A run of a few requests is cut into single ones: two blocks that happened to be alike would feign certainty.
    """
    blocks_wanted = max(math.isqrt(requests), min(requests, _LEAST_BLOCKS))
    return max(1, min(blocks_wanted, MAX_BLOCKS_PER_RUN, MAX_BLOCKS // max(runs, 1)))


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

    The draws give an interval its shape. Three repeats, however, are too few to tell from draws alone how much runs differ, so its
    width is that of Student's t: the variance between the runs, with their few degrees of freedom, plus that of the blocks
    within them, with their many (Welch and Satterthwaite). On simulated M/M/1 queues at a utilisation of 0.5 to 0.7, with 2 to 10 runs
    of 200 to 1,000 requests that differ by 0 % to 10 %, 94 % to 99 % of the intervals hold the true mean and median, and 82 % to 95 % the
    99th percentile: a tail that was not seen cannot be told of. At 0.8, where such runs are hardly longer than the queue's memory, the mean
    is held by 91 %; with a single run, by 89 %.

    Args:
        runs: of the cell, at least one.
        rng: seeded.
        within: whether blocks are drawn within the runs; when a run's parts differ by plan (an outage), only runs are.
    Source: A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application" (1997), 3.8 and 8.2.3; F. E. Satterthwaite, "An
        Approximate Distribution of Estimates of Variance Components", Biometrics Bulletin 2 (1946).
    """

    def __init__(
        self, runs: Sequence[Blocks], rng: np.random.Generator, *, within: bool = True, replicates: int = REPLICATES
    ) -> None:
        sizes = [run.answered.size for run in runs]
        self._runs = len(sizes)
        self._replicates = replicates
        # With a single run there is nothing to resample but its blocks.
        self._within = within or self._runs == 1
        self._within_degrees = sum(sizes) - self._runs if self._within else 0
        self._weights = np.concatenate(
            [
                _hierarchical(sizes, rng, replicates, within=self._within),
                _inner(sizes, rng, _INNER_REPLICATES if self._within else 0),
                _each_run(sizes),
            ]
        )
        self._total = self._weights @ np.concatenate([run.answered for run in runs]).astype(np.float64)
        self._sums = np.concatenate([run.sums_ns for run in runs])
        self._buckets = np.unique(np.concatenate([run.buckets for run in runs]))
        counts = np.zeros((self._buckets.size, sum(sizes)), dtype=np.float32)
        start = 0
        for run in runs:
            counts[np.searchsorted(self._buckets, run.buckets), start : start + run.answered.size] = run.counts.T
            start += run.answered.size
        self._running = np.cumsum(counts, axis=0, out=counts)

    def mean_ms(self, value: float, *, confidence: float = CONFIDENCE) -> Estimate:
        """The mean latency `value`, with its interval."""
        with np.errstate(invalid="ignore", divide="ignore"):
            figures = (self._weights @ self._sums) / self._total / 1e6
        return self._interval(value, figures, confidence)

    def quantile_ms(self, value: float, ratio: float, *, confidence: float = CONFIDENCE) -> Estimate:
        """The latency `value` at the quantile `ratio`, with its interval."""
        need = np.maximum(np.ceil(ratio * self._total * (1.0 - 1e-9)), 1.0)
        low = np.zeros(self._total.size, dtype=np.int64)
        high = np.full(self._total.size, max(self._buckets.size - 1, 0), dtype=np.int64)
        while bool((low < high).any()):
            middle = (low + high) // 2
            reached = self._reached(middle) >= need
            high = np.where(reached, middle, high)
            low = np.where(reached, low, np.minimum(middle + 1, high))
        figures = np.where(self._total > 0, bucket_high(self._buckets[low]) / 1e6, math.nan)
        return self._interval(value, figures, confidence)

    def _reached(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """How many answers lie in the buckets up to a place, for each row of the weights with its own place."""
        parts = []
        for start in range(0, places.size, _WEIGHTS_AT_ONCE):
            rows = slice(start, start + _WEIGHTS_AT_ONCE)
            parts.append(np.einsum("rb,rb->r", self._weights[rows], self._running[places[rows]]))
        return np.concatenate(parts)

    def _interval(self, value: float, figures: NDArray[np.float64], confidence: float) -> Estimate:
        """The interval from the figure of each row of the weights; on the logarithms, so that it is the same for a ratio's inverse."""
        logs = np.log(np.maximum(figures, _LEAST_MS)) - math.log(max(value, _LEAST_MS))
        draws = _known(logs[: self._replicates])
        between, between_degrees = _variance_of_mean(_known(logs[logs.size - self._runs :]))
        within, _ = _variance_of_mean(_known(logs[self._replicates : logs.size - self._runs]), of_draws=True)
        if draws.size == 0 or between_degrees + self._within_degrees == 0:
            return Estimate(value, math.nan, math.nan)
        variance = between + within
        drawn = float(draws.var())
        if variance <= 0.0 or drawn <= 0.0:
            return Estimate(value, value, value)
        doubt = (between**2 / between_degrees if between_degrees else 0.0) + (
            within**2 / self._within_degrees if self._within_degrees else 0.0
        )
        least = min(_LEAST_DEGREES, between_degrees + self._within_degrees)
        width = student_t(0.5 + confidence / 2.0, max(variance**2 / doubt, least))
        stretch = width / NormalDist().inv_cdf(0.5 + confidence / 2.0) * math.sqrt(variance / drawn)
        limits = np.quantile(draws, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
        low, high = stretch * min(float(limits[0]), 0.0), stretch * max(float(limits[1]), 0.0)
        # No draw exceeds the largest latency that was seen, though the next run may: latencies lean that way if any.
        return Estimate(value, value * math.exp(low), value * math.exp(max(high, -low)))


def _hierarchical(sizes: Sequence[int], rng: np.random.Generator, count: int, *, within: bool) -> NDArray[np.float64]:
    """How often each replicate takes each block, when it draws runs and then blocks within them; float64 [count, all blocks]."""
    taken = rng.multinomial(len(sizes), [1.0 / len(sizes)] * len(sizes), size=count)
    parts = [
        rng.multinomial(taken[:, run] * size, [1.0 / size] * size)
        if within
        else np.repeat(taken[:, run : run + 1], size, axis=1)
        for run, size in enumerate(sizes)
    ]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _inner(sizes: Sequence[int], rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """The same when each run is taken once, and blocks are drawn within it."""
    parts = [rng.multinomial(size, [1.0 / size] * size, size=count) for size in sizes]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _each_run(sizes: Sequence[int]) -> NDArray[np.float64]:
    """Each run alone and whole."""
    return np.repeat(np.eye(len(sizes)), sizes, axis=1)


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[~np.isnan(values)]


def _variance_of_mean(values: NDArray[np.float64], *, of_draws: bool = False) -> tuple[float, int]:
    """The variance of the mean of independent figures, or of figures that are draws of it; with its degrees of freedom."""
    if values.size < 2:
        return 0.0, 0
    return float(values.var(ddof=1)) / (1 if of_draws else values.size), values.size - 1


@lru_cache(maxsize=8)
def _student_tails(degrees: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Angles whose tangents, times the root of the degrees, are values of Student's t, and the share of it above each.

    The density in the angle is a power of the cosine, smooth and within finite bounds, so that adding it up is exact enough.
    """
    angles = np.linspace(0.0, math.pi / 2.0, 20_001)
    density = np.cos(angles) ** (degrees - 1.0)
    density[-1] = 1.0 if degrees == 1.0 else 0.0
    steps = (density[1:] + density[:-1]) / 2.0
    above = np.concatenate([np.cumsum(steps[::-1])[::-1], [0.0]])
    return angles, above / (2.0 * above[0])


def student_t(share: float, degrees: float) -> float:
    """The value that Student's t stays below with the probability `share`.

    Args:
        share: from 0.5 up to 1, without it.
        degrees: of freedom, 1 or more.
    Returns: to about six digits.
    """
    if degrees > _NORMAL_DEGREES:
        return NormalDist().inv_cdf(share)
    angles, above = _student_tails(max(degrees, 1.0))
    angle = float(np.interp(1.0 - share, above[::-1], angles[::-1]))
    return math.sqrt(max(degrees, 1.0)) * math.tan(angle)


def student_tail(value: float, degrees: float) -> float:
    """The probability that Student's t exceeds a value of 0 or more; `degrees` as above."""
    if degrees > _NORMAL_DEGREES:
        return 1.0 - NormalDist().cdf(value)
    angles, above = _student_tails(max(degrees, 1.0))
    return float(np.interp(math.atan(value / math.sqrt(max(degrees, 1.0))), angles, above))
