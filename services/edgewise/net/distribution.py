"""Histograms that cost a hot path next to nothing, and how they are shown."""

from bisect import bisect_left
from typing import Final

METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
"""The Prometheus text format, as a content type."""


class Distribution:
    """A histogram in plain integers.

    Args:
        bounds: the upper bound of each bucket, ascending; the last bucket has none.

    Attributes:
        counts: by bucket, not cumulative.
        total: of the values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        cumulative = 0
        found: list[tuple[str, float]] = []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            cumulative += count
            found.append(("+Inf" if bound == float("inf") else repr(bound), cumulative))
        return found

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)
