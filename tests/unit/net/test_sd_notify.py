"""What is told to a service manager, over datagram sockets as it would open them."""

import asyncio
import logging
import os
import secrets
import socket
import threading
import time

import pytest

from edgewise.net.sd_notify import Notifier, from_environment

WAIT_S = 20.0


class Manager:
    """The end of the socket that systemd holds."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self.socket.settimeout(WAIT_S)

    def heard(self):
        return self.socket.recv(4096).decode().split("\n")

    def heard_nothing(self):
        self.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            self.socket.recv(4096)
        self.socket.settimeout(WAIT_S)
        return True


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path):
    address = f"{tmp_path}/notify" if request.param == "file" else f"@edgewise-test-{secrets.token_hex(8)}"
    made = Manager(address)
    yield made
    made.socket.close()


@pytest.fixture
def notifier(manager):
    made = Notifier(manager.address, 3.0)
    yield made
    made.forget()


def test_states_are_told(manager, notifier):
    notifier.ready()
    assert manager.heard() == ["READY=1"]
    notifier.ready("ready: rest=http://127.0.0.1:8501")
    assert manager.heard() == ["READY=1", "STATUS=ready: rest=http://127.0.0.1:8501"]
    notifier.status("model pets version 2 is LOADING")
    assert manager.heard() == ["STATUS=model pets version 2 is LOADING"]
    notifier.stopping("SIGTERM: finishing what is in flight")
    assert manager.heard() == ["STOPPING=1", "STATUS=SIGTERM: finishing what is in flight"]


class SlowToSend(Notifier):
    """One whose first beat is overtaken by another thread's `ready`, if anything can overtake it."""

    overtaker = None

    def _sent(self, lines):
        if self.overtaker is None:
            called = threading.Event()
            self.overtaker = threading.Thread(target=lambda: (called.set(), self.ready()))
            self.overtaker.start()
            called.wait(WAIT_S)
            # Long for what is not held up; what is held up is so for as long as this waits.
            self.overtaker.join(0.2)
        return super()._sent(lines)


def test_a_beat_from_before_the_service_was_ready_does_not_come_after_it_from_another_thread(manager):
    notifier = SlowToSend(manager.address, 3.0)
    notifier.beat()
    notifier.overtaker.join(WAIT_S)
    assert manager.heard() == ["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=3000000"]
    assert manager.heard() == ["READY=1"]
    notifier.beat()
    assert manager.heard() == ["WATCHDOG=1"]
    notifier.forget()


def test_a_reload_carries_the_time(manager, notifier):
    notifier.reloading()
    state, time_word = manager.heard()
    assert state == "RELOADING=1"
    name, _, value = time_word.partition("=")
    assert name == "MONOTONIC_USEC"
    assert int(value) > 0


def test_a_sentence_stays_one_line(manager, notifier):
    notifier.status("first\nREADY=1\n\nlast " + "x" * 1000)
    (line,) = manager.heard()
    assert line.startswith("STATUS=first READY=1 last xxx")
    assert len(line) < 600


def test_what_is_not_text_does_not_matter(manager, notifier):
    notifier.status("\udcff")
    assert manager.heard() == ["STATUS=?"]


def test_beats_ask_for_more_time_until_ready(manager, notifier):
    notifier.beat()
    assert manager.heard() == ["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=3000000"]
    notifier.ready()
    manager.heard()
    notifier.beat()
    assert manager.heard() == ["WATCHDOG=1"]


def test_no_beats_where_none_are_expected(manager):
    notifier = Notifier(manager.address)
    notifier.beat()
    assert manager.heard_nothing()
    notifier.ready()
    assert manager.heard() == ["READY=1"]
    notifier.forget()


def test_the_loop_beats(manager):
    notifier = Notifier(manager.address, 0.03)

    async def listen():
        loop = asyncio.get_running_loop()
        notifier.keep_beating(loop)
        manager.socket.setblocking(False)
        async with asyncio.timeout(WAIT_S):
            return [await loop.sock_recv(manager.socket, 4096) for _ in range(4)]

    assert all(heard.startswith(b"WATCHDOG=1") for heard in asyncio.run(listen()))
    notifier.forget()


def test_a_loop_that_is_held_up_falls_silent(manager):
    notifier = Notifier(manager.address, 0.03)

    async def hang():
        notifier.keep_beating(asyncio.get_running_loop())
        manager.heard()
        time.sleep(0.2)  # noqa: ASYNC251 - what hangs is the point
        return manager.heard_nothing()

    assert asyncio.run(hang())
    notifier.forget()


def test_what_a_full_queue_held_back_is_told_later(manager):
    notifier = Notifier(manager.address, 3.0)

    async def scenario():
        loop = asyncio.get_running_loop()
        beats = 0
        while notifier._sent(["WATCHDOG=1"]):
            beats += 1
        notifier.reloading("reading")
        notifier.ready("it was read")
        notifier.beat()
        manager.socket.setblocking(False)
        async with asyncio.timeout(WAIT_S):
            heard = [await loop.sock_recv(manager.socket, 4096) for _ in range(beats + 1)]
        return heard[-1]

    assert asyncio.run(scenario()) == b"READY=1\nSTATUS=it was read"
    assert manager.heard_nothing()
    notifier.forget()


def test_without_a_loop_the_next_message_takes_along_what_waits(manager):
    notifier = Notifier(manager.address)
    beats = 0
    while notifier._sent(["WATCHDOG=1"]):
        beats += 1
    notifier.ready()
    for _ in range(beats):
        manager.heard()
    notifier.status("well")
    assert manager.heard() == ["READY=1", "STATUS=well"]
    notifier.forget()


def test_without_a_loop_what_waits_goes_before_the_next_beat(manager, notifier):
    held_back = 0
    while notifier._sent(["WATCHDOG=1"]):
        held_back += 1
    notifier.ready("well")
    for _ in range(held_back):
        manager.heard()
    notifier.beat()
    assert manager.heard() == ["READY=1", "STATUS=well"]
    assert manager.heard() == ["WATCHDOG=1"]


def test_a_manager_that_is_gone_is_complained_about_once(tmp_path, caplog):
    notifier = Notifier(f"{tmp_path}/nobody", 1.0)
    with caplog.at_level(logging.WARNING):
        notifier.ready()
        notifier.beat()
    (record,) = caplog.records
    assert "cannot be told" in record.getMessage()
    notifier.forget()


def test_a_path_that_is_too_long_is_no_failure(tmp_path, caplog):
    notifier = Notifier("/" + "x" * 200)
    notifier.ready()
    assert "too long" in caplog.text
    notifier.forget()


def test_who_forgot_tells_nobody(manager, notifier):
    notifier.forget()
    notifier.ready()
    notifier.beat()
    assert manager.heard_nothing()


def test_nothing_happens_where_nobody_asked():
    notifier = from_environment({}, os.getpid())
    notifier.ready()
    notifier.beat()
    assert (notifier.address, notifier.watchdog_s, notifier._socket) == ("", 0.0, None)


@pytest.mark.parametrize(
    ("environment", "address", "watchdog_s"),
    [
        ({"NOTIFY_SOCKET": "/run/n"}, "/run/n", 0.0),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "30000000"}, "@n", 30.0),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "17"}, "@n", 0.5),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "18"}, "@n", 0.0),
        ({"WATCHDOG_USEC": "500000"}, "", 0.0),
    ],
)
def test_the_environment_says_what_is_expected(environment, address, watchdog_s):
    notifier = from_environment(environment, 17)
    assert (notifier.address, notifier.watchdog_s) == (address, watchdog_s)


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"NOTIFY_SOCKET": "vsock:2:1"}, "expected a path or @NAME"),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "soon"}, "expected a number of microseconds"),
    ],
)
def test_what_cannot_be_used_is_named(environment, complaint, caplog):
    assert from_environment(environment, 17).watchdog_s == 0.0
    assert complaint in caplog.text
