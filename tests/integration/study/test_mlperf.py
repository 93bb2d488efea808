"""MLPerf's load generator against real servers, and against ones that are away, refuse, or stall."""

import contextlib
import json
import math
import os
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from edgewise.core.errors import CancelledError, DeadlineExceededError, EdgewiseError, InternalError, UnavailableError
from edgewise.core.requests import ModelSpec, PredictRequest
from edgewise.protocols.oip_grpc import encode_infer_request
from edgewise.study import mlperf
from edgewise.study.cells import Cell
from edgewise.study.engine.job import Asking, Question
from edgewise.study.scenario import MlperfSpec
from support.sockets import free_port
from support.waiting import wait_for

pytest.importorskip("mlperf_loadgen")

QUESTIONS = 6
INFER = "/inference.GRPCInferenceService/ModelInfer"
SPEC = MlperfSpec((), target_latency_ms=200.0, target_qps=100.0, min_duration_s=0.3, min_queries=64)


def cell(protocol="rest-json"):
    return Cell("edge", "", "tiny", protocol, 1.0, 1.0)


def over_rest(port, model="tiny"):
    bodies = [json.dumps({"instances": [[float(number)] * 8]}).encode() for number in range(QUESTIONS)]
    questions = [Question(body, f"{number}") for number, body in enumerate(bodies)]
    return Asking("http", "127.0.0.1", port, f"/v1/models/{model}:predict", questions, content_type="application/json")


def over_grpc(port, model="tiny"):
    def message(number):
        x = np.full((1, 8), number, np.float32)
        return encode_infer_request(PredictRequest(ModelSpec(model), {"x": x}, "serving_default"))

    return Asking("grpc", "127.0.0.1", port, INFER, [Question(message(number)) for number in range(QUESTIONS)])


@pytest.fixture(scope="module")
def server(start_server, tiny_repository):
    return start_server("--repository", str(tiny_repository), "--threads", "1")


BREAK = (0, b"")


class Stub(BaseHTTPRequestHandler):
    """Answers as its server's `answer` says: a status and a body, BREAK, or None for never."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked += 1
        answer = self.server.answer(self.server.asked)
        if answer is None:
            self.server.over.wait()
        if answer in {None, BREAK}:
            self.close_connection = True
            return
        status, body = answer
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def stub():
    """Starts a server that answers as a function of the request's number says; gives its port."""
    started = []

    def start(answer):
        service = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
        service.daemon_threads = True
        service.block_on_close = False
        service.handle_error = lambda *_: None
        service.answer, service.asked, service.over = answer, 0, threading.Event()
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        started.append((service, thread))
        return service.server_address[1]

    yield start
    for service, thread in started:
        service.over.set()
        service.shutdown()
        thread.join()
        service.server_close()


def consistent(verdict):
    """What holds of every verdict over a run, valid or not."""
    said = "Result is : VALID" in verdict.lines
    assert said != ("Result is : INVALID" in verdict.lines)
    assert verdict.valid == (not verdict.reasons)
    assert verdict.valid == (said and not verdict.failed)
    assert verdict.queries >= SPEC.min_queries or verdict.scenario == "Offline"
    assert verdict.duration_s > 0
    assert verdict.latencies_ms[0.5] <= verdict.latencies_ms[0.9] <= verdict.latencies_ms[0.99]
    return True


# --- a server that is well ---


def test_a_single_stream_asks_one_after_another(server, tmp_path):
    verdict = mlperf.run("SingleStream", cell(), over_rest(server.rest_port), SPEC, tmp_path)

    assert consistent(verdict)
    assert verdict.valid, verdict.reasons
    assert verdict.samples == verdict.queries
    assert verdict.value * verdict.queries * 1e-3 > 0.1, "the latencies of a lone stream add up to its duration"
    assert verdict.duration_s > 0.9 * SPEC.min_duration_s
    assert math.isnan(verdict.accuracy)
    logs = tmp_path / verdict.directory / "performance"
    assert {file.name for file in logs.iterdir()} >= {"mlperf_log_summary.txt", "mlperf_log_detail.txt", "user.conf"}
    summary = (logs / "mlperf_log_summary.txt").read_text()
    assert "SUT name : Network SUT: tiny at edge over rest-json" in summary
    assert "\n".join(verdict.lines) in summary


def test_a_server_scenario_keeps_loadgens_own_schedule_over_grpc(server, tmp_path):
    # Whatever else the machine does, 2 s are enough; so are 459 queries for early stopping.
    spec = MlperfSpec((), target_latency_ms=2000.0, target_qps=600.0, min_duration_s=1.0, min_queries=459)

    verdict = mlperf.run("Server", cell("oip-grpc"), over_grpc(server.grpc_port), spec, tmp_path)

    assert consistent(verdict)
    assert verdict.valid, verdict.reasons
    assert verdict.value == pytest.approx(600, rel=0.2), "a Poisson schedule, whatever the server does"
    assert verdict.queries >= 459


@pytest.mark.parametrize("scenario", ["MultiStream", "Offline"])
def test_queries_of_several_samples_are_asked_sample_by_sample(server, tmp_path, scenario):
    verdict = mlperf.run(scenario, cell(), over_rest(server.rest_port), SPEC, tmp_path)

    assert consistent(verdict)
    assert not verdict.failed
    assert verdict.samples == 8 * verdict.queries if scenario == "MultiStream" else verdict.samples >= 64


def test_the_accuracy_mode_judges_the_answer_to_each_question(server, tmp_path):
    judged = {}

    def right(index, body):
        judged[index] = json.loads(body)["predictions"]
        return None if index == 0 else index != 1

    verdict = mlperf.run("SingleStream", cell(), over_rest(server.rest_port), SPEC, tmp_path, right=right)

    assert sorted(judged) == list(range(QUESTIONS))
    assert all(math.isclose(sum(rows[0]), 1, abs_tol=1e-5) for rows in judged.values()), "tiny's own answers"
    assert len({json.dumps(rows) for rows in judged.values()}) == QUESTIONS
    assert verdict.labelled == QUESTIONS - 1
    assert verdict.accuracy == pytest.approx(4 / 5)
    assert (tmp_path / verdict.directory / "accuracy" / "mlperf_log_accuracy.json").exists()


# --- servers that are not ---


@pytest.mark.parametrize(
    ("asking", "why"), [(over_rest, "no connection to .*: connection refused"), (over_grpc, "no connection to .*: Con")]
)
def test_a_server_that_is_not_there_is_told_at_once(tmp_path, asking, why):
    start_s = time.monotonic()

    with pytest.raises(UnavailableError, match=why):
        mlperf.run("Server", cell(), asking(free_port()), SPEC, tmp_path)

    assert time.monotonic() - start_s < 10


@pytest.mark.parametrize(("over", "why"), [("rest", "HTTP 404: Servable not found"), ("grpc", "gRPC status 5: ")])
def test_a_server_that_answers_errors_only_is_told_with_its_words(server, tmp_path, over, why):
    asking = over_rest(server.rest_port, "nobody") if over == "rest" else over_grpc(server.grpc_port, "nobody")

    with pytest.raises(UnavailableError, match=f"gave no prediction before SingleStream: {why}"):
        mlperf.run("SingleStream", cell(), asking, SPEC, tmp_path)


def test_a_server_that_never_answers_is_told_after_one_timeout(stub, tmp_path):
    port = stub(lambda _: None)

    with pytest.raises(UnavailableError, match=r"no answer within 0\.3 s"):
        mlperf.run("Server", cell(), over_rest(port), SPEC, tmp_path, timeout_s=0.3)


def test_errors_amid_a_run_make_it_invalid_whatever_loadgen_says(stub, tmp_path):
    port = stub(
        lambda number: (503, b'{"error": "the queue is full"}') if number % 10 == 0 and number > 50 else (200, b"{}")
    )

    verdict = mlperf.run("Server", cell(), over_rest(port), SPEC, tmp_path)

    assert consistent(verdict)
    assert not verdict.valid
    assert 0 < verdict.failed < verdict.samples
    assert verdict.reasons[0] == (
        f"{verdict.failed} of {verdict.samples} samples got no prediction "
        f"({verdict.failed}: HTTP 503: the queue is full)"
    )


def test_connections_that_break_amid_a_run_are_failures(stub, tmp_path):
    port = stub(lambda number: BREAK if number % 10 == 0 and number > 50 else (200, b"{}"))

    verdict = mlperf.run("SingleStream", cell(), over_rest(port), SPEC, tmp_path)

    assert consistent(verdict)
    assert 0 < verdict.failed < verdict.samples
    assert "the connection was closed by the server before the answer was complete" in verdict.reasons[0]


def test_a_server_that_stalls_amid_a_run_is_given_up_in_bounded_time(stub, tmp_path):
    port = stub(lambda number: (200, b"{}") if number <= 30 else None)
    start_s = time.monotonic()

    verdict = mlperf.run("SingleStream", cell(), over_rest(port), SPEC, tmp_path, timeout_s=0.5)

    assert time.monotonic() - start_s < 20
    assert consistent(verdict)
    assert not verdict.valid
    assert "no answer within 0.5 s" in verdict.reasons[0]
    assert "given up: the run took longer than" in verdict.reasons[0]


# --- the process that loadgen runs in ---


@pytest.fixture
def processes(monkeypatch):
    """The processes that are started for loadgen."""
    started = []
    plain = subprocess.Popen

    def popen(*words, **settings):
        started.append(plain(*words, **settings))
        return started[-1]

    monkeypatch.setattr(mlperf.subprocess, "Popen", popen)
    return started


@contextlib.contextmanager
def in_background(call):
    """Gives a list that holds what the call raised or returned, once it ended."""
    ended = []

    def work():
        try:
            ended.append(call())
        except EdgewiseError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield ended
    thread.join(30)
    assert not thread.is_alive()


def test_a_crash_is_told_and_takes_nothing_along(server, tmp_path, processes):
    spec = MlperfSpec((), target_qps=50.0, min_duration_s=60.0)
    running = tmp_path / "mlperf" / "edge_tiny_rest-json_Server" / "performance" / "user.conf"

    with in_background(lambda: mlperf.run("Server", cell(), over_rest(server.rest_port), spec, tmp_path)) as ended:
        wait_for(running.exists)
        os.kill(processes[0].pid, signal.SIGABRT)

    assert isinstance(ended[0], InternalError)
    assert "ended with code -6 amid Server" in str(ended[0])
    assert processes[0].poll() == -signal.SIGABRT


def test_a_hang_is_ended(server, tmp_path, processes, monkeypatch):
    monkeypatch.setattr(mlperf, "_START_S", 0.5)
    asking = over_rest(server.rest_port)

    with in_background(lambda: mlperf.run("Server", cell(), asking, SPEC, tmp_path, timeout_s=0.05)) as ended:
        wait_for(lambda: processes)
        os.kill(processes[0].pid, signal.SIGSTOP)

    assert isinstance(ended[0], DeadlineExceededError)
    assert "was ended" in str(ended[0])
    assert processes[0].poll() == -signal.SIGKILL


def test_a_run_can_be_stopped(server, tmp_path, processes):
    spec = MlperfSpec((), target_qps=50.0, min_duration_s=60.0)
    stop = threading.Event()
    asking = over_rest(server.rest_port)

    with in_background(lambda: mlperf.run("Server", cell(), asking, spec, tmp_path, stop=stop)) as ended:
        wait_for(lambda: processes)
        stop.set()

    assert isinstance(ended[0], CancelledError)
    assert processes[0].poll() is not None


def test_the_process_ends_with_whoever_asked_for_it(server, tmp_path, processes):
    spec = MlperfSpec((), target_qps=50.0, min_duration_s=60.0)
    running = tmp_path / "mlperf" / "edge_tiny_rest-json_Server" / "performance" / "user.conf"

    with in_background(lambda: mlperf.run("Server", cell(), over_rest(server.rest_port), spec, tmp_path)) as ended:
        wait_for(running.exists)
        # As when who holds the other end is killed.
        processes[0].stdin.close()

    assert isinstance(ended[0], InternalError)
    assert processes[0].poll() == 1


def test_the_logs_of_an_earlier_run_are_not_taken_for_this_ones(server, tmp_path):
    asking = over_rest(server.rest_port)
    logs = tmp_path / mlperf.run("SingleStream", cell(), asking, SPEC, tmp_path).directory / "performance"
    summary = logs / "mlperf_log_summary.txt"
    assert summary.exists()

    with pytest.raises(UnavailableError):
        mlperf.run("SingleStream", cell(), over_rest(free_port()), SPEC, tmp_path)

    assert not summary.exists()
