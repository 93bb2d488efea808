"""Enemies that send without end, or so slowly that it never ends.

After each of them the site believes what it believed before, and is whole again once the enemy is gone.
"""

import pytest
from tuf.api.metadata import Metadata, MetaFile

from edgewise.core.errors import (
    PermissionDeniedError,
    UnavailableError,
)
from edgewise.trust.tuf_files import sign
from support.trust_world import World, still_whole


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    try:
        while not handler.world.over.is_set():
            handler.wfile.write(b" " * 65536)
    except OSError:
        pass


@pytest.mark.parametrize("name", ["timestamp.json", "3.snapshot.json", "3.targets.json", "2.root.json"])
def test_endless_data(world, believing, name):
    site, digest = believing
    world.release(3)
    world.answers[name] = endless
    with pytest.raises(PermissionDeniedError, match=f"{name} is refused: it is longer than it may be"):
        site.refresh()
    assert site.manifest("pets", 2, digest).version == 2
    world.answers.clear()
    site.refresh()
    assert site.may_install() == ""


def test_endless_data_in_a_target(world, believing):
    site, _digest = believing
    third = world.release(3)
    site.refresh()
    world.answers[f"{third}.3.json"] = endless
    with pytest.raises(PermissionDeniedError, match="longer than it may be"):
        site.manifest("pets", 3, third)
    world.answers.clear()
    assert site.manifest("pets", 3, third).version == 3


def test_endless_data_that_a_stolen_online_key_allows(world, believing):
    site, digest = believing
    stamp = Metadata.from_bytes(world.hub.read("timestamp.json")).signed
    stamp.version += 1
    stamp.snapshot_meta = MetaFile(stamp.snapshot_meta.version + 1, length=1 << 50)
    world.answers["timestamp.json"] = sign(stamp, [world.online])
    world.answers[f"{stamp.snapshot_meta.version}.snapshot.json"] = endless
    with pytest.raises(PermissionDeniedError, match="longer than it may be"):
        site.refresh()
    assert site.manifest("pets", 2, digest).version == 2


def trickle(first):
    """Answers with one byte after the other, without end, after what comes first."""

    def answer(handler):
        try:
            handler.connection.sendall(first)
            while not handler.world.over.wait(0.01):
                handler.connection.sendall(b"x")
        except OSError:
            pass

    return answer


@pytest.mark.parametrize(
    "first",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Endless: ", b""],
    ids=["body", "head", "nothing"],
)
def test_slow_retrieval(world, believing, first):
    digest = believing[1]
    site = world.site(grace_s=0.3, stall_s=30.0, slowest_bytes_per_s=10_000.0)
    world.answers["timestamp.json"] = trickle(first)
    with pytest.raises(UnavailableError, match=r"timestamp\.json came too slowly and was given up|cannot be reached"):
        site.refresh()
    still_whole(world, site, digest)


def test_slow_retrieval_over_a_connection_that_was_used_before(world, believing):
    digest = believing[1]
    site = world.site(grace_s=0.3, stall_s=30.0)
    # The root before it goes over the same connection, which was made for that.
    world.answers["timestamp.json"] = trickle(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    with pytest.raises(UnavailableError, match="slow retrieval"):
        site.refresh()
    still_whole(world, site, digest)


@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 200 OK\r\nX-Endless: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"]
)
def test_slow_retrieval_over_tls(tmp_path, authority, first):
    world = World(tmp_path, authority=authority("trust"))
    try:
        digest = world.release(2)
        world.site().refresh()
        world.answers["timestamp.json"] = trickle(first)
        with pytest.raises(UnavailableError, match="slow retrieval"):
            world.site(grace_s=0.3, stall_s=30.0, slowest_bytes_per_s=10_000.0).refresh()
        world.answers.clear()
        site = world.site()
        site.refresh()
        assert site.manifest("pets", 2, digest).version == 2
    finally:
        world.close()


def test_a_hub_that_keeps_silent_is_given_up(world, believing):
    digest = believing[1]
    site = world.site(stall_s=0.2)
    world.answers["timestamp.json"] = lambda handler: handler.world.over.wait(20)
    with pytest.raises(UnavailableError, match="slow retrieval"):
        site.refresh()
    world.over.set()
    assert site.manifest("pets", 2, digest).version == 2
