"""How much a TCP connection sends before it waits for the other side, as the system tells it.

Linux lets a new connection send ten segments, and doubles that with each round trip that it was not enough for. A
connection that then sends nothing for longer than its retransmission time-out (a round trip and 200 ms or more) has this
window halved for each of them, down to the first ten segments (`tcp_slow_start_after_idle`, RFC 2861). BBR keeps it.
"""

import socket
import struct
from dataclasses import dataclass
from math import ceil
from typing import Final

from edgewise.gateway.tcp_info import tcp_info

FIRST_SEGMENTS: Final = 10
"""Of a new connection (RFC 6928)."""
USUAL_SEGMENT_BYTES: Final = 1448
"""On Ethernet, with time stamps."""
# Of struct tcp_info: tcpi_rto (µs), tcpi_snd_mss, tcpi_last_data_sent (ms),
# tcpi_snd_ssthresh and tcpi_snd_cwnd (segments).
_FIELDS: Final = struct.Struct("=8xI4xI24xI28xII")
_NAME_BYTES: Final = 16
_KEEPS_WINDOW: Final = b"bbr"


@dataclass(frozen=True, slots=True)
class TcpWindow:
    """What one connection may send at once.

    Attributes:
        segments, segment_bytes: before it waits, when it was used last.
        threshold_segments: beyond this it grows by one segment a round trip only.
        idle_s: since it sent something.
        timeout_s: its retransmission time-out.
        fades: it shrinks while the connection is idle.
    """

    segments: int
    segment_bytes: int
    threshold_segments: int
    idle_s: float
    timeout_s: float
    fades: bool

    def halvings(self, idle_s: float) -> int:
        """How often it is halved when a connection that has been idle for so long is used again."""
        return max(0, ceil(idle_s / self.timeout_s) - 1) if self.fades and self.timeout_s > 0.0 else 0

    def bytes_after(self, seconds: float) -> int:
        """What can be sent at once when it stays idle for so much longer."""
        least = min(self.segments, FIRST_SEGMENTS)
        halvings = min(self.halvings(self.idle_s + seconds), 31)
        return max(least, self.segments >> halvings) * self.segment_bytes

    @property
    def threshold_bytes(self) -> int:
        """A window of this size is not quickly made larger."""
        return max(self.threshold_segments, FIRST_SEGMENTS) * self.segment_bytes


NEW: Final = TcpWindow(FIRST_SEGMENTS, USUAL_SEGMENT_BYTES, 1 << 31, 0.0, 1.0, fades=False)
"""Of a connection that is still to be opened."""


def read_window(sock: socket.socket) -> TcpWindow | None:
    """The window of a connected socket; None where the system does not tell."""
    info = tcp_info(sock, _FIELDS.size)
    if info is None:
        return None
    name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_BYTES)
    timeout_us, segment_bytes, idle_ms, threshold, segments = _FIELDS.unpack(info)
    return TcpWindow(
        segments, segment_bytes, threshold, idle_ms / 1e3, timeout_us / 1e6, fades=not name.startswith(_KEEPS_WINDOW)
    )
