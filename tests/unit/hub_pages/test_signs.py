import pytest

from edgewise.core.rollout.events import Verb, WavePhase
from edgewise.core.rollout.gates import Verdict
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import SiteState
from edgewise.hub.pages.signs import VERB_WORDS, Kind, LinkState, WaveEnd, sign

STATES = {
    Kind.SITE: SiteState,
    Kind.ROLLOUT: RolloutState,
    Kind.WAVE: (*WavePhase, *WaveEnd),
    Kind.VERDICT: Verdict,
    Kind.LINK: LinkState,
}


@pytest.mark.parametrize("kind", Kind)
def test_every_state_has_a_sign_by_the_word_that_pages_get(kind):
    for state in STATES[kind]:
        shown = sign(kind.value, state.value)
        assert len(shown.mark) == 1
        assert shown.meaning


def test_states_of_a_site_are_told_apart_without_colour():
    marks = [sign(Kind.SITE, state).mark for state in SiteState]
    assert len(set(marks)) == len(marks)


def test_what_failed_means_depends_on_what_failed():
    assert sign(Kind.SITE, "Failed").meaning != sign(Kind.ROLLOUT, "Failed").meaning


def test_every_verb_says_what_will_happen():
    for verb in Verb:
        assert VERB_WORDS[verb].follows
