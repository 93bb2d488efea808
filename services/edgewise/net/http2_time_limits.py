"""The time limits of a connection: writing that stalls, frames that do not end, peers that say nothing or want nothing.

Source: RFC 9113, sections 6.7 (PING) and 10.5 (what a peer may cost).
"""

from abc import abstractmethod
from typing import Final

from edgewise.net.http2_control import ANNOUNCED, OPEN, PREFACE_DUE, Http2Control
from edgewise.net.http2_frames import PING, ErrorCode, Http2ConnectionError, pack_frame
from edgewise.net.http2_streams import Http2Owner

# A peer has to take this much of what is written within the write timeout, or all that is left of it.
_WRITE_PROGRESS_BYTES: Final = 16 * 1024
_STILL_THERE: Final = b"present?"


class Http2TimeLimits(Http2Control):
    """What a connection keeps for its time limits, and holding it to them."""

    __slots__ = (
        "_heard",
        "_heard_s",
        "_moved_bytes",
        "_moved_s",
        "_partial_s",
        "_pending",
        "_ping_s",
        "_progress",
        "_since_s",
    )

    def __init__(self, server: Http2Owner) -> None:
        super().__init__(server)
        # The beginning of a frame of which more is to come.
        self._pending = bytearray()
        # Since when the state holds; what had been sent at the last progress, and when that was; since
        # when no frame was completed; whether anything came since the last sweep, when it did, and when we asked.
        self._since_s = 0.0
        self._moved_bytes = -1
        self._moved_s = 0.0
        self._partial_s = 0.0
        self._progress = False
        self._heard = False
        self._heard_s = 0.0
        self._ping_s = 0.0

    @abstractmethod
    def abort(self) -> None:
        """Close at once; unsent bytes are dropped and calls are cancelled."""

    def sweep(self, now_s: float) -> None:
        """Hold the connection to its time limits."""
        limits = self._server.limits
        outflow = self.outflow
        unsent_bytes = outflow.unsent_bytes
        moved_bytes = outflow.written_bytes - self._transport.get_write_buffer_size()
        if not unsent_bytes:
            self._moved_bytes = -1
        elif self._moved_bytes < 0 or moved_bytes - self._moved_bytes >= _WRITE_PROGRESS_BYTES:
            self._moved_bytes = moved_bytes
            self._moved_s = now_s
        elif now_s - self._moved_s > limits.write_stall_timeout_s:
            self.abort()
            return
        if self._state == OPEN:
            try:
                self._sweep_open(now_s)
                self._sweep_streams(now_s)
            except Http2ConnectionError as error:
                self._fail(error.code, error.reason)
        elif self._state == PREFACE_DUE:
            if now_s - self._since_s > limits.header_timeout_s:
                self.abort()
            elif self._ending and now_s - self._ending_s > limits.goaway_timeout_s:
                self._linger()
        elif now_s - self._since_s > limits.linger_timeout_s:
            self.abort()

    def _sweep_open(self, now_s: float) -> None:
        limits = self._server.limits
        if not self._pending or self._progress:
            self._partial_s = now_s
        self._progress = False
        if now_s - self._partial_s > limits.header_timeout_s or (
            self._block is not None and now_s - self._block_s > limits.header_timeout_s
        ):
            self._fail(ErrorCode.PROTOCOL_ERROR, f"a frame was not complete within {limits.header_timeout_s:g} s")
            return
        if self._heard:
            self._heard = False
            self._heard_s = now_s
            self._ping_s = 0.0
        elif self._ping_s:
            if now_s - self._ping_s > limits.keepalive_timeout_s:
                self.abort()
                return
        elif now_s - self._heard_s > limits.keepalive_s:
            self._ping_s = now_s
            self.outflow.put(pack_frame(PING, 0, 0, _STILL_THERE))
        if self.open_streams:
            self._since_s = now_s
        elif now_s - self._since_s > limits.idle_timeout_s:
            self.announce_close()
        if self._ending == ANNOUNCED and now_s - self._ending_s > limits.goaway_timeout_s:
            self._end_finally()
