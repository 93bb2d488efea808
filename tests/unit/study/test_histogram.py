"""The histogram's buckets, its figures, and the text that HdrHistogram's plotter reads."""

import math
import re

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.histogram import HOUR_NS, HOUR_US, HdrHistogram, bucket_high, bucket_of, rank_of


def counted(*values, highest=HOUR_NS):
    histogram = HdrHistogram(highest=highest)
    histogram.record(np.array(values, dtype=np.int64))
    return histogram


@pytest.mark.parametrize(
    ("value", "bucket", "high"),
    [
        (0, 0, 0),
        (1, 1, 1),
        (2047, 2047, 2047),
        (2048, 2048, 2049),
        (2049, 2048, 2049),
        (4095, 3071, 4095),
        (4096, 3072, 4099),
        (HOUR_NS, 31 * 1024 + 1676, (1677 << 31) - 1),
    ],
)
def test_buckets_are_those_of_hdr_histogram(value, bucket, high):
    # An hour lies between 2⁴¹ and 2⁴² ns, in sub-buckets of 2³¹.
    assert bucket_of(np.array([value])).tolist() == [bucket]
    assert bucket_high(np.array([bucket])).tolist() == [high]


@pytest.mark.parametrize(
    ("ratio", "count", "rank"),
    [
        (0.0, 10, 1),
        (0.5, 10, 5),
        (0.5, 11, 6),
        (0.07, 100, 7),
        (0.95, 100, 95),
        (0.99, 100, 99),
        (0.991, 100, 100),
        (1.0, 7, 7),
    ],
)
def test_rank_is_the_smallest_that_the_share_does_not_exceed(ratio, count, rank):
    assert rank_of(ratio, count) == rank


def test_quantiles_follow_their_definition():
    histogram = counted(*range(1, 101))
    assert histogram.quantiles([0.0, 0.01, 0.5, 0.505, 0.95, 0.99, 0.991, 1.0]).tolist() == [
        1,
        1,
        50,
        51,
        95,
        99,
        100,
        100,
    ]
    assert histogram.quantile(0.5) == 50


def test_mean_and_bounds_are_exact():
    values = (1_234_567, 7_654_321, 98_765_432_101)
    histogram = counted(*values)
    assert histogram.mean == pytest.approx(sum(values) / 3, rel=1e-15)
    assert (histogram.min, histogram.max, histogram.total, histogram.sum) == (values[0], values[2], 3, sum(values))
    assert histogram.quantile(1.0) == values[2]
    assert histogram.standard_deviation == pytest.approx(np.std(values), rel=1e-3)


def test_merging_is_counting_all_of_it():
    one, two = counted(5_000, 70_000), counted(600_000, 3)
    merged = HdrHistogram.merged([one, HdrHistogram(), two])
    whole = counted(5_000, 70_000, 600_000, 3)
    assert merged.counts.tolist() == whole.counts.tolist()
    assert (merged.mean, merged.min, merged.max, merged.total) == (whole.mean, whole.min, whole.max, whole.total)


def test_the_unit_is_the_callers():
    assert counted(HOUR_US, highest=HOUR_US).max == HOUR_US
    with pytest.raises(InvalidArgumentError, match="same highest value"):
        HdrHistogram(highest=HOUR_US).merge(HdrHistogram(highest=HOUR_NS))


@pytest.mark.parametrize("wrong", [-1, HOUR_NS + 1])
def test_what_is_out_of_range_is_refused_and_nothing_counted(wrong):
    histogram = counted(7)
    with pytest.raises(InvalidArgumentError, match=str(wrong)):
        histogram.record(np.array([3, wrong], dtype=np.int64))
    assert histogram.total == 1
    assert histogram.counts.sum() == 1


@pytest.mark.parametrize("ratio", [-0.1, 1.1, math.nan])
def test_ratios_are_within_0_and_1(ratio):
    with pytest.raises(InvalidArgumentError, match="0..1"):
        counted(1).quantile(ratio)


def test_nothing_counted_is_nan():
    histogram = HdrHistogram()
    for figure in (histogram.mean, histogram.min, histogram.max, histogram.quantile(0.5), histogram.standard_deviation):
        assert math.isnan(figure)
    values, shares = histogram.distribution()
    assert values.size == shares.size == 0


def test_the_distribution_ends_at_one():
    values, shares = counted(10, 10, 20, 1_000_000).distribution()
    assert values.tolist() == [10, 20, 1_000_000]
    assert shares.tolist() == [0.5, 0.75, 1.0]


def plotted(text):
    """The points that HdrHistogram's plotter takes: lines of four numbers, of which it draws the last against the first."""
    points = []
    for line in text.split("\n"):
        words = re.split(r"[ ]+", line.strip())
        if not line.strip().startswith("#") and len(words) == 4 and words[0] != "Value":
            points.append((float(words[3]), float(words[0])))
    return points


def test_the_plotter_reads_the_percentile_text():
    values = np.random.default_rng(3).lognormal(17, 0.6, 50_000).astype(np.int64)
    histogram = HdrHistogram()
    histogram.record(values)
    text = histogram.percentile_text()
    assert text.startswith("       Value     Percentile TotalCount 1/(1-Percentile)\n\n")
    points = plotted(text)
    assert points[0][0] == 1.0
    assert [x for x, _ in points] == sorted({x for x, _ in points})
    assert [y for _, y in points] == sorted(y for _, y in points)
    assert points[-1][0] > 10_000
    for x, y in points:
        exact_ms = np.sort(values)[rank_of(1 - 1 / x, values.size) - 1] / 1e6
        # The ratio is printed with two digits, the value with three.
        if x > 2:
            assert y == pytest.approx(exact_ms, rel=0.004)
    last, mean, largest, buckets = text.rstrip().split("\n")[-4:]
    assert last.split() == [f"{values.max() / 1e6:.3f}", "1.000000000000", "50000"]
    assert re.fullmatch(rf"#\[Mean    = +{values.mean() / 1e6:.3f}, StdDeviation   = +[\d.]+\]", mean)
    assert re.fullmatch(rf"#\[Max     = +{values.max() / 1e6:.3f}, Total count    = +50000\]", largest)
    assert re.fullmatch(r"#\[Buckets = +32, SubBuckets     = +2048\]", buckets)


@pytest.mark.parametrize("values", [[], [5_000_000], [5_000_000] * 1000])
def test_the_percentile_text_of_little_ends(values):
    histogram = counted(*values)
    text = histogram.percentile_text()
    assert f"Total count    = {len(values):12d}]" in text
    assert plotted(text) == []
