"""A site refreshes from a hub that means well: what it believes, what it keeps, what it does without the hub."""

import hashlib

import pytest

from edgewise.core.errors import (
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from edgewise.trust.tuf_files import DESIRED_KEYS, POLICY
from support.trust_world import DAY_S


def cut(handler):
    handler.connection.close()


def test_a_site_pins_the_root_and_believes_what_is_signed(world):
    digest = world.release(2)
    site = world.site()
    assert site.may_install().startswith("nothing is trusted yet")
    site.refresh()
    assert site.may_install() == ""
    release = site.manifest("pets", 2, digest)
    assert (release.model, release.version) == ("pets", 2)
    assert site.versions() == world.hub.versions() == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}
    with pytest.raises(NotFoundError, match="pets/3 is not among the releases"):
        site.manifest("pets", 3, digest)


def test_what_is_known_already_is_not_fetched_again(world):
    digest = world.release(2)
    site = world.site()
    site.refresh()
    site.manifest("pets", 2, digest)
    world.asked.clear()
    site.refresh()
    site.manifest("pets", 2, digest)
    assert world.asked == ["2.root.json", "timestamp.json"]


def test_a_new_release_is_seen_at_the_next_refresh(world):
    site = world.site()
    site.refresh()
    digest = world.release(2)
    with pytest.raises(NotFoundError):
        site.manifest("pets", 2, digest)
    site.refresh()
    assert site.manifest("pets", 2, digest).version == 2


def test_without_the_hub_a_site_reads_what_it_trusts(world):
    digest = world.release(2)
    world.sign({POLICY: world.documents({"pets": 2})[POLICY]})
    site = world.site()
    site.refresh()
    site.manifest("pets", 2, digest)
    world.clock.now_s += 3 * DAY_S
    for name in ("2.root.json", "timestamp.json"):
        world.answers[name] = cut
    again = world.site()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        again.refresh()
    assert again.floor("pets") == 2
    assert again.manifest("pets", 2, digest).version == 2
    assert again.open_desired(world.desired()).generation == 1
    assert again.versions() == world.hub.versions()
    # May run, may not install.
    assert "timestamp metadata have expired at 2026-12-02T12:00:00Z" in again.may_install()
    world.answers.clear()
    world.hub.renew()
    again.refresh()
    assert again.may_install() == ""


def test_a_hub_that_is_not_there_is_unavailable(world):
    site = world.site()
    world.stop_hub()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        site.refresh()


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, PermissionDeniedError, "is its token still valid"),
        (503, UnavailableError, "the hub answered 503"),
        (302, FailedPreconditionError, "is the URL that of a hub"),
        (404, FailedPreconditionError, "the hub answered 404 when asked for timestamp.json"),
    ],
)
def test_statuses_say_what_is_wrong(world, status, kind, words):
    world.answers["timestamp.json"] = lambda handler: handler.refuse(status)
    with pytest.raises(kind, match=words):
        world.site().refresh()


def test_the_policy_sets_the_floor(world):
    digest = world.release(1)
    site = world.site()
    site.refresh()
    assert site.floor("pets") == 0
    assert site.manifest("pets", 1, digest).version == 1
    world.sign({POLICY: world.documents({"pets": 2})[POLICY]})
    site.refresh()
    assert (site.floor("pets"), site.floor("dogs")) == (2, 0)


def test_desired_states_of_this_site_are_opened(world):
    site = world.site()
    with pytest.raises(FailedPreconditionError, match="nothing is trusted yet"):
        site.open_desired(world.desired())
    site.refresh()
    desired = site.open_desired(world.desired(generation=7), seen_generation=7)
    assert (desired.generation, desired.orders[0].model) == (7, "pets")
    assert site.stale(desired) == ""
    world.clock.now_s += 8 * DAY_S
    assert site.stale(desired) == "the desired state of generation 7 has expired at 2026-12-08T12:00:00Z"


def test_the_key_that_signs_desired_states_is_exchanged_by_a_signed_document(world):
    from edgewise.protocols.trusted_documents import encode_desired_keys
    from edgewise.trust.keys import SigningKey

    old, new = world.desired_key, SigningKey.generated()
    site = world.site()
    site.refresh()
    with pytest.raises(PermissionDeniedError, match="not signed by a key that may"):
        site.open_desired(world.desired(key=new))
    world.sign({DESIRED_KEYS: encode_desired_keys([old.public_hex, new.public_hex])})
    site.refresh()
    for key in (old, new):
        assert site.open_desired(world.desired(key=key)).generation == 1
    world.sign({DESIRED_KEYS: encode_desired_keys([new.public_hex])})
    site.refresh()
    with pytest.raises(PermissionDeniedError):
        site.open_desired(world.desired(key=old))


def test_only_the_pinned_root_begins_a_site(world):
    world.answers["1.root.json"] = b'{"signed": {}}'
    with pytest.raises(PermissionDeniedError, match="not the one that was pinned"):
        world.site().refresh()
    assert hashlib.sha256(world.hub.read("1.root.json")).hexdigest() == world.site()._root_sha256
