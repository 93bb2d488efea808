"""What holds of the latency quantiles whatever is recorded."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.core.routing.quantiles import LatencyQuantiles

SHARES = {"q50": 0.5, "q90": 0.9, "q95": 0.95, "q99": 0.99, "q995": 0.995}
LATENCIES_S = st.floats(1e-5, 999.0)
RECORDS = st.lists(st.tuples(LATENCIES_S, st.floats(0.0, 300.0)), min_size=1, max_size=120)


def recorded(records, half_life_s):
    quantiles = LatencyQuantiles(half_life_s)
    now_s = 0.0
    times_s = []
    for latency_s, gap_s in records:
        now_s += gap_s
        quantiles.record(latency_s, now_s)
        times_s.append(now_s)
    quantiles.refresh(now_s)
    return quantiles, times_s


@settings(max_examples=150, deadline=None)
@given(st.lists(LATENCIES_S, min_size=1, max_size=300))
def test_quantiles_of_equal_weights_are_those_of_the_sorted_list(latencies_s):
    quantiles, _ = recorded([(latency_s, 0.0) for latency_s in latencies_s], 60.0)
    ordered = sorted(latencies_s)
    for name, share in SHARES.items():
        exact_s = ordered[math.ceil(share * len(ordered) * (1 - 1e-12)) - 1]
        assert getattr(quantiles, name) == pytest.approx(exact_s, rel=0.0051)
    assert quantiles.q999 >= max(latencies_s) * (1 + 1 / len(latencies_s)) * 0.995
    assert quantiles.effective_count == pytest.approx(len(latencies_s))
    assert quantiles.known_count == pytest.approx(len(latencies_s))


@settings(max_examples=150, deadline=None)
@given(RECORDS, st.floats(0.1, 1e4))
def test_order_and_range_hold_under_any_decay(records, half_life_s):
    quantiles, times_s = recorded(records, half_life_s)
    found = [getattr(quantiles, name) for name in SHARES]
    assert found == sorted(found)
    assert quantiles.q999 >= quantiles.q99
    latencies_s = [latency_s for latency_s, _ in records]
    assert 0.994 * min(latencies_s) <= found[0]
    assert found[-1] <= 1.006 * max(latencies_s)
    assert quantiles.count == len(records)
    assert 1.0 - 1e-9 <= quantiles.known_count <= len(records) + 1e-6
    assert 0.0 < quantiles.effective_count <= len(records) + 1e-6
    newest = sorted(latencies_s[-16:])
    assert newest[0] <= quantiles.recently(times_s[-1]) <= newest[-1]


@settings(max_examples=150, deadline=None)
@given(RECORDS, st.floats(0.1, 1e4), st.lists(st.floats(0.0, 2000.0), min_size=2, max_size=40))
def test_survival_is_a_probability_that_only_falls(records, half_life_s, ages_s):
    quantiles, _ = recorded(records, half_life_s)
    found = [quantiles.log_survival(age_s) for age_s in sorted(ages_s)]
    assert all(math.isfinite(value) and value <= 0.0 for value in found)
    assert all(later <= earlier for earlier, later in pairwise(found))


@settings(max_examples=100, deadline=None)
@given(RECORDS, st.floats(1.0, 1e9))
def test_silence_changes_no_quantile(records, silence_s):
    quantiles, times_s = recorded(records, 60.0)
    before = [*(getattr(quantiles, name) for name in SHARES), quantiles.q999, quantiles.log_survival(0.1)]
    quantiles.refresh(times_s[-1] + silence_s)
    after = [*(getattr(quantiles, name) for name in SHARES), quantiles.q999, quantiles.log_survival(0.1)]
    assert after == pytest.approx(before, rel=1e-9)
