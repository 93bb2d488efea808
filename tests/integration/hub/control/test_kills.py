"""Killed at any point, a hub goes on where it was: nothing that moved is lost, and nothing moves twice.

The hub is killed with SIGKILL just before, or just after, its first commit or fsync, then its second, and so on until it gets through a whole
rollout, a site that joins it, and back. Sites and operator outlive it and ask again what got no answer.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def killer(tmp_path_factory):
    """What counts the calls, loaded before the C library."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: apt-get install gcc")
    library = tmp_path_factory.mktemp("killer") / "killer.so"
    source = Path(__file__).with_name("killer.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, timeout=60)
    return library


@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_commit_and_fsync(moment, killer, tmp_path):
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "support.killed_hub", tmp_path / "hub", moment],
        env={**os.environ, "LD_PRELOAD": str(killer), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=590,
    )
    assert done.returncode == 0, done.stderr
    *killed, whole = json.loads(done.stdout)
    # It got through in the end, after it was killed once at each of many points.
    assert len(killed) > 60
    assert all(one["killed"] == 1 for one in killed)
    assert whole["killed"] == 0
    assert whole["state"] == "RolledBack"
    assert whole["sites"] == dict.fromkeys(("alpha", "beta", "gamma", "late"), "RolledBack")
    assert whole["told"] == [["back"]] * 4
    assert ["site", "late", "", "Unreachable"] in whole["history"]
    for kind, subject, *_ in whole["history"]:
        assert (kind, subject) in {("rollout", "pets-two"), ("wave", "first"), ("wave", "rest")} or kind == "site"
    for one in killed:
        for what in ("state", "sites", "told", "history"):
            assert one[what] == whole[what]
