"""Our client against our server, against grpcio's, and against one that sends exactly the frames it is told to."""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import threading
from concurrent import futures
from functools import partial

import grpc
import pytest

from edgewise.net import errors
from edgewise.net import http2_frames as h2
from edgewise.net.grpc_client import GrpcClient
from edgewise.net.grpc_client_answer import GrpcAnswer
from edgewise.net.grpc_client_call import ClientCall
from edgewise.net.grpc_client_head import encode_metadata, encode_timeout
from edgewise.net.grpc_exchange import UnaryMethod
from edgewise.net.grpc_limits import GrpcLimits
from edgewise.net.grpc_server import GrpcServer
from edgewise.net.hpack import HeaderDecoder, encode_fields
from edgewise.net.tcp import open_socket
from support.certificates import self_signed

WAIT_S = 20.0
ECHO = b"/test.Echo/Echo"
KEEP = b"/test.Echo/Keep"
SIZES = [0, 1, 100, 8_193, 16_379, 65_536, 600_000, 20_000_000]
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
LIMITS = {"sweep_interval_s": 0.02}


class Calls:
    """Calls whose outcomes can be awaited."""

    def __init__(self, client):
        self.client = client
        self.progress = 0

    def begin(self, message=b"hello", method=ECHO, *, metadata=(), timeout_s=None):
        future = asyncio.get_running_loop().create_future()

        def saw():
            self.progress += 1

        call = self.client.call(method, metadata, message, timeout_s=timeout_s, done=future.set_result, on_bytes=saw)
        return call, future

    async def outcome(self, *arguments, **words):
        _, future = self.begin(*arguments, **words)
        return await asyncio.wait_for(future, WAIT_S)


@contextlib.asynccontextmanager
async def calling(port, *, limits=None, host="127.0.0.1", **options):
    client = GrpcClient(
        b"localhost:%d" % port,
        partial(open_socket, host, port),
        limits=GrpcLimits(**{**LIMITS, **(limits or {})}),
        **options,
    )
    try:
        yield Calls(client)
    finally:
        await client.close()
        async with asyncio.timeout(WAIT_S):
            while client.open_connections:  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.001)
        assert client.open_calls == 0


@contextlib.contextmanager
def grpcio_server(method, *, workers=8, options=(), credentials=None):
    """grpcio's own server with one method for every name."""

    class Any(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(method)

    server = grpc.server(futures.ThreadPoolExecutor(workers), options=[*UNLIMITED, *options])
    server.add_generic_rpc_handlers((Any(),))
    port = (
        server.add_insecure_port("127.0.0.1:0")
        if credentials is None
        else server.add_secure_port("127.0.0.1:0", credentials)
    )
    server.start()
    try:
        yield port, server
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_all_sizes_with_our_server(net, grpc_tools, size):
    body = os.urandom(size // 2) + bytes(size - size // 2)

    async def main():
        async with grpc_tools.serving() as house, calling(house.port) as calls:
            for _ in range(2):
                answer = await calls.outcome(body)
                assert answer.status == 0
                assert answer.body == body

    net.run(main)


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_all_sizes_with_grpcio(net, size):
    body = os.urandom(size // 2) + bytes(size - size // 2)

    async def main():
        with grpcio_server(lambda request, _context: request) as (port, _):
            async with calling(port) as calls:
                for _ in range(3):
                    answer = await calls.outcome(body)
                    assert answer.status == 0
                    assert answer.body == body

    net.run(main)


def test_many_calls_at_once_share_a_connection(net):
    async def main():
        with grpcio_server(lambda request, _context: request[::-1]) as (port, _):
            async with calling(port) as calls:
                # From a thousand calls that wait on, grpcio's server drops some.
                bodies = [os.urandom(5 * i) for i in range(900)]
                pairs = [calls.begin(body) for body in bodies]
                async with asyncio.timeout(WAIT_S):
                    answers = [await future for _, future in pairs]
                assert {(answer.status, answer.status_message) for answer in answers} == {(0, b"")}
                assert [answer.body for answer in answers] == [body[::-1] for body in bodies]
                assert calls.client.open_connections <= 8

    net.run(main)


@pytest.mark.parametrize(("streams", "connections"), [(1, 1), (7, 2), (100, 3)])
def test_no_more_calls_than_the_server_takes(net, grpc_tools, streams, connections):
    async def main():
        limits = {"max_concurrent_streams": streams}
        async with (
            grpc_tools.serving(limits=limits) as house,
            calling(house.port, max_connections=connections) as calls,
        ):
            assert (await calls.outcome()).status == 0
            pairs = [calls.begin(b"%d" % i, KEEP) for i in range(500)]
            most = 0
            async with asyncio.timeout(WAIT_S):
                for number in range(1, 1 + len(pairs)):
                    await house.until(lambda number=number: len(house.seen) > number)
                    most = max(most, house.server.open_calls)
                    exchange = house.seen[number]
                    exchange.respond(exchange.message)
                answers = [await future for _, future in pairs]
            assert sorted(int(answer.body) for answer in answers) == list(range(500))
            # The first calls may be begun before the server has said how many it takes; those it refuses come again.
            assert most <= streams * connections
            assert house.server.protocol_errors == {}

    net.run(main)


def test_metadata_deadlines_and_errors(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, calling(house.port) as calls:
            metadata = [(b"x-request-id", b"r-1"), (b"raw-bin", b"AP8")]
            _, future = calls.begin(b"x", KEEP, metadata=metadata, timeout_s=9.9)
            await house.until(lambda: house.seen)
            seen = house.seen[0]
            assert seen.metadata[b"x-request-id"] == b"r-1"
            assert seen.metadata[b"raw-bin"] == b"AP8"
            assert seen.metadata[b"user-agent"] == b"edgewise"
            assert seen.timeout_s == 9.9
            seen.fail(9, "no: 50 % of ü", [(b"x-site", b"here"), (b"grpc-status-details-bin", b"AAEC")])
            answer = await asyncio.wait_for(future, WAIT_S)
            assert isinstance(answer, GrpcAnswer)
            assert (answer.status, answer.status_message) == (9, b"no: 50 %25 of %C3%BC")
            assert dict(answer.trailers) == {b"x-site": b"here", b"grpc-status-details-bin": b"AAEC"}
            assert answer.body is None
            absent = await calls.outcome(b"", b"/test.Echo/Absent")
            assert absent.status == 12

    net.run(main)


def test_what_grpcio_says_beside_its_answers(net):
    def method(request, context):
        context.send_initial_metadata([("x-first", "1")])
        context.set_trailing_metadata([("x-last", "2"), ("raw-bin", b"\x00\xff")])
        if request == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not ü")
        assert dict(context.invocation_metadata())["x-request-id"] == "r-1"
        assert 8 < context.time_remaining() < 10
        return request

    async def main():
        with grpcio_server(method) as (port, _):
            async with calling(port) as calls:
                for _ in range(3):
                    answer = await calls.outcome(b"y", metadata=[(b"x-request-id", b"r-1")], timeout_s=9.9)
                    assert (answer.status, answer.body) == (0, b"y")
                    assert dict(answer.headers) == {b"x-first": b"1"}
                    assert dict(answer.trailers) == {b"x-last": b"2", b"raw-bin": b"AP8"}
                answer = await calls.outcome(b"fail")
                assert (answer.status, answer.status_message) == (9, b"not %C3%BC")
                assert answer.trailers[b"x-last"] == b"2"

    net.run(main)


def test_calls_given_up_are_taken_off(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, calling(house.port) as calls:
            pairs = [calls.begin(b"x", KEEP) for _ in range(20)]
            await house.until(lambda: len(house.seen) == 20)
            for call, _ in pairs[::2]:
                call.cancel()
            await house.until(lambda: len(house.cancelled) == 10)
            assert house.cancelled == house.seen[::2]
            for exchange in house.seen[1::2]:
                exchange.respond(b"y")
            for _, future in pairs[1::2]:
                assert (await asyncio.wait_for(future, WAIT_S)).body == b"y"
            assert not any(future.done() for _, future in pairs[::2])
            for call, _ in pairs:
                call.cancel()

    net.run(main)


def test_a_call_given_up_while_it_is_sent_or_waits(net, grpc_tools):
    async def main():
        limits = {"stream_window_bytes": 65_535, "connection_window_bytes": 65_535, "max_message_bytes": 100_000_000}
        async with grpc_tools.serving(limits=limits) as house, calling(house.port) as calls:
            waits, never = calls.begin(b"waits for a connection")
            waits.cancel()
            assert (await calls.outcome()).status == 0
            large, told = calls.begin(bytes(50_000_000), KEEP)
            other = calls.begin(b"y")[1]
            assert (await asyncio.wait_for(other, WAIT_S)).body == b"y"
            large.cancel()
            assert (await calls.outcome(bytes(300_000))).status == 0
            assert not never.done()
            assert not told.done()
            assert house.server.protocol_errors == {}

    net.run(main)


def test_the_deadline(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, calling(house.port) as calls:
            assert (await calls.outcome()).status == 0
            outcome = await calls.outcome(b"x", KEEP, timeout_s=0.03)
            # Whichever clock is first.
            assert isinstance(outcome, errors.RequestTimeoutError) or outcome.status == 4
            await house.until(lambda: house.cancelled)

    net.run(main)


def test_small_windows_both_ways(net, grpc_tools):
    body = os.urandom(1_000_000)
    limits = {"stream_window_bytes": 65_535, "connection_window_bytes": 65_535, "max_frame_bytes": 16_384}

    async def main():
        async with grpc_tools.serving(limits=limits) as house, calling(house.port, limits=limits) as calls:
            pairs = [calls.begin(body[i:]) for i in range(5)]
            async with asyncio.timeout(WAIT_S):
                for i, (_, future) in enumerate(pairs):
                    assert (await future).body == body[i:]
            assert calls.progress > 5

    net.run(main)


def test_an_answer_over_the_limit(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, calling(house.port, limits={"max_message_bytes": 1000}) as calls:
            assert (await calls.outcome(bytes(1000))).status == 0
            for size in (1001, 500_000):
                outcome = await calls.outcome(bytes(size))
                assert isinstance(outcome, errors.ResponseTooLargeError)
            assert (await calls.outcome(bytes(1000))).status == 0
            assert calls.client.opened == 1

    net.run(main)


def test_the_server_drains(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, calling(house.port) as calls:
            _, kept = calls.begin(b"x", KEEP)
            await house.until(lambda: house.seen)
            house.server.announce_close()
            # Calls begun from here on go elsewhere, which is a new connection to the same server here.
            await house.until(lambda: calls.client._current is None)
            assert (await calls.outcome()).status == 0
            assert calls.client.opened == 2
            house.seen[0].respond(b"late")
            assert (await asyncio.wait_for(kept, WAIT_S)).body == b"late"
            await house.until(lambda: calls.client.open_connections == 1)

    net.run(main)


def test_grpcio_stops(net):
    release = threading.Event()
    begun = threading.Event()

    def method(request, _context):
        if request == b"wait":
            begun.set()
            release.wait(WAIT_S)
        return request

    async def main():
        with grpcio_server(method) as (port, server):
            async with calling(port) as calls:
                assert (await calls.outcome()).status == 0
                _, future = calls.begin(b"wait")
                assert await asyncio.to_thread(begun.wait, WAIT_S)
                stopped = await asyncio.to_thread(server.stop, WAIT_S)
                refused = await calls.outcome()
                assert isinstance(refused, errors.ConnectError)
                release.set()
                assert (await asyncio.wait_for(future, WAIT_S)).body == b"wait"
                await asyncio.to_thread(stopped.wait)

    net.run(main)


def test_nobody_listens(net):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def main():
        async with calling(port) as calls:
            pairs = [calls.begin() for _ in range(3)]
            for _, future in pairs:
                outcome = await asyncio.wait_for(future, WAIT_S)
                assert isinstance(outcome, errors.ConnectError)
                assert "Connection refused" in str(outcome)

    net.run(main)


def test_the_connect_timeout(net):
    async def main():
        async def never():
            await asyncio.Event().wait()

        client = GrpcClient(b"x", never, connect_timeout_s=0.02)
        outcome = await Calls(client).outcome()
        assert isinstance(outcome, errors.ConnectTimeoutError)
        call, future = Calls(client).begin()
        await client.close()
        assert isinstance(future.result(), (errors.ConnectError, errors.ClientClosedError))
        assert call.state == 2
        assert isinstance(await Calls(client).outcome(), errors.ClientClosedError)

    net.run(main)


def test_calls_that_wait_are_bounded(net):
    async def main():
        async def never():
            await asyncio.Event().wait()

        client = GrpcClient(b"x", never, max_waiting=2)
        calls = Calls(client)
        first = [calls.begin()[1] for _ in range(2)]
        assert isinstance(await calls.outcome(), errors.PoolTimeoutError)
        assert not any(future.done() for future in first)
        await client.close()

    net.run(main)


def test_dropping_the_connections(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, calling(house.port) as calls:
            pairs = [calls.begin(b"x", KEEP) for _ in range(3)]
            await house.until(lambda: len(house.seen) == 3)
            calls.client.close_connections()
            for _, future in pairs:
                assert isinstance(await asyncio.wait_for(future, WAIT_S), errors.ConnectionLostError)
            await house.until(lambda: len(house.cancelled) == 3)
            assert (await calls.outcome()).status == 0
            assert calls.client.opened == 2

    net.run(main)


def test_what_is_dropped_is_never_sent(net):
    """A server that does not read: what was given up must not reach it later."""

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with calling(listener.getsockname()[1]) as calls:
                _, future = calls.begin(bytes(50_000_000))
                accepted, _ = await asyncio.to_thread(listener.accept)
                with accepted:
                    accepted.settimeout(WAIT_S)
                    await asyncio.to_thread(accepted.recv, 1)
                    calls.client.close_connections()
                    assert isinstance(await future, errors.ConnectionLostError)

                    def read_all():
                        while accepted.recv(1 << 20):
                            pass

                    with pytest.raises(ConnectionResetError):
                        await asyncio.to_thread(read_all)

    net.run(main)


def test_a_connection_of_its_own(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, calling(house.port) as calls:
            client = calls.client
            assert (await calls.outcome()).status == 0
            future = asyncio.get_running_loop().create_future()
            sent = []

            class Call(ClientCall):
                def answered(self, answer):
                    future.set_result(answer)

                def sent(self):
                    sent.append(1)

            call = Call(client.head(ECHO), b"x")
            client.send(call, fresh=True)
            assert (await asyncio.wait_for(future, WAIT_S)).body == b"x"
            assert sent == [1]
            assert client.opened == 2
            # It takes the place of the one there was.
            await house.until(lambda: client.open_connections == 1)
            assert (await calls.outcome()).status == 0
            assert house.server.connections_accepted == 2

    net.run(main)


# --- a server that sends what it is told to


class Script:
    """Takes one connection after the other and does as the test says."""

    def __init__(self):
        self.streams = []
        self.decoder = HeaderDecoder(1 << 16)
        self.resets = []
        self.goaways = []
        self.connections = 0
        self.answer = None

    async def serve(self, reader, writer):
        self.connections += 1
        decoder = HeaderDecoder(1 << 16)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            assert await reader.readexactly(24) == h2.PREFACE
            writer.write(h2.pack_settings({}))
            while True:
                high, low, kind, flags, stream = h2.FRAME_HEAD.unpack(await reader.readexactly(9))
                payload = await reader.readexactly(high << 16 | low)
                if kind == h2.HEADERS:
                    decoder.decode(payload)
                elif kind == h2.RST_STREAM:
                    self.resets.append((stream, h2.read_u31(payload)))
                elif kind == h2.GOAWAY:
                    self.goaways.append(struct.unpack_from(">II", payload))
                if kind == h2.DATA and flags & h2.END_STREAM:
                    self.streams.append(stream)
                    raw = self.answer(stream, self.connections)
                    if raw is None:
                        break
                    writer.write(raw)
        writer.close()


@contextlib.asynccontextmanager
async def scripted(answer, **options):
    script = Script()
    script.answer = answer
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    async with server, calling(server.sockets[0].getsockname()[1], **options) as calls:
        yield script, calls


def head(stream, *fields, end=False, status=b"200"):
    block = [(b":status", status), (b"content-type", b"application/grpc"), *fields]
    return h2.pack_headers(stream, encode_fields(block), end_stream=end)


def trailers(stream, *fields):
    return h2.pack_headers(stream, encode_fields(fields or [(b"grpc-status", b"0")]), end_stream=True)


def data(stream, payload, *, end=False):
    return h2.pack_frame(h2.DATA, h2.END_STREAM if end else 0, stream, payload)


def message(body, compressed=0):
    return struct.pack(">BI", compressed, len(body)) + body


def good(stream, body=b"y"):
    return head(stream) + data(stream, message(body)) + trailers(stream)


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (lambda s: head(s, (b"grpc-status", b"5"), (b"grpc-message", b"no"), end=True), 5, b"no"),
        (lambda s: head(s, (b"grpc-status", b"99"), end=True), 2, b""),
        (lambda s: head(s, end=True, status=b"404"), 12, b"the server answered with HTTP status 404"),
        (
            lambda s: head(s, status=b"503") + data(s, b"<html>", end=True),
            14,
            b"the server answered with HTTP status 503",
        ),
        (lambda s: head(s) + data(s, message(b"y")) + trailers(s, (b"grpc-status", b"13")), 13, b""),
        (lambda s: h2.pack_rst_stream(s, h2.ErrorCode.ENHANCE_YOUR_CALM), 8, b"the server has too much to do"),
    ],
)
def test_answers_that_are_errors(net, answer, status, words):
    async def main():
        async with scripted(lambda stream, _: answer(stream)) as (_, calls):
            outcome = await calls.outcome()
            assert isinstance(outcome, GrpcAnswer)
            assert (outcome.status, outcome.status_message) == (status, words)

    net.run(main)


@pytest.mark.parametrize(
    "answer",
    [
        lambda s: head(s) + data(s, message(b"y")),
        lambda s: head(s, status=b"103") + good(s),
        lambda s: head(s) + data(s, b"") + data(s, message(b"y")[:3]) + data(s, message(b"y")[3:]) + data(s, b""),
        lambda s: h2.pack_frame(h2.PING, 0, 0, bytes(8)) + head(s) + data(s, message(b"y")),
        lambda s: head(s) + h2.pack_frame(h2.DATA, h2.PADDED, s, b"\x02" + message(b"y") + b"\0\0"),
        lambda s: h2.pack_frame(200, 0, s, b"?") + head(s) + data(s, message(b"y")),
    ],
)
def test_answers_in_other_shapes(net, answer):
    async def main():
        def whole(stream, _):
            raw = answer(stream)
            return raw if raw.endswith(trailers(stream)) else raw + trailers(stream)

        async with scripted(whole) as (script, calls):
            for _ in range(2):
                outcome = await calls.outcome()
                assert (outcome.status, outcome.body) == (0, b"y")
            assert script.connections == 1

    net.run(main)


@pytest.mark.parametrize(
    "answer",
    [
        lambda s: head(s, end=True),
        trailers,
        lambda s: head(s) + trailers(s),
        lambda s: head(s) + data(s, message(b"y"), end=True),
        lambda s: head(s) + data(s, message(b"y")[:4]) + trailers(s),
        lambda s: head(s) + data(s, message(b"y") * 2) + trailers(s),
        lambda s: head(s) + data(s, message(b"y")) + data(s, message(b"z")) + trailers(s),
        lambda s: data(s, message(b"y")),
        lambda s: head(s) + head(s),
        lambda s: head(s) + data(s, message(b"y", 1)) + trailers(s),
        lambda s: head(s, (b"grpc-encoding", b"gzip")) + data(s, message(b"y", 1)) + trailers(s),
        lambda s: head(s) + data(s, message(b"y", 2)) + trailers(s),
        lambda s: head(s, (b"Upper", b"x"), end=True),
        lambda s: head(s, (b":status", b"200"), end=True),
        lambda s: h2.pack_rst_stream(s, h2.ErrorCode.INTERNAL_ERROR),
        lambda s: h2.pack_window_update(s, 0),
        lambda s: h2.pack_window_update(s, h2.MAX_WINDOW_BYTES),
    ],
)
def test_what_is_no_answer_ends_its_call_alone(net, answer):
    async def main():
        async with scripted(lambda stream, _: answer(stream) if stream == 1 else good(stream)) as (script, calls):
            assert isinstance(await calls.outcome(), errors.ProtocolError)
            assert (await calls.outcome()).body == b"y"
            assert script.connections == 1

    net.run(main)


@pytest.mark.parametrize(
    "raw",
    [
        h2.pack_frame(h2.PUSH_PROMISE, h2.END_HEADERS, 1, bytes(4)),
        h2.pack_headers(9, encode_fields([(b":status", b"200")]), end_stream=False),
        h2.pack_headers(1, b"\xff\xff\xff\xff\xff", end_stream=False),
        data(77, b"x"),
        h2.pack_rst_stream(77, h2.ErrorCode.CANCEL),
        h2.pack_frame(h2.GOAWAY, 0, 0, b"short"),
        h2.pack_frame(h2.GOAWAY, 0, 1, bytes(8)),
        h2.pack_frame(h2.PING, 0, 0, b"short"),
        h2.pack_window_update(0, 0),
        h2.pack_window_update(0, h2.MAX_WINDOW_BYTES),
        h2.pack_frame(h2.DATA, h2.PADDED, 1, b"\x09x"),
        struct.pack(">BHBBI", 0xFF, 0xFFFF, h2.DATA, 0, 1),
        h2.pack_settings({h2.INITIAL_WINDOW_SIZE: h2.MAX_WINDOW_BYTES + 1}),
    ],
)
def test_what_breaks_http2_ends_the_connection(net, raw):
    async def main():
        def answer(stream, connection):
            return raw if connection == 1 else good(stream)

        async with scripted(answer) as (script, calls):
            outcome = await calls.outcome()
            assert isinstance(outcome, errors.ProtocolError), outcome
            assert "HTTP/2" in str(outcome)
            assert (await calls.outcome()).body == b"y"
            assert script.connections == 2

    net.run(main)


def test_no_http2_at_all(net):
    async def main():
        async def talk(reader, writer):
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        async with server, calling(server.sockets[0].getsockname()[1]) as calls:
            assert isinstance(await calls.outcome(), errors.ProtocolError)

    net.run(main)


def goaway(last, code=h2.ErrorCode.NO_ERROR):
    return h2.pack_goaway(last, code, "bye")


def test_goaway_above_the_last_id_means_that_nothing_was_executed(net):
    async def main():
        def answer(stream, connection):
            if connection == 1:
                return b"" if stream < 5 else goaway(1) + good(1, b"one")
            return good(stream, b"two")

        async with scripted(answer) as (script, calls):
            pairs = [calls.begin() for _ in range(3)]
            async with asyncio.timeout(WAIT_S):
                answers = [await future for _, future in pairs]
            assert [answer.body for answer in answers] == [b"one", b"two", b"two"]
            assert script.connections == 2
            assert calls.client.resent == 2

    net.run(main)


def test_a_call_is_sent_again_once_only(net):
    async def main():
        async with scripted(lambda _stream, _connection: goaway(0)) as (script, calls):
            assert isinstance(await calls.outcome(), errors.NotExecutedError)
            assert script.connections == 2

        def refuse(stream, _):
            return h2.pack_rst_stream(stream, h2.ErrorCode.REFUSED_STREAM)

        async with scripted(refuse) as (script, calls):
            assert isinstance(await calls.outcome(), errors.NotExecutedError)
            assert script.streams == [1, 3]

    net.run(main)


def test_a_connection_that_is_lost(net):
    async def main():
        async with scripted(lambda stream, connection: None if connection == 1 else good(stream)) as (script, calls):
            assert isinstance(await calls.outcome(), errors.ConnectionLostError)
            # Whether it was executed is not known: it is not sent again.
            assert script.streams == [1]
            assert (await calls.outcome()).body == b"y"

        def die(_stream, _connection):
            return goaway(1, h2.ErrorCode.INTERNAL_ERROR)

        async with scripted(lambda s, c: head(s) + data(s, message(bytes(100))[:50]) + die(s, c)) as (script, calls):
            _, future = calls.begin()
            async with asyncio.timeout(WAIT_S):
                while not calls.progress:  # noqa: ASYNC110 - what is waited for has no event of its own
                    await asyncio.sleep(0.001)
            calls.client.close_connections()
            outcome = await future
            assert isinstance(outcome, errors.ConnectionLostError)
            assert "bye" in str(outcome)
            assert outcome.received_bytes == 50

    net.run(main)


def test_a_silent_connection_is_asked_and_cut(net):
    async def main():
        limits = {"keepalive_s": 0.05, "keepalive_timeout_s": 0.05}
        async with scripted(lambda _stream, _connection: b"", limits=limits) as (_, calls):
            # The scripted server does not answer pings.
            assert isinstance(await calls.outcome(), errors.ConnectionLostError)

    net.run(main)


def test_an_idle_connection_is_closed(net, grpc_tools):
    async def main():
        limits = {"idle_timeout_s": 0.05}
        async with grpc_tools.serving() as house, calling(house.port, limits=limits) as calls:
            assert (await calls.outcome()).status == 0
            await house.until(lambda: calls.client.open_connections == 0)
            assert house.server.protocol_errors == {}
            assert (await calls.outcome()).status == 0
            assert calls.client.opened == 2

    net.run(main)


def test_long_metadata(net, grpc_tools):
    async def main():
        limits = {"max_header_list_bytes": 60_000}
        async with grpc_tools.serving(limits=limits) as house, calling(house.port) as calls:
            # Longer than a frame may be.
            outcome = await calls.outcome(metadata=[(b"long", b"x" * 20_000)])
            assert outcome.status == 0
            assert house.seen[0].metadata[b"long"] == b"x" * 20_000

    net.run(main)


@pytest.mark.parametrize(
    "field", [(b"Upper", b"x"), (b"a b", b"x"), (b":path", b"/"), (b"x", b"a\r\nb"), (b"te", b"x"), (b"", b"")]
)
def test_metadata_that_cannot_be_sent(field):
    with pytest.raises(ValueError, match="cannot be sent"):
        encode_metadata([field])


@pytest.mark.parametrize(
    ("timeout_s", "value"),
    [
        (0.0001, b"1m"),
        (0.0019, b"1m"),
        (1.5, b"1500m"),
        (99_999.999, b"99999999m"),
        (1e6, b"1000000S"),
        (1e12, b"99999999S"),
    ],
)
def test_timeouts(timeout_s, value):
    fields, _ = HeaderDecoder(1000).decode(encode_timeout(timeout_s))
    assert fields == [(b"grpc-timeout", value)]


@pytest.mark.parametrize("method", [b"", b"Echo", b"/Echo", b"/a/b c", b"/a/b\r\nx", "/ä/b".encode()])
def test_no_method(method):
    with pytest.raises(ValueError, match="expected /package"):
        GrpcClient(b"x", partial(open_socket, "x", 1)).head(method)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return self_signed(tmp_path_factory.mktemp("tls"))


def trusting(certificate, protocols=("h2",)):
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols(list(protocols))
    return context


def test_tls(net, certificate):
    async def main():
        body = os.urandom(3_000_000)
        pair = (certificate[1].read_bytes(), certificate[0].read_bytes())
        with grpcio_server(lambda request, _context: request, credentials=grpc.ssl_server_credentials([pair])) as (
            port,
            _,
        ):
            tls = {"ssl_context": trusting(certificate[0]), "server_hostname": "localhost"}
            async with calling(port, **tls) as calls:
                for size in (10, len(body)):
                    assert (await calls.outcome(body[:size])).body == body[:size]
            async with calling(port, ssl_context=trusting(certificate[0]), server_hostname="elsewhere") as calls:
                assert isinstance(await calls.outcome(), errors.ConnectError)
            async with calling(port, ssl_context=ssl.create_default_context(), server_hostname="localhost") as calls:
                assert isinstance(await calls.outcome(), errors.ConnectError)

    net.run(main)


def test_tls_without_http2(net, certificate):
    async def main():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server = GrpcServer({"/test.Echo/Echo": UnaryMethod(lambda call: call.respond(b""))}.get, ssl_context=context)
        port = await server.start()
        tls = {"ssl_context": trusting(certificate[0]), "server_hostname": "localhost"}
        async with calling(port, **tls) as calls:
            outcome = await calls.outcome()
            assert isinstance(outcome, errors.ConnectError)
            assert "ALPN h2" in str(outcome)
        await server.close()

    net.run(main)
