"""Locust as a user starts it: always in processes of its own, since importing it patches what it is imported into."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCUSTFILES = ROOT / "loadtests" / "locustfiles"
WAIT_S = 60.0


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@dataclass
class Run:
    """A locust process and the files that it writes."""

    process: subprocess.Popen[bytes]
    directory: Path

    @property
    def text(self):
        """Standard output and standard error."""
        return (self.directory / "output").read_text(errors="replace")

    def end(self, timeout_s=WAIT_S):
        """Its exit code."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"locust did not end; it said:\n{self.text[-6000:]}")

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def rows(self):
        """Locust's own table by name, "Aggregated" among them."""
        return {row["Name"]: row for row in read_csv(self.directory / "run_stats.csv")}

    def engines(self):
        """Our table by engine."""
        return {row["engine"]: row for row in read_csv(self.directory / "run_engines.csv")}

    def failures(self):
        """Texts of failures with their counts."""
        return {row["Error"]: int(row["Occurrences"]) for row in read_csv(self.directory / "run_failures.csv")}

    def wait_for(self, what, described):
        """The first true value of a function while the process lives."""
        ends_s = time.monotonic() + WAIT_S
        while not (found := what()):
            if self.process.poll() is not None or time.monotonic() > ends_s:
                self.kill()
                pytest.fail(f"never true: {described}; locust said:\n{self.text[-6000:]}")
            time.sleep(0.02)
        return found

    def children(self, words):
        """Processes that it started whose command line holds the words."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, ValueError):
                continue
            if parent == self.process.pid and words in line:
                found.append(int(place.name))
        return found


@pytest.fixture(scope="module")
def start_locust(tmp_path_factory):
    """A function that starts `locust -f LOCUSTFILES WORDS...` without standard input."""
    started = []

    def start(locustfile, *words, csv_files=True):
        directory = tmp_path_factory.mktemp("locust")
        files = ",".join(str(LOCUSTFILES / f"{one}.py") for one in locustfile.split(","))
        more = ("--csv", str(directory / "run")) if csv_files else ()
        with (directory / "output").open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "locust", "-f", files, *more, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=directory,
                start_new_session=True,
            )
        run = Run(process, directory)
        started.append(run)
        return run

    yield start
    for run in started:
        run.kill()


@pytest.fixture(scope="session")
def repository(tmp_path_factory, pets_repository):
    """Pets, and tiny beside it."""
    from edgewise.model_server.building import tiny

    directory = tmp_path_factory.mktemp("both") / "models"
    shutil.copytree(pets_repository, directory)
    tiny.build(directory, version=1)
    return directory


@pytest.fixture(scope="session")
def serving(start_server, repository):
    return start_server("--repository", str(repository))


@pytest.fixture(scope="session")
def host(serving):
    """What `--host` says for a locustfile."""
    return lambda locustfile: serving.grpc_target if "grpc" in locustfile else serving.rest_url


@pytest.fixture(scope="session")
def answered(serving):
    """How many predictions the server has given so far over one protocol."""
    from support.rest_questions import RestQuestions

    def count(protocol, model):
        found = RestQuestions(serving.rest_url).metrics()
        labels = f"code=OK,method=Predict,model={model},protocol={protocol}"
        return int(found.get(f"edgewise_server_requests_total{{{labels}}}", 0))

    return count
