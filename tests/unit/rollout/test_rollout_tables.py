"""The tables: every state can be left or is an end, and the pictures are drawn from them."""

import re

import pytest

from edgewise.core.rollout import rollout_state, site_state
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import AGENT_STATES, SiteEvent, SiteState, can_have_become


@pytest.mark.parametrize(
    ("module", "states", "ends"),
    [
        (site_state, SiteState, {SiteState.SUPERSEDED}),
        (rollout_state, RolloutState, {RolloutState.ROLLED_BACK}),
    ],
)
def test_every_state_is_reached_and_left(module, states, ends):
    reached = set(module.TRANSITIONS.values())
    left = {before for before, _ in module.TRANSITIONS}
    first = next(iter(states))
    assert reached | {first} == set(states)
    assert set(states) - left == ends
    arrows = re.findall(r"^    (\w+) --> (\w+): (\w+)$", module.diagram(), re.MULTILINE)
    assert sorted(arrows) == sorted((before, after, event) for (before, event), after in module.TRANSITIONS.items())


def test_every_open_state_can_fall_silent_and_every_one_can_be_taken_over():
    silent = {before for before, event in site_state.TRANSITIONS if event == SiteEvent.SILENT}
    assert silent == set(SiteState) - {SiteState.UNREACHABLE, SiteState.ROLLED_BACK, SiteState.SUPERSEDED}
    overtaken = {before for before, event in site_state.TRANSITIONS if event == SiteEvent.SUPERSEDED}
    assert overtaken == set(SiteState) - {SiteState.SUPERSEDED}


def test_every_agent_state_can_go_back():
    back = {before for before, event in site_state.TRANSITIONS if event == SiteEvent.REVERTED}
    assert back >= AGENT_STATES - {SiteState.ROLLED_BACK}


@pytest.mark.parametrize(
    ("before", "reported", "possible"),
    [
        (SiteState.PENDING, SiteState.ACTIVE, True),
        (SiteState.STAGED, SiteState.DOWNLOADING, True),
        (SiteState.DOWNLOADING, SiteState.ROLLED_BACK, True),
        (SiteState.FAILED, SiteState.ACTIVE, True),
        (SiteState.ACTIVE, SiteState.ACTIVE, True),
        (SiteState.ACTIVE, SiteState.VERIFYING, False),
        (SiteState.ROLLED_BACK, SiteState.ACTIVE, False),
        (SiteState.ACTIVATING, SiteState.STAGED, True),  # it failed, and tried again
        (SiteState.ROLLED_BACK, SiteState.STAGED, False),
    ],
)
def test_what_a_site_may_have_become_unheard(before, reported, possible):
    assert can_have_become(before, reported) is possible
