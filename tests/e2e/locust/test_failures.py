"""What goes wrong is said, ends with the exit code 1, and hangs nothing."""

import os
import signal
import time
from pathlib import Path

import pytest

ASKING = ("--headless", "-u", 2, "-r", 2)


@pytest.fixture(scope="module")
def deserted(start_locust, start_server, tiny_repository):
    """A run of each engine whose server died when it had answered both."""
    server = start_server("--repository", str(tiny_repository))
    words = ("--host", server.rest_url, "--model", "tiny", "--rate", 40, "--timeout-s", 1, *ASKING, "-t", "6s")
    runs = [
        start_locust("rest_json", "--engine", "open", *words),
        start_locust("rest_binary", "--engine", "closed", *words),
    ]
    for run, protocol in zip(runs, ("tfs-rest", "oip-rest"), strict=True):
        run.wait_for(lambda protocol=protocol: asked_over(server, protocol), f"requests over {protocol} are answered")
    server.stop(signal.SIGKILL)
    return runs


@pytest.fixture(scope="module")
def endless(deserted, start_locust, serving, answered):
    """Runs that go on until something ends them, and the answers before to those that are interrupted."""
    before = {over: answered(over, "tiny") for over in ("tfs-rest", "oip-rest")}
    words = ("--model", "tiny", "--engine", "open", "--rate", 50, *ASKING)
    runs = {
        "engine dies": start_locust("oip_grpc", "--host", serving.grpc_target, *words),
        "locust dies": start_locust("oip_grpc", "--host", serving.grpc_target, *words),
        "tfs-rest": start_locust("rest_json", "--host", serving.rest_url, *words),
        "oip-rest": start_locust("rest_binary", "--host", serving.rest_url, *words),
    }
    return runs, before


@pytest.fixture(scope="module")
def doomed(deserted, endless, start_locust, serving):
    """Runs that cannot be, side by side, and beside those that would go on; each would last a minute."""
    rest, grpc = serving.rest_url, serving.grpc_target
    words = {
        "dead server": ("rest_json", "--host", "http://127.0.0.1:9", "--engine", "open"),
        "dead gRPC server": ("oip_grpc", "--host", "127.0.0.1:9", "--engine", "closed"),
        "bad model": ("rest_json", "--host", rest, "--model", "nope", "--engine", "open"),
        "bad gRPC model": ("tfs_grpc", "--host", grpc, "--model", "nope"),
    }
    runs = {name: start_locust(file, *more, *ASKING, "-t", "60s") for name, (file, *more) in words.items()}
    runs["bad options"] = start_locust("rest_json", "--host", rest, "--headless", "--shape", "ramp 0.1..1")
    return runs


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("dead server", "http://127.0.0.1:9 does not answer: [Errno 111] Connection refused; is --host right"),
        ("dead gRPC server", "127.0.0.1:9 does not answer"),
        ("bad model", "describes no model 'nope' (404: Servable not found"),
        ("bad gRPC model", "describes no model 'nope' (NOT_FOUND: Servable not found"),
    ],
)
def test_a_test_that_cannot_be_ends_at_once_and_says_why(doomed, which, said):
    run = doomed[which]
    assert run.end() == 1, run.text
    assert said in run.text
    assert "Traceback" not in run.text
    (failure,) = run.failures()
    assert said in failure
    assert run.rows()["Aggregated"]["Failure Count"] == "1"


def test_options_that_make_no_sense_are_refused(doomed):
    run = doomed["bad options"]
    assert run.end() == 2, run.text
    assert "--shape divides up the run time: give one" in run.text
    assert "Traceback" not in run.text


def asked_over(server, protocol):
    from support.rest_questions import RestQuestions

    return f"protocol={protocol}" in " ".join(RestQuestions(server.rest_url).metrics())


def engine_of(run):
    return run.wait_for(lambda: run.children("swarm.engine_process"), "the engine runs")[0]


def lives(process):
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False


def test_whoever_dies_the_other_ends(endless):
    engine_dies, locust_dies = (endless[0][name] for name in ("engine dies", "locust dies"))
    os.kill(engine_of(engine_dies), signal.SIGKILL)
    orphan = engine_of(locust_dies)
    os.kill(locust_dies.process.pid, signal.SIGKILL)
    assert engine_dies.end() == 1, engine_dies.text
    assert "the open-loop engine died (exit code -9)" in engine_dies.text
    assert "Traceback" not in engine_dies.text
    ends_s = time.monotonic() + 20
    while lives(orphan):
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def test_an_interrupted_test_counts_all_that_it_sent(endless, answered):
    runs, answered_before = endless
    for over, how in (("tfs-rest", signal.SIGINT), ("oip-rest", signal.SIGTERM)):
        run, before = runs[over], answered_before[over]
        engine = engine_of(run)
        run.wait_for(lambda over=over, before=before: answered(over, "tiny") > before + 5, "requests are answered")
        # As a terminal does with Ctrl-C: everything that the command started gets it.
        os.killpg(run.process.pid, how)
        assert run.end() == 0, run.text
        row = run.rows()["Aggregated"]
        assert int(row["Request Count"]) == answered(over, "tiny") - before
        assert row["Failure Count"] == "0"
        assert "open    REST  rest-" in run.text
        assert not lives(engine)


def test_a_server_that_dies_gives_failures_until_the_end(deserted):
    for run in deserted:
        assert run.end() == 1, run.text
        row = run.rows()["Aggregated"]
        assert 0 < int(row["Failure Count"]) < int(row["Request Count"])
        assert any("refused" in text for text in run.failures()), run.failures()
        assert "Traceback" not in run.text
