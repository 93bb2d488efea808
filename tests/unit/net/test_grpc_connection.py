"""The connection without sockets: any split of the bytes means the same, and no bytes do harm."""

import itertools
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.net import http2_frames as h2
from edgewise.net.grpc_connection import GrpcConnection
from edgewise.net.grpc_deadlines import Deadlines
from edgewise.net.grpc_exchange import StreamingMethod, UnaryMethod
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.grpc_server import GrpcServer
from edgewise.net.hpack import HeaderDecoder, encode_fields
from edgewise.net.http2_output import FlushQueue
from support.socketless import ManualLoop, WrittenTransport

LIMITS = GrpcLimits(
    max_message_bytes=2000, stream_window_bytes=70_000, connection_window_bytes=100_000, message_step_bytes=100
)


class OpenTransport(WrittenTransport):
    def write(self, data: Any) -> None:
        assert not self.ended
        super().write(data)


class Rig:
    def __init__(self, limits: GrpcLimits = LIMITS) -> None:
        self.seen: list[Any] = []
        self.got: list[bytes] = []
        self.cancelled = 0
        self.loop = ManualLoop()
        methods = {
            "/a/Echo": UnaryMethod(self.echo),
            "/a/Keep": UnaryMethod(self.keep),
            "/a/Bidi": StreamingMethod(self.bidi),
        }
        self.server = GrpcServer(methods.get, limits)
        self.server.loop = self.loop
        self.server.flush_queue = FlushQueue(self.loop)
        self.server.deadlines = Deadlines(self.loop)
        self.transport = OpenTransport()
        self.connection = GrpcConnection(self.server)
        self.connection.connection_made(self.transport)

    def echo(self, call: Any) -> None:
        self.keep(call)
        call.respond(call.message)

    def keep(self, call: Any) -> None:
        self.seen.append(call)
        self.got.append(bytes(call.message))
        call.on_cancel = self.cancel

    def bidi(self, call: Any) -> None:
        self.seen.append(call)
        call.on_message = lambda body: (self.got.append(bytes(body)), call.send(body))
        call.on_half_close = call.finish
        call.on_cancel = self.cancel

    def cancel(self) -> None:
        self.cancelled += 1

    def receive(self, data: bytes) -> None:
        """As the loop does: into whatever buffer the connection names, as much as fits."""
        while data and not self.transport.ended:
            buffer = self.connection.get_buffer(65_536)
            part = data[: len(buffer)]
            buffer[: len(part)] = part
            self.connection.buffer_updated(len(part))
            data = data[len(part) :]

    def lose(self) -> None:
        self.connection.connection_lost(None)
        self.loop.turn()
        assert self.server.open_calls == 0
        assert self.server.held_bytes == 0
        assert self.server.open_connections == 0
        assert all(call.closed for call in self.seen)

    def answers(self) -> dict[int, list[Any]]:
        """By stream: what was sent on it, parts of messages put together."""
        found: dict[int, list[Any]] = {}
        decoder = HeaderDecoder(1 << 20)
        at = 0
        while at < len(self.transport.written):
            high, low, kind, flags, stream = h2.FRAME_HEAD.unpack_from(self.transport.written, at)
            payload = bytes(self.transport.written[at + 9 : at + 9 + (high << 16 | low)])
            assert len(payload) == high << 16 | low
            at += 9 + len(payload)
            events = found.setdefault(stream, [])
            if kind == h2.HEADERS:
                events.append((dict(decoder.decode(payload)[0]), flags & h2.END_STREAM))
            elif kind == h2.DATA and events and isinstance(events[-1], bytes):
                events[-1] += payload
            elif kind == h2.DATA:
                events.append(payload)
            elif stream:
                events.append((kind, payload))
        return found


def headers(stream: int, path: bytes, extra: list[tuple[bytes, bytes]] | None = None, *, end: bool = False) -> bytes:
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b"te", b"trailers")]
    fields += [(b"content-type", b"application/grpc"), *(extra or [])]
    return h2.pack_headers(stream, encode_fields(fields), end_stream=end)


def message(body: bytes) -> bytes:
    return struct.pack(">BI", 0, len(body)) + body


def data(stream: int, payload: bytes, *, end: bool) -> bytes:
    return h2.pack_frame(h2.DATA, h2.END_STREAM if end else 0, stream, payload)


def padded(stream: int, payload: bytes, pad: int, *, end: bool) -> bytes:
    flags = h2.PADDED | (h2.END_STREAM if end else 0)
    return h2.pack_frame(h2.DATA, flags, stream, bytes((pad,)) + payload + bytes(pad))


HELLO = h2.PREFACE + h2.pack_settings({h2.INITIAL_WINDOW_SIZE: 1 << 20}) + h2.pack_window_update(0, 1 << 20)


@st.composite
def conversations(draw: Any) -> tuple[bytes, dict[int, list[bytes]]]:
    """Some calls whose frames are mixed, and what each has to be answered."""
    expected: dict[int, list[bytes]] = {}
    queues: list[list[bytes]] = []
    for number in range(draw(st.integers(1, 4))):
        stream = 2 * number + 1
        streaming = draw(st.booleans())
        bodies = draw(st.lists(st.binary(max_size=1500), min_size=1, max_size=3 if streaming else 1))
        raw = b"".join(message(body) for body in bodies)
        cuts = sorted(draw(st.sets(st.integers(0, len(raw)), max_size=4)) | {0, len(raw)})
        parts = [raw[a:b] for a, b in itertools.pairwise(cuts)]
        frames = []
        for place, part in enumerate(parts, 1):
            last = place == len(parts)
            pad = draw(st.none() | st.integers(0, 20))
            frames.append(data(stream, part, end=last) if pad is None else padded(stream, part, pad, end=last))
        queues.append([headers(stream, b"/a/Bidi" if streaming else b"/a/Echo"), *frames])
        expected[stream] = bodies
    mixed = []
    mixed += [queue.pop(0) for queue in queues]
    while queues := [queue for queue in queues if queue]:
        mixed.append(draw(st.sampled_from(queues)).pop(0))
    return HELLO + b"".join(mixed), expected


@settings(max_examples=80, deadline=None)
@given(conversations(), st.data())
def test_any_split_of_the_bytes_means_the_same(conversation, choice):
    raw, expected = conversation
    cuts = sorted(choice.draw(st.sets(st.integers(0, len(raw)), max_size=12)) | {0, len(raw)})
    rig = Rig()
    for start, end in itertools.pairwise(cuts):
        rig.receive(raw[start:end])
        rig.loop.turn()
    answers = rig.answers()
    for stream, bodies in expected.items():
        (opening, _), payload, (trailers, ended) = answers[stream]
        assert opening[b":status"] == b"200"
        assert payload == b"".join(message(body) for body in bodies)
        assert (trailers, ended) == ({b"grpc-status": b"0"}, h2.END_STREAM)
    assert rig.server.protocol_errors == {}
    assert rig.server.bytes_in == len(raw)
    assert rig.server.bytes_out == len(rig.transport.written)
    assert rig.connection.open_streams == 0
    rig.lose()
    assert rig.cancelled == 0


FRAMES = st.builds(
    h2.pack_frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 5, 7, 2**31 - 1]),
    st.binary(max_size=40) | st.just(message(b"x")),
)
PATHS = st.sampled_from([b"/a/Echo", b"/a/Keep", b"/a/Bidi", b"/a/None", b"bad"])
BEGINNINGS = st.builds(
    headers,
    st.sampled_from([1, 3, 5, 7]),
    PATHS,
    st.lists(st.tuples(st.sampled_from([b"grpc-timeout", b"grpc-encoding", b"x"]), st.binary(max_size=5)), max_size=2),
    end=st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(FRAMES | BEGINNINGS | st.binary(max_size=30), max_size=25), st.data())
def test_garbage_does_no_harm(parts, choice):
    rig = Rig()
    raw = (HELLO if choice.draw(st.booleans()) else h2.PREFACE) + b"".join(parts)
    cuts = sorted(choice.draw(st.sets(st.integers(0, len(raw)), max_size=5)) | {0, len(raw)})
    for start, end in itertools.pairwise(cuts):
        rig.receive(raw[start:end])
        rig.loop.turn()
        assert len(rig.connection._pending) <= LIMITS.max_header_block_bytes + 9
        if not rig.transport.ended:
            rig.connection.sweep(rig.connection._since_s)
    rig.answers()
    rig.lose()


@settings(max_examples=100, deadline=None)
@given(conversations(), st.integers(0, 10_000), st.integers(0, 255))
def test_one_wrong_byte_does_no_harm(conversation, place, byte):
    raw = bytearray(conversation[0])
    raw[place % len(raw)] = byte
    rig = Rig()
    rig.receive(bytes(raw))
    rig.loop.turn()
    rig.lose()


def test_the_same_headers_are_decoded_once():
    rig = Rig()
    rig.receive(HELLO)
    for stream in range(1, 21, 2):
        rig.receive(headers(stream, b"/a/Keep") + data(stream, message(b"x"), end=True))
    assert len({id(call.metadata) for call in rig.seen}) == 1
    # An insertion into the table makes what is kept void, for indices mean something else from then on.
    insert = b"\x40\x01x\x01y"
    fields = encode_fields([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/Keep"), (b"te", b"trailers")])
    kind = encode_fields([(b"content-type", b"application/grpc")])
    indexed = h2.pack_headers(23, fields + kind + b"\xbe", end_stream=False)
    rig.receive(h2.pack_headers(21, fields + kind + insert, end_stream=False) + indexed)
    rig.receive(h2.pack_headers(25, fields + kind + b"\x40\x01x\x01z", end_stream=False))
    rig.receive(h2.pack_headers(27, fields + kind + b"\xbe", end_stream=False))
    for stream in (21, 23, 25, 27):
        rig.receive(data(stream, message(b"x"), end=True))
    assert [call.metadata[b"x"] for call in rig.seen[-4:]] == [b"y", b"y", b"z", b"z"]
    rig.lose()


def test_all_answers_of_a_turn_leave_in_one_write():
    rig = Rig()
    writes = []
    rig.transport.write = writes.append
    rig.receive(HELLO + b"".join(headers(s, b"/a/Keep") + data(s, message(b"x"), end=True) for s in range(1, 41, 2)))
    assert len(writes) == 1
    for call in rig.seen[:10]:
        call.respond(b"y")
    assert len(writes) == 1
    rig.loop.turn()
    assert len(writes) == 2
    # The last one that is open need not wait for others.
    for call in rig.seen[10:]:
        assert len(writes) == 2
        call.respond(b"y")
    assert len(writes) == 3
    rig.loop.turn()
    assert len(writes) == 3
    # And those given while reading, with the read.
    rig.receive(b"".join(headers(s, b"/a/Echo") + data(s, message(b"x"), end=True) for s in range(41, 81, 2)))
    assert len(writes) == 4


def test_others_get_their_turn():
    rig = Rig(GrpcLimits())
    paused = []
    rig.transport.pause_reading = lambda: paused.append(True)
    rig.transport.resume_reading = lambda: paused.append(False)
    raw = b"".join(headers(s, b"/a/Echo") + data(s, message(b"x"), end=True) for s in range(1, 801, 2))
    rig.receive(HELLO + raw)
    assert paused == [True]
    rig.loop.turn()
    assert paused == [True, False]


def test_answers_after_the_end_are_dropped():
    rig = Rig()
    rig.receive(HELLO + headers(1, b"/a/Keep") + data(1, message(b"x"), end=True))
    call = rig.seen[0]
    rig.connection.connection_lost(None)
    assert rig.cancelled == 1
    call.respond(b"y")
    call.fail(3, "no")
    rig.loop.turn()
    assert rig.connection.open_streams == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_given_in_the_turn_in_which_the_connection_is_lost(when):
    rig = Rig()
    rig.receive(HELLO + headers(1, b"/a/Keep") + data(1, message(b"x"), end=True))
    if when == "before":
        rig.seen[0].respond(b"y")
        rig.lose()
        assert rig.cancelled == 0
    else:
        rig.lose()
        rig.seen[0].respond(b"y")
        assert rig.cancelled == 1
    rig.loop.turn()
