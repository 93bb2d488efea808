"""What holds of intervals whatever was measured."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.study.histogram import HdrHistogram
from edgewise.study.statistics import Resampled, block_count, blocks, student_t, student_tail, wilson

RUN = st.lists(st.one_of(st.none(), st.integers(1_000, 10**10)), min_size=1, max_size=60)


@given(
    st.integers(0, 10_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))),
    st.floats(0.5, 0.999),
)
def test_wilson_holds_its_share_within_0_and_1(pair, confidence):
    successes, trials = pair
    found = wilson(successes, trials, confidence=confidence)
    if trials == 0:
        assert math.isnan(found.value)
        return
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    mirrored = wilson(trials - successes, trials, confidence=confidence)
    assert mirrored.low == pytest.approx(1.0 - found.high, abs=1e-12)
    more = wilson(10 * successes, 10 * trials, confidence=confidence)
    assert more.high - more.low <= found.high - found.low


@settings(deadline=None)
@given(st.floats(0.5, 0.99999), st.floats(1.0, 2000.0))
def test_students_t_and_its_tail_are_inverse(share, degrees):
    value = student_t(share, degrees)
    assert value >= 0.0
    assert student_tail(value, degrees) == pytest.approx(1.0 - share, rel=1e-3, abs=1e-9)
    assert student_t(share, degrees + 1.0) <= value * (1.0 + 1e-3) + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(RUN, min_size=1, max_size=4), st.sampled_from([0.5, 0.95, 0.99]), st.booleans())
def test_intervals_hold_their_value(runs, ratio, within):
    histogram, parts = HdrHistogram(), []
    for run in runs:
        answered = np.array([each is not None for each in run])
        latency_ns = np.array([-1 if each is None else each for each in run], dtype=np.int64)
        histogram.record(latency_ns[answered])
        parts.append(blocks(latency_ns, answered, block_count(len(run), len(runs))))
    assert sum(int(part.answered.sum()) for part in parts) == histogram.total
    if not histogram.total:
        return
    resampled = Resampled(parts, np.random.default_rng(1), within=within, replicates=50)
    for found, value in (
        (resampled.mean_ms(histogram.mean / 1e6), histogram.mean / 1e6),
        (resampled.quantile_ms(histogram.quantile(ratio) / 1e6, ratio), histogram.quantile(ratio) / 1e6),
    ):
        assert found.value == value
        assert math.isnan(found.low) == math.isnan(found.high)
        assert math.isnan(found.low) or 0.0 <= found.low <= value <= found.high
