"""Whatever sites report and people ask for, in any order: a rollout keeps its rules, and forgets nothing in a crash."""

from hypothesis import given
from hypothesis import strategies as st

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.rollout.events import (
    RUNNING,
    Commanded,
    Heard,
    Joined,
    Overtaken,
    Reported,
    Retired,
    RolloutMoved,
    SiteJoined,
    SiteMoved,
    Tell,
    Ticked,
    Verb,
    Want,
    WaveMoved,
    WavePhase,
)
from edgewise.core.rollout.gates import NO_FINDINGS, Findings, Gate, GateName, Gates, Golden, Verdict, pooled
from edgewise.core.rollout.rollout import Rollout
from edgewise.core.rollout.rollout_state import TRANSITIONS, RolloutState
from edgewise.core.rollout.sequential import Compared
from edgewise.core.rollout.site_state import AGENT_STATES, SiteState
from edgewise.core.rollout.specification import OnFailure, Specification
from edgewise.core.rollout.waves import Amount, Wave

SITES = ("a", "b", "c", "d", "e", "f")
FINDINGS = (
    Findings(),
    Findings({GateName.ERRORS: (Compared(0.5, 2_000, 4, 2_000, 4),)}, Golden(1, 1, 0)),
    Findings({GateName.ERRORS: (Compared(0.5, 2_000, 120, 2_000, 4),)}, Golden(1, 1, 0)),
    Findings({GateName.ERRORS: (Compared(0.1, 20, 0, 200, 0),)}, Golden(1, 1, 1)),
)
THIN = Findings({GateName.ERRORS: (Compared(0.5, 200, 0, 200, 0),)}, Golden(1, 1, 0))
MOVES = {(before, after) for (before, _), after in TRANSITIONS.items()}

amounts = st.one_of(
    st.integers(0, 3).map(lambda count: Amount(count=count)), st.sampled_from([Amount(share=0.5), Amount(share=1.0)])
)
sites = st.sampled_from(SITES)


@st.composite
def specifications(draw):
    count = draw(st.integers(1, 3))
    waves = tuple(
        Wave(f"w{number}", max_concurrent=draw(amounts), error_budget=draw(amounts)) for number in range(count)
    )
    return Specification(
        "pets",
        2,
        waves,
        gates=Gates(errors=Gate(0.01), latency=None),
        silent_s=60.0,
        patience_s=300.0,
        on_failure=draw(st.sampled_from(OnFailure)),
        prestage=draw(st.booleans()),
    )


others = st.one_of(
    st.tuples(st.just("tick"), st.sampled_from([1.0, 30.0, 61.0, 301.0])),
    st.tuples(st.just("heard"), sites),
    st.tuples(st.just("verb"), st.sampled_from(Verb)),
    st.tuples(
        st.just("report"), sites, st.sampled_from(sorted(AGENT_STATES)), st.sampled_from(FINDINGS), st.booleans()
    ),
    st.tuples(st.just("retired"), sites),
    st.tuples(st.just("overtaken"), st.frozensets(sites, max_size=3)),
)

joins = st.tuples(st.just("joined"), st.sampled_from([*SITES, "x", "y"]), st.integers(0, 2))
stimuli = st.one_of(others, joins)


class Watched:
    """A rollout, a second one that is built anew before each event, and what was told of both."""

    def __init__(self, specification, placed):
        self.specification = specification
        waves = [
            [site for site, wave in zip(SITES, placed, strict=True) if wave == number]
            for number in range(len(specification.waves))
        ]
        self.rollout = Rollout.planned(specification, waves, dict.fromkeys(SITES, 0.0))
        self.now_s = 0.0
        self.told = dict.fromkeys(SITES, Want.NOTHING)
        self.states = dict.fromkeys(SITES, SiteState.PENDING)
        self.phases = [WavePhase.WAITING] * len(waves)
        self.counted = set()
        self.state = RolloutState.PLANNED

    def does(self, stimulus):
        gone = SiteState.SUPERSEDED
        event = self._event(*stimulus)
        again = Rollout(self.specification, self.rollout.view())
        try:
            instructions = self.rollout.handle(event)
        except FailedPreconditionError:
            assert isinstance(event, Commanded | Joined)
            return []
        assert again.handle(event) == instructions
        assert again.view() == self.rollout.view()
        if isinstance(event, Reported) and event.findings != NO_FINDINGS and self.states[event.site] != gone:
            self.counted.add(event.site)
        for instruction in instructions:
            self._follows(instruction)
        self._agrees()
        return instructions

    def _event(self, kind, *values):
        match kind:
            case "tick":
                self.now_s += values[0]
                return Ticked(self.now_s)
            case "heard":
                return Heard(values[0], self.now_s)
            case "verb":
                return Commanded(values[0], self.now_s)
            case "report":
                site, state, findings, waiting = values
                return Reported(site, state, self.told[site], self.now_s, findings, waiting)
            case "joined":
                return Joined(values[0], values[1] % len(self.specification.waves), self.now_s)
            case "retired":
                return Retired(values[0], self.now_s)
            case _:
                return Overtaken(values[0], "other", self.now_s)

    def _follows(self, instruction):
        match instruction:
            case Tell(site, want):
                assert want != self.told[site], "told twice"
                assert self.states[site] != SiteState.SUPERSEDED, "told though another rollout has it"
                wave = self.rollout.view().sites[site].wave
                assert want not in RUNNING or self.phases[wave] != WavePhase.WAITING, "told before its wave opened"
                self.told[site] = want
            case SiteJoined(site, state):
                assert self.states.get(site, SiteState.SUPERSEDED) == SiteState.SUPERSEDED
                assert self.state not in {RolloutState.ABORTING, RolloutState.ROLLED_BACK, RolloutState.FAILED}
                self.states[site], self.told[site] = state, Want.NOTHING
                self.counted.discard(site)
            case SiteMoved(site, before, after):
                assert before == self.states[site] != after
                self.states[site] = after
            case RolloutMoved(before, after):
                assert before == self.state
                assert (before, after) in MOVES
                self.state = after
            case WaveMoved(wave, phase):
                assert all(one == WavePhase.PASSED for one in self.phases[:wave]), "waves go in their order"
                assert phase != WavePhase.PASSED or self._may_pass(wave), "passed without proof"
                self.phases[wave] = phase

    def _may_pass(self, wave):
        """Proven, promoted, or with nothing to prove: since it passed in this step, the view is that of its passing."""
        view = self.rollout.view()
        inside = {site: known for site, known in view.sites.items() if known.wave == wave}
        here = [known for known in inside.values() if known.was or known.state != SiteState.UNREACHABLE]
        if view.waves[wave].promoted or all(known.state == SiteState.SUPERSEDED for known in here):
            return True
        if self.specification.gates.verdict(pooled(known.findings for known in inside.values())) == Verdict.PASS:
            return True
        failed = {SiteState.FAILED, SiteState.ROLLED_BACK}
        return not self.counted & inside.keys() and not failed & {known.state for known in here}

    def _agrees(self):
        view = self.rollout.view()
        assert view.state == self.state
        assert {site: known.state for site, known in view.sites.items()} == self.states
        assert {site: known.want for site, known in view.sites.items()} == self.told
        assert [wave.phase for wave in view.waves] == self.phases
        if self.state == RolloutState.PLANNED:
            assert set(self.told.values()) == {Want.NOTHING}
        if self.state == RolloutState.COMPLETED:
            gone = {SiteState.SUPERSEDED}
            assert set(self.phases) == {WavePhase.PASSED} or gone <= set(self.states.values())


def apart_from(site, instructions):
    """What is told and moved elsewhere, without the words."""
    return [
        (
            type(one),
            getattr(one, "site", None),
            getattr(one, "after", getattr(one, "phase", getattr(one, "want", None))),
        )
        for one in instructions
        if getattr(one, "site", None) != site
    ]


@given(
    specification=specifications(),
    placed=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    wave=st.integers(0, 2),
    at=st.integers(0, 20),
    # A rollout whose own sites were all taken over can be undone at the one that joined.
    stimuli=st.lists(others.filter(lambda one: one != ("verb", Verb.UNDO)), max_size=40),
)
def test_a_site_that_joins_and_says_nothing_changes_nothing_for_the_others(specification, placed, wave, at, stimuli):
    count = len(specification.waves)
    alone, joined = (Watched(specification, [one % count for one in placed]) for _ in range(2))
    for number, stimulus in enumerate(stimuli):
        if number == at:
            joined.does(("joined", "x", wave))
        told = [watched.does(stimulus) for watched in (alone, joined)]
        assert apart_from("x", told[1]) == apart_from("x", told[0])
        assert joined.state == alone.state


@given(
    specification=specifications(),
    placed=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    stimuli=st.lists(stimuli, max_size=40),
)
def test_rules_hold_whatever_happens(specification, placed, stimuli):
    watched = Watched(specification, [wave % len(specification.waves) for wave in placed])
    for stimulus in stimuli:
        watched.does(stimulus)


@given(
    specification=specifications(),
    placed=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    stimuli=st.lists(stimuli, max_size=30),
)
def test_whoever_aborts_gets_everybody_back(specification, placed, stimuli):
    watched = Watched(specification, [wave % len(specification.waves) for wave in placed])
    watched.does(("verb", Verb.START))
    for stimulus in stimuli:
        watched.does(stimulus)
    watched.does(("verb", Verb.ABORT))
    watched.does(("verb", Verb.UNDO))
    if set(watched.states.values()) == {SiteState.SUPERSEDED} and watched.state == RolloutState.COMPLETED:
        # It has no site left that could go back.
        return
    assert watched.state in {RolloutState.ABORTING, RolloutState.ROLLED_BACK, RolloutState.FAILED}
    for site in list(watched.states):
        watched.does(("report", site, SiteState.ROLLED_BACK, FINDINGS[0], False))
    assert watched.state == RolloutState.ROLLED_BACK


@given(
    specification=specifications(),
    stimuli=st.lists(
        st.one_of(
            st.just(("tick", 1.0)),
            st.tuples(
                st.just("report"),
                st.sampled_from(("a", "b")),
                st.sampled_from((SiteState.VERIFYING, SiteState.ACTIVE, SiteState.ACTIVE, SiteState.ROLLED_BACK)),
                st.sampled_from((NO_FINDINGS, THIN, FINDINGS[1])),
                st.booleans(),
            ),
        ),
        min_size=4,
        max_size=20,
    ),
)
def test_a_wave_passes_when_it_is_proven_or_nobody_had_anything_to_switch(specification, stimuli):
    count = len(specification.waves)
    watched = Watched(specification, [0, 0, *[1 % count] * 4] if count > 1 else [0] * 6)
    watched.does(("verb", Verb.START))
    if count == 1:
        # One wave of two sites: the others are gone.
        for site in SITES[2:]:
            watched.does(("retired", site))
    for stimulus in stimuli:
        watched.does(stimulus)
    watched.does(("tick", 1.0))
    resting = all(watched.states[site] == SiteState.ACTIVE for site in ("a", "b"))
    if resting and not watched.counted and watched.state == RolloutState.PROGRESSING:
        assert watched.phases[0] == WavePhase.PASSED
