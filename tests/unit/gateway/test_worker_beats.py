"""A service manager looks at the parent, and the parent at its workers."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from support.waiting import wait_for

# The parent forks, which a process with the threads of a test suite must not.
PROGRAM = """
import asyncio, logging, os, sys
from edgewise.gateway.workers import Workers
from edgewise.net.lifecycle import run

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")

def work(seat):
    async def main(stop):
        os.write(1, f"worker {seat.number} {os.getpid()}\\n".encode())
        loop = asyncio.get_running_loop()
        loop.add_reader(seat.stop_fd, lambda: (loop.remove_reader(seat.stop_fd), stop.set("told")))
        seat.keep_beating(loop)
        await stop.wait()
    return run(main)

sys.exit(Workers(2, work, on_ready=lambda: print("ready", flush=True), drain_timeout_s=20).run())
"""


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(f"{tmp_path}/notify")
        made.settimeout(20.0)
        yield made


@pytest.fixture
def parent(manager):
    environment = {**os.environ, "NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1500000"}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    os.set_blocking(process.stdout.fileno(), False)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def said(parent):
    heard = bytearray()

    def find(pattern, count=1):
        def look():
            heard.extend(parent.stdout.read() or b"")
            found = re.findall(pattern, heard.decode())
            return found if len(found) >= count else None

        return wait_for(look)

    return find


def test_a_worker_that_hangs_is_killed_and_started_again(manager, parent, said):
    said("ready")
    workers = dict(said(r"worker (\d) (\d+)", 2))
    os.kill(int(workers["1"]), signal.SIGSTOP)
    said(r"worker 1 has hung for [\d.]+ s; killing it")
    said(r"worker 1 ended \(SIGKILL\)")
    (first, second, again) = said(r"worker (\d) (\d+)", 3)
    assert again[0] == "1"
    assert again[1] not in {first[1], second[1]}
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(20) == 0


def test_the_parent_alone_tells_the_manager(manager, parent, said):
    said("ready")
    heard = []
    while len(heard) < 5:
        heard.append(manager.recvmsg(4096)[0])
    assert all(word.startswith(b"WATCHDOG=1") for word in heard)
    parent.send_signal(signal.SIGTERM)
    while not heard[-1].startswith(b"STOPPING=1"):
        heard.append(manager.recv(4096))
    assert parent.wait(20) == 0


def test_a_parent_that_was_held_up_blames_no_worker(manager, parent, said):
    said("ready")
    pids = [int(pid) for _, pid in said(r"worker (\d) (\d+)", 2)]
    for pid in (parent.pid, *pids):
        os.kill(pid, signal.SIGSTOP)
    # Longer than the workers may be silent.
    manager.settimeout(0.2)
    silent = 0
    while silent < 10:
        try:
            manager.recv(4096)
        except TimeoutError:
            silent += 1
    manager.settimeout(20.0)
    os.kill(parent.pid, signal.SIGCONT)
    manager.recv(4096)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    for _ in range(6):
        manager.recv(4096)
    parent.send_signal(signal.SIGTERM)
    output, _ = parent.communicate(timeout=20)
    assert parent.returncode == 0
    assert b"hung" not in (output or b"")
