"""Our end of a connection without sockets: any split of the bytes means the same, and no bytes do harm."""

import struct
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.net import errors
from edgewise.net import http2_frames as h2
from edgewise.net.buffer_pool import BufferPool
from edgewise.net.grpc_client_answer import GrpcAnswer
from edgewise.net.grpc_client_call import CallbackCall
from edgewise.net.grpc_client_connection import GrpcClientConnection
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.hpack import HeaderDecoder, encode_fields
from edgewise.net.http2_output import FlushQueue
from support.socketless import ManualLoop, WrittenTransport

LIMITS = GrpcLimits(
    max_message_bytes=2000, stream_window_bytes=70_000, connection_window_bytes=100_000, message_step_bytes=100
)


class Rig:
    """A connection, and what its owner is told."""

    def __init__(self, limits: GrpcLimits = LIMITS) -> None:
        self.limits = limits
        self.loop: Any = ManualLoop()
        self.flush_queue = FlushQueue(self.loop)
        self.receive_view = memoryview(bytearray(1 << 16))
        self.buffers = BufferPool()
        self.bytes_in = 0
        self.waiting: deque[Any] = deque()
        self.max_streams = 100
        self.ended = 0
        self.closed = 0
        self.refused: list[Any] = []
        self.errors: list[tuple[str, str]] = []
        self.outcomes: dict[int, Any] = {}
        self.transport = WrittenTransport()
        self.connection = GrpcClientConnection(self)
        self.connection.connection_made(self.transport)

    def connection_has_room(self, connection: Any) -> None: ...

    def connection_ended(self, connection: Any) -> None:
        self.ended += 1

    def connection_closed(self, connection: Any) -> None:
        self.closed += 1

    def not_executed(self, call: Any) -> None:
        self.refused.append(call)

    def count_protocol_error(self, kind: str, reason: str, peer: str) -> None:
        self.errors.append((kind, reason))

    def begin(self, message: bytes = b"hello", number: int = 0) -> CallbackCall:
        call = CallbackCall(b"\x83", message, lambda outcome: self.outcomes.__setitem__(number, outcome))
        self.connection.begin(call)
        return call

    def feed(self, raw: bytes) -> None:
        at = 0
        while at < len(raw) and not self.transport.ended:
            view = self.connection.get_buffer(-1)
            part = raw[at : at + len(view)]
            view[: len(part)] = part
            self.connection.buffer_updated(len(part))
            at += len(part)
        self.loop.turn()

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        """Frames since the last look: kind, flags, stream, payload."""
        self.loop.turn()
        raw = bytes(self.transport.written).removeprefix(h2.PREFACE)
        self.transport.written.clear()
        frames = []
        at = 0
        while at < len(raw):
            high, low, kind, flags, stream = h2.FRAME_HEAD.unpack_from(raw, at)
            end = at + 9 + (high << 16 | low)
            frames.append((kind, flags, stream, raw[at + 9 : end]))
            at = end
        return frames


SETTINGS = h2.pack_settings({})


def head(stream: int, *fields: Any) -> bytes:
    return h2.pack_headers(stream, encode_fields([(b":status", b"200"), *fields]), end_stream=False)


def tail(stream: int, *fields: Any) -> bytes:
    return h2.pack_headers(stream, encode_fields([(b"grpc-status", b"0"), *fields]), end_stream=True)


def data(stream: int, body: bytes) -> bytes:
    return h2.pack_frame(h2.DATA, 0, stream, body)


def message(body: bytes) -> bytes:
    return struct.pack(">BI", 0, len(body)) + body


def test_what_a_connection_begins_with():
    rig = Rig()
    rig.loop.turn()
    assert rig.transport.written.startswith(h2.PREFACE)
    (kind, _, stream, payload), window = rig.sent()
    assert (kind, stream) == (h2.SETTINGS, 0)
    settings_ = h2.read_settings(payload)
    assert settings_[h2.ENABLE_PUSH] == 0
    assert settings_[h2.INITIAL_WINDOW_SIZE] == LIMITS.stream_window_bytes
    assert window[0] == h2.WINDOW_UPDATE


def test_a_small_call_is_one_write():
    rig = Rig()
    rig.sent()
    rig.begin(b"hello")
    first, second = rig.sent()
    assert first[:3] == (h2.HEADERS, h2.END_HEADERS, 1)
    assert second == (h2.DATA, h2.END_STREAM, 1, message(b"hello"))


def test_flow_control_of_the_server():
    rig = Rig()
    rig.feed(h2.pack_settings({h2.INITIAL_WINDOW_SIZE: 10}))
    rig.sent()
    rig.begin(b"0123456789abcdef")
    frames = rig.sent()
    assert [frame[0] for frame in frames] == [h2.HEADERS, h2.DATA]
    assert len(frames[1][3]) == 10
    rig.feed(h2.pack_window_update(1, 4))
    assert [len(frame[3]) for frame in rig.sent()] == [4]
    rig.feed(h2.pack_settings({h2.INITIAL_WINDOW_SIZE: 1000}))
    frames = [frame for frame in rig.sent() if frame[0] == h2.DATA]
    assert [(frame[1], len(frame[3])) for frame in frames] == [(0, 7), (h2.END_STREAM, 0)]
    rig.feed(head(1) + data(1, message(b"y")) + tail(1))
    assert rig.outcomes[0].body == b"y"


def test_an_answer_before_the_request_is_sent_ends_it():
    rig = Rig()
    rig.feed(h2.pack_settings({h2.INITIAL_WINDOW_SIZE: 10}))
    rig.sent()
    rig.begin(b"0123456789abcdef")
    rig.sent()
    rig.feed(h2.pack_headers(1, encode_fields([(b":status", b"200"), (b"grpc-status", b"8")]), end_stream=True))
    assert rig.outcomes[0].status == 8
    assert rig.sent() == [(h2.RST_STREAM, 0, 1, struct.pack(">I", h2.ErrorCode.CANCEL))]


def test_windows_are_widened_again():
    rig = Rig()
    rig.feed(SETTINGS)
    for number in range(200):
        rig.begin(b"x", number)
        stream = 2 * number + 1
        rig.sent()
        rig.feed(head(stream) + data(stream, message(bytes(1990))) + tail(stream))
        assert len(rig.outcomes[number].body) == 1990
    assert not rig.errors


def test_a_cancelled_call_is_reset_and_forgotten():
    rig = Rig()
    rig.feed(SETTINGS)
    call = rig.begin()
    rig.sent()
    call.cancel()
    call.cancel()
    assert rig.sent() == [(h2.RST_STREAM, 0, 1, struct.pack(">I", h2.ErrorCode.CANCEL))]
    # What was on its way is dropped; the header table is kept right.
    rig.feed(head(1) + data(1, message(b"y")) + tail(1))
    rig.begin(number=1)
    rig.feed(head(3) + data(3, message(b"z")) + tail(3))
    assert {number: outcome.body for number, outcome in rig.outcomes.items()} == {1: b"z"}
    assert not rig.errors


def test_goaway_refuses_what_is_above():
    rig = Rig()
    rig.feed(SETTINGS)
    calls = [rig.begin(number=number) for number in range(3)]
    rig.feed(h2.pack_goaway(3, h2.ErrorCode.NO_ERROR))
    assert rig.refused == [calls[2]]
    assert not rig.connection.usable
    rig.feed(head(1) + data(1, message(b"y")) + tail(1))
    assert not rig.transport.ended
    rig.feed(head(3) + data(3, message(b"z")) + tail(3))
    assert rig.transport.ended
    assert [rig.outcomes[number].body for number in (0, 1)] == [b"y", b"z"]


def test_a_lost_connection_says_what_had_come():
    rig = Rig()
    rig.feed(SETTINGS)
    rig.begin(number=0)
    rig.begin(number=1)
    rig.feed(head(1) + data(1, message(bytes(100))[:25]))
    rig.connection.connection_lost(ConnectionResetError("reset"))
    assert [type(outcome) for outcome in rig.outcomes.values()] == [errors.ConnectionLostError] * 2
    assert [outcome.received_bytes for outcome in rig.outcomes.values()] == [25, 0]
    assert rig.closed == 1


@pytest.mark.parametrize("limit", [1, 100, 1000])
def test_metadata_over_the_limit(limit):
    rig = Rig(GrpcLimits(max_header_list_bytes=limit))
    rig.feed(SETTINGS)
    rig.begin()
    rig.feed(head(1) + data(1, message(b"y")) + tail(1, (b"long", b"x" * 2000)))
    assert isinstance(rig.outcomes[0], errors.ProtocolError)
    assert "metadata" in str(rig.outcomes[0])


ANSWERS = [
    head(1, (b"x-first", b"1")) + data(1, message(b"one")) + tail(1, (b"x-last", b"2")),
    head(3) + data(3, b"") + data(3, message(bytes(1500))[:700]) + data(3, message(bytes(1500))[700:]) + tail(3),
    h2.pack_frame(h2.PING, 0, 0, b"12345678") + h2.pack_window_update(0, 5) + h2.pack_window_update(5, 5),
    h2.pack_headers(5, encode_fields([(b":status", b"200"), (b"grpc-status", b"5")]), end_stream=True),
    head(7) + h2.pack_frame(h2.DATA, h2.PADDED, 7, b"\x03" + message(b"p") + bytes(3)) + tail(7),
    h2.pack_rst_stream(9, h2.ErrorCode.CANCEL),
]


def summary(rig: Rig) -> list[Any]:
    found = []
    for number, outcome in sorted(rig.outcomes.items()):
        if isinstance(outcome, GrpcAnswer):
            found.append((number, outcome.status, outcome.body, dict(outcome.headers), dict(outcome.trailers)))
        else:
            found.append((number, type(outcome).__name__))
    return found


@given(cuts=st.lists(st.integers(0, 5000), max_size=40))
@settings(max_examples=200)
def test_any_split_of_the_bytes_means_the_same(cuts):
    raw = SETTINGS + b"".join(ANSWERS)
    whole, parts = Rig(), Rig()
    for rig in (whole, parts):
        for number in range(5):
            rig.begin(number=number)
    whole.feed(raw)
    at = 0
    for cut in [*sorted(cut % len(raw) for cut in cuts), len(raw)]:
        parts.feed(raw[at:cut])
        at = cut
    assert summary(whole) == summary(parts)
    assert summary(whole) == [
        (0, 0, b"one", {b"x-first": b"1"}, {b"x-last": b"2"}),
        (1, 0, bytes(1500), {}, {}),
        (2, 5, None, {}, {}),
        (3, 0, b"p", {}, {}),
        (4, "ProtocolError"),
    ]


FRAMES = st.one_of(
    st.builds(
        h2.pack_frame,
        st.integers(0, 11),
        st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D, 0xFF]),
        st.sampled_from([0, 1, 2, 3, 5, 99]),
        st.binary(max_size=40),
    ),
    st.sampled_from([SETTINGS, head(1), head(3), tail(1), tail(3), data(1, message(b"y")), data(3, message(b"z")[:3])]),
    st.binary(max_size=30),
)


@given(frames=st.lists(FRAMES, max_size=20), first=st.booleans())
@settings(max_examples=400)
def test_no_bytes_do_harm(frames, first):
    rig = Rig()
    for number in range(3):
        rig.begin(number=number)
    rig.feed((SETTINGS if first else b"") + b"".join(frames))
    # Whatever came, each call ends exactly once.
    refused = {id(call) for call in rig.refused}
    rig.connection.connection_lost(None)
    rig.loop.turn()
    assert len(rig.outcomes) + len(refused) == 3
    assert rig.connection.open_streams == 0


def test_long_header_blocks_are_parted():
    rig = Rig()
    rig.sent()
    call = CallbackCall(encode_fields([(b"x-long", b"v" * 40_000)]), b"x", lambda _: None)
    rig.connection.begin(call)
    frames = rig.sent()
    assert [frame[0] for frame in frames] == [h2.HEADERS, h2.CONTINUATION, h2.CONTINUATION, h2.DATA]
    assert [frame[1] for frame in frames] == [0, 0, h2.END_HEADERS, h2.END_STREAM]
    block = b"".join(frame[3] for frame in frames[:3])
    assert HeaderDecoder(1 << 20).decode(block)[0] == [(b"x-long", b"v" * 40_000)]
