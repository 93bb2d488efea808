"""What goes wrong is said, ends with the exit code 1, and hangs nothing."""

import os
import signal
import time

import pytest

ASKING = ("--headless", "-u", 2, "-r", 2)


@pytest.fixture(scope="module")
def doomed(start_locust, serving):
    """Runs that cannot be, side by side; each would last a minute."""
    rest, grpc = serving.rest_url, serving.grpc_target
    words = {
        "dead server": ("rest_json", "--host", "http://127.0.0.1:9", "--engine", "open"),
        "dead gRPC server": ("oip_grpc", "--host", "127.0.0.1:9", "--engine", "closed"),
        "no host": ("rest_json", "--engine", "closed"),
        "wrong host": ("rest_image", "--host", "ftp://somewhere:21/there"),
        "bad model": ("rest_json", "--host", rest, "--model", "nope", "--engine", "open"),
        "bad gRPC model": ("tfs_grpc", "--host", grpc, "--model", "nope"),
        "no photographs": ("rest_image", "--host", rest, "--model", "tiny"),
        "gRPC port": ("rest_json", "--host", f"http://{grpc}", "--model", "tiny"),
    }
    return {name: start_locust(file, *more, *ASKING, "-t", "60s") for name, (file, *more) in words.items()}


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("dead server", "http://127.0.0.1:9 does not answer: [Errno 111] Connection refused; is --host right"),
        ("dead gRPC server", "127.0.0.1:9 does not answer"),
        ("no host", "name the server, such as --host http://127.0.0.1:8080"),
        ("wrong host", "--host 'ftp://somewhere:21/there' is no address for rest-image"),
        ("bad model", "describes no model 'nope' (404: Servable not found"),
        ("bad gRPC model", "describes no model 'nope' (NOT_FOUND: Servable not found"),
        ("no photographs", "the model 'tiny' takes no photographs"),
        ("gRPC port", "does not answer"),
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


@pytest.fixture(scope="module")
def refused(start_locust, serving):
    """Command lines that are refused."""
    words = {
        "argument --shape: the load shape 'sideways' is not understood": ("--shape", "sideways"),
        "--shape divides up the run time: give one": ("--shape", "ramp 0.1..1"),
        "--engine both compares the two at one rate": ("--engine", "both", "-t", "5s"),
        "argument --rate: '-3' is no number": ("--rate", "-3"),
        "argument --images: '/nowhere' is no directory": ("--images", "/nowhere"),
        "argument --timeout-s: '0' is no number of more than 0": ("--timeout-s", "0"),
        "argument --engine: invalid choice: 'ajar'": ("--engine", "ajar"),
    }
    return {
        said: start_locust("rest_json", "--host", serving.rest_url, "--headless", *more, csv_files=False)
        for said, more in words.items()
    }


def test_options_that_make_no_sense_are_refused(refused):
    for said, run in refused.items():
        assert run.end() == 2, run.text
        assert said in run.text
        assert "Traceback" not in run.text


@pytest.mark.parametrize("engine", ["closed", "open"])
def test_a_server_that_dies_gives_failures_until_the_end(start_locust, start_server, tiny_repository, engine):
    server = start_server("--repository", str(tiny_repository))
    words = ("--host", server.rest_url, "--model", "tiny", "--engine", engine, "--rate", 40, "--timeout-s", 1)
    run = start_locust("rest_json", *words, *ASKING, "-t", "3s")
    run.wait_for(lambda: "All users spawned" in run.text, "users ask")
    ends_s = time.monotonic() + 30
    while "tfs-rest" not in requests_of(server):
        assert time.monotonic() < ends_s
    server.stop(signal.SIGKILL)
    assert run.end() == 1, run.text
    row = run.rows()["rest-json tiny"]
    assert 0 < int(row["Failure Count"]) < int(row["Request Count"])
    assert any("refused" in text for text in run.failures()), run.failures()
    assert "Traceback" not in run.text


def requests_of(server):
    from support.rest_questions import RestQuestions

    return " ".join(RestQuestions(server.rest_url).metrics())


def engine_of(run):
    return run.wait_for(lambda: run.children("swarm.engine_process"), "the engine runs")[0]


def asked(run, serving, answered, before):
    run.wait_for(lambda: answered("tfs-rest", "tiny") > before + 5, "requests are answered")


def test_an_engine_that_dies_ends_the_test(start_locust, serving, answered):
    before = answered("tfs-rest", "tiny")
    words = ("--host", serving.rest_url, "--model", "tiny", "--engine", "open", "--rate", 50)
    run = start_locust("rest_json", *words, *ASKING, "-t", "60s")
    engine = engine_of(run)
    asked(run, serving, answered, before)
    os.kill(engine, signal.SIGKILL)
    assert run.end() == 1, run.text
    assert "the open-loop engine died (exit code -9)" in run.text
    assert "Traceback" not in run.text


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_test_counts_all_that_it_sent(start_locust, serving, answered, how):
    before = answered("tfs-rest", "tiny")
    words = ("--host", serving.rest_url, "--model", "tiny", "--engine", "open", "--rate", 50)
    run = start_locust("rest_json", *words, *ASKING)
    engine = engine_of(run)
    asked(run, serving, answered, before)
    # As a terminal does with Ctrl-C: everything that the command started gets it.
    os.killpg(run.process.pid, how)
    assert run.end() == 0, run.text
    assert int(run.rows()["rest-json tiny"]["Request Count"]) == answered("tfs-rest", "tiny") - before
    assert run.rows()["rest-json tiny"]["Failure Count"] == "0"
    assert "open    REST  rest-json tiny" in run.text
    assert not os.path.exists(f"/proc/{engine}")


def test_a_locust_that_is_killed_leaves_no_engine(start_locust, serving):
    words = ("--host", serving.rest_url, "--model", "tiny", "--engine", "open", "--rate", 50)
    run = start_locust("rest_json", *words, *ASKING)
    engine = engine_of(run)
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait()
    ends_s = time.monotonic() + 20
    while os.path.exists(f"/proc/{engine}/cmdline") and open(f"/proc/{engine}/cmdline").read():
        assert time.monotonic() < ends_s
        time.sleep(0.02)
