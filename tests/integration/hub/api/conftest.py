"""One hub for the tests of a module, each of which uses names of its own."""

import pytest

from support.api_world import ApiWorld


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = ApiWorld(tmp_path_factory.mktemp("hub"))
    with world.serving():
        world.open_clients()
        yield world
        world.close_clients()
