"""What holds of the rules whatever requests come: limits, bounds, replay, and few false alarms."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.core.capture.chooser import MAX_DETECTORS, Chooser
from edgewise.core.capture.drift import CLASSES, RECENT_ANSWERS, REFERENCE_ANSWERS, DriftDetector
from edgewise.core.capture.limits import Limit, RateLimit
from edgewise.core.capture.rules import RULES, CaptureRules, priority_of

RATES = st.floats(0.01, 50.0)
STEPS_S = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=80)
CONFIDENCES = st.one_of(st.none(), st.floats(0.0, 1.0))


@given(per_second=RATES, per_hour=st.floats(0.5, 5000.0), steps_s=STEPS_S)
def test_no_time_gives_more_than_its_buckets_hold(per_second, per_hour, steps_s):
    limit = RateLimit(Limit(per_second, per_hour), 0.0)
    now_s, taken = 0.0, []
    for step_s in steps_s:
        now_s += step_s
        taken += [now_s for _ in range(3) if limit.take(now_s)]
    for place, begin_s in enumerate(taken):
        for count, end_s in enumerate(taken[place:], start=1):
            spell_s = end_s - begin_s
            assert count <= max(1.0, per_second) + per_second * spell_s + 1e-6
            assert count <= max(1.0, per_hour) + per_hour * spell_s / 3600.0 + 1e-6


@given(st.lists(st.floats(-100.0, 100.0), max_size=50))
def test_a_clock_that_goes_back_gives_nothing(moves_s):
    limit = RateLimit(Limit(1.0, 10.0), 0.0)
    now_s = highest_s = 0.0
    taken = 0
    for move_s in moves_s:
        now_s += move_s
        highest_s = max(highest_s, now_s)
        taken += limit.take(now_s)
    assert taken <= 1.0 + highest_s + 1e-6
    assert taken <= 10.0 + highest_s * 10.0 / 3600.0 + 1e-6


RULE_SETS = st.builds(
    CaptureRules,
    all=st.booleans(),
    sampled=st.floats(0.0, 1.0),
    low_confidence=st.floats(0.0, 1.0),
    disagreement=st.one_of(st.none(), st.floats(0.0, 1.0)),
    drift=st.one_of(st.none(), st.floats(0.01, 1.0)),
    limits=st.fixed_dictionaries({rule: st.builds(Limit, RATES, RATES) for rule in RULES}),
)
ANSWERS = st.lists(
    st.tuples(
        CONFIDENCES, st.sampled_from(["edge", "cloud"]), st.integers(0, 40), st.floats(0, 5), st.floats(0.0, 0.999)
    ),
    max_size=60,
)


@given(rules=RULE_SETS, answers=ANSWERS)
def test_reasons_are_true_ordered_counted_and_the_same_each_time(rules, answers):
    one, again = Chooser(rules, 0.0), Chooser(rules, 0.0)
    now_s, chosen = 0.0, dict.fromkeys(RULES, 0)
    for confidence, site, version, step_s, draw in answers:
        now_s += step_s
        reasons = one.choose(confidence, (site, version), now_s, draw)
        assert reasons == again.choose(confidence, (site, version), now_s, draw)
        assert list(reasons) == [rule for rule in RULES if rule in reasons]
        assert "all" not in reasons or rules.all
        assert "sampled" not in reasons or draw < rules.sampled
        assert "low-confidence" not in reasons or (confidence is not None and confidence < rules.low_confidence)
        assert "drift" not in reasons or rules.drift is not None
        assert "disagreement" not in reasons
        if reasons:
            assert 0 <= priority_of(reasons) <= 3
        for reason in reasons:
            chosen[reason] += 1
        assert len(one._detectors) <= MAX_DETECTORS
    assert one.chosen == chosen


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.floats(0.5, 20.0), st.floats(0.5, 20.0))
def test_scores_that_stay_as_they_are_raise_no_alarm(seed, alpha, beta):
    """Whatever their distribution: 100 looks pass 0.25 by chance in one of 2600 runs, so a margin of three is kept above it."""
    draws = random.Random(seed)
    detector = DriftDetector(0.4)
    for _ in range(REFERENCE_ANSWERS + 2000):
        assert not detector.observe(draws.betavariate(alpha, beta))


@pytest.mark.parametrize("seed", range(5))
def test_scores_that_move_by_a_fifth_are_seen_within_two_windows(seed):
    draws = random.Random(seed)
    detector = DriftDetector(0.25)
    for _ in range(REFERENCE_ANSWERS + RECENT_ANSWERS):
        detector.observe(draws.betavariate(18, 2))
    assert not detector.drifting
    for _ in range(2 * RECENT_ANSWERS):
        detector.observe(draws.betavariate(14, 6))
    assert detector.drifting


@settings(max_examples=30)
@given(st.lists(st.floats(-1.0, 2.0), max_size=400), st.integers(0, 1500))
def test_what_is_remembered_is_bounded_and_adds_up(scores, before):
    detector = DriftDetector(0.25)
    for _ in range(before):
        detector.observe(0.5)
    for score in scores:
        detector.observe(score)
    recent = max(0, before + len(scores) - REFERENCE_ANSWERS)
    assert sum(detector._recent_counts) == min(recent, RECENT_ANSWERS)
    assert sum(detector._reference) == min(before + len(scores), REFERENCE_ANSWERS)
    assert (len(detector._recent), len(detector._reference)) == (RECENT_ANSWERS, CLASSES)
    assert detector.index >= 0.0
