"""What has arrived at the other side, as the system tells it."""

import contextlib
import socket

import pytest

from edgewise.gateway.tcp_progress import acknowledged_bytes
from support.waiting import wait_for

linux = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not tell")


@contextlib.contextmanager
def connected():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            yield ours, theirs


@linux
def test_it_grows_with_what_is_taken_and_stops_with_who_takes_nothing():
    with connected() as (ours, theirs):
        before = acknowledged_bytes(ours)
        ours.sendall(bytes(1000))
        wait_for(lambda: acknowledged_bytes(ours) == before + 1000)
        # Nobody reads, so at some time there is no room left there.
        ours.setblocking(False)
        sent = 1000
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += ours.send(bytes(1 << 20))
        assert acknowledged_bytes(ours) < before + sent
        theirs.settimeout(10)
        taken = 0
        while taken < sent:
            taken += len(theirs.recv(1 << 20))
        wait_for(lambda: acknowledged_bytes(ours) == before + sent)


def test_a_closed_socket_and_a_system_that_does_not_tell(monkeypatch):
    with connected() as (ours, _):
        ours.close()
        assert acknowledged_bytes(ours) is None
    with connected() as (ours, _):
        monkeypatch.delattr(socket, "TCP_INFO", raising=False)
        assert acknowledged_bytes(ours) is None


def test_a_system_that_tells_less(monkeypatch):
    class Old:
        def getsockopt(self, *_):
            return bytes(104)

    monkeypatch.setattr(socket, "TCP_INFO", 11, raising=False)
    assert acknowledged_bytes(Old()) is None
