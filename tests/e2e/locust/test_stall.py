"""A server that stands still for a second: what the closed loop hides, the open one shows."""

import signal
import time

import pytest

STALL_S = 1.0


@pytest.fixture(scope="module")
def stalled(start_locust, start_server, tiny_repository):
    """A run of each engine over the same stall, 40 requests a second for four seconds."""
    from support.rest_questions import RestQuestions

    server = start_server("--repository", str(tiny_repository))
    words = ("--host", server.rest_url, "--model", "tiny", "--headless", "-u", 1, "-r", 1, "-t", "4s", "--rate", 40)
    runs = {
        "closed": (start_locust("rest_json", "--engine", "closed", *words), "tfs-rest"),
        "open": (start_locust("rest_binary", "--engine", "open", "--arrivals", "constant", *words), "oip-rest"),
    }
    for run, protocol in runs.values():
        asked = f"protocol={protocol}"
        run.wait_for(
            lambda asked=asked: asked in " ".join(RestQuestions(server.rest_url).metrics()), "requests are answered"
        )
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(STALL_S)  # the stall itself
    server.process.send_signal(signal.SIGCONT)
    return {name: run for name, (run, _) in runs.items()}


def test_both_saw_it(stalled):
    for engine, run in stalled.items():
        assert run.end() == 0, run.text
        assert float(run.engines()[engine]["max_ms"]) > STALL_S * 1000 * 0.8


def test_one_request_of_the_closed_loop_and_a_quarter_of_the_schedule_waited(stalled):
    for run in stalled.values():
        assert run.end() == 0, run.text
    closed, opened = (run.rows()["Aggregated"] for run in stalled.values())
    # A quarter of the requests was due within the stall, their waits spread evenly over it; the closed loop's one user asked
    # once in that second.
    assert float(opened["90%"]) > STALL_S * 1000 * 0.3
    assert float(closed["90%"]) < STALL_S * 1000 * 0.3
    assert float(stalled["open"].engines()["open"]["p99_ms"]) > STALL_S * 1000 * 0.7
