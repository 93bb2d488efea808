"""Enemies at a site: what lies on its disk is changed, and its clock is wrong.

After each of them the site believes what it believed before, and is whole again once the enemy is gone.
"""

import json
import shutil

import pytest
from tuf.api.metadata import Metadata, Timestamp

from edgewise.agent.trust.releases import PROGRAM_MADE
from edgewise.core.errors import (
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
)
from edgewise.protocols.documents import time_s
from edgewise.trust.tuf_files import SIGNED_FIELD, moment, sign
from support.trust_world import DAY_S, YEAR_S, Clock, World, current, flipped, manifest, still_whole


@pytest.mark.parametrize(
    "name",
    [
        "trusted.json",
        "metadata/timestamp.json",
        "metadata/snapshot.json",
        "metadata/targets.json",
        "metadata/root_history/1.root.json",
        "metadata/root_history/2.root.json",
        "metadata/root.json",
    ],
)
@pytest.mark.parametrize("how", ["flipped", "empty", "directory", "garbage"])
def test_tampered_cache_on_disk(world, believing, name, how):
    digest = believing[1]
    world.hub.accept_root(world.operator.rotate_root()[-1])
    world.site().refresh()
    path = world.site_directory() / name
    content = path.read_bytes()
    path.unlink()
    if how == "directory":
        (path / "inside").mkdir(parents=True)
    else:
        path.write_bytes({"flipped": flipped(content), "empty": b"", "garbage": b"\x00[[["}[how])
    site = world.site()
    if name == "trusted.json":
        assert site.may_install().startswith("nothing is trusted yet")
    site.refresh()
    assert site.may_install() == ""
    still_whole(world, site, digest)


def test_a_cache_of_other_keys_is_never_trusted(world, believing, tmp_path):
    digest = believing[1]
    (tmp_path / "enemy").mkdir()
    enemy = World(tmp_path / "enemy")
    try:
        other = enemy.release(2, "dogs")
        theirs = enemy.site()
        theirs.refresh()
        theirs.manifest("dogs", 2, other)
        # Everything the enemy's site trusts, signed and whole, put in place of what this one does.
        shutil.rmtree(world.site_directory())
        shutil.copytree(enemy.site_directory(), world.site_directory())
    finally:
        enemy.close()
    site = world.site()
    assert site.may_install().startswith("nothing is trusted yet")
    with pytest.raises(FailedPreconditionError):
        site.manifest("dogs", 2, other)
    site.refresh()
    with pytest.raises(NotFoundError):
        site.manifest("dogs", 2, other)
    still_whole(world, site, digest)


def test_tampered_manifest_on_disk(world, believing):
    site, digest = believing
    path = world.site_directory() / "targets" / "releases" / "pets" / f"{digest}.2.json"
    path.write_bytes(flipped(path.read_bytes()))
    world.asked.clear()
    assert site.manifest("pets", 2, digest).version == 2
    assert world.asked == [f"{digest}.2.json"]
    assert path.read_bytes() == manifest(2)


# Clocks.


def test_a_clock_fifty_years_back_makes_nothing_valid_again(world, believing):
    digest = believing[1]
    clock = Clock(world.clock() - 50 * YEAR_S)
    site = world.site(clock=clock)
    assert "this machine's clock says 1976-" in site.may_install()
    with pytest.raises(FailedPreconditionError, match="until the clock is right"):
        site.refresh()
    # What was valid then has expired by what this site knows, whatever its clock says.
    frozen = {name: world.hub.read(name) for name in ("timestamp.json", *current(world))}
    world.clock.now_s += 2 * DAY_S
    world.hub.renew()
    with pytest.raises(FailedPreconditionError, match="until the clock is right"):
        site.refresh()
    world.answers.update(frozen)
    with pytest.raises(PermissionDeniedError, match="rollback"):
        site.refresh()
    # It runs on, and its clock being right again it installs.
    assert site.manifest("pets", 2, digest).version == 2
    assert site.open_desired(world.desired()).generation == 1
    clock.now_s = world.clock()
    still_whole(world, site, digest)


def test_a_clock_fifty_years_back_at_the_first_start(world):
    site = world.site(clock=Clock(world.clock() - 50 * YEAR_S))
    with pytest.raises(FailedPreconditionError, match="this machine's clock says 1976-"):
        site.refresh()
    assert f"past {world.hub_signed()} certainly" in site.may_install()


def test_expired_metadata_stay_expired_before_anything_was_seen(world):
    # Ten days before the program was made is what the enemy's metadata were valid for.
    made_s = time_s(PROGRAM_MADE)
    stamp = Metadata[Timestamp].from_bytes(world.hub.read("timestamp.json")).signed
    stamp.expires = moment(made_s - 10 * DAY_S)
    stamp.unrecognized_fields.pop(SIGNED_FIELD)
    world.answers["timestamp.json"] = sign(stamp, [world.online])
    with pytest.raises(FailedPreconditionError, match="expired"):
        world.site(clock=Clock(made_s - 20 * DAY_S)).refresh()


def test_a_clock_two_years_ahead_stops_installing_only(world, believing):
    digest = believing[1]
    site = world.site(clock=Clock(world.clock() + 2 * YEAR_S))
    with pytest.raises(
        FailedPreconditionError,
        match=r"this machine's clock says 2028-.* and the hub's 2026-12-01T12:00:00Z: is this machine's right",
    ):
        site.refresh()
    assert "is this machine's right?" in site.may_install()
    assert site.manifest("pets", 2, digest).version == 2
    desired = site.open_desired(world.desired())
    assert "has expired" in site.stale(desired)
    still_whole(world, world.site(), digest)


def test_a_clock_that_is_a_little_behind_is_no_matter(world, believing):
    digest = believing[1]
    site = world.site(clock=Clock(world.clock() - 1800))
    site.refresh()
    assert site.may_install() == ""
    still_whole(world, site, digest)


@pytest.mark.parametrize("now_s", [-1e30, 1e30, float("inf")])
def test_a_clock_that_no_calendar_has(world, believing, now_s):
    site = world.site(clock=Clock(now_s))
    with pytest.raises(FailedPreconditionError):
        site.refresh()
    assert site.may_install()
    assert json.dumps(site.versions())
