"""SIGTERM: what is in flight is answered, what comes later is not accepted, and the process ends with 0."""

import os
import signal
import socket

import pytest

from edgewise.wire import health_pb2

CHECK = "/grpc.health.v1.Health/Check"


def ended(gateway):
    """The exit code, without another signal."""
    code = gateway.process.wait(30)
    gateway.process.stdout.close()
    return code


def refuses(gateway):
    """Whether the door takes no connection any more."""
    try:
        socket.create_connection(("127.0.0.1", gateway.rest_port), 5.0).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_in_flight_is_answered(start_gateway, plain_site, ask, until, in_thread, workers):
    site = plain_site()
    site.gate.clear()
    gateway = start_gateway("--edge", site.url, "--workers", workers)
    asked = ask(gateway)
    waiting = [in_thread(asked.predict) for _ in range(8)]
    until(lambda: len(site.asked) == 8)
    gateway.process.send_signal(signal.SIGTERM)
    # The doors close only after "not ready" has been shown for a while.
    until(lambda: gateway.log.count("give balancers time to notice") == int(workers))
    until(lambda: refuses(gateway))
    assert gateway.process.poll() is None
    site.gate.set()
    answers = [one.result() for one in waiting]
    assert {(answer.status, answer.site) for answer in answers} == {(200, "edge")}
    # So that the app asks elsewhere next time.
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    assert ended(gateway) == 0


def test_not_ready_is_told_before_the_doors_close(start_gateway, plain_site, ask, until, in_thread, grpc_calls):
    site = plain_site()
    site.gate.clear()
    gateway = start_gateway("--edge", site.url)
    asked, calls = ask(gateway), grpc_calls(gateway)
    assert asked.rest("/v2/health/ready").status == 200
    assert health_pb2.HealthCheckResponse.FromString(calls.call(CHECK)[0]).status == 1
    waiting = in_thread(asked.predict)
    until(lambda: site.asked)
    gateway.process.send_signal(signal.SIGTERM)
    seen = set()

    def refused():
        try:
            seen.add((asked.rest("/v2/health/ready").status, asked.rest("/health").json["status"]))
        except OSError:
            return True
        return False

    until(refused)
    assert (503, "draining") in seen
    site.gate.set()
    assert waiting.result().status == 200
    assert ended(gateway) == 0


def test_a_site_that_never_answers_is_not_waited_for_without_end(start_gateway, plain_site, ask, until, in_thread):
    site = plain_site()
    site.gate.clear()
    gateway = start_gateway("--edge", site.url, "--drain-timeout-s", "0.3")
    waiting = in_thread(ask(gateway).predict)
    until(lambda: site.asked)
    gateway.stop(timeout_s=20)
    assert isinstance(waiting.exception(), OSError)


def test_a_second_signal_ends_at_once(start_gateway, plain_site, ask, until, in_thread):
    site = plain_site()
    site.gate.clear()
    for workers in ("1", "2"):
        gateway = start_gateway("--edge", site.url, "--workers", workers)
        before = len(site.asked)
        waiting = in_thread(ask(gateway).predict)
        until(lambda before=before: len(site.asked) > before)
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda gateway=gateway: "stopping" in gateway.log)
        assert gateway.stop() == 128 + signal.SIGTERM
        assert isinstance(waiting.exception(), OSError)


def test_a_supervisor_that_signals_every_process_ends_nothing_early(
    start_gateway, plain_site, ask, until, in_thread, children_of
):
    site = plain_site()
    site.gate.clear()
    gateway = start_gateway("--edge", site.url, "--workers", "2")
    waiting = in_thread(ask(gateway).predict)
    until(lambda: site.asked)
    for pid in (gateway.process.pid, *children_of(gateway.process.pid)):
        os.kill(pid, signal.SIGTERM)
    until(lambda: gateway.log.count("give balancers time to notice") == 2)
    assert gateway.process.poll() is None
    site.gate.set()
    assert waiting.result().status == 200
    assert ended(gateway) == 0
