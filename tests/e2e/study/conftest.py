"""The study command as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import wait_for

SCENARIO = """
title = "typed"
seed = 6
calibrate = false
[run]
duration_s = 0.5
warmup_s = 0.1
repeats = 2
timeout_s = 2
max_lag_p99_ms = 500
[sweep]
targets = ["cloud", "edge", "gateway"]
profiles = ["fibre"]
models = ["tiny"]
protocols = ["rest-json"]
loads = [30]
"""


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory):
    return tmp_path_factory.mktemp("cache-home")


class Command:
    """A running `edgewise study ...`."""

    def __init__(self, words, place, cache_home, said_to):
        self.errors = said_to / "stderr.txt"
        self.output = said_to / "stdout.txt"
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgewise", "study", *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=place,
                env={**os.environ, "XDG_CACHE_HOME": str(cache_home)},
                start_new_session=True,
            )

    def ended(self, timeout_s=120):
        """Exit code, standard output and standard error."""
        code = self.process.wait(timeout_s)
        return code, self.output.read_text(), self.errors.read_text()

    def until_said(self, text, times=1):
        wait_for(lambda: self.errors.read_text().count(text) >= times or self.process.poll() is not None, 90)
        assert self.process.poll() is None, self.errors.read_text()


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "typed.toml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture
def study(tmp_path, tmp_path_factory, cache_home):
    """Starts `edgewise study WORDS...`; ends it, and looks whether it left anything running."""
    started = []

    def start(*words):
        started.append(Command(words, tmp_path, cache_home, tmp_path_factory.mktemp("said")))
        return started[-1]

    yield start
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()
    # The parts of a study have its directory in their command lines.
    wait_for(lambda: not processes_of(tmp_path))


def processes_of(place):
    """Processes whose command line names a place."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                words = Path(entry.path, "cmdline").read_bytes()
            except OSError:
                continue
            if str(place).encode() in words:
                found.append(int(entry.name))
    return found
