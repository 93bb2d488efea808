"""The process beside locust's, asked directly."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

LOCUSTFILES = Path(__file__).parents[3] / "loadtests" / "locustfiles"
sys.path.append(str(LOCUSTFILES))

# Legs of 300 requests; else it would take a million to come to a second one.
SMALL = "import swarm.engine_process as one; one._LEG_ROWS = 300; one.main()"


@pytest.fixture
def setup_for(serving):
    from swarm.asking import asking_for, target_of
    from swarm.engine_messages import Setup

    from edgewise.study.engine.job import Asking, Job

    def make(port=0, timeout_s=5.0):
        target = target_of(serving.rest_url, "rest-json")
        asking = asking_for("rest-json", target, "tiny", images=LOCUSTFILES, seed=1, timeout_s=20)
        if port:
            asking = Asking("http", "127.0.0.1", port, asking.path, asking.questions, content_type=asking.content_type)
        nothing = np.zeros(0, np.int64)
        return Setup(Job(asking, nothing, nothing.astype(np.uint16), timeout_s), "rest-json", "poisson", (1, 0))

    return make


@pytest.fixture
def engine():
    """A function that starts it with a setup; read its frames from its output."""
    from swarm.engine_messages import frame

    started = []

    def start(setup, program=SMALL):
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(LOCUSTFILES)},
        )
        started.append(process)
        process.stdin.write(frame(setup))
        process.stdin.flush()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def tell(process, line):
    process.stdin.write(line)
    process.stdin.flush()


def batches_until(process, enough):
    """Batches until the last one or until they are enough."""
    from swarm.engine_messages import read_frame

    found = []
    while not (found and (found[-1].ended or enough(found))):
        found.append(read_frame(process.stdout))
    return found


def total(batches):
    return sum(len(batch.state) for batch in batches)


def test_memory_is_bounded_and_nothing_is_lost_between_legs(engine, setup_for, answered):
    from edgewise.study.engine.job import State

    before = answered("tfs-rest", "tiny")
    process = engine(setup_for())
    tell(process, b"rate 800\n")
    batches = batches_until(process, lambda found: total(found) > 1000)
    tell(process, b"rate 100\nfinish\n")
    batches += batches_until(process, lambda _: False)
    assert process.wait(20) == 0
    assert batches[-1].ended
    assert batches[-1].error == ""
    assert answered("tfs-rest", "tiny") - before == total(batches) > 1000
    for batch in batches:
        assert np.all(batch.state == State.OK)
        assert np.all(batch.latency_ms > 0)
        assert np.all(batch.lag_ms >= 0)
        assert np.all(batch.length_bytes > 10)
        assert batch.errors == {}


def test_errors_are_told_as_often_as_they_happened(engine, setup_for):
    from edgewise.study.engine.job import State

    process = engine(setup_for(port=9, timeout_s=0.5))
    tell(process, b"rate 100\n")
    batches = batches_until(process, lambda found: total(found) > 30)
    tell(process, b"finish\n")
    batches += batches_until(process, lambda _: False)
    assert process.wait(20) == 0
    for batch in batches:
        assert np.all(batch.state == State.LOST)
        assert sum(batch.errors.values()) == len(batch.state)
    assert any("refused" in text for batch in batches for text in batch.errors)


def test_a_name_that_nobody_knows_is_told(engine, setup_for):
    from dataclasses import replace

    setup = setup_for()
    process = engine(replace(setup, job=replace(setup.job, asking=replace(setup.job.asking, host="nobody.invalid"))))
    (batch,) = batches_until(process, lambda _: False)
    assert "nobody.invalid" in batch.error
    assert process.wait(20) == 0


def test_it_ends_with_its_input(engine, setup_for):
    process = engine(setup_for())
    tell(process, b"rate 50\n")
    batches_until(process, lambda found: total(found) > 0)
    process.stdin.close()
    assert process.wait(20) == 0


def test_nothing_of_gevent_is_in_it():
    code = "import sys, swarm.engine_process; assert not {'gevent', 'locust', 'grpc'} & set(sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(LOCUSTFILES)}, check=True, timeout=60
    )
