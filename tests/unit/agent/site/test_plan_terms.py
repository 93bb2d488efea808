"""What the plan is told and sees, case by case."""

import math

import pytest

from edgewise.agent.site.board import Situation
from edgewise.agent.site.journal import Entry
from edgewise.agent.site.plan_terms import (
    allowed,
    below_floor,
    in_memory,
    is_settled,
    must_check,
    problem,
    stage_as_ordered,
    stage_weights,
    told_of,
    weights_in_force,
)
from edgewise.agent.site.port import Division, StageView, View
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.orders import Order
from edgewise.core.rollout.site_plan import Action, Advance, Move, Record, Revert, Weigh
from edgewise.core.rollout.site_state import SiteEvent, SiteState
from edgewise.core.rollout.specification import Canary

CANARY = Canary(shares=(0.1,), shadow_share=0.5, shadow_s=1.0, bake_s=7.0)


def entry(state=SiteState.VERIFYING, *, stage=0, previous=1, want=Want.RUN, reverting=False):
    order = Order("r", "pets", 2, "a" * 64, want, canary=CANARY)
    return Entry(order, previous, Record(state, stage, reverting))


def told(of, *, divides=True):
    return told_of(of, of.order.want, divides=divides)


def test_where_nothing_can_be_divided_the_new_version_takes_over_at_once():
    for one in (told(entry(previous=0)), told(entry(), divides=False)):
        assert one.canary.shares == ()
        assert one.canary.shadow_share == 0.0
        assert one.canary.bake_s == 7.0
    assert told(entry()).canary == CANARY


@pytest.mark.parametrize(
    ("previous", "divides", "stages"),
    [
        (1, True, [0, 1, 2]),
        # Nothing between none and all.
        (1, False, [0, 2]),
        (0, True, [0, 2]),
        (2, True, [0, 2]),
    ],
)
def test_stages_are_told_as_they_were_ordered(previous, divides, stages):
    for stage, ordered in enumerate(stages):
        one = entry(previous=previous, stage=stage)
        assert stage_as_ordered(one, told(one, divides=divides)) == ordered


def test_what_ran_before_the_rollout_is_not_judged_and_not_gone_back_from():
    running = entry(previous=2)
    assert not told(running).gates.sampled()
    assert told(running).previous == 0


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(serving=1), Weigh(0.0, 0.0)),
        (View(serving=2), Weigh(1.0, 0.0)),
        (View(serving=1, division=Division(1, 2, 0.1, 0.0, "k")), Weigh(0.1, 0.0)),
        (View(serving=1, division=Division(1, 3, 0.1, 0.0, "k")), Weigh(0.0, 0.0)),
    ],
)
def test_the_weights_are_those_in_force(view, expected):
    assert weights_in_force(entry(), told(entry()), view) == expected


def test_nothing_is_known_of_weights_that_are_not_in_force_yet():
    found = weights_in_force(entry(), told(entry()), View(settled=False))
    assert math.isnan(found.share)


@pytest.mark.parametrize(
    ("of", "view", "expected"),
    [
        (entry(want=Want.BACK), View(loaded=frozenset({1}), coming=frozenset({2})), {1, 2}),
        (entry(reverting=True), View(loaded=frozenset({1}), failed={2: "golden input 3"}), {1, 2}),
        (entry(reverting=True), View(loaded=frozenset({1})), {1}),
        (entry(reverting=True), View(coming=frozenset({1}), failed={3: "no such file"}), set()),
        (entry(), View(loaded=frozenset({1}), failed={2: "golden input 3"}), {1}),
    ],
)
def test_on_the_way_back_what_is_not_loaded_yet_is_let_go_as_well(of, view, expected):
    assert in_memory(of, told(of), view) == expected


def test_alone_a_version_has_the_weights_of_its_stage_and_none_on_the_way_back():
    alone = entry(previous=0, stage=1)
    assert weights_in_force(alone, told(alone), View(serving=2)) == stage_weights(alone, told(alone)) == Weigh(1.0, 0.0)
    back = entry(previous=0, want=Want.BACK)
    assert weights_in_force(back, told(back), View(serving=2)) == Weigh(0.0, 0.0)


def test_the_floor_is_the_lowest_that_may_run():
    assert below_floor(entry(), Situation(floors={"pets": 2})) == ""
    assert "names 3 as the lowest" in below_floor(entry(), Situation(floors={"pets": 3}))
    assert below_floor(entry(), Situation(floors={"others": 3})) == ""


def test_a_problem_is_of_what_is_to_be_done_next():
    view = View(failed={1: "one", 2: "two"})
    stage = StageView(problem="disk")

    def found(one):
        return problem(one, told(one), view, stage, Situation())

    assert found(entry(SiteState.DOWNLOADING)) == "disk"
    assert found(entry(SiteState.ACTIVATING)) == "two"
    assert found(entry(SiteState.VERIFYING)) == "two"
    assert found(entry(SiteState.ACTIVE)) == ""
    assert found(entry(SiteState.VERIFYING, want=Want.BACK)) == "one"


def test_files_are_compared_just_before_they_are_used():
    there = StageView(present=True)

    def checks(one, stage=there, view=None):
        return must_check(one, told(one), view or View(), stage)

    assert checks(entry(SiteState.DOWNLOADING))
    assert checks(entry(SiteState.STAGED))
    assert not checks(entry(SiteState.STAGED, want=Want.STAGE))
    assert checks(entry(SiteState.ACTIVATING))
    assert not checks(entry(SiteState.ACTIVATING), view=View(loaded=frozenset({2})))
    assert not checks(entry(SiteState.STAGED), StageView(present=True, checked=True))
    assert not checks(entry(SiteState.STAGED, want=Want.BACK))


@pytest.mark.parametrize(
    ("step", "state", "goes_on"),
    [
        (Move(SiteEvent.FETCHING), SiteState.PENDING, True),
        (Action.FETCH, SiteState.DOWNLOADING, False),
        (Move(SiteEvent.LOADING), SiteState.STAGED, False),
        (Move(SiteEvent.ANSWERING), SiteState.ACTIVATING, False),
        (Advance(2), SiteState.VERIFYING, False),
        (Revert("gate"), SiteState.VERIFYING, True),
        (Action.LOAD, SiteState.ACTIVE, True),
    ],
)
def test_what_may_be_done_while_nothing_new_may(step, state, goes_on):
    one = entry(state)
    assert allowed(step, one, told(one), "expired") == (step if goes_on else Action.WAIT)
    assert allowed(step, one, told(one), "") == step


def test_the_way_back_is_open_while_nothing_new_may_be_done():
    for one in (entry(want=Want.BACK), entry(reverting=True)):
        assert allowed(Weigh(0.0, 0.0), one, told(one), "expired") == Weigh(0.0, 0.0)


def test_a_version_has_settled_when_nothing_of_the_way_there_is_left():
    one = entry(SiteState.ACTIVE)
    settled = View(loaded=frozenset({2}), serving=2, meant=2)
    assert is_settled(one, settled)
    for left in (
        View(loaded=frozenset({1, 2}), serving=2, meant=2),
        View(loaded=frozenset({2}), serving=2, meant=2, division=Division(1, 2, 1.0, 0.0, "k")),
        View(loaded=frozenset({2}), serving=1, meant=2),
        View(loaded=frozenset({2}), serving=2, meant=1),
    ):
        assert not is_settled(one, left)
