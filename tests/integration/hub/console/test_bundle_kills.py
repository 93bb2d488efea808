"""Killed at any point, a site that takes a bundle in has whole blobs and orders that it can follow, and the next try ends well.

A process is killed with SIGKILL just before, or just after, its first call that changes the disk, then its second, and so on until it gets
through. Each time what is left is looked at, and the bundle is taken in once more.
"""

import json

import pytest

from support.deadly_calls import printed

PROGRAM = """
import hashlib, os, shutil, sys
from pathlib import Path

from edgewise.agent.bundles import BASE_URL, BundleSource, import_bundle
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.trust.releases import TrustedReleases
from support.deadly_calls import print_seen

bundle, template, root_sha256, moment = sys.argv[1:]
place = Path(template).with_name("now")

def take():
    state = StateDirectory(place)
    with state.locked():
        trust = lambda source: TrustedReleases(
            state.tuf, BASE_URL, source, site="factory-7", root_sha256=root_sha256
        )
        return import_bundle(Path(bundle), state, trust, site="factory-7", tier="edge")

def look():
    blobs = place / "blobs" / "sha256"
    names = sorted(os.listdir(blobs)) if blobs.exists() else []
    whole = all(hashlib.sha256((blobs / name).read_bytes()).hexdigest() == name for name in names)
    generation = None
    if (place / "desired.json").exists():
        trusted = TrustedReleases(
            place / "tuf", BASE_URL, BundleSource(place, frozenset()), site="factory-7", root_sha256=root_sha256
        )
        desired = trusted.open_desired((place / "desired.json").read_bytes())
        order = desired.orders[0]
        release = trusted.manifest(order.model, order.version, order.manifest_sha256)
        assert {file.sha256 for file in release.variant("edge").files} <= set(names)
        generation = desired.generation
    return [whole, len(names), generation, (place / ".import").exists()]

def put_back():
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)

put_back()
print_seen(moment, take, look=look, again=take, put_back=put_back)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_point_while_it_takes_a_bundle_in(bundle, site, moment):
    seen = json.loads(printed(["-c", PROGRAM], str(bundle()), str(site.state.root), site.root_sha256, moment))
    assert len(seen) > 20
    assert [killed for killed, *_ in seen] == [True] * (len(seen) - 1) + [False]
    # Killed before the orders came as well as after.
    assert {generation for _, (_, _, generation, _), _ in seen} == {None, 17}
    for _, (whole, _, _, _), after in seen:
        assert whole
        assert after == [True, 2, 17, False]
