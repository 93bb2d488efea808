"""What a bundle tells a site that never has a link."""

import pytest

from edgewise.core.rollout.events import Want
from support.control_world import QUIET, Site, opened

ENDING = QUIET.replace("{", "{{").replace("}", "}}") + "\nsilent_after: 10s\n"
IN_TURN = "model: pets\nversion: {version}\nwaves: [{{name: all, at_once: 100%}}]\n" + ENDING
AT_ONCE = "model: pets\nversion: {version}\nprestage: false\nwaves: [{{name: all, at_once: 100%}}]\n" + ENDING


def carried(world, site):
    desired = opened(world.plane.carried(site, world.now_s + 3600.0))
    assert desired.carried
    return [(order.rollout, order.version, order.want) for order in desired.orders]


def over_the_link(world, site):
    desired = opened(world.plane.desired(site, world.now_s, asking=False)[1])
    return [(order.rollout, order.version, order.want) for order in desired.orders]


@pytest.fixture
def world(small_world):
    """A third site is enrolled, and never says anything."""
    Site("island", small_world.ask).join()
    return small_world


def complete(world, name="two"):
    world.pass_s(30)
    assert world.plane.rollout(name).state == "Completed"
    assert world.states(name) == {"alpha": "Active", "beta": "Active", "island": "Unreachable"}


def test_it_is_told_to_run_the_release_once_its_wave_has_passed(world):
    world.begin(name="two", text=IN_TURN)
    assert carried(world, "island") == [("two", 2, Want.STAGE)]
    complete(world)
    assert carried(world, "island") == [("two", 2, Want.GRANTED)]
    assert over_the_link(world, "island") == [("two", 2, Want.STAGE)]
    world.restart()
    assert carried(world, "island") == [("two", 2, Want.GRANTED)]


def test_where_nothing_is_fetched_beforehand_it_is_told_so_as_well(world):
    world.begin(name="two", text=AT_ONCE)
    assert carried(world, "island") == [("two", 2, Want.RUN)]
    complete(world)
    assert carried(world, "island") == [("two", 2, Want.GRANTED)]


def test_what_is_undone_is_carried_as_undone(world):
    world.begin(name="two", text=IN_TURN)
    complete(world)
    world.command("two", "undo")
    assert carried(world, "island") == [("two", 2, Want.BACK)]


def test_a_site_with_a_link_is_carried_what_it_is_told(world):
    world.begin(name="two", text=IN_TURN)
    complete(world)
    assert carried(world, "alpha") == over_the_link(world, "alpha")
