"""Killed at any point, a site that takes a bundle in has whole blobs and orders that it can follow, and the next try ends well.

A process is killed with SIGKILL just before, or just after, its first call that changes the disk, then its second, and so on until it gets
through. Each time what is left is looked at, and the bundle is taken in once more.
"""

import json
import subprocess
import sys

import pytest

# Forks a child for each point: this process has no threads, and importing once keeps it quick.
PROGRAM = """
import hashlib, json, os, shutil, signal, sys
from pathlib import Path

from edgewise.agent.bundles import BASE_URL, BundleSource, import_bundle
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.trust.releases import TrustedReleases

bundle, template, root_sha256, moment = sys.argv[1:]
place = Path(template).with_name("now")
CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "remove", "rmdir", "link", "symlink", "open")

def take():
    state = StateDirectory(place)
    with state.locked():
        trust = lambda source: TrustedReleases(
            state.tuf, BASE_URL, source, site="factory-7", root_sha256=root_sha256
        )
        return import_bundle(Path(bundle), state, trust, site="factory-7", tier="edge")

def deadly(name, left):
    call = getattr(os, name)
    def called(*words, **options):
        left[0] -= 1
        if left[0] == 0 and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return call(*words, **options)
        finally:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    return called

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

seen = []
for point in range(1, 1000):
    shutil.copytree(template, place)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            left = [point]
            for name in CALLS:
                setattr(os, name, deadly(name, left))
            take()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or os.WEXITSTATUS(status) == 0
    before = look()
    take()
    seen.append([killed, before, look()])
    shutil.rmtree(place)
    if not killed:
        break
print(json.dumps(seen))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_point_while_it_takes_a_bundle_in(bundle, site, moment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle()), str(site.state.root), site.root_sha256, moment],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen) > 20
    assert [killed for killed, *_ in seen] == [True] * (len(seen) - 1) + [False]
    # Killed before the orders came as well as after.
    assert {generation for _, (_, _, generation, _), _ in seen} == {None, 17}
    for _, (whole, _, _, _), after in seen:
        assert whole
        assert after == [True, 2, 17, False]
