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
    """Tests that go different ways, side by side: the master, its workers where they were started apart, answers before."""

    def forked(locustfile, *words):
        port = free_port()
        several = ("--processes", 2, "--master-bind-port", port, "--master-port", port, "--headless", "-u", 4, "-r", 4)
        return start_locust(locustfile, *several, *words, "--engine", "open", "--rate", 40)

    port = free_port()
    place = ("--master-port", port, "--master-host", "127.0.0.1")
    first = ("--master", "--expect-workers", 2, "--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    asking = ("--headless", "--host", serving.rest_url, "--model", "tiny", "-u", 4, "-r", 4, "-t", "3s")
    before = answered("oip-rest", "tiny"), answered("tfs-grpc", "tiny")
    master = start_locust("rest_binary", *first, *asking, "--engine", "both", "--rate", 40, "--arrivals", "constant")
    workers = [start_locust("rest_binary", "--worker", *place, csv_files=False) for _ in range(2)]
    return {
        "well": (master, workers, before[0]),
        "nope": forked("rest_json", "--host", serving.rest_url, "--model", "nope", "-t", "60s"),
        "interrupted": (forked("tfs_grpc", "--host", serving.grpc_target, "--model", "tiny"), before[1]),
    }


def test_a_worker_that_cannot_ask_ends_the_test(distributed):
    run = distributed["nope"]
    assert run.end() == 1, run.text
    assert "describes no model 'nope'" in run.text
    assert any("describes no model 'nope'" in text for text in run.failures())
    assert "Traceback" not in run.text


def test_an_interrupted_test_counts_what_all_workers_sent(distributed, answered):
    run, before = distributed["interrupted"]
    run.wait_for(lambda: answered("tfs-grpc", "tiny") > before + 40, "requests are answered")
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.end() == 0, run.text
    row = run.rows()["tfs-grpc tiny"]
    assert int(row["Request Count"]) == int(run.engines()["open"]["requests"]) == answered("tfs-grpc", "tiny") - before
    assert row["Failure Count"] == "0"
    assert "Traceback" not in run.text


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
    assert int(rows["rest-binary tiny (open)"]["Request Count"]) > 40 * 1.5 / 2
