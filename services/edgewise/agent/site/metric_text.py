"""Numbers in Prometheus' text format, read."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families


def samples(text: str, *names: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Name, labels and value of each sample that has one of these names. Text that is none ends the samples."""
    lines = [line for line in text.splitlines() if line.startswith(names)]
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                if sample.name in names:
                    yield sample.name, sample.labels, sample.value
    except ValueError:
        return


def quantile_of(buckets: Mapping[float, float], quantile: float) -> float | None:
    """A quantile of what was counted in a histogram, between the bounds of its bucket.

    Args:
        buckets: how many were at most so large, by upper bound; the last one is infinite.
    Returns: None when nothing was counted.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0.0:
        return None
    rank = quantile * total
    for lower, upper in pairwise([0.0, *bounds]):
        below, until = buckets.get(lower, 0.0), buckets[upper]
        if until >= rank:
            if upper == float("inf"):
                return lower
            return lower + (upper - lower) * (rank - below) / max(until - below, 1e-12)
    return bounds[-1]
