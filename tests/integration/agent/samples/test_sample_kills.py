"""Killed at any point of an upload, hub and agent bring every sample to the hub, once, with its picture."""

from pathlib import Path

import pytest

from support.deadly_calls import printed

PROGRAM = Path(__file__).parent / "dying_upload.py"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("who", ["hub", "agent"])
def test_killed_at_every_point(who, tmp_path):
    # It was killed often, and got through in the end.
    assert int(printed([str(PROGRAM)], str(tmp_path), who, timeout_s=190)) > 8
