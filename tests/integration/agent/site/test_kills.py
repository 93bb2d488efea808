"""Killed at any point of an update or of a way back, an agent leaves a site that serves, and the next one brings it to where it is to be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "deadly_points.py"
TESTS = Path(__file__).parents[3]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("what", ["update", "gate", "undo"])
def test_killed_at_every_point(what, moment, tmp_path):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path), what, moment],
        capture_output=True,
        text=True,
        check=False,
        timeout=390,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stderr[-5000:]
    # It was killed often, and got through in the end.
    assert int(done.stdout) > (50 if what == "update" else 20)
