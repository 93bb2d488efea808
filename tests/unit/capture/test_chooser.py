"""Which answers are kept, on virtual time and with draws that the test gives."""

from dataclasses import replace

import pytest

from edgewise.core.capture.chooser import MAX_DETECTORS, NOTHING, Chooser
from edgewise.core.capture.drift import RECENT_ANSWERS, REFERENCE_ANSWERS
from edgewise.core.capture.limits import Limit, RateLimit
from edgewise.core.capture.rules import DEFAULT_LIMITS, RULES, CaptureRules, priority_of

HOME = ("edge", 1)
NOBODY = CaptureRules(sampled=0.0, low_confidence=0.0, disagreement=None, drift=None)
MANY = dict.fromkeys(RULES, Limit(1e6, 1e9))


def chooser(now_s=0.0, **changes):
    return Chooser(replace(NOBODY, **{"limits": MANY, **changes}), now_s)


def test_without_a_rule_nothing_is_chosen():
    one = chooser()
    assert one.choose(0.0, HOME, 0.0, 0.0) == NOTHING
    assert set(one.chosen.values()) == {0}


@pytest.mark.parametrize(
    ("rules", "confidence", "draw", "reasons"),
    [
        ({"all": True}, None, 0.9, ("all",)),
        ({"sampled": 0.1}, None, 0.0999, ("sampled",)),
        ({"sampled": 0.1}, None, 0.1, ()),
        ({"low_confidence": 0.5}, 0.49, 0.9, ("low-confidence",)),
        ({"low_confidence": 0.5}, 0.5, 0.9, ()),
        # Of an answer without a confidence nothing is known that would make it interesting.
        ({"low_confidence": 0.5, "drift": 0.25}, None, 0.0, ()),
        ({"all": True, "sampled": 0.1, "low_confidence": 0.5}, 0.1, 0.0, ("all", "sampled", "low-confidence")),
    ],
)
def test_each_rule_chooses_by_itself(rules, confidence, draw, reasons):
    one = chooser(**rules)
    assert one.choose(confidence, HOME, 0.0, draw) == reasons
    assert {rule for rule, count in one.chosen.items() if count} == set(reasons)


def test_a_burst_is_cut_at_the_limit_and_counted_and_other_rules_go_on():
    one = chooser(all=True, low_confidence=0.5, limits={**MANY, "all": Limit(2, 3600)})
    kept = [one.choose(0.1, HOME, 0.0, 0.0) for _ in range(5)]
    assert kept == [("all", "low-confidence")] * 2 + [("low-confidence",)] * 3
    assert (one.chosen["all"], one.limited["all"]) == (2, 3)
    assert one.choose(0.9, HOME, 0.5, 0.0) == ("all",)
    assert one.choose(0.9, HOME, 0.6, 0.0) == NOTHING


def test_an_hour_has_its_own_limit():
    limit = RateLimit(Limit(per_second=10, per_hour=20), 0.0)
    assert sum(limit.take(second / 10) for second in range(100)) == 20
    assert not limit.take(60.0 + 119.0)
    assert limit.take(60.0 + 130.0)


def test_a_rate_below_one_a_second_is_waited_for():
    limit = RateLimit(Limit(per_second=0.5, per_hour=3600), 0.0)
    assert [limit.take(now_s) for now_s in (0.0, 1.0, 2.0, 3.0, 4.0)] == [True, False, True, False, True]


def test_a_disagreement_adds_its_reason_within_its_limit():
    one = chooser(disagreement=0.25, limits={**MANY, "disagreement": Limit(1, 10)})
    assert (one.compares, one.asks) == (True, 0.25)
    assert one.disagreed(("sampled",), 0.0) == ("sampled", "disagreement")
    assert one.disagreed(("sampled",), 0.0) == ("sampled",)
    assert one.disagreed(NOTHING, 0.0) == NOTHING


@pytest.mark.parametrize(
    ("reasons", "priority"),
    [
        (("all",), 0),
        (("all", "sampled"), 1),
        (("low-confidence",), 2),
        (("drift", "all"), 2),
        (("low-confidence", "drift"), 3),
        (("disagreement",), 3),
        (("all", "sampled", "low-confidence", "disagreement", "drift"), 3),
    ],
)
def test_a_sample_counts_as_its_best_reason_and_more_for_two_that_tell_of_the_model(reasons, priority):
    assert priority_of(reasons) == priority


def test_scores_that_move_are_chosen_while_they_differ():
    one = chooser(drift=0.25)
    usual = [0.9, 0.95, 0.85, 0.92]
    for turn in range(REFERENCE_ANSWERS + RECENT_ANSWERS):
        assert one.choose(usual[turn % 4], HOME, 0.0, 0.0) == NOTHING
    moved = [one.choose(0.4, HOME, 0.0, 0.0) for _ in range(RECENT_ANSWERS)]
    assert moved[-1] == ("drift",)
    assert set(one.drifting()) == {HOME}
    assert one.drifting()[HOME] > 0.25
    # What is as it was before says nothing of what has changed.
    assert one.choose(0.9, HOME, 0.0, 0.0) == NOTHING
    for turn in range(2 * RECENT_ANSWERS):
        one.choose(usual[turn % 4], HOME, 0.0, 0.0)
    assert one.drifting() == {}
    assert one.choose(0.4, HOME, 0.0, 0.0) == NOTHING


def test_what_has_been_otherwise_for_long_is_what_is_usual():
    one = chooser(drift=0.25)
    for _ in range(REFERENCE_ANSWERS + RECENT_ANSWERS):
        one.choose(0.95, HOME, 0.0, 0.0)
    kept = [one.choose(0.35, HOME, 0.0, 0.0) for _ in range(8000)]
    assert ("drift",) in kept
    assert set(kept[-1000:]) == {NOTHING}
    assert one.drifting() == {}


def test_sites_and_versions_are_not_mixed_up_and_few_are_watched():
    one = chooser(drift=0.25)
    for turn in range(4 * REFERENCE_ANSWERS):
        # The cloud is surer than the edge: who answers is no drift.
        site = "cloud" if turn % 2 else "edge"
        assert one.choose(0.95 if turn % 2 else 0.35, (site, 1), 0.0, 0.0) == NOTHING
    for version in range(10 * MAX_DETECTORS):
        one.choose(0.5, ("edge", version), 0.0, 0.0)
    assert len(one._detectors) == MAX_DETECTORS


def test_processes_share_the_limits():
    rules = CaptureRules().share_of(4)
    assert rules.limits["all"].per_second == DEFAULT_LIMITS["all"].per_second / 4
    assert rules.limits["drift"].per_hour == DEFAULT_LIMITS["drift"].per_hour / 4
