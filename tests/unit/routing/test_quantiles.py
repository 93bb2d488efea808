"""What the latency quantiles say about a recorded trace, and about little."""

import json
import math
import random
from pathlib import Path

import pytest

from edgewise.core.routing.quantiles import LatencyQuantiles

TRACE_S = [int(line) / 1e6 for line in (Path(__file__).parent / "data" / "latencies_us.txt").read_text().split()]
SHARES = {"q50": 0.5, "q90": 0.9, "q95": 0.95, "q99": 0.99, "q995": 0.995, "q999": 0.999}


def weighted_quantile(latencies_s, times_s, now_s, half_life_s, share):
    """The smallest latency that this share of the weight does not exceed."""
    weighted = sorted(
        (latency_s, 0.5 ** ((now_s - at_s) / half_life_s)) for latency_s, at_s in zip(latencies_s, times_s, strict=True)
    )
    rest = share * math.fsum(weight for _, weight in weighted) * (1 - 1e-12)
    for latency_s, weight in weighted:
        rest -= weight
        if rest <= 0:
            return latency_s
    return weighted[-1][0]


def recorded(latencies_s, *, rate_per_s=200.0, half_life_s=60.0, since_s=0.0):
    quantiles = LatencyQuantiles(half_life_s)
    times_s = [since_s + number / rate_per_s for number in range(len(latencies_s))]
    for latency_s, at_s in zip(latencies_s, times_s, strict=True):
        quantiles.record(latency_s, at_s)
    quantiles.refresh(times_s[-1])
    return quantiles, times_s


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("part", [slice(None), slice(6000), slice(6000, None)], ids=["both", "tiny", "pets"])
def test_a_recorded_trace_is_known_within_one_percent(name, part):
    trace_s = TRACE_S[part]
    # A half-life much longer than the trace: each record weighs nearly the same.
    quantiles, times_s = recorded(trace_s, half_life_s=1e9)
    exact_s = weighted_quantile(trace_s, times_s, times_s[-1], 1e9, SHARES[name])
    assert getattr(quantiles, name) == pytest.approx(exact_s, rel=0.01)


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize(("rate_per_s", "half_life_s"), [(200.0, 60.0), (1000.0, 5.0), (20_000.0, 0.3), (50.0, 60.0)])
def test_a_decayed_trace_is_known_within_one_percent(name, rate_per_s, half_life_s):
    quantiles, times_s = recorded(TRACE_S, rate_per_s=rate_per_s, half_life_s=half_life_s)
    assert quantiles.known_count > 1000
    # Weights rise in steps of 0.1 s; where the half-life is not much longer, the exact ones do as well.
    stepped_s = [math.floor(at_s * 10 + 1e-9) / 10 for at_s in times_s] if half_life_s < 1 else times_s
    exact_s = weighted_quantile(TRACE_S, stepped_s, times_s[-1], half_life_s, SHARES[name])
    assert getattr(quantiles, name) == pytest.approx(exact_s, rel=0.01)


def test_nothing_is_known_at_first():
    quantiles = LatencyQuantiles()
    quantiles.refresh(5.0)
    assert [getattr(quantiles, name) for name in SHARES] == [0.0] * 6
    assert (quantiles.count, quantiles.effective_count, quantiles.recently(5.0)) == (0, 0.0, 0.0)
    assert quantiles.log_survival(1.0) == 0.0


def test_the_first_records_show_at_once():
    quantiles = LatencyQuantiles()
    quantiles.record(0.060, 0.0)
    assert quantiles.q50 == pytest.approx(0.060, rel=0.01)
    for number in range(40):
        quantiles.record(0.5, 0.001 * number)
    assert quantiles.q50 == pytest.approx(0.5, rel=0.01)
    assert quantiles.count == 41


def test_later_records_show_within_their_number_or_time():
    quantiles, _ = recorded([0.010] * 5000, rate_per_s=1000.0)
    for _ in range(128):
        quantiles.record(5.0, 5.0)
    assert quantiles.q99 == pytest.approx(5.0, rel=0.01)
    quantiles, _ = recorded([0.010] * 50, rate_per_s=1000.0)
    quantiles.record(9.0, 0.051)
    quantiles.record(9.0, 0.7)
    assert quantiles.q99 == pytest.approx(9.0, rel=0.01)


def test_what_few_records_say_of_the_tail_is_not_believed():
    last = math.inf
    for records in (1, 2, 10, 100, 900):
        quantiles, _ = recorded([0.010] * records, rate_per_s=1e6)
        assert quantiles.q999 >= 0.010 * (1 + 1 / records) * 0.995
        assert quantiles.q999 < last
        last = quantiles.q999
    quantiles, _ = recorded([0.010] * 2000, rate_per_s=1e6)
    assert quantiles.q999 == pytest.approx(0.010, rel=0.01)


def test_the_tail_of_a_few_exponential_records_is_neither_missed_nor_exaggerated():
    true_s = 0.010 * math.log(1000)
    found = []
    for seed in range(200):
        draws = random.Random(seed)
        quantiles, _ = recorded([draws.expovariate(100.0) for _ in range(60)], rate_per_s=1e6)
        found.append(quantiles.q999 / true_s)
    found.sort()
    assert 0.8 < found[100] < 1.3
    assert found[10] > 0.6
    assert found[190] < 2.0


def test_one_slow_record_among_few_does_not_stretch_the_tail_beyond_it():
    quantiles, _ = recorded([0.005] * 30 + [3.0] + [0.005] * 30, rate_per_s=1e4)
    assert 3.0 <= quantiles.q999 < 3.2


def test_old_records_yield_to_new_ones():
    quantiles, times_s = recorded([0.010] * 2000)
    now_s = times_s[-1]
    for number in range(2000):
        quantiles.record(0.100, now_s + 120 + number / 200)
    quantiles.refresh(now_s + 130)
    # A quarter of the weight is left to those from two half-lives ago.
    assert quantiles.q50 == pytest.approx(0.100, rel=0.01)
    assert quantiles.effective_count == pytest.approx(2000 + 500, rel=0.1)
    assert math.exp(quantiles.log_survival(0.050)) == pytest.approx(0.8, abs=0.03)


def test_silence_takes_the_weight_but_not_the_shape():
    quantiles, times_s = recorded(TRACE_S, rate_per_s=1000.0)
    shape = [getattr(quantiles, name) for name in SHARES]
    known = quantiles.known_count
    weight = quantiles.effective_count
    quantiles.refresh(times_s[-1] + 60.0)
    assert quantiles.effective_count == pytest.approx(weight / 2, rel=0.01)
    for days in range(1, 2000, 7):
        quantiles.refresh(times_s[-1] + 86_400.0 * days)
    assert [getattr(quantiles, name) for name in SHARES] == pytest.approx(shape, rel=1e-6)
    assert quantiles.known_count == pytest.approx(known)
    assert 0.0 < quantiles.effective_count < 1.0
    # And the first new record is what counts.
    quantiles.record(2.0, times_s[-1] + 86_400.0 * 2001)
    quantiles.refresh(times_s[-1] + 86_400.0 * 2001)
    assert quantiles.q50 == pytest.approx(2.0, rel=0.01)
    assert quantiles.q999 > 2.5


def test_years_of_records_leave_numbers_that_can_be_counted_with():
    quantiles = LatencyQuantiles(0.5)
    for second in range(100_000):
        quantiles.record(0.020 if second % 10 else 0.050, float(second))
    quantiles.refresh(100_000.0)
    assert quantiles.effective_count < 5
    assert quantiles.q50 == pytest.approx(0.020, rel=0.01)
    assert math.isfinite(quantiles.log_survival(0.5))


def test_memory_is_bounded_whatever_is_recorded():
    quantiles = LatencyQuantiles()
    draws = random.Random(4)
    for number in range(20_000):
        quantiles.record(math.exp(draws.uniform(-40, 40)), number * 0.01)
    quantiles.refresh(200.0)
    assert len(quantiles._weights) < 2000
    assert 10e-6 <= quantiles.q50 <= 1010


def test_the_list_shrinks_when_an_outlier_has_decayed():
    quantiles = LatencyQuantiles(1.0)
    quantiles.record(900.0, 0.0)
    for second in range(200):
        quantiles.record(0.010, float(second))
    assert len(quantiles._weights) < 100


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e9, math.inf])
def test_latencies_out_of_range_are_clamped(seconds):
    quantiles = LatencyQuantiles()
    quantiles.record(seconds, 0.0)
    assert quantiles.q50 == pytest.approx(min(max(seconds, 10e-6), 1000.0), rel=0.01)


def test_what_is_no_number_is_refused():
    quantiles = LatencyQuantiles()
    with pytest.raises(ValueError, match="a latency must be a number"):
        quantiles.record(math.nan, 0.0)
    with pytest.raises(ValueError, match="half_life_s is 0"):
        LatencyQuantiles(0.0)


def test_a_clock_that_goes_back_is_taken_for_one_that_stands():
    quantiles, times_s = recorded([0.010] * 500)
    quantiles.record(0.020, times_s[-1] - 100.0)
    quantiles.refresh(times_s[-1])
    assert quantiles.count == 501
    assert quantiles.q50 == pytest.approx(0.010, rel=0.01)


def test_survival_follows_the_records():
    quantiles, _ = recorded(TRACE_S[6000:], half_life_s=1e9)
    for age_s in (0.004, 0.005, 0.006, 0.009, 0.012):
        exact = sum(latency_s > age_s for latency_s in TRACE_S[6000:]) / 3000
        # The age may lie in the middle of a bucket that is 1 % wide.
        slack = sum(0.99 * age_s < latency_s < 1.01 * age_s for latency_s in TRACE_S[6000:]) / 3000 + 0.001
        assert math.exp(quantiles.log_survival(age_s)) == pytest.approx(exact, abs=slack)


def test_survival_at_the_largest_record_is_that_of_one_or_two_more():
    for records in (1, 10, 100, 900, 5000):
        quantiles, _ = recorded([0.030] * (records - 1) + [0.050], rate_per_s=1e6)
        assert 1 / (records + 1) * 0.999 <= math.exp(quantiles.log_survival(0.050)) <= 2 / (records + 1)


def test_beyond_the_records_survival_falls_on_the_scale_of_the_tail():
    draws = random.Random(2)
    quantiles, _ = recorded([0.060 + draws.expovariate(50.0) for _ in range(20_000)], rate_per_s=1e5)
    fallen = quantiles.log_survival(0.5) - quantiles.log_survival(0.6)
    assert fallen == pytest.approx(0.1 * 50.0, rel=0.25)
    # A latency that never varies is not taken for a law: the scale is never under a fiftieth of it.
    quantiles, _ = recorded([0.060] * 5000, rate_per_s=1e5)
    assert quantiles.log_survival(0.1) - quantiles.log_survival(0.112) == pytest.approx(0.012 / 0.0012, rel=0.02)


def test_an_outlier_holds_the_tail_for_some_half_lives_only():
    quantiles, times_s = recorded([0.010] * 1000 + [3.0] + [0.010] * 1000)
    assert quantiles.log_survival(2.0) > -9
    for number in range(100_000):
        quantiles.record(0.010, times_s[-1] + number / 200)
    assert quantiles.log_survival(2.0) < -100


def test_recently_is_the_median_of_the_newest():
    quantiles, times_s = recorded([0.010] * 1000)
    now_s = times_s[-1]
    for _ in range(9):
        quantiles.record(0.200, now_s)
    assert quantiles.recently(now_s) == pytest.approx(0.200, rel=0.01)
    assert quantiles.q50 == pytest.approx(0.010, rel=0.01)
    assert quantiles.recently(now_s + 61.0) == 0.0
    few = LatencyQuantiles()
    for latency_s in (0.1, 0.2, 0.4):
        few.record(latency_s, 0.0)
    assert few.recently(0.0) == pytest.approx(0.2)
    few.record(0.4, 0.0)
    assert few.recently(0.0) == pytest.approx(0.3)


def test_a_snapshot_is_json():
    quantiles, _ = recorded(TRACE_S)
    snapshot = json.loads(json.dumps(quantiles.snapshot()))
    assert snapshot["count"] == len(TRACE_S)
    assert snapshot["q999_s"] == quantiles.q999
