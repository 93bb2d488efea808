"""Killed at any point, the writers and the reader of a spool lose nothing that was accepted, and double nothing."""

import os
import tempfile
from pathlib import Path

import pytest

from support.deadly_calls import printed

# In memory where that can be: thousands of fsyncs would only wait for the disk, and what a killed process wrote is there either way.
SHM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_point(moment):
    with tempfile.TemporaryDirectory(dir=SHM) as directory:
        points = int(printed([str(Path(__file__).parent / "dying_spool.py")], directory, moment))
    # It was killed often, and got through in the end.
    assert points > 80


def test_killed_at_any_time_with_two_writers_and_a_reader_beside_each_other():
    with tempfile.TemporaryDirectory(dir=SHM) as directory:
        lives = int(printed([str(Path(__file__).parent / "dying_writers.py")], directory))
    assert lives >= 10
