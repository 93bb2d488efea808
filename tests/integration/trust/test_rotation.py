"""Keys are replaced, one after the other, while sites are there and while they are away."""

import pytest

from edgewise.core.errors import FailedPreconditionError, PermissionDeniedError
from edgewise.trust.keys import SigningKey
from edgewise.trust.tuf_files import sign
from support.trust_world import DAY_S, YEAR_S


def rotate_online(world):
    new = SigningKey.generated()
    # The hub holds both, until the root that names the new one is in force.
    world.reopen_hub(world.online, new)
    assert world.hub.accept_root(world.operator.rotate_online(new.public_hex)[-1]) == ""
    world.reopen_hub(new)
    world.online = new


def rotate_targets(world):
    roots = world.operator.rotate_targets()
    world.hub.accept_targets(world.operator.targets_file())
    assert world.hub.accept_root(roots[-1]) == ""


def rotate_root(world):
    assert world.hub.accept_root(world.operator.rotate_root()[-1]) == ""


ROTATIONS = [rotate_root, rotate_targets, rotate_online]


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_a_site_follows_a_rotation(world, rotate):
    digest = world.release(2)
    site = world.site()
    site.refresh()
    rotate(world)
    site.refresh()
    assert site.versions() == world.hub.versions()
    assert site.versions()["root"] == 2
    third = world.release(3)
    site.refresh()
    assert site.may_install() == ""
    assert site.manifest("pets", 2, digest).version == 2
    assert site.manifest("pets", 3, third).version == 3


@pytest.mark.parametrize("first", ROTATIONS)
@pytest.mark.parametrize("second", ROTATIONS)
def test_a_site_that_missed_two_rotations(world, first, second):
    digest = world.release(2)
    site = world.site()
    site.refresh()
    first(world)
    second(world)
    third = world.release(3)
    site.refresh()
    assert site.versions()["root"] == 3
    assert site.manifest("pets", 3, third).version == 3
    # Nothing of it is forgotten, and a new site begins from the same first root.
    again, new = world.site(), world.site("edge-2")
    new.refresh()
    for each in (again, new):
        assert each.may_install() == ""
        assert each.manifest("pets", 2, digest).version == 2


def test_a_site_that_was_away_for_years(world):
    site = world.site()
    site.refresh()
    for _ in range(3):
        world.clock.now_s += 0.9 * YEAR_S
        rotate_root(world)
        world.hub.accept_root(world.operator.renew_root()[-1])
        world.sign({})
        world.hub.renew()
    assert site.may_install()
    site.refresh()
    assert site.may_install() == ""
    assert site.versions()["root"] == 7


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_the_old_key_signs_nothing_any_more(world, rotate):
    operator = world.directory / "operator"
    old = {role: SigningKey.read(operator / f"{role}.key") for role in ("root", "targets")}
    online = world.online
    site = world.site()
    site.refresh()
    rotate(world)
    site.refresh()
    if rotate is rotate_root:
        root = world.operator.root()
        root.version += 1
        with pytest.raises(PermissionDeniedError, match="role root"):
            world.hub.accept_root(sign(root, [old["root"]]))
    elif rotate is rotate_targets:
        targets = world.operator.targets()
        targets.version += 1
        with pytest.raises(PermissionDeniedError, match="role targets"):
            world.hub.accept_targets(sign(targets, [old["targets"]]))
    else:
        world.reopen_hub(online)
        world.clock.now_s += 0.6 * DAY_S
        with pytest.raises(FailedPreconditionError, match="asks for other online keys"):
            world.hub.renew()


def test_a_targets_key_that_is_lost_is_replaced(world):
    site = world.site()
    site.refresh()
    # Nobody can sign with the old key, so the new targets.json holds under the new root only.
    roots = world.operator.rotate_targets()
    assert "sites install nothing until a targets.json is here" in world.hub.accept_root(roots[-1])
    with pytest.raises(PermissionDeniedError, match="wrong key"):
        site.refresh()
    assert site.may_install() == ""
    world.hub.accept_targets(world.operator.targets_file())
    site.refresh()
    assert site.versions() == world.hub.versions()


def test_an_online_key_that_counted_its_versions_up_is_got_rid_of(world):
    site = world.site()
    site.refresh()
    # Whoever stole it signed a timestamp that none can follow on.
    world.hub.raise_versions({"timestamp": 1_000_000, "snapshot": 1_000_000})
    site.refresh()
    saved_versions = site.versions()
    assert saved_versions["timestamp"] > 1_000_000
    new = SigningKey.generated()
    world.operator.rotate_online(new.public_hex)
    # The hub begins anew, with small numbers and the new key.
    world.hub = world.begin_hub(world.directory / "anew", new)
    site.refresh()
    assert site.versions() == {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1}
    assert site.may_install() == ""


def test_a_root_must_be_the_next(world):
    roots = [world.operator.rotate_root(), world.operator.rotate_root()][-1]
    with pytest.raises(FailedPreconditionError, match="has version 3, expected 2"):
        world.hub.accept_root(roots[2])
    for root in roots[1:]:
        world.hub.accept_root(root)
        # Handed in again, it is there.
        assert world.hub.accept_root(root) == ""
    world.site().refresh()


def test_a_root_with_online_keys_that_the_hub_does_not_hold(world):
    roots = world.operator.rotate_online(SigningKey.generated().public_hex)
    with pytest.raises(FailedPreconditionError, match="version 2 of the root asks for other online keys"):
        world.hub.accept_root(roots[-1])
    world.site().refresh()
