"""What a connection may send at once, as the system tells it and as it fades."""

import contextlib
import socket

import pytest

from edgewise.gateway.tcp_window import FIRST_SEGMENTS, NEW, TcpWindow, read_window

SEGMENT_BYTES = 1448
NO_THRESHOLD = (1 << 31) - 1
linux = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not tell")


def window(segments=40, idle_s=0.0, *, threshold=NO_THRESHOLD, fades=True):
    return TcpWindow(segments, SEGMENT_BYTES, threshold, idle_s, 0.25, fades)


@pytest.mark.parametrize(
    ("segments", "idle_s", "more_s", "expected"),
    [
        (40, 0.0, 0.0, 40),
        (40, 0.0, 0.25, 40),
        (40, 0.1, 0.16, 20),
        (40, 0.0, 0.51, 10),
        (40, 0.4, 0.2, 10),
        (160, 0.0, 0.76, 20),
        (40, 0.0, 1e9, FIRST_SEGMENTS),
        (12, 0.3, 0.0, FIRST_SEGMENTS),
        (4, 10.0, 0.0, 4),
    ],
)
def test_a_window_is_halved_for_each_time_out_that_it_was_idle(segments, idle_s, more_s, expected):
    assert window(segments, idle_s).bytes_after(more_s) == expected * SEGMENT_BYTES


def test_a_window_that_does_not_fade_stays():
    assert window(40, 100.0, fades=False).bytes_after(100.0) == 40 * SEGMENT_BYTES
    assert NEW.bytes_after(100.0) == FIRST_SEGMENTS * SEGMENT_BYTES


def test_a_threshold_below_the_first_segments_counts_for_nothing():
    assert window(threshold=2).threshold_bytes == FIRST_SEGMENTS * SEGMENT_BYTES
    assert window(threshold=20).threshold_bytes == 20 * SEGMENT_BYTES


@linux
def test_the_system_tells_the_window_of_a_socket():
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        sock = stack.enter_context(socket.socket())
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        sock.connect(listening.getsockname())
        other = stack.enter_context(listening.accept()[0])
        new = read_window(sock)
        assert new.segments == FIRST_SEGMENTS
        assert 400 < new.segment_bytes <= 536
        assert new.threshold_segments > 1 << 20
        assert new.fades
        assert 0.05 <= new.timeout_s < 5.0

        flight_bytes = new.bytes_after(0.0)
        sock.sendall(bytes(flight_bytes))
        while flight_bytes:
            flight_bytes -= len(other.recv(flight_bytes))
        other.sendall(b"x")
        assert sock.recv(1) == b"x"
        used = read_window(sock)
        assert used.segments == 2 * FIRST_SEGMENTS, "a whole flight was answered"
        assert used.bytes_after(10 * used.timeout_s) == FIRST_SEGMENTS * used.segment_bytes


def test_where_the_system_does_not_tell_nothing_is_known(monkeypatch):
    with socket.socket() as sock:
        pass
    assert read_window(sock) is None, "it is closed"
    monkeypatch.delattr(socket, "TCP_INFO", raising=False)
    with socket.socket() as sock:
        assert read_window(sock) is None
