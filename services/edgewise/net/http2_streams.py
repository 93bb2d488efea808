"""What an HTTP/2 connection asks of whatever its streams carry."""

import asyncio
from abc import abstractmethod
from typing import Protocol

from edgewise.net.buffer_pool import BufferPool
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.http2_output import FlushQueue, OutgoingStream


class Http2Owner(Protocol):
    """What connections ask of the server, or the client, that they belong to.

    Attributes:
        receive_view: where connections receive; filled and used up within one callback of the loop.
        buffers: for what is too long for that.
        bytes_in: counted by the connections.
    """

    limits: GrpcLimits
    loop: asyncio.AbstractEventLoop
    flush_queue: FlushQueue
    receive_view: memoryview
    buffers: BufferPool
    bytes_in: int

    def count_protocol_error(self, kind: str, reason: str, peer: str) -> None:
        """Count what a peer did wrong."""


class IncomingStream(Protocol):
    """The receiving side of a stream.

    Attributes:
        stream_id: its number.
        unacknowledged_bytes: received within its window since the last WINDOW_UPDATE.
    """

    stream_id: int
    unacknowledged_bytes: int


class Http2Streams(asyncio.BufferedProtocol):
    """The streams of a connection, as the layers that read frames see them.

    `end_stream` is not 0 when the client sends no more on the stream.
    """

    __slots__ = ()

    @abstractmethod
    def _opened(self) -> None:
        """The connection is there."""

    @abstractmethod
    def _lost(self) -> None:
        """The connection is gone."""

    @property
    @abstractmethod
    def open_streams(self) -> int:
        """Streams that are not over."""

    @abstractmethod
    def _take_block(self, stream_id: int, block: bytes, end_stream: int) -> None:
        """Take a whole header block."""

    @abstractmethod
    def _take_whole_data(self, stream_id: int, end_stream: int, view: memoryview, start: int, end: int) -> None:
        """Take a DATA frame without padding that is there as a whole."""

    @abstractmethod
    def _begin_data(self, stream_id: int, flow_bytes: int, end_stream: int) -> object | None:
        """Take note of a DATA frame; returns what its payload is for, None to drop it."""

    @abstractmethod
    def _take_data(self, stream: object, view: memoryview) -> None:
        """Take some of the payload."""

    @abstractmethod
    def _end_data(self, stream: object) -> None:
        """The stream's last DATA frame is complete."""

    @abstractmethod
    def _direct_view(self, stream: object, max_bytes: int) -> memoryview | None:
        """Where payload may be received to straight away, if that is worth it."""

    @abstractmethod
    def _direct_filled(self, stream: object, nbytes: int) -> None:
        """So many bytes were received there."""

    @abstractmethod
    def _stream_reset(self, stream_id: int, code: int) -> None:
        """The peer gives a stream up; `code` says why, as `ErrorCode` where it is one of those."""

    @abstractmethod
    def _stream_window(self, stream_id: int, more_bytes: int) -> None:
        """The client makes room for a stream."""

    @abstractmethod
    def _windows_changed(self) -> None:
        """The client's settings changed the windows of all streams."""

    @abstractmethod
    def _stream_done(self, stream: OutgoingStream) -> None:
        """A stream's trailers have been sent."""

    @abstractmethod
    def _stream_drained(self, stream: OutgoingStream) -> None:
        """What a stream had to send has been sent."""

    @abstractmethod
    def _cancel_streams(self) -> None:
        """Nobody waits for any stream any more."""

    @abstractmethod
    def _sweep_streams(self, now_s: float) -> None:
        """Hold the streams to their time limits."""
