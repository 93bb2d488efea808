"""A rollout on virtual time: what it tells to whom, when it goes on, and when it goes back."""

from dataclasses import replace

import pytest

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.core.rollout.events import (
    Commanded,
    Heard,
    Overtaken,
    Reported,
    Retired,
    RolloutMoved,
    SiteMoved,
    Tell,
    Ticked,
    Verb,
    Want,
    WaveMoved,
    WavePhase,
)
from edgewise.core.rollout.gates import NO_FINDINGS, Findings, Gate, GateName, Gates, Golden, Verdict
from edgewise.core.rollout.rollout import Rollout
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.sequential import Compared
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.specification import OnFailure, Specification
from edgewise.core.rollout.waves import NONE, Amount, Wave

GOOD = Findings({GateName.ERRORS: (Compared(0.5, 2_000, 4, 2_000, 4),)}, Golden(1, 1, 0))
BAD = Findings({GateName.ERRORS: (Compared(0.5, 2_000, 120, 2_000, 4),)}, Golden(1, 1, 0))
THIN = Findings({GateName.ERRORS: (Compared(0.5, 200, 0, 200, 0),)}, Golden(1, 1, 0))
SPEC = Specification(
    "pets",
    2,
    (
        Wave("first", max_concurrent=Amount(count=1)),
        Wave("second", max_concurrent=Amount(count=2), error_budget=Amount(count=1)),
    ),
    gates=Gates(errors=Gate(0.01), latency=None),
    silent_s=60.0,
    patience_s=600.0,
)


class Driven:
    """A rollout, its clock, and what its sites were told last."""

    def __init__(self, waves=(("a", "b"), ("c", "d", "e")), *, specification=SPEC, heard=None):
        self.now_s = 0.0
        online = {site: 0.0 for wave in waves for site in wave} if heard is None else dict.fromkeys(heard, 0.0)
        self.rollout = Rollout.planned(specification, waves, online)
        self.told = {}
        self.instructions = []

    def handle(self, event):
        found = self.rollout.handle(event)
        self.instructions += found
        self.told |= {one.site: one.want for one in found if isinstance(one, Tell)}
        return found

    def do(self, verb, why=""):
        return self.handle(Commanded(verb, self.now_s, why))

    def says(self, site, state, findings=NO_FINDINGS, *, want=None, **more):
        return self.handle(
            Reported(site, state, want or self.told.get(site, Want.NOTHING), self.now_s, findings, **more)
        )

    def passes(self, seconds=1.0, *, heard=()):
        self.now_s += seconds
        for site in heard:
            self.handle(Heard(site, self.now_s))
        return self.handle(Ticked(self.now_s))

    def stages(self, *sites):
        for site in sites:
            self.says(site, SiteState.DOWNLOADING)
            self.says(site, SiteState.STAGED)

    def activates(self, site, findings=GOOD):
        self.says(site, SiteState.ACTIVATING)
        self.says(site, SiteState.VERIFYING, findings)
        self.says(site, SiteState.ACTIVE, findings)

    def started(self, *staged):
        self.do(Verb.START)
        self.stages(*staged)
        return self

    def states(self):
        return {site: known.state for site, known in self.rollout.view().sites.items()}

    def phases(self):
        return [wave.phase for wave in self.rollout.view().waves]

    @property
    def running(self):
        return {site for site, want in self.told.items() if want in {Want.RUN, Want.GRANTED}}

    @property
    def why(self):
        return self.rollout.view().why


ALL_SITES = ("a", "b", "c", "d", "e")


def test_nothing_moves_before_it_is_started():
    driven = Driven()
    driven.stages("a")
    driven.passes(10.0)
    assert driven.told == {}
    assert driven.rollout.state == RolloutState.PLANNED


def test_every_site_stages_at_once_and_only_the_first_wave_switches_so_many_at_a_time():
    driven = Driven()
    driven.do(Verb.START)
    assert driven.told == dict.fromkeys(ALL_SITES, Want.STAGE)
    driven.stages("c", "b", "a")
    assert driven.running == {"b"}
    driven.activates("b")
    assert driven.running == {"a", "b"}


def test_without_staging_ahead_a_site_is_told_to_fetch_when_its_turn_comes():
    driven = Driven(specification=Specification("pets", 2, SPEC.waves, gates=SPEC.gates, prestage=False))
    driven.do(Verb.START)
    assert driven.told == {"a": Want.RUN}


def test_the_next_wave_opens_when_each_site_is_active_and_the_evidence_of_all_passes():
    driven = Driven().started(*ALL_SITES)
    driven.activates("a")
    driven.activates("b")
    assert driven.phases() == [WavePhase.OPEN, WavePhase.WAITING]
    moved = driven.passes()
    assert [one.phase for one in moved if isinstance(one, WaveMoved)] == [WavePhase.PASSED, WavePhase.OPEN]
    assert driven.running == {"a", "b", "c", "d"}
    for site in ("c", "d", "e"):
        driven.activates(site)
    driven.passes()
    assert driven.rollout.state == RolloutState.COMPLETED


def test_sites_that_wait_are_granted_what_all_of_them_know_together():
    waves = (tuple("abcd"), ("z",))
    wide = Specification("pets", 2, (Wave("first", max_concurrent=Amount(count=4)), SPEC.waves[1]), gates=SPEC.gates)
    driven = Driven(waves, specification=wide).started(*"abcd")
    for site in "abc":
        driven.says(site, SiteState.ACTIVATING)
        driven.says(site, SiteState.VERIFYING, THIN, waiting=True)
    driven.passes()
    assert driven.told["a"] == Want.RUN
    driven.says("d", SiteState.ACTIVATING)
    driven.says(
        "d",
        SiteState.VERIFYING,
        Findings({GateName.ERRORS: (Compared(0.5, 400, 0, 400, 0),)}, Golden(1, 1, 0)),
        waiting=True,
    )
    driven.passes()
    assert {driven.told[site] for site in "abcd"} == {Want.GRANTED}


def test_thin_data_pauses_and_never_passes():
    driven = Driven().started("a", "b")
    driven.says("b" if "b" in driven.running else "a", SiteState.ACTIVATING)
    site = next(iter(driven.running))
    driven.says(site, SiteState.VERIFYING, THIN, waiting=True)
    for _ in range(20):
        driven.passes(59.0, heard=ALL_SITES)
    assert driven.rollout.state == RolloutState.PAUSED
    assert driven.why == "wave first: too little data for a verdict: 1 of 2 sites wait for one"
    # The same question again after resume; a person's word after promote.
    driven.do(Verb.RESUME)
    assert driven.told[site] == Want.RUN
    driven.do(Verb.PROMOTE)
    assert driven.told[site] == Want.GRANTED


# Sites that ran the release before.


def begun_wide(*waves, budget=1):
    """A rollout whose first wave may switch everywhere at once."""
    first = Wave("first", max_concurrent=Amount(count=4), error_budget=Amount(count=budget))
    wide = replace(SPEC, waves=(first, SPEC.waves[1]))
    return Driven(waves, specification=wide).started(*(site for wave in waves for site in wave))


def test_where_every_site_ran_the_release_before_nothing_is_to_be_proven():
    driven = begun_wide(("a", "b"), ("c",))
    driven.says("a", SiteState.ACTIVE)
    driven.passes()
    assert driven.phases() == [WavePhase.OPEN, WavePhase.WAITING]
    driven.says("b", SiteState.ACTIVE)
    driven.passes()
    assert driven.phases() == [WavePhase.PASSED, WavePhase.OPEN]
    # The next wave is one that switches, and has it all to prove.
    driven.says("c", SiteState.VERIFYING, THIN, waiting=True)
    driven.passes()
    assert (driven.rollout.state, driven.told["c"]) == (RolloutState.PROGRESSING, Want.RUN)
    driven.says("c", SiteState.ACTIVE, GOOD)
    driven.passes()
    assert driven.rollout.state == RolloutState.COMPLETED


def test_a_site_that_compares_has_to_prove_it_whoever_ran_the_release_before():
    driven = begun_wide(("a", "b"), ())
    driven.says("a", SiteState.ACTIVE)
    driven.says("b", SiteState.VERIFYING, THIN, waiting=True)
    driven.passes()
    assert driven.phases()[0] == WavePhase.OPEN
    driven.says("b", SiteState.ACTIVE, THIN)
    driven.passes()
    assert driven.phases()[0] == WavePhase.OPEN
    driven.says("b", SiteState.ACTIVE, GOOD)
    driven.passes()
    assert driven.rollout.state == RolloutState.COMPLETED


def test_where_the_only_site_that_tried_to_switch_failed_nothing_is_proven():
    driven = begun_wide(("a", "b"), ())
    driven.says("a", SiteState.ACTIVE)
    driven.says("b", SiteState.ROLLED_BACK, why="cannot load")
    for _ in range(20):
        driven.passes(59.0, heard=ALL_SITES[:2])
    assert driven.rollout.state == RolloutState.PAUSED
    assert driven.why == "wave first: too little data for a verdict, and none of its sites counts any more"


def test_an_agent_that_lost_its_memory_in_the_bake_did_not_run_the_release_before():
    driven = begun_wide(("a",), ())
    driven.says("a", SiteState.VERIFYING, THIN)
    driven.says("a", SiteState.DOWNLOADING)
    driven.says("a", SiteState.ACTIVE)
    driven.passes()
    assert driven.phases()[0] == WavePhase.OPEN
    assert driven.rollout.view().sites["a"].findings == THIN


def test_a_promoted_wave_without_an_active_site_says_what_it_waits_for_and_pauses():
    driven = begun_wide(("a", "b"), (), budget=0)
    driven.passes(61.0, heard=("a",))
    driven.says("a", SiteState.ACTIVATING)
    driven.do(Verb.PROMOTE)
    driven.says("a", SiteState.ROLLED_BACK)
    assert driven.rollout.state == RolloutState.PROGRESSING
    for _ in range(20):
        driven.passes(59.0, heard=("a",))
    assert driven.rollout.state == RolloutState.PAUSED
    assert driven.why == "wave first: no site of it is Active: 1 RolledBack, 1 Unreachable"


# What fails.


def test_one_failure_more_than_the_budget_takes_everybody_back():
    driven = Driven().started(*ALL_SITES)
    driven.activates("a")
    driven.says("b", SiteState.ACTIVATING)
    driven.says("b", SiteState.VERIFYING)
    found = driven.says("b", SiteState.ROLLED_BACK, why="gate failed: golden")
    assert driven.rollout.state == RolloutState.ABORTING
    assert driven.why == "wave first: 1 of 2 sites failed, 0 may: b"
    assert SiteMoved("b", SiteState.VERIFYING, SiteState.ROLLED_BACK, "gate failed: golden") in found
    assert driven.told == dict.fromkeys(ALL_SITES, Want.BACK)
    # b is back already, c, d and e never switched.
    driven.says("a", SiteState.ROLLED_BACK)
    assert driven.rollout.state == RolloutState.ROLLED_BACK


@pytest.mark.parametrize(
    ("on_failure", "state"), [(OnFailure.ROLL_BACK, RolloutState.ROLLED_BACK), (OnFailure.PAUSE, RolloutState.PAUSED)]
)
def test_what_a_gate_said_when_the_budget_was_spent_is_the_verdict(on_failure, state):
    failing = replace(SPEC, on_failure=on_failure)
    driven = Driven(specification=failing).started("a")
    driven.says("a", SiteState.ROLLED_BACK, Findings({}, Golden(1, 1, 1)), why="golden input 3")
    assert driven.rollout.state == state
    assert driven.rollout.view().waves[0].verdict == Verdict.FAIL


def test_failures_within_the_budget_do_not_stop_a_wave():
    driven = Driven(((), ("c", "d", "e"))).started("c", "d", "e")
    first, second = sorted(driven.running)
    driven.says(first, SiteState.ACTIVATING)
    driven.says(first, SiteState.ROLLED_BACK, why="cannot load")
    assert len(driven.running) == 3
    driven.activates(second)
    driven.activates((driven.running - {first, second}).pop())
    driven.passes()
    assert driven.rollout.state == RolloutState.COMPLETED


def test_a_gate_that_fails_over_all_sites_takes_everybody_back_though_none_failed_alone():
    driven = Driven().started("a", "b")
    driven.activates("a", GOOD)
    driven.says("b", SiteState.ACTIVATING)
    driven.says("b", SiteState.VERIFYING, BAD)
    driven.passes()
    assert driven.rollout.state == RolloutState.ABORTING
    assert driven.why == "wave first: a gate failed over all its sites together"


def test_a_rollout_that_is_to_pause_on_failure_pauses():
    pausing = Specification("pets", 2, SPEC.waves, gates=SPEC.gates, on_failure=OnFailure.PAUSE)
    driven = Driven(specification=pausing).started("a", "b")
    driven.says(driven.running.pop(), SiteState.FAILED, why="disk full")
    assert driven.rollout.state == RolloutState.PAUSED
    assert "1 of 2 sites failed" in driven.why
    driven.do(Verb.PROMOTE)
    assert driven.rollout.state == RolloutState.PROGRESSING


# Sites that are away.


def test_a_site_that_was_offline_already_does_not_count_and_catches_up():
    driven = Driven(heard=("a", "c", "d", "e")).started("a", "c", "d", "e")
    driven.passes(heard=("a", "c", "d", "e"))
    assert driven.states()["b"] == SiteState.UNREACHABLE
    driven.activates("a")
    driven.passes()
    assert driven.phases() == [WavePhase.PASSED, WavePhase.OPEN]
    for site in ("c", "d", "e"):
        driven.activates(site)
    driven.passes()
    assert driven.rollout.state == RolloutState.COMPLETED
    driven.handle(Heard("b", driven.now_s))
    driven.stages("b")
    assert driven.told["b"] == Want.GRANTED
    driven.activates("b")
    assert driven.states()["b"] == SiteState.ACTIVE


def test_a_wave_with_nobody_there_is_no_success():
    driven = Driven(heard=("c",)).started("c")
    for _ in range(20):
        driven.passes(59.0, heard=("c",))
    assert driven.rollout.state == RolloutState.PAUSED
    assert driven.why == "wave first: none of its sites was heard of"
    assert "c" not in driven.running


def test_a_site_that_is_lost_before_it_switches_leaves_its_place_to_another():
    driven = Driven().started("a", "b")
    (first,) = driven.running
    other = ({"a", "b"} - {first}).pop()
    driven.passes(61.0, heard=(other,))
    assert driven.states()[first] == SiteState.UNREACHABLE
    assert driven.told[first] == Want.STAGE
    assert driven.told[other] == Want.RUN
    assert driven.rollout.state == RolloutState.PROGRESSING


def test_a_site_that_is_lost_after_it_switched_counts():
    driven = Driven().started("a", "b")
    (first,) = driven.running
    driven.activates(first)
    other = ({"a", "b"} - {first}).pop()
    driven.passes(61.0, heard=(other,))
    assert driven.rollout.state == RolloutState.ABORTING
    assert driven.why == f"wave first: 1 of 2 sites failed, 0 may: {first}"
    # It may still run the release, so it is not over before it says otherwise.
    driven.passes(600.0)
    assert driven.rollout.state == RolloutState.ABORTING
    driven.says(first, SiteState.ACTIVE, want=Want.RUN)
    assert driven.rollout.state == RolloutState.ABORTING
    driven.says(first, SiteState.ROLLED_BACK)
    if other in driven.rollout.view().sites and driven.rollout.view().sites[other].switched:
        driven.says(other, SiteState.ROLLED_BACK)
    assert driven.rollout.state == RolloutState.ROLLED_BACK


def test_silence_ends_with_any_word():
    driven = Driven().started("a", "b")
    driven.passes(61.0)
    assert set(driven.states().values()) == {SiteState.UNREACHABLE}
    driven.handle(Heard("a", driven.now_s))
    driven.says("b", SiteState.STAGED)
    assert (driven.states()["a"], driven.states()["b"]) == (SiteState.STAGED, SiteState.STAGED)


# What people ask for.


def test_pausing_keeps_those_back_that_have_not_begun():
    driven = Driven().started(*ALL_SITES)
    (first,) = driven.running
    driven.do(Verb.PAUSE, "lunch")
    assert driven.told[first] == Want.STAGE
    assert (driven.rollout.state, driven.why) == (RolloutState.PAUSED, "lunch")
    driven.passes(10.0, heard=ALL_SITES)
    assert not driven.running
    driven.do(Verb.RESUME)
    assert len(driven.running) == 1


def test_pausing_leaves_those_alone_that_switch():
    driven = Driven().started("a", "b")
    (first,) = driven.running
    driven.says(first, SiteState.ACTIVATING)
    driven.do(Verb.PAUSE)
    assert driven.told[first] == Want.RUN


def test_abort_before_anybody_switched_is_over_at_once():
    driven = Driven(heard=()).started()
    driven.do(Verb.ABORT)
    assert driven.rollout.state == RolloutState.ROLLED_BACK


def test_undo_takes_a_completed_rollout_back():
    driven = Driven((("a",), ())).started("a")
    driven.activates("a")
    driven.passes()
    assert driven.rollout.state == RolloutState.COMPLETED
    driven.do(Verb.UNDO, "customers complain")
    assert driven.told["a"] == Want.BACK
    driven.says("a", SiteState.ROLLED_BACK)
    assert driven.rollout.state == RolloutState.ROLLED_BACK
    assert [one.why for one in driven.instructions if isinstance(one, RolloutMoved)][-2:] == [
        "customers complain",
        "every site that had switched is back",
    ]


def test_nothing_is_undone_where_another_rollout_took_over():
    driven = Driven((("a",), ("b",))).started("a", "b")
    for site in ("a", "b"):
        driven.activates(site)
        driven.passes()
    assert driven.rollout.state == RolloutState.COMPLETED
    driven.rollout.handle(Overtaken(frozenset({"a"}), "pets-3", driven.now_s))
    assert Verb.UNDO in driven.rollout.verbs()
    driven.rollout.handle(Overtaken(frozenset({"b"}), "pets-3", driven.now_s))
    assert driven.rollout.verbs() == ()
    with pytest.raises(FailedPreconditionError) as raised:
        driven.do(Verb.UNDO)
    assert raised.value.message == (
        "another rollout took every site of this one over, so it has nothing left to undo; roll out the version that is wanted: "
        "edgewise rollout start --release MODEL/VERSION"
    )
    assert driven.rollout.state == RolloutState.COMPLETED


def test_what_was_undone_says_who_was_left_out():
    driven = Driven((("a",), ("b",))).started("a", "b")
    for site in ("a", "b"):
        driven.activates(site)
        driven.passes()
    driven.rollout.handle(Overtaken(frozenset({"b"}), "pets-3", driven.now_s))
    driven.do(Verb.UNDO)
    driven.says("a", SiteState.ROLLED_BACK)
    assert driven.rollout.state == RolloutState.ROLLED_BACK
    assert driven.why == "every site that had switched is back, but for 1 that another rollout took over"


def test_a_site_that_cannot_go_back_needs_a_person():
    driven = Driven((("a",), ())).started("a")
    driven.activates("a")
    driven.do(Verb.ABORT)
    # What it says of before it was told to go back counts for nothing.
    driven.says("a", SiteState.FAILED, want=Want.RUN)
    assert driven.rollout.state == RolloutState.ABORTING
    driven.says("a", SiteState.FAILED, why="version 1 does not load")
    assert driven.rollout.state == RolloutState.FAILED
    driven.says("a", SiteState.ROLLED_BACK)
    assert driven.rollout.state == RolloutState.ROLLED_BACK


@pytest.mark.parametrize(
    ("before", "verb", "said"),
    [
        ((), Verb.PAUSE, "the rollout is Planned and cannot pause; it can start or abort"),
        ((Verb.START,), Verb.START, "the rollout is Progressing and cannot start; it can pause or promote or abort"),
        (
            (Verb.START, Verb.PAUSE),
            Verb.UNDO,
            "the rollout is Paused and cannot undo; it can resume or promote or abort",
        ),
        ((Verb.ABORT,), Verb.RESUME, "the rollout is RolledBack and cannot resume; it has ended"),
    ],
)
def test_verbs_that_are_not_possible_say_which_are(before, verb, said):
    driven = Driven()
    for one in before:
        driven.do(one)
    with pytest.raises(FailedPreconditionError) as raised:
        driven.do(verb)
    assert raised.value.message == said


# Other rollouts, and sites that go.


def test_a_newer_rollout_takes_sites_over():
    driven = Driven().started(*ALL_SITES)
    driven.activates("a")
    driven.handle(Overtaken(frozenset({"b", "c", "d", "e", "x"}), "r9", driven.now_s))
    assert driven.rollout.state == RolloutState.COMPLETED
    assert driven.why == "taken over by r9"
    assert driven.states() == {"a": SiteState.ACTIVE, **dict.fromkeys("bcde", SiteState.SUPERSEDED)}
    # Its late reports are nobody's business any more.
    assert driven.says("b", SiteState.ACTIVE) == []


def test_a_retired_site_holds_nothing_up():
    driven = Driven().started("a", "b")
    (first,) = driven.running
    driven.says(first, SiteState.ACTIVATING)
    driven.do(Verb.ABORT)
    assert driven.rollout.state == RolloutState.ABORTING
    driven.handle(Retired(first, driven.now_s))
    assert driven.rollout.state == RolloutState.ROLLED_BACK


def test_reports_of_strangers_and_of_states_that_are_the_hub_s_are_refused():
    driven = Driven().started()
    with pytest.raises(NotFoundError, match="site 'x' is not in this rollout"):
        driven.says("x", SiteState.STAGED)
    with pytest.raises(
        InvalidArgumentError, match="a site cannot report Unreachable; expected one of Activating, Active"
    ):
        driven.says("a", SiteState.UNREACHABLE)


def test_an_agent_that_lost_its_memory_is_believed_and_it_is_written_down():
    driven = Driven().started("a", "b")
    (first,) = driven.running
    driven.activates(first)
    found = driven.says(first, SiteState.DOWNLOADING)
    assert (
        SiteMoved(first, SiteState.ACTIVE, SiteState.DOWNLOADING, "after Active, which no site does by itself") in found
    )


def test_a_hub_that_crashed_goes_on_where_it_was_and_tells_nothing_twice():
    driven = Driven().started(*ALL_SITES)
    driven.activates("a" if "a" in driven.running else "b")
    driven.passes()
    again = Rollout(SPEC, driven.rollout.view())
    assert again.view() == driven.rollout.view()
    assert again.handle(Ticked(2.0)) == []


def test_time_in_which_nobody_listened_is_no_silence():
    driven = Driven().started(*ALL_SITES)
    again = Rollout.resumed(SPEC, driven.rollout.view(), 10_000.0)
    assert again.handle(Ticked(10_001.0)) == []
    assert any(isinstance(one, SiteMoved) for one in again.handle(Ticked(10_061.0)))


def test_budgets_of_nothing_are_spent_by_one():
    driven = Driven(
        (("a",), ()), specification=Specification("pets", 2, (Wave("w", error_budget=NONE), Wave("x")))
    ).started("a")
    driven.says("a", SiteState.FAILED)
    assert driven.rollout.state == RolloutState.ABORTING
