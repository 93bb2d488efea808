"""What an agent does next, step by step, with a machine that does what it is told."""

from dataclasses import replace

import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import AccuracyGate, Findings, Gate, GateName, Gates, Golden
from edgewise.core.rollout.paired import Paired
from edgewise.core.rollout.sequential import Compared
from edgewise.core.rollout.site_plan import (
    Action,
    Advance,
    Move,
    Record,
    Revert,
    Seen,
    Told,
    Weigh,
    is_waiting,
    next_step,
    written,
)
from edgewise.core.rollout.site_state import SiteEvent, SiteState
from edgewise.core.rollout.specification import Canary

GATES = Gates(errors=Gate(0.01), latency=None)
CANARY = Canary(shadow_share=0.2, shadow_s=30.0, shares=(0.1, 0.5), stage_s=60.0, bake_s=600.0)
RUN = Told(Want.RUN, 2, 1, GATES, CANARY)
GOOD = {GateName.ERRORS: (Compared(0.5, 2_000, 4, 2_000, 4),)}
BAD = {GateName.ERRORS: (Compared(0.5, 2_000, 120, 2_000, 4),)}
RIGHT = Golden(1, 1, 0)
NEW_HERE = Record()
OLD_LOADED = Seen(loaded=frozenset({1}))


def at(state, **more):
    return Record(state, **more)


class Site:
    """Carries steps out, and remembers them."""

    def __init__(self, record=NEW_HERE, seen=OLD_LOADED):
        self.record, self.seen, self.steps = record, seen, []

    def goes_on(self, told, *, golden=RIGHT):
        """Until there is nothing to do but wait."""
        for _ in range(40):
            step = next_step(self.record, told, self.seen)
            if step == Action.WAIT:
                return self
            self.steps.append(step)
            self._does(step, golden)
        raise AssertionError(f"goes round in circles: {self.steps[-6:]}")

    def _does(self, step, golden):
        match step:
            case Move() | Revert() | Advance():
                self.record = written(self.record, step)
                self.sees(stage_s=0.0)
            case Weigh(share, shadow):
                self.sees(share=share, shadow=shadow, stage_s=0.0)
            case Action.FETCH:
                self.sees(staged=True)
            case Action.LOAD:
                self.sees(loaded=self.seen.loaded | {2})
            case Action.LOAD_PREVIOUS:
                self.sees(loaded=self.seen.loaded | {1})
            case Action.UNLOAD:
                self.sees(loaded=self.seen.loaded - {2})
            case Action.UNLOAD_PREVIOUS:
                self.sees(loaded=self.seen.loaded - {1})
            case Action.ASK_GOLDEN:
                self.sees(findings=replace(self.seen.findings, golden=golden))

    def sees(self, **changes):
        self.seen = replace(self.seen, **changes)
        return self

    def counts(self, sampled):
        return self.sees(findings=replace(self.seen.findings, sampled=sampled))


def verifying(stage, **seen):
    weigh = (Weigh(0.0, 0.2), Weigh(0.1, 0.0), Weigh(0.5, 0.0), Weigh(1.0, 0.0))[stage]
    known = {"staged": True, "loaded": frozenset({1, 2}), "share": weigh.share, "shadow": weigh.shadow}
    return Site(at(SiteState.VERIFYING, stage=stage), Seen(**known | {"findings": Findings(golden=RIGHT)} | seen))


EXAMINED = replace(RUN, gates=replace(GATES, accuracy=AccuracyGate()))
LOADED = Seen(loaded=frozenset({1, 2}), findings=Findings(golden=RIGHT))


@pytest.mark.parametrize(
    ("paired", "step"),
    [
        (Paired("ab" * 32, 100, 7, 0, 12), Move(SiteEvent.ANSWERING)),
        (Paired("ab" * 32, 100, 7, 1, 1), Move(SiteEvent.ANSWERING)),
        (Paired("ab" * 32, 100, 7, 30, 1), Revert("gate failed: accuracy")),
    ],
)
def test_a_version_that_is_worse_about_held_out_examples_answers_nobody(paired, step):
    site = Site(at(SiteState.ACTIVATING), LOADED).sees(compares=True)
    assert next_step(site.record, EXAMINED, site.seen) == Action.COMPARE
    site.counts({GateName.ACCURACY: (paired,)})
    assert next_step(site.record, EXAMINED, site.seen) == step


def test_nothing_is_compared_where_nobody_asks_or_nothing_ran_before_or_nobody_can():
    site = Site(at(SiteState.ACTIVATING), LOADED).sees(compares=True)
    for told in (RUN, replace(EXAMINED, previous=0)):
        assert next_step(site.record, told, site.seen) == Move(SiteEvent.ANSWERING)
    site.sees(compares=False)
    assert next_step(site.record, EXAMINED, site.seen) == Move(SiteEvent.ANSWERING)
    # There it is for the other sites of the wave to say.
    last = verifying(2, stage_s=60.0).counts(GOOD)
    assert next_step(last.record, EXAMINED, last.seen) == Action.WAIT
    assert next_step(last.record, replace(EXAMINED, want=Want.GRANTED), last.seen) == Advance(3)


def test_staging_fetches_and_goes_no_further():
    site = Site().goes_on(replace(RUN, want=Want.STAGE))
    assert site.steps == [Move(SiteEvent.FETCHING), Action.FETCH, Move(SiteEvent.STAGED)]


def test_the_way_to_active():
    site = Site().goes_on(RUN)
    assert site.steps[3:] == [
        Move(SiteEvent.LOADING),
        Action.LOAD,
        Action.ASK_GOLDEN,
        Move(SiteEvent.ANSWERING),
        Weigh(0.0, 0.2),
    ]
    site.sees(stage_s=30.0).goes_on(RUN)
    assert site.steps[-2:] == [Advance(1), Weigh(0.1, 0.0)]
    site.sees(stage_s=60.0).goes_on(RUN)
    assert site.steps[-2:] == [Advance(2), Weigh(0.5, 0.0)]
    site.sees(stage_s=60.0).counts(GOOD).goes_on(RUN)
    assert site.steps[-2:] == [Advance(3), Weigh(1.0, 0.0)]
    assert site.seen.loaded == {1, 2}
    site.sees(stage_s=600.0).goes_on(RUN)
    assert site.steps[-2:] == [Move(SiteEvent.PROVED), Action.UNLOAD_PREVIOUS]
    assert site.record.state == SiteState.ACTIVE


def test_without_evidence_the_last_share_is_not_left():
    site = verifying(2, stage_s=1e6)
    assert site.goes_on(RUN).steps == []
    assert is_waiting(site.record, RUN, site.seen)
    assert site.goes_on(replace(RUN, want=Want.GRANTED)).steps == [Advance(3), Weigh(1.0, 0.0)]


def test_a_stage_that_is_not_over_is_no_waiting_for_evidence():
    site = verifying(2, stage_s=59.0)
    assert not is_waiting(site.record, RUN, site.seen)
    assert not is_waiting(at(SiteState.STAGED), replace(RUN, want=Want.STAGE), Seen(staged=True, stage_s=1e6))


def test_a_rollout_without_shares_needs_its_evidence_before_it_is_active():
    told = replace(RUN, canary=Canary(shares=(), stage_s=0.0, bake_s=10.0))
    site = Site(at(SiteState.VERIFYING), Seen(staged=True, loaded=frozenset({1, 2}), findings=Findings(golden=RIGHT)))
    assert site.goes_on(told).steps == [Advance(1), Weigh(1.0, 0.0)]
    assert site.sees(stage_s=10.0).goes_on(told).record.state == SiteState.VERIFYING
    assert site.counts(GOOD).goes_on(told).record.state == SiteState.ACTIVE


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_gate_that_fails_goes_back_from_every_stage_whatever_is_told(stage):
    site = verifying(stage).counts(BAD).goes_on(replace(RUN, want=Want.GRANTED))
    assert site.steps == [
        Revert("gate failed: errors"),
        Weigh(0.0, 0.0),
        Action.UNLOAD,
        Move(SiteEvent.REVERTED, "gate failed: errors"),
    ]
    assert site.record.state == SiteState.ROLLED_BACK
    # And stays there.
    assert site.goes_on(RUN).record.state == SiteState.ROLLED_BACK


def test_wrong_golden_answers_go_back_before_any_request_is_answered():
    site = Site(at(SiteState.STAGED), Seen(staged=True, loaded=frozenset({1}))).goes_on(RUN, golden=Golden(1, 1, 2))
    assert not [step for step in site.steps if isinstance(step, Weigh)]
    assert site.record.why == "2 golden answers were not the known one"
    assert site.record.state == SiteState.ROLLED_BACK


def test_a_release_that_does_not_load_goes_back():
    site = Site(at(SiteState.ACTIVATING), Seen(staged=True, loaded=frozenset({1}), problem="no such operator")).goes_on(
        RUN
    )
    assert site.record == Record(SiteState.ROLLED_BACK, 0, reverting=True, why="no such operator")


def test_going_back_has_the_old_version_loaded_before_it_answers():
    site = Site(at(SiteState.ACTIVE), Seen(staged=True, loaded=frozenset({2}), share=1.0)).goes_on(
        replace(RUN, want=Want.BACK)
    )
    assert site.steps == [Action.LOAD_PREVIOUS, Weigh(0.0, 0.0), Action.UNLOAD, Move(SiteEvent.REVERTED)]


def test_an_old_version_that_does_not_load_any_more_leaves_the_new_one_answering():
    site = Site(at(SiteState.ACTIVE), Seen(staged=True, loaded=frozenset({2}), share=1.0, problem="file is gone"))
    step = next_step(site.record, replace(RUN, want=Want.BACK), site.seen)
    assert step == Move(SiteEvent.FAILED, "file is gone")
    assert site.seen.share == 1.0


@pytest.mark.parametrize("state", [SiteState.PENDING, SiteState.DOWNLOADING, SiteState.STAGED])
def test_who_has_not_switched_goes_back_without_touching_what_runs(state):
    site = Site(at(state)).goes_on(replace(RUN, want=Want.BACK))
    assert site.steps == [Move(SiteEvent.REVERTED)]


def test_nothing_told_nothing_done():
    assert next_step(Record(), replace(RUN, want=Want.NOTHING), Seen()) == Action.WAIT


def test_a_fetch_that_fails_is_told_and_tried_again_when_there_is_hope():
    site = Site(at(SiteState.DOWNLOADING), Seen(problem="disk full: 30 MB are missing")).goes_on(RUN)
    assert site.record == Record(SiteState.FAILED, why="disk full: 30 MB are missing")
    assert site.sees(problem="").goes_on(replace(RUN, want=Want.STAGE)).record == Record(SiteState.STAGED)


def test_what_was_staged_and_is_gone_is_fetched_again():
    site = Site(at(SiteState.STAGED), Seen(staged=False, loaded=frozenset({1}))).goes_on(replace(RUN, want=Want.STAGE))
    assert site.steps[:2] == [Move(SiteEvent.SPOILED, "what was staged is not on the disk any more"), Action.FETCH]


def test_active_is_kept_when_everything_was_started_anew():
    site = Site(at(SiteState.ACTIVE), Seen(staged=True, loaded=frozenset({1}))).goes_on(RUN)
    assert site.steps == [Action.LOAD, Weigh(1.0, 0.0), Action.UNLOAD_PREVIOUS]


def test_a_version_that_vanishes_while_it_is_compared_goes_back():
    site = verifying(1, loaded=frozenset({1})).goes_on(RUN)
    assert site.steps[0] == Revert("version 2 is not loaded any more")
    assert site.seen.share == 0.0


def test_a_version_that_vanishes_says_what_became_of_it():
    site = verifying(1, loaded=frozenset({1}), problem="the pods have no memory").goes_on(RUN)
    assert site.steps[0] == Revert("the pods have no memory")


def test_moves_that_the_table_has_not_are_refused():
    with pytest.raises(FailedPreconditionError, match="a site that is Staged cannot be proved"):
        written(at(SiteState.STAGED), Move(SiteEvent.PROVED))
