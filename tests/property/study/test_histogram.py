"""What holds of the histogram whatever is recorded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.study.histogram import HOUR_NS, HdrHistogram, bucket_high, bucket_of, rank_of

LATENCIES_NS = st.one_of(
    st.integers(0, HOUR_NS),
    st.integers(1_000, 10_000_000),
    st.integers(0, 45).map(lambda bits: min(1 << bits, HOUR_NS)),
)
COLUMNS = st.lists(LATENCIES_NS, min_size=1, max_size=400).map(lambda values: np.array(values, dtype=np.int64))
RATIOS = st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0]))


def recorded(values):
    histogram = HdrHistogram()
    histogram.record(values)
    return histogram


@settings(max_examples=300, deadline=None)
@given(COLUMNS, RATIOS)
def test_quantiles_are_within_a_thousandth_of_the_exact_order_statistic(values, ratio):
    exact = int(np.sort(values)[rank_of(ratio, values.size) - 1])
    found = recorded(values).quantile(ratio)
    assert exact <= found <= exact * 1.001
    # By the definition itself: at least that share does not exceed it, and of no smaller value that occurs is it true.
    assert (values <= found).sum() >= ratio * values.size * (1 - 1e-9)


@settings(max_examples=200, deadline=None)
@given(COLUMNS)
def test_quantiles_rise_and_stay_within_what_was_recorded(values):
    histogram = recorded(values)
    found = histogram.quantiles([i / 50 for i in range(51)])
    assert (np.diff(found) >= 0).all()
    assert found[0] == values.min()
    assert found[-1] == values.max()
    assert histogram.mean == pytest.approx(float(values.astype(object).sum()) / values.size, rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(COLUMNS, min_size=1, max_size=5), st.randoms())
def test_merging_in_any_order_is_recording_all(columns, random):
    whole = recorded(np.concatenate(columns))
    shuffled = list(columns)
    random.shuffle(shuffled)
    merged = HdrHistogram.merged(recorded(column) for column in shuffled)
    assert (merged.counts == whole.counts).all()
    assert (merged.sum, merged.min, merged.max, merged.total) == (whole.sum, whole.min, whole.max, whole.total)


@settings(max_examples=200, deadline=None)
@given(COLUMNS)
def test_every_value_lies_in_its_bucket(values):
    buckets = bucket_of(values)
    assert (values <= bucket_high(buckets)).all()
    below = np.where(buckets > 0, bucket_high(np.maximum(buckets - 1, 0)), -1)
    assert (values > below).all()
    assert (bucket_high(buckets) - below <= np.maximum(1, values / 1024 + 1e-9)).all()


@settings(max_examples=100, deadline=None)
@given(COLUMNS)
def test_the_distribution_counts_what_does_not_exceed_a_value(values):
    found, shares = recorded(values).distribution()
    assert (np.diff(found) > 0).all()
    assert shares[-1] == 1.0
    for value, share in zip(found.tolist(), shares.tolist(), strict=True):
        assert (values <= value).mean() == pytest.approx(share)
