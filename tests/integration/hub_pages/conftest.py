"""A hub with pages and a few sites."""

import pytest

from support.pages_world import World


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def small_world(world):
    """Two sites in two waves, and two releases."""
    world.site("alpha", ring="first")
    world.site("beta")
    world.release(1)
    world.release(2)
    return world
