"""Enemies between a site and its hub, and on the hub: a named test for each attack.

After each of them the site believes what it believed before, and is whole again once the enemy is gone.
"""

import hashlib
import shutil

import pytest
from tuf.api.metadata import Metadata, MetaFile, Targets

from edgewise.agent.site.desired import DesiredStore
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import (
    EdgewiseError,
    FailedPreconditionError,
    PermissionDeniedError,
)
from edgewise.trust.keys import SigningKey
from edgewise.trust.tuf_files import DESIRED_KEYS, POLICY, sign
from support.trust_world import DAY_S, current, flipped, manifest, saved_file, still_whole

# Rollback.


def test_rollback_to_an_old_signed_state(world, believing):
    site, _digest = believing
    saved = world.saved()
    third = world.release(3)
    site.refresh()
    world.answers["timestamp.json"] = saved_file(saved, "timestamp.json")
    with pytest.raises(PermissionDeniedError, match="timestamp.json is refused.*rollback"):
        site.refresh()
    assert site.manifest("pets", 3, third).version == 3
    world.answers.clear()
    site.refresh()


def test_rollback_to_an_old_signed_state_after_the_cache_was_lost(world, believing):
    site, _digest = believing
    saved = world.saved()
    world.release(3)
    site.refresh()
    # python-tuf remembers nothing; what was trusted last still does.
    shutil.rmtree(world.site_directory() / "metadata")
    for name in ("timestamp.json", *current(world)):
        world.answers[name] = saved_file(saved, name) if (saved / "metadata" / name).exists() else None
    with pytest.raises(PermissionDeniedError, match="was seen before .rollback."):
        world.site().refresh()
    world.answers.clear()
    site.refresh()
    assert site.may_install() == ""


def test_rollback_to_an_old_signed_release_below_the_floor(world, believing):
    site, digest = believing
    old = world.release(1)
    site.refresh()
    assert site.manifest("pets", 1, old).version == 1
    world.sign({POLICY: world.documents({"pets": 2})[POLICY]})
    site.refresh()
    # The release is signed, and so may be the order: the hub itself may have been taken over.
    with pytest.raises(PermissionDeniedError, match="pets/1 is below version 2, the floor that the signed policy sets"):
        site.manifest("pets", 1, old)
    still_whole(world, site, digest)


def test_rollback_of_targets_by_a_stolen_online_key(world, believing):
    site, _digest = believing
    saved = world.saved()
    world.release(3)
    site.refresh()
    # Newer snapshots and timestamps, which name the older targets.
    world.restored(saved)
    assert "targets (3)" in world.hub.raise_versions(site.versions())
    with pytest.raises(PermissionDeniedError, match=r"snapshot\.json is refused.*rollback"):
        site.refresh()


def test_an_older_desired_state_is_refused(world, believing):
    site, _ = believing
    assert site.open_desired(world.desired(generation=8), seen_generation=7).generation == 8
    with pytest.raises(PermissionDeniedError, match="has generation 6, and 7 was followed already"):
        site.open_desired(world.desired(generation=6), seen_generation=7)


def test_the_desired_state_of_another_site_is_refused(world, believing):
    site, _ = believing
    with pytest.raises(PermissionDeniedError, match="is that of the site 'edge-2', and this is 'edge-1'"):
        site.open_desired(world.desired(site="edge-2"))


# Freeze, expired metadata.


def test_freeze(world, believing):
    site, digest = believing
    frozen = {name: world.hub.read(name) for name in ("timestamp.json", *current(world))}
    world.release(3)
    world.answers.update(frozen)
    # For as long as the frozen state is fresh there is nothing to be seen.
    site.refresh()
    assert site.may_install() == ""
    world.clock.now_s += 1.1 * DAY_S
    with pytest.raises(FailedPreconditionError, match="expired .*an old state that is held on to"):
        site.refresh()
    assert "timestamp metadata have expired" in site.may_install()
    assert site.manifest("pets", 2, digest).version == 2
    world.answers.clear()
    world.hub.renew()
    site.refresh()
    assert site.may_install() == ""


def test_freeze_with_the_timestamp_of_a_bundle(world, believing):
    site, digest = believing
    carried = world.hub.carried(world.clock() + 30 * DAY_S)
    world.answers["timestamp.json"] = carried
    # Also where the site has not seen its version, and where it has.
    for _ in range(2):
        for each in (site, world.site(), world.site("new")):
            with pytest.raises(PermissionDeniedError, match=r"signed for a bundle.*came over the network"):
                each.refresh()
        del world.answers["timestamp.json"]
        site.refresh()
        world.answers["timestamp.json"] = carried
    # Nobody remembers it: what the site has is good for a day.
    world.clock.now_s += 2 * DAY_S
    assert "the timestamp metadata have expired" in site.may_install()
    assert "the timestamp metadata have expired" in world.site().may_install()
    still_whole(world, site, digest)


def test_freeze_with_the_desired_state_of_a_bundle(world, believing):
    site, _digest = believing
    store = DesiredStore(StateDirectory(world.directory / "agent"), site)
    assert store.accept(world.desired(generation=7))
    for generation in (7, 8):
        with pytest.raises(PermissionDeniedError, match=r"signed for a bundle.*refused over the network"):
            store.accept(world.desired(generation=generation, expires_s=30 * DAY_S, carried=True))
    world.clock.now_s += 7 * DAY_S
    assert "has expired" in site.stale(DesiredStore(StateDirectory(world.directory / "agent"), site).desired)


@pytest.mark.parametrize(("days", "role"), [(2, "timestamp"), (8, "timestamp"), (400, "root")])
def test_expired_metadata(world, believing, days, role):
    site, digest = believing
    world.clock.now_s += days * DAY_S
    with pytest.raises(FailedPreconditionError, match="nothing new is installed"):
        site.refresh()
    assert f"the {role} metadata have expired" in site.may_install()
    # What runs goes on: all of it can be read.
    assert site.manifest("pets", 2, digest).version == 2
    assert site.floor("pets") == 0


def test_expired_targets_are_refused_by_sites_and_renewed_offline(world, believing):
    site, _digest = believing
    world.clock.now_s += 300 * DAY_S
    world.hub.accept_root(world.operator.renew_root()[-1])
    world.clock.now_s += 100 * DAY_S
    world.hub.renew()
    with pytest.raises(FailedPreconditionError, match=r"targets\.json leads to metadata that have expired"):
        site.refresh()
    assert "metadata have expired" in site.may_install()
    world.sign({})
    site.refresh()
    assert site.may_install() == ""


# Mix-and-match.


def test_mix_and_match_of_snapshots(world, believing):
    site, digest = believing
    old = world.hub.read(current(world)[0])
    world.release(3)
    world.answers[current(world)[0]] = old
    with pytest.raises(PermissionDeniedError, match=r"snapshot\.json is refused.*mixed from several times"):
        site.refresh()
    assert site.manifest("pets", 2, digest).version == 2
    world.answers.clear()
    site.refresh()
    assert site.may_install() == ""


def test_mix_and_match_of_targets(world, believing):
    site, digest = believing
    old = world.hub.read(current(world)[1])
    world.release(3)
    world.answers[current(world)[1]] = old
    with pytest.raises(PermissionDeniedError, match=r"targets\.json is refused.*mixed from several times"):
        site.refresh()
    assert site.manifest("pets", 2, digest).version == 2
    world.answers.clear()
    site.refresh()
    assert site.may_install() == ""


def test_another_manifest_than_the_one_ordered(world, believing):
    site, _digest = believing
    with pytest.raises(PermissionDeniedError, match="that is signed is not the one that is ordered"):
        site.manifest("pets", 2, "0" * 64)


# Wrong key.


def resigned(content, *keys):
    return sign(Metadata.from_bytes(content).signed, keys)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_wrong_key(world, believing, role):
    site, digest = believing
    enemy = SigningKey.generated()
    world.release(3)
    if role == "timestamp":
        signed = Metadata.from_bytes(world.hub.read("timestamp.json")).signed
        signed.version += 1
        world.answers["timestamp.json"] = sign(signed, [enemy])
    elif role == "root":
        signed = Metadata.from_bytes(world.hub.read("1.root.json")).signed
        signed.version += 1
        # The enemy's key is in the root that it signs, as the first of all.
        from edgewise.trust.tuf_files import public_key

        signed.add_key(public_key(enemy.public_hex), "root")
        world.answers["2.root.json"] = sign(signed, [enemy])
    else:
        # The online key is stolen as well, so that lengths and digests fit; still not everything may be signed with it.
        signing_key = enemy if role == "snapshot" else world.online
        name = current(world)[1]
        targets = resigned(world.hub.read(name), enemy if role == "targets" else SigningKey.generated())
        snapshot = Metadata.from_bytes(world.hub.read(current(world)[0])).signed
        snapshot.meta["targets.json"] = MetaFile.from_data(snapshot.meta["targets.json"].version, targets, ["sha256"])
        content = sign(snapshot, [signing_key])
        stamp = Metadata.from_bytes(world.hub.read("timestamp.json")).signed
        stamp.snapshot_meta = MetaFile.from_data(snapshot.version, content, ["sha256"])
        stamp.version += 1
        world.answers[current(world)[0]] = content
        world.answers[name] = targets
        world.answers["timestamp.json"] = sign(stamp, [world.online])
    with pytest.raises(PermissionDeniedError, match=r"is not signed by enough of the keys.*wrong key"):
        site.refresh()
    assert site.manifest("pets", 2, digest).version == 2


def test_fewer_signatures_than_the_threshold(world):
    second = SigningKey.generated()
    from edgewise.trust.tuf_files import public_key

    root = Metadata.from_bytes(world.hub.read("1.root.json")).signed
    root.version += 1
    root.add_key(public_key(second.public_hex), "targets")
    root.roles["targets"].threshold = 2
    key = SigningKey.read(world.directory / "operator" / "root.key")
    assert "sites install nothing until a targets.json is here" in world.hub.accept_root(sign(root, [key]))
    with pytest.raises(PermissionDeniedError, match=r"targets\.json is refused.*wrong key"):
        world.site().refresh()
    with pytest.raises(PermissionDeniedError, match="role targets, 2 needed"):
        world.hub.accept_targets(world.operator.add_targets({}))
    both = [SigningKey.read(world.directory / "operator" / "targets.key"), second]
    world.hub.accept_targets(resigned(world.operator.targets_file(), *both))
    site = world.site()
    site.refresh()
    assert site.may_install() == ""


def test_a_desired_state_signed_by_anyone_else_is_refused(world, believing):
    site, _ = believing
    for key in (SigningKey.generated(), world.online):
        with pytest.raises(PermissionDeniedError, match="not signed by a key that may sign it"):
            site.open_desired(world.desired(key=key))


# Tampering on the way.


@pytest.mark.parametrize("name", ["timestamp.json", "3.snapshot.json", "3.targets.json"])
@pytest.mark.parametrize(
    "change", [flipped, lambda _: b"", lambda _: b"{" * 2000, lambda _: b"\xff\x00", lambda c: c[:-9]]
)
def test_tampered_metadata(world, believing, name, change):
    site, digest = believing
    world.release(3)
    world.answers[name] = change(world.hub.read(name))
    with pytest.raises(PermissionDeniedError, match=f"{name} is refused"):
        site.refresh()
    assert site.manifest("pets", 2, digest).version == 2
    world.answers.clear()
    site.refresh()
    assert site.may_install() == ""


@pytest.mark.parametrize("path", [POLICY, DESIRED_KEYS])
def test_tampered_documents(world, believing, path):
    site, digest = believing
    content = world.documents({"pets": 2})[path]
    key = SigningKey.generated()
    if path == DESIRED_KEYS:
        from edgewise.protocols.trusted_documents import encode_desired_keys

        content = encode_desired_keys([world.desired_key.public_hex, key.public_hex])
    world.sign({path: content})
    world.answers[f"{hashlib.sha256(content).hexdigest()}.{path}"] = flipped(content)
    with pytest.raises(PermissionDeniedError, match=f"{path} is refused"):
        site.refresh()
    # Neither the new document nor the metadata that name it are believed.
    assert site.floor("pets") == 0
    still_whole(world, site, digest)


def test_tampered_target(world, believing):
    site, _digest = believing
    third = world.release(3)
    site.refresh()
    world.answers[f"{third}.3.json"] = flipped(manifest(3))
    with pytest.raises(PermissionDeniedError, match=r"3\.json is refused.*tampered"):
        site.manifest("pets", 3, third)
    world.answers.clear()
    assert site.manifest("pets", 3, third).version == 3


def test_a_manifest_under_another_releases_name(world, believing):
    site, _digest = believing
    # Nobody signs that by mistake: the hub refuses it. A site does not rely on it.
    content = manifest(2)
    signed = world.operator.add_targets({"releases/pets/9.json": content})
    with pytest.raises(EdgewiseError, match=r"releases/pets/9\.json"):
        world.hub.put_target("releases/pets/9.json", content)
    world.answers[f"{hashlib.sha256(content).hexdigest()}.9.json"] = content
    _publish_unseen(world, signed)
    site.refresh()
    with pytest.raises(PermissionDeniedError, match="signed as pets/9 is that of pets/2"):
        site.manifest("pets", 9, hashlib.sha256(content).hexdigest())


def test_names_that_lead_out_of_the_directory(world, believing):
    site, digest = believing
    signed = Metadata[Targets].from_bytes(world.operator.add_targets({})).signed
    signed.targets["policy.json"].hashes["sha256"] = "../../../../escaped"
    key = SigningKey.read(world.directory / "operator" / "targets.key")
    _publish_unseen(world, sign(signed, [key]))
    with pytest.raises(EdgewiseError):
        site.refresh()
    assert not list(world.directory.rglob("*escaped*"))
    with pytest.raises(EdgewiseError):
        site.manifest("../../pets", 2, digest)


def _publish_unseen(world, targets):
    """What a hub gives out that was taken over, with its online key."""
    stamp = Metadata.from_bytes(world.hub.read("timestamp.json")).signed
    snapshot = Metadata.from_bytes(world.hub.read(current(world)[0])).signed
    version = Metadata.from_bytes(targets).signed.version
    snapshot.version += 1
    snapshot.meta["targets.json"] = MetaFile.from_data(version, targets, ["sha256"])
    content = sign(snapshot, [world.online])
    stamp.version += 1
    stamp.snapshot_meta = MetaFile.from_data(snapshot.version, content, ["sha256"])
    world.answers[f"{version}.targets.json"] = targets
    world.answers[f"{snapshot.version}.snapshot.json"] = content
    world.answers["timestamp.json"] = sign(stamp, [world.online])
