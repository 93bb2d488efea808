"""Latencies counted in the buckets of HdrHistogram: three significant digits, merged and never averaged."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import InvalidArgumentError

HOUR_NS: Final = 3_600_000_000_000
HOUR_US: Final = 3_600_000_000

_SUB_BITS: Final = 11
"""2,048 sub-buckets: the smallest power of two that tells 2 × 10³ values apart, which is what three digits need."""
_HALF: Final = 1 << (_SUB_BITS - 1)
_CHUNK: Final = 1 << 20
"""Values that are sorted into buckets at once: bounds what a column of millions needs beside itself."""
_TICKS_PER_HALF_DISTANCE: Final = 5


def bucket_of(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bucket that each value falls into.

    Args:
        values: int64 [n], 0 or more.
    Returns: int64 [n]: below 2,048 the value itself, then 1,024 buckets for each doubling.
    Source: HdrHistogram, `AbstractHistogram.countsArrayIndex`.
    """
    _, bits = np.frexp(values.astype(np.float64))
    doubling = np.maximum(bits.astype(np.int64) - _SUB_BITS, 0)
    result: NDArray[np.int64] = (doubling << (_SUB_BITS - 1)) + (values >> doubling)
    return result


def bucket_high(buckets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The largest value of each bucket.

    Args:
        buckets: int64 [n], as `bucket_of` gives them.
    Returns: int64 [n]: less than a 1,024th above the smallest value of the bucket.
    """
    doubling = np.maximum((buckets >> (_SUB_BITS - 1)) - 1, 0)
    sub_bucket = buckets - (doubling << (_SUB_BITS - 1))
    result: NDArray[np.int64] = ((sub_bucket + 1) << doubling) - 1
    return result


def rank_of(ratio: float, count: int) -> int:
    """Which of `count` ordered values, from 1, is the smallest that at least the share `ratio` of them does not exceed.

    Raises:
        InvalidArgumentError: the ratio is not within 0..1.
    """
    if not 0.0 <= ratio <= 1.0:
        raise InvalidArgumentError(f"a quantile's ratio lies within 0..1; {ratio:g} does not")
    # A product such as 0.07 × 100 comes out a hair above the whole number that it is.
    return max(1, min(count, math.ceil(ratio * count * (1.0 - 1e-12))))


class HdrHistogram:
    """Counts of integer values, such as latencies in nanoseconds.

    What is read from it lies within 0.1 % of the exact figure: a bucket is narrower than a 1,024th of its values. Count, sum,
    smallest and largest value are exact.

    Attributes:
        highest: the largest value that it takes.
        counts: int64 [buckets].
        total: of the counts.
        sum: of the values.
    """

    def __init__(self, *, highest: int = HOUR_NS) -> None:
        if highest < 1:
            raise InvalidArgumentError(f"the highest value of a histogram is at least 1, not {highest}")
        self.highest = highest
        size = int(bucket_of(np.array([highest], dtype=np.int64))[0]) + 1
        self.counts: NDArray[np.int64] = np.zeros(size, dtype=np.int64)
        self.total = 0
        self.sum = 0
        self._low = 0
        self._high = 0

    def record(self, values: NDArray[np.int64]) -> None:
        """Count a whole column.

        Args:
            values: int64 [n].
        Raises:
            InvalidArgumentError: a value is negative or exceeds `highest`; nothing is counted then.
        """
        if values.size == 0:
            return
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > self.highest:
            wrong = low if low < 0 else high
            raise InvalidArgumentError(f"a histogram of 0..{self.highest} cannot count the value {wrong}")
        for start in range(0, values.size, _CHUNK):
            part = values[start : start + _CHUNK]
            self.counts += np.bincount(bucket_of(part), minlength=self.counts.size)
            # Up to a million times an hour in nanoseconds stays below 2⁶².
            self.sum += int(part.sum(dtype=np.int64))
        self._low = min(self._low, low) if self.total else low
        self._high = max(self._high, high)
        self.total += values.size

    def merge(self, other: "HdrHistogram") -> None:
        """Add the counts of another.

        Raises:
            InvalidArgumentError: it has another range.
        """
        if other.highest != self.highest:
            raise InvalidArgumentError(
                f"histograms of 0..{self.highest} and of 0..{other.highest} cannot be merged: make them with the same highest value"
            )
        if other.total == 0:
            return
        self.counts += other.counts
        self.sum += other.sum
        self._low = min(self._low, int(other.min)) if self.total else int(other.min)
        self._high = max(self._high, int(other.max))
        self.total += other.total

    @classmethod
    def merged(cls, parts: Iterable["HdrHistogram"], *, highest: int = HOUR_NS) -> "HdrHistogram":
        """One histogram of all that the parts counted."""
        result = cls(highest=highest)
        for part in parts:
            result.merge(part)
        return result

    @property
    def min(self) -> float:
        """The smallest value; nan when nothing was counted."""
        return float(self._low) if self.total else math.nan

    @property
    def max(self) -> float:
        """The largest value; nan when nothing was counted."""
        return float(self._high) if self.total else math.nan

    @property
    def mean(self) -> float:
        """Exact; nan when nothing was counted."""
        return self.sum / self.total if self.total else math.nan

    @property
    def standard_deviation(self) -> float:
        """Of the population, with each value at the middle of its bucket; nan when nothing was counted."""
        if not self.total:
            return math.nan
        occupied = np.flatnonzero(self.counts)
        high = bucket_high(occupied)
        below = np.where(occupied > 0, bucket_high(np.maximum(occupied - 1, 0)) + 1, 0)
        off = (below + high) / 2.0 - self.mean
        return float(math.sqrt(float(np.dot(self.counts[occupied], off * off)) / self.total))

    def quantile(self, ratio: float) -> float:
        """The smallest value that at least the share `ratio` of what was counted does not exceed.

        Args:
            ratio: within 0..1; 0.99 for the 99th percentile.
        Returns: the largest value of its bucket, at most `max`; nan when nothing was counted.
        Raises:
            InvalidArgumentError: the ratio is not within 0..1.
        """
        return float(self.quantiles([ratio])[0])

    def quantiles(self, ratios: Sequence[float]) -> NDArray[np.float64]:
        """`quantile` of each; float64 [n]."""
        ranks = np.array([rank_of(ratio, self.total) for ratio in ratios], dtype=np.int64)
        if not self.total:
            return np.full(len(ratios), math.nan)
        values = bucket_high(np.searchsorted(np.cumsum(self.counts), ranks))
        values = np.where(ranks == 1, self._low, np.minimum(values, self._high))
        return values.astype(np.float64)

    def distribution(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The cumulative distribution at every value that occurs.

        Returns: values int64 [k], rising, and the shares float64 [k] of what was counted that do not exceed them; the last is 1.
        """
        occupied = np.flatnonzero(self.counts)
        values = np.minimum(bucket_high(occupied), self._high)
        return values, np.cumsum(self.counts[occupied]) / max(self.total, 1)

    def percentile_text(self, *, unit: float = 1e6) -> str:
        """The percentile distribution in HdrHistogram's text format (`.hgrm`), as its plotter reads it.

        Args:
            unit: what one of the values in the text is worth; 1e6 turns nanoseconds into milliseconds.
        Returns: one line for each percentile, five for each halving of the distance to 100 %.
        Source: HdrHistogram, `AbstractHistogram.outputPercentileDistribution`.
        """
        lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
        if self.total:
            running = np.cumsum(self.counts)
            for ratio in _reported_ratios():
                bucket = int(np.searchsorted(running, rank_of(ratio, self.total)))
                value = min(int(bucket_high(np.array([bucket]))[0]), self._high) / unit
                if running[bucket] == self.total:
                    break
                lines.append(f"{value:12.3f} {ratio:2.12f} {running[bucket]:10d} {1.0 / (1.0 - ratio):14.2f}")
            lines.append(f"{self._high / unit:12.3f} {1.0:2.12f} {self.total:10d}")
        mean, deviation, high = (
            (self.mean / unit, self.standard_deviation / unit, self.max / unit) if self.total else (0.0, 0.0, 0.0)
        )
        lines.append(f"#[Mean    = {mean:12.3f}, StdDeviation   = {deviation:12.3f}]")
        lines.append(f"#[Max     = {high:12.3f}, Total count    = {self.total:12d}]")
        lines.append(f"#[Buckets = {self.counts.size // _HALF:12d}, SubBuckets     = {1 << _SUB_BITS:12d}]")
        return "\n".join(lines) + "\n"


def _reported_ratios() -> Iterator[float]:
    """Rising towards 1 without end: five steps from 0 to 1/2, five on to 3/4, five on to 7/8."""
    low, step = 0.0, 0.5 / _TICKS_PER_HALF_DISTANCE
    while True:
        for tick in range(_TICKS_PER_HALF_DISTANCE):
            yield low + tick * step
        low, step = low + _TICKS_PER_HALF_DISTANCE * step, step / 2.0
