"""Whatever is told, lost and started anew, in whatever order: a site serves whole versions all the time, and ends where it is told to."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.site_state import SiteState
from support.played_site import MODEL, Life, Scene

HAPPENINGS = st.lists(
    st.one_of(
        st.sampled_from(
            ["a turn", "some turns", "agent restarts", "hub away", "hub back", "gateway restarts", "server restarts"]
        ),
        st.tuples(st.sampled_from(["first", "second"]), st.sampled_from(list(Want))),
    ),
    max_size=25,
)


@pytest.fixture(scope="module", params=[0.0, 0.9], ids=["good", "bad"])
def scene(request):
    """A site that serves version 1, and a hub with a version 2 that is well, or fails."""
    with tempfile.TemporaryDirectory() as name:
        scene = Scene(Path(name), errors=request.param)
        scene.keep()
        yield scene


def carry_on(scene, happenings):
    """What became of it: the agent, and the order that was given last."""
    life, order = Life(scene), None
    for happening in happenings:
        match happening:
            case "a turn":
                life.turn()
            case "some turns":
                life.turns(8)
            case "agent restarts":
                life = Life(scene)
            case "hub away":
                scene.hub.away = True
            case "hub back":
                scene.hub.away = False
            case "gateway restarts":
                life.played.restart_gateway()
            case "server restarts":
                life.played.restart_server()
            case (rollout, want):
                order = replace(scene.order, rollout=rollout, want=want)
                scene.hub.want(order)
        # At every moment a version answers that is loaded, and all that is loaded is whole: `Life.turn` asserts it.
        assert life.played.status(MODEL).loaded
    return life, order


# The next rollout comes before the first one has let its old version go.
@example(happenings=[("first", Want.STAGE), "a turn", ("first", Want.RUN), "a turn", "some turns"])
@given(happenings=HAPPENINGS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_serves_all_the_time_and_ends_where_it_is_told_to(scene, happenings):
    scene.put_back()
    scene.hub.away = False
    scene.hub.want()
    life, order = carry_on(scene, happenings)
    scene.hub.away = False
    last = replace(order or scene.order, rollout="last", want=Want.GRANTED)
    scene.hub.want(last)
    if scene.errors:
        life.until(lambda life: life.state("last") in {SiteState.ROLLED_BACK, SiteState.ACTIVE})
        # Active where it ran before this rollout began, whoever had granted that.
        expected = 1 if life.state("last") == SiteState.ROLLED_BACK else 2
        life.until(lambda life: life.serves(expected))
    else:
        life.until(lambda life: life.state("last") == SiteState.ACTIVE and life.serves(2))
    scene.hub.want(replace(last, want=Want.BACK))
    life.until(lambda life: life.state("last") == SiteState.ROLLED_BACK)
    assert life.serves(1) or life.serves(2)
