"""The parent of the worker processes, with workers that do next to nothing."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edgewise.gateway.workers import hold_port

# The parent forks, which a process with the threads of a test suite must not.
PROGRAM = """
import logging, os, signal, sys, time
from edgewise.core.errors import FailedPreconditionError
from edgewise.gateway.workers import Workers

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def wait_for_stop(seat):
    while os.read(seat.stop_fd, 1):
        pass

def steady(seat):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, lambda *_: say("reload", seat.number))
    say("worker", seat.number, os.getpid(), os.path.isdir(seat.directory), seat.directory)
    seat.say_ready()
    wait_for_stop(seat)
    say("stopped", seat.number)
    return 0

def complaining(seat):
    raise FailedPreconditionError("the port is taken")

def failing(seat):
    raise RuntimeError("inner words")

def stubborn(seat):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("worker", seat.number, os.getpid())
    seat.say_ready()
    while True:
        time.sleep(60)

def unhappy(seat):
    steady(seat)
    return 7 if seat.number == 1 else 0

workers = Workers(int(sys.argv[2]), globals()[sys.argv[1]], on_ready=lambda: say("ready"), drain_timeout_s=20)
workers_module = sys.modules["edgewise.gateway.workers"]
if len(sys.argv) > 3:
    workers_module._GRACE_S = workers._drain_timeout_s = float(sys.argv[3])
sys.exit(workers.run())
"""
WAIT_S = 30


class Parent:
    """A running parent, read line by line."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.said = b""

    def read(self, pattern, count=1):
        """What the pattern finds, once it has been found so many times."""
        while len(found := re.findall(pattern, self.said.decode(), re.MULTILINE)) < count:
            readable, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
            chunk = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            assert chunk, f"{pattern!r} was not said {count} times:\n{self.said.decode()}"
            self.said += chunk
        return found

    def pids(self, count):
        return [int(pid) for pid in self.read(r"^worker \d (\d+)", count)]

    def ended(self):
        rest, _ = self.process.communicate(timeout=WAIT_S)
        self.said += rest
        return self.process.returncode


@pytest.fixture
def run():
    parents = []

    def start(*words):
        parents.append(Parent(*words))
        return parents[-1]

    yield start
    for parent in parents:
        if parent.process.poll() is None:
            parent.process.kill()
            parent.process.wait()
        parent.process.stdout.close()


def test_all_start_once_and_end_together(run):
    parent = run("steady", "3")
    parent.read("^ready$")
    seats = parent.read(r"^worker (\d) (\d+) True (\S+)", 3)
    assert sorted(number for number, _, _ in seats) == ["0", "1", "2"]
    assert len({pid for _, pid, _ in seats}) == 3
    (directory,) = {directory for _, _, directory in seats}
    assert Path(directory).stat().st_mode & 0o777 == 0o700
    parent.process.send_signal(signal.SIGHUP)
    parent.read(r"^reload \d$", 3)
    parent.process.send_signal(signal.SIGTERM)
    assert parent.ended() == 0
    assert sorted(parent.read(r"^stopped (\d)$", 3)) == ["0", "1", "2"]
    assert len(parent.read("^ready$")) == 1
    assert not Path(directory).exists()


def test_one_that_died_is_started_again_and_one_alone(run):
    parent = run("steady", "2")
    parent.read("^ready$")
    first = parent.pids(2)
    os.kill(first[0], signal.SIGKILL)
    again = parent.pids(3)
    assert again[:2] == first
    assert parent.read(r"^worker (\d) \d+ ", 3)[2] == parent.read(r"^worker (\d) \d+ ", 3)[0]
    assert parent.read(r"^worker \d ended \(SIGKILL\); starting it again in ([\d.]+) s")
    # One that keeps dying is not started again at once.
    os.kill(again[2], signal.SIGKILL)
    pauses = [float(pause) for pause in parent.read(r"starting it again in ([\d.]+) s", 2)]
    assert pauses[1] > pauses[0]
    parent.pids(4)
    parent.process.send_signal(signal.SIGINT)
    assert parent.ended() == 0


def test_a_worker_ends_with_its_parent(run):
    parent = run("steady", "2")
    parent.read("^ready$")
    parent.process.kill()
    # Nobody is left who would tell them; both hold the output open until they have ended.
    parent.read(r"^stopped \d$", 2)
    parent.ended()


@pytest.mark.parametrize(("kind", "said"), [("complaining", "edgewise: the port is taken"), ("failing", "inner words")])
def test_what_keeps_one_from_starting_ends_all(run, kind, said):
    parent = run(kind, "2")
    assert parent.ended() == 1
    assert said in parent.said.decode()
    assert ("Traceback" in parent.said.decode()) is (kind == "failing")
    assert "ready" not in parent.said.decode()


def test_a_worker_that_does_not_end_is_killed(run):
    parent = run("stubborn", "2", "0.1")
    parent.read("^ready$")
    parent.process.send_signal(signal.SIGTERM)
    assert parent.ended() == 1
    assert len(parent.read(r"^worker \d did not end in time; killing it", 2)) == 2


def test_a_second_signal_kills_at_once(run):
    parent = run("stubborn", "2")
    parent.read("^ready$")
    parent.process.send_signal(signal.SIGTERM)
    parent.read("^SIGTERM: stopping")
    parent.process.send_signal(signal.SIGTERM)
    assert parent.ended() == 128 + signal.SIGTERM


def test_one_that_ends_badly_is_told_by_the_exit_code(run):
    parent = run("unhappy", "3")
    parent.read("^ready$")
    parent.process.send_signal(signal.SIGTERM)
    assert parent.ended() == 7


def test_a_held_port_is_bound_and_does_not_listen():
    port, held = hold_port("127.0.0.1", 0)
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        with socket.socket() as plain, pytest.raises(OSError, match="in use"):
            plain.bind(("127.0.0.1", port))
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", port))
            worker.listen()
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(OSError, match="."):
            hold_port("192.0.2.1", 0)
    finally:
        for one in held:
            one.close()
    assert hold_port("127.0.0.1", None) == (None, [])


def test_a_port_on_all_interfaces_is_the_same_for_both_families():
    port, held = hold_port("", 0)
    try:
        assert {one.getsockname()[1] for one in held} == {port}
    finally:
        for one in held:
            one.close()
