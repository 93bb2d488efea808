"""A lock that is a file, and the process that holds it."""

import os
import select
import signal
from pathlib import Path

import pytest
from doggy_door import actuator
from doggy_door.actuator import ActuatorError, FileActuator

from support.waiting import wait_for


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "value"
    path.write_text("?")
    return path


def test_it_returns_when_the_lock_has_moved(path):
    with FileActuator(path, opened="on", shut="off") as lock:
        assert path.read_text() == "off"
        for _ in range(5):
            lock.tell(is_open=True)
            assert path.read_text() == "on"
            lock.tell(is_open=False)
            assert path.read_text() == "off"


def test_a_keeper_that_hangs_holds_nothing_open(path):
    with FileActuator(path, heartbeat_s=1) as lock:
        lock.tell(is_open=True)
        assert path.read_text() == "1"
        lock._keeper.send_signal(signal.SIGSTOP)
        with pytest.raises(ActuatorError, match="its keeper did not answer within 1 s and was killed; it was shut"):
            lock.tell(is_open=True)
        assert path.read_text() == "0"
        assert lock._keeper.returncode == -signal.SIGKILL
        with pytest.raises(ActuatorError, match="its keeper ended with code -9; it was shut"):
            lock.tell(is_open=True)
    assert path.read_text() == "0"


def test_a_keeper_whose_pipe_is_full_is_as_good_as_none(path):
    with FileActuator(path, heartbeat_s=60) as lock:
        lock.tell(is_open=True)
        lock._keeper.send_signal(signal.SIGSTOP)
        told = lock._keeper.stdin.fileno()
        while select.select([], [told], [], 0)[1]:
            os.write(told, b"open\n" * 800)
        with pytest.raises(ActuatorError, match="its keeper takes no more words and was killed; it was shut"):
            lock.tell(is_open=True)
        assert path.read_text() == "0"


def test_where_keeper_and_door_both_hang_in_the_write_that_is_said(path, monkeypatch):
    monkeypatch.setattr(actuator, "STOP_S", 0.5)
    lock = FileActuator(path, heartbeat_s=1)
    # Whoever writes to a pipe that nobody reads waits.
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(
        ActuatorError, match="was killed; it could not be shut either: writing to it takes longer than 0"
    ):
        lock.tell(is_open=True)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        lock.close()
        wait_for(lambda: b"0" in os.read(reader, 10))
    finally:
        os.close(reader)


def test_a_lock_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    # Gone between the look and the start.
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    with pytest.raises(ActuatorError, match="value: No such file or directory; it could not be shut either: No such"):
        FileActuator(tmp_path / "gone" / "value")


def test_signals_that_end_other_programs_do_not_come_between_a_keeper_and_its_lock(path):
    with FileActuator(path) as lock:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) * 3:
            lock._keeper.send_signal(number)
            lock.tell(is_open=True)
        assert path.read_text() == "1"
    assert path.read_text() == "0"
    assert lock._keeper.returncode == 0


def test_it_ends_with_its_input_whatever_it_is_sent_meanwhile(path):
    lock = FileActuator(path, heartbeat_s=60)
    lock.tell(is_open=True)
    lock._keeper.stdin.close()
    while lock._keeper.poll() is None:
        lock._keeper.send_signal(signal.SIGTERM)
    assert lock._keeper.returncode == 0
    assert path.read_text() == "0"
    lock.close()
