"""Killed at any point of an update or of a way back, an agent leaves a site that serves, and the next one brings it to where it is to be."""

from pathlib import Path

import pytest

from support.deadly_calls import printed

PROGRAM = Path(__file__).parent / "dying_agent.py"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("what", ["update", "gate", "undo"])
def test_killed_at_every_point(what, moment, tmp_path):
    points = int(printed([str(PROGRAM)], str(tmp_path), what, moment, timeout_s=390))
    # It was killed often, and got through in the end.
    assert points > (50 if what == "update" else 20)
