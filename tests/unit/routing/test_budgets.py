"""Hedges and retries stay within their share; a link that flaps is kept away longer each time."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.core.routing.budgets import HedgeBudget, HoldDown, RetryBudget

MIDDLE = 0.5


# --- hedges ---


def hedges_of(budget, requests):
    """Hedges that are sent when each request asks for as many as there are."""
    sent = 0
    for _ in range(requests):
        budget.request_seen()
        while budget.take():
            sent += 1
    return sent


@pytest.mark.parametrize("ratio", [0.001, 0.01, 0.1, 0.29, 0.5, 1.0])
def test_hedges_reach_their_share_and_not_more(ratio):
    sent = hedges_of(HedgeBudget(ratio), 10_000)
    assert ratio * 10_000 - 1 <= sent <= ratio * 10_000 + 2


def test_a_ratio_of_nothing_never_hedges():
    budget = HedgeBudget(0.0)
    assert hedges_of(budget, 100_000) == 0
    assert budget.tokens == 0.0


def test_the_first_requests_can_be_hedged():
    budget = HedgeBudget(0.01)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    small = HedgeBudget(0.01, burst=1.0)
    assert [small.take() for _ in range(2)] == [True, False]


def test_a_calm_time_saves_a_burst_and_no_more():
    budget = HedgeBudget(0.01, burst=10.0)
    for _ in range(100_000):
        budget.request_seen()
    assert budget.tokens == 10.0
    assert sum(budget.take() for _ in range(50)) == 10


@pytest.mark.parametrize(("ratio", "burst"), [(-0.1, 10), (1.1, 10), (math.nan, 10), (0.1, 0.5), (0.1, math.nan)])
def test_hedge_shares_that_mean_nothing_are_refused(ratio, burst):
    with pytest.raises(ValueError, match="the hedge"):
        HedgeBudget(ratio, burst)


@settings(deadline=None)
@given(
    ratio=st.floats(0.0, 1.0),
    burst=st.floats(1.0, 50.0),
    events=st.lists(st.booleans(), max_size=400),
    start=st.integers(0, 399),
)
def test_no_stretch_of_requests_is_hedged_beyond_the_share(ratio, burst, events, start):
    budget = HedgeBudget(ratio, burst)
    requests = hedges = requests_of_stretch = hedges_of_stretch = 0
    for number, request in enumerate(events):
        if request:
            budget.request_seen()
            requests += 1
            requests_of_stretch += number >= start
        elif budget.take():
            hedges += 1
            hedges_of_stretch += number >= start
    assert hedges <= ratio * requests + 2
    assert hedges_of_stretch <= ratio * requests_of_stretch + burst + 1e-6


# --- retries ---


def test_few_requests_can_be_retried():
    budget = RetryBudget(ratio=0.2, min_per_s=1.0, window_s=10.0)
    assert sum(budget.take(0.0) for _ in range(100)) == 10
    assert not budget.take(9.9)
    assert budget.take(10.0)


def test_many_requests_earn_retries_by_their_share():
    budget = RetryBudget(ratio=0.2, min_per_s=0.0)
    for number in range(1000):
        budget.request_seen(number * 0.001)
    assert budget.tokens(1.0) == 200.0
    assert sum(budget.take(1.0) for _ in range(1000)) == 200


def test_what_was_earned_long_ago_is_lost():
    budget = RetryBudget(ratio=1.0, min_per_s=0.0, window_s=10.0)
    for _ in range(50):
        budget.request_seen(0.0)
    assert budget.tokens(9.9) == 50.0
    assert budget.tokens(11.0) == 0.0
    budget.request_seen(1e6)
    assert budget.take(1e6)


def test_an_outage_is_not_multiplied():
    budget = RetryBudget()
    attempts = 0
    for number in range(200 * 60):
        now_s = number / 200
        budget.request_seen(now_s)
        attempts += 1
        # Each attempt fails, and each failure asks to be retried.
        while budget.take(now_s):
            attempts += 1
    # A fifth, ten a second, and the ten seconds of them that are there from the start.
    assert attempts <= 200 * 60 * 1.2 + 10 * 60 + 100


@pytest.mark.parametrize("wrong", [{"ratio": -1}, {"min_per_s": -1}, {"window_s": 0}, {"ratio": math.nan}])
def test_retry_shares_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}|the retry ratio"):
        RetryBudget(**wrong)


@settings(deadline=None)
@given(
    ratio=st.floats(0.0, 2.0),
    min_per_s=st.floats(0.0, 5.0),
    events=st.lists(st.tuples(st.floats(0.0, 4.0), st.booleans()), max_size=300),
)
def test_no_window_is_retried_beyond_the_share(ratio, min_per_s, events):
    window_s = 10.0
    budget = RetryBudget(ratio, min_per_s, window_s)
    now_s = 0.0
    requests_s, retries_s = [], []
    for gap_s, request in events:
        now_s += gap_s
        if request:
            budget.request_seen(now_s)
            requests_s.append(now_s)
        elif budget.take(now_s):
            retries_s.append(now_s)
    for end_s in retries_s:
        # A slot is a tenth of the window and the last one may be young.
        retries = sum(end_s - 0.9 * window_s < at_s <= end_s for at_s in retries_s)
        requests = sum(end_s - window_s <= at_s <= end_s for at_s in requests_s)
        assert retries <= ratio * requests + min_per_s * window_s + 1e-6


# --- hold-down ---


def test_a_first_outage_holds_shortly():
    hold = HoldDown()
    assert hold.until_s == -math.inf
    assert (hold.hold_s, hold.flapping) == (0.0, False)
    hold.failed_over(100.0, MIDDLE)
    assert (hold.hold_s, hold.until_s) == pytest.approx((0.7, 100.7))
    assert not hold.flapping


def test_each_flap_holds_twice_as_long_up_to_the_cap():
    hold = HoldDown()
    now_s = 0.0
    lengths_s = []
    for _ in range(6):
        hold.failed_over(now_s, MIDDLE)
        lengths_s.append(hold.hold_s)
        now_s = hold.until_s
        hold.failed_back(now_s)
        now_s += 1.0
    assert lengths_s == pytest.approx([0.7, 10.0, 20.0, 40.0, 60.0, 60.0])
    assert hold.flapping


def flapped(times):
    """A hold-down after so many flaps, traffic back at 0."""
    hold = HoldDown()
    for number in range(times + 1):
        hold.failed_over(-100.0 + number, MIDDLE)
        hold.failed_back(-99.5 + number)
    hold.failed_back(0.0)
    return hold


@pytest.mark.parametrize(
    ("stable_s", "expected_s", "flapping"),
    [
        (59.0, 60.0, True),  # not stable: one more flap
        (61.0, 30.0, True),
        (121.0, 15.0, True),
        (181.0, 0.7, False),
        (1e9, 0.7, False),
    ],
)
def test_stability_halves_what_flaps_built_up(stable_s, expected_s, flapping):
    hold = flapped(4)
    hold.failed_over(stable_s, MIDDLE)
    assert hold.hold_s == pytest.approx(expected_s)
    assert hold.flapping is flapping


def test_an_outage_after_a_stable_time_is_a_first_one():
    hold = HoldDown()
    for day in range(5):
        hold.failed_over(86_400.0 * day, MIDDLE)
        assert hold.hold_s == pytest.approx(0.7)
        hold.failed_back(86_400.0 * day + 10.0)


def test_a_failover_during_an_outage_holds_anew_but_is_no_flap():
    hold = HoldDown()
    hold.failed_over(0.0, MIDDLE)
    hold.failed_over(0.5, MIDDLE)
    assert (hold.hold_s, hold.until_s) == pytest.approx((0.7, 1.2))


def test_the_time_away_is_not_taken_for_stability():
    hold = flapped(2)
    hold.failed_over(1.0, MIDDLE)
    assert hold.hold_s == pytest.approx(40.0)
    # A long outage, then a failback that lasts a second.
    hold.failed_back(10_000.0)
    hold.failed_over(10_001.0, MIDDLE)
    assert hold.hold_s == pytest.approx(60.0)


@pytest.mark.parametrize("flaps", [0, 1, 2, 8])
def test_every_hold_down_varies_by_a_tenth_even_at_the_cap(flaps):
    lengths_s = []
    for draw in (0.0, 0.5, 0.999999):
        hold = flapped(flaps)
        hold.failed_over(1.0, draw)
        lengths_s.append(hold.hold_s)
    assert lengths_s[0] == pytest.approx(0.9 * lengths_s[1])
    assert lengths_s[2] == pytest.approx(1.1 * lengths_s[1], rel=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"base_s": 0.0}, {"base_s": 20.0}, {"flap_s": 90.0}, {"stable_s": 0.0}, {"cap_s": math.nan}]
)
def test_lengths_out_of_order_are_refused(wrong):
    with pytest.raises(ValueError, match="base_s|stable_s"):
        HoldDown(**wrong)


@settings(deadline=None)
@given(
    gaps_s=st.lists(st.tuples(st.floats(0.0, 500.0), st.floats(0.0, 500.0)), max_size=30),
    draw=st.floats(0.0, 1.0, exclude_max=True),
)
def test_a_link_that_obeys_never_switches_more_than_its_hold_down_allows(gaps_s, draw):
    hold = HoldDown()
    now_s = 0.0
    for good_s, extra_s in gaps_s:
        now_s += good_s
        hold.failed_over(now_s, draw)
        assert 0.9 * 0.7 <= hold.hold_s <= 1.1 * 60.0
        assert hold.until_s == pytest.approx(now_s + hold.hold_s)
        assert hold.flapping == (hold.hold_s > 5.0)
        now_s = hold.until_s + extra_s
        hold.failed_back(now_s)
