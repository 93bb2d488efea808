"""An operator, a hub and its sites."""

import pytest

from support.trust_world import World


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def believing(world):
    """A site that trusts release 2, and the digest of its manifest."""
    digest = world.release(2)
    site = world.site()
    site.refresh()
    site.manifest("pets", 2, digest)
    return site, digest
