"""A master and two workers."""

import os
import signal
import socket

import pytest


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def distributed(start_locust, serving, answered):
    """A test that goes well and one that cannot, side by side: master, workers, and what had been answered before."""

    def start(*words):
        port = free_port()
        first = ("--master", "--expect-workers", 2, "--master-bind-host", "127.0.0.1", "--master-bind-port", port)
        asking = ("--headless", "--host", serving.rest_url, "-u", 4, "-r", 4)
        place = ("--master-port", port, "--master-host", "127.0.0.1")
        master = start_locust("rest_binary", *first, *asking, *words)
        return master, [start_locust("rest_binary", "--worker", *place, csv_files=False) for _ in range(2)]

    before = answered("oip-rest", "tiny")
    port = free_port()
    several = ("--processes", 2, "--master-bind-port", port, "--master-port", port, "--headless")
    asking = ("--host", serving.grpc_target, "--model", "tiny", "-u", 4, "-r", 4, "--engine", "open", "--rate", 40)
    interrupted = start_locust("tfs_grpc", *several, *asking), [], answered("tfs-grpc", "tiny")
    words = ("--model", "tiny", "-t", "4s", "--engine", "both", "--rate", 40, "--arrivals", "constant")
    return {
        "interrupted": interrupted,
        "well": (*start(*words), before),
        "nope": (*start("--model", "nope", "-t", "60s", "--engine", "open"), before),
    }


def test_the_workers_counts_add_up(distributed, answered):
    master, workers, before = distributed["well"]
    assert master.end() == 0, master.text
    for worker in workers:
        assert worker.end() == 0, worker.text
        assert "Traceback" not in worker.text
    asked = answered("oip-rest", "tiny") - before
    rows = master.rows()
    assert master.failures() == {}
    # What users of the closed loop ask last may be cut short.
    assert 0 <= asked - int(rows["Aggregated"]["Request Count"]) <= 4
    for engine in ("closed", "open"):
        assert int(master.engines()[engine]["requests"]) == int(rows[f"rest-binary tiny ({engine})"]["Request Count"])
    # A schedule of 40 a second for the second half; one worker alone has half of it.
    assert int(rows["rest-binary tiny (open)"]["Request Count"]) > 40 * 2 / 2


def test_a_worker_that_cannot_ask_ends_the_test(distributed):
    master, workers, _ = distributed["nope"]
    assert master.end() == 1, master.text
    for worker in workers:
        assert worker.end() in {0, 1}, worker.text
    assert "describes no model 'nope'" in master.text
    assert any("describes no model 'nope'" in text for text in master.failures())


def test_an_interrupted_test_counts_what_all_workers_sent(distributed, answered):
    run, _, before = distributed["interrupted"]
    run.wait_for(lambda: answered("tfs-grpc", "tiny") > before + 40, "requests are answered")
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.end() == 0, run.text
    row = run.rows()["tfs-grpc tiny"]
    assert int(row["Request Count"]) == int(run.engines()["open"]["requests"]) == answered("tfs-grpc", "tiny") - before
    assert row["Failure Count"] == "0"
    assert "Traceback" not in run.text
