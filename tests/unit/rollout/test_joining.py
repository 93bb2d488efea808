"""A site that joins a rollout later: nothing waits for it, and it catches up once it is heard of."""

from dataclasses import replace

import pytest

from edgewise.core.errors import FailedPreconditionError, NotFoundError
from edgewise.core.rollout.events import (
    Commanded,
    Heard,
    Joined,
    Overtaken,
    Reported,
    Retired,
    SiteJoined,
    SiteMoved,
    SiteView,
    Tell,
    Ticked,
    Verb,
    Want,
)
from edgewise.core.rollout.gates import NO_FINDINGS, Gates
from edgewise.core.rollout.rollout import Rollout
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.specification import Specification
from edgewise.core.rollout.waves import ALL, Amount, Wave

SPEC = Specification(
    "pets",
    2,
    (Wave("first", max_concurrent=ALL), Wave("rest", max_concurrent=ALL)),
    gates=Gates(None, None, None, golden=False),
    silent_s=60.0,
    patience_s=600.0,
)
NOW_S = 5.0


def made(waves=(("a",), ("b",)), specification=SPEC):
    return Rollout.planned(specification, waves, {site: 0.0 for wave in waves for site in wave})


def started(waves=(("a",), ("b",)), specification=SPEC):
    rollout = made(waves, specification)
    rollout.handle(Commanded(Verb.START, 0.0))
    return rollout


def says(rollout, site, state, now_s=NOW_S):
    want = rollout.view().sites[site].want
    return rollout.handle(Reported(site, state, want, now_s, NO_FINDINGS))


def activates(rollout, *sites, now_s=NOW_S):
    for site in sites:
        for state in (SiteState.STAGED, SiteState.ACTIVATING, SiteState.ACTIVE):
            says(rollout, site, state, now_s)
        rollout.handle(Ticked(now_s))


def completed():
    rollout = started()
    activates(rollout, "a", "b")
    assert rollout.state == RolloutState.COMPLETED
    return rollout


def test_a_site_joins_a_completed_rollout_and_gets_the_release_when_it_is_heard_of():
    rollout = completed()
    assert rollout.handle(Joined("late", 1, NOW_S)) == [
        SiteJoined("late", SiteState.UNREACHABLE, "enrolled, and not heard of yet"),
        Tell("late", Want.STAGE),
    ]
    assert rollout.view().sites["late"] == SiteView(1, SiteState.UNREACHABLE, Want.STAGE)
    assert rollout.handle(Heard("late", NOW_S)) == [
        SiteMoved("late", SiteState.UNREACHABLE, SiteState.PENDING, "heard of")
    ]
    assert Tell("late", Want.GRANTED) in says(rollout, "late", SiteState.STAGED)
    activates(rollout, "late")
    assert rollout.view().sites["late"].state == SiteState.ACTIVE
    assert rollout.state == RolloutState.COMPLETED


def test_without_staging_ahead_it_is_told_to_run_when_it_is_heard_of_and_not_before():
    rollout = started(specification=replace(SPEC, prestage=False))
    activates(rollout, "a", "b")
    assert [type(one) for one in rollout.handle(Joined("late", 1, NOW_S))] == [SiteJoined]
    assert Tell("late", Want.GRANTED) in rollout.handle(Heard("late", NOW_S))


def test_it_waits_for_its_wave_as_the_others_do():
    rollout = started()
    rollout.handle(Joined("late", 1, NOW_S), Heard("late", NOW_S))
    says(rollout, "late", SiteState.STAGED)
    assert rollout.view().sites["late"].want == Want.STAGE
    activates(rollout, "a")
    assert rollout.view().sites["late"].want == Want.RUN
    activates(rollout, "b")
    # It was heard of, and what its wave has to do is not done before it is.
    assert rollout.state == RolloutState.PROGRESSING
    activates(rollout, "late")
    assert rollout.state == RolloutState.COMPLETED


def test_it_joins_what_is_planned_or_paused_and_is_told_when_that_moves():
    planned = made()
    assert [type(one) for one in planned.handle(Joined("late", 1, NOW_S))] == [SiteJoined]
    assert Tell("late", Want.STAGE) in planned.handle(Commanded(Verb.START, NOW_S))
    paused = started()
    paused.handle(Commanded(Verb.PAUSE, NOW_S))
    paused.handle(Joined("late", 0, NOW_S), Heard("late", NOW_S))
    says(paused, "late", SiteState.STAGED)
    assert paused.view().sites["late"].want == Want.STAGE
    assert Tell("late", Want.RUN) in paused.handle(Commanded(Verb.RESUME, NOW_S))


@pytest.mark.parametrize("prestage", [True, False])
def test_one_that_is_never_heard_of_holds_up_no_wave_that_has_no_other_site(prestage):
    rollout = started((("a",), ()), replace(SPEC, prestage=prestage))
    rollout.handle(Joined("late", 1, NOW_S))
    activates(rollout, "a")
    assert rollout.state == RolloutState.COMPLETED
    rollout.handle(Commanded(Verb.UNDO, NOW_S))
    says(rollout, "a", SiteState.ROLLED_BACK)
    assert rollout.state == RolloutState.ROLLED_BACK


def test_one_that_is_never_heard_of_lets_no_further_site_fail():
    half = Wave("all", max_concurrent=ALL, error_budget=Amount(share=0.5))
    rollout = started((("a",),), replace(SPEC, waves=(half,)))
    rollout.handle(Joined("late", 0, NOW_S))
    says(rollout, "a", SiteState.FAILED)
    assert rollout.state == RolloutState.ROLLED_BACK


def test_one_that_is_never_heard_of_keeps_no_rollout_whose_other_sites_were_taken_over():
    rollout = started()
    rollout.handle(Joined("late", 1, NOW_S))
    rollout.handle(Overtaken(frozenset({"a", "b"}), "r9", NOW_S))
    assert rollout.state == RolloutState.COMPLETED


def test_one_that_is_in_it_already_stays_as_it_is():
    rollout = completed()
    before = rollout.view()
    assert rollout.handle(Joined("b", 0, NOW_S)) == []
    assert rollout.view() == before


def test_one_that_was_retired_begins_anew_after_all_others():
    rollout = completed()
    rollout.handle(Retired("a", NOW_S))
    rollout.handle(Joined("a", 1, NOW_S))
    assert list(rollout.view().sites) == ["b", "a"]
    assert rollout.view().sites["a"] == SiteView(1, SiteState.UNREACHABLE, Want.STAGE)
    activates(rollout, "a")
    assert rollout.view().sites["a"].state == SiteState.ACTIVE


def test_no_site_joins_what_goes_back_or_a_wave_that_is_not_there():
    rollout = completed()
    with pytest.raises(NotFoundError, match="there is no wave 2 in this rollout; expected 0 to 1"):
        rollout.handle(Joined("late", 2, NOW_S))
    rollout.handle(Commanded(Verb.UNDO, NOW_S))
    with pytest.raises(FailedPreconditionError, match="the rollout is Aborting; no site can join it"):
        rollout.handle(Joined("late", 1, NOW_S))
