"""grpcio's clients, sync and aio, against the server: they know nothing of how it is made."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import threading

import grpc
import grpc.aio
import pytest

from edgewise.net.grpc_exchange import UnaryMethod
from edgewise.net.grpc_server import GrpcServer
from support.certificates import self_signed

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
SIZES = [0, 1, 100, 16_384, 600_000, 20_000_000]


def channel(house, options=()):
    return grpc.aio.insecure_channel(f"127.0.0.1:{house.port}", [*UNLIMITED, *options])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_aio_messages_of_all_sizes(net, grpc_tools, size, compression):
    body = os.urandom(size // 2) + bytes(size - size // 2)

    async def main():
        async with grpc_tools.serving() as house, channel(house) as open_channel:
            echo = open_channel.unary_unary(grpc_tools.echo)
            for _ in range(2):
                assert await echo(body, timeout=30, compression=compression) == body

    net.run(main)


@pytest.mark.parametrize("compression", list(grpc.Compression))
def test_sync_client(net, grpc_tools, compression):
    async def main():
        async with grpc_tools.serving() as house:

            def work():
                with grpc.insecure_channel(f"127.0.0.1:{house.port}", UNLIMITED) as open_channel:
                    echo = open_channel.unary_unary(grpc_tools.echo)
                    return [echo(bytes(size), timeout=30, compression=compression) for size in SIZES[:-1]]

            assert [len(answer) for answer in await asyncio.to_thread(work)] == SIZES[:-1]

    net.run(main)


def test_metadata_both_ways(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, channel(house) as open_channel:
            keep = open_channel.unary_unary(grpc_tools.keep)
            sent = [("x-request-id", "abc"), ("twice", "1"), ("twice", "2"), ("raw-bin", b"\x00\xff")]
            call = keep(b"x", metadata=sent, timeout=30)
            task = asyncio.ensure_future(call)
            await house.until(lambda: house.seen)
            seen = house.seen[0]
            assert seen.metadata[b"x-request-id"] == b"abc"
            assert seen.metadata[b"twice"] == b"1,2"
            assert seen.metadata[b"raw-bin"] == b"AP8"
            assert seen.metadata[b"user-agent"].startswith(b"grpc-python-asyncio")
            assert 29 <= seen.timeout_s <= 31
            seen.respond(b"y", [(b"x-site", b"here"), (b"raw-bin", b"AP8")])
            assert await task == b"y"
            assert dict(await call.trailing_metadata()) == {"x-site": "here", "raw-bin": b"\x00\xff"}

    net.run(main)


def test_errors_with_their_words_and_trailers(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, channel(house) as open_channel:
            call = open_channel.unary_unary(grpc_tools.keep)(b"x")
            task = asyncio.ensure_future(call)
            await house.until(lambda: house.seen)
            house.seen[0].fail(9, 'key "ü" not found: 100 %\nsecond line', [(b"retry-after", b"3")])
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await task
            assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert raised.value.details() == 'key "ü" not found: 100 %\nsecond line'
            assert dict(raised.value.trailing_metadata()) == {"retry-after": "3"}
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await open_channel.unary_unary("/test.Echo/Nope")(b"x")
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED

    net.run(main)


def test_deadlines_and_cancellation_reach_the_method(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, channel(house) as open_channel:
            keep = open_channel.unary_unary(grpc_tools.keep)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await keep(b"x", timeout=0.05)
            assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await house.until(lambda: len(house.cancelled) == 1)
            task = asyncio.ensure_future(keep(b"x"))
            await house.until(lambda: len(house.seen) == 2)
            task.cancel()
            await house.until(lambda: len(house.cancelled) == 2)
            assert await open_channel.unary_unary(grpc_tools.echo)(b"on") == b"on"

    net.run(main)


def test_many_calls_at_once_over_several_connections(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, contextlib.AsyncExitStack() as stack:
            calls = []
            for number in range(4):
                options = [("grpc.use_local_subchannel_pool", 1), ("own", number)]
                open_channel = await stack.enter_async_context(channel(house, options))
                echo = open_channel.unary_unary(grpc_tools.echo)
                calls += [echo(b"%d" % n * (n % 50 + 1), metadata=[("n", str(n))], timeout=60) for n in range(500)]
            answers = await asyncio.gather(*calls)
            assert answers == [b"%d" % n * (n % 50 + 1) for n in range(500)] * 4
            assert house.server.connections_accepted == 4
            assert house.server.protocol_errors == {}

    net.run(main)


def test_more_calls_than_streams_wait_at_the_client(net, grpc_tools):
    async def main():
        async with grpc_tools.serving(limits={"max_concurrent_streams": 3}) as house, channel(house) as open_channel:
            echo = open_channel.unary_unary(grpc_tools.echo)
            assert await echo(b"settings are known")
            assert len(await asyncio.gather(*[echo(b"x") for _ in range(100)])) == 100
            assert house.server.protocol_errors == {}

    net.run(main)


def test_small_client_windows_and_large_answers(net, grpc_tools):
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]

    async def main():
        async with grpc_tools.serving() as house, channel(house, options) as open_channel:
            echo = open_channel.unary_unary(grpc_tools.echo)
            bodies = [bytes((n,)) * 3_000_000 for n in range(4)]
            assert await asyncio.gather(*[echo(body) for body in bodies]) == bodies

    net.run(main)


def test_keepalive_pings_of_a_client(net, grpc_tools):
    options = [
        ("grpc.keepalive_time_ms", 10),
        ("grpc.keepalive_timeout_ms", 5000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]

    async def main():
        async with grpc_tools.serving() as house, channel(house, options) as open_channel:
            task = asyncio.ensure_future(open_channel.unary_unary(grpc_tools.keep)(b"x"))
            await house.until(lambda: house.seen)
            before = house.server.bytes_in
            await house.until(lambda: house.server.bytes_in >= before + 3 * 17)
            house.seen[0].respond(b"kept alive")
            assert await task == b"kept alive"

    net.run(main)


def test_streaming(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as house, channel(house) as open_channel:
            stream = open_channel.stream_stream(grpc_tools.bidi)()
            for word in (b"one", b"", b"x" * 100_000):
                await stream.write(word)
                assert await stream.read() == word
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK

            pushed = open_channel.unary_stream(grpc_tools.push)(b"subscribe")
            await house.until(lambda: house.got[-1:] == [b"subscribe"])
            for number in range(5):
                house.seen[-1].send(b"%d" % number)
                assert await pushed.read() == b"%d" % number
            pushed.cancel()
            await house.until(lambda: house.cancelled == [house.seen[-1]])

    net.run(main)


def test_no_call_fails_while_a_server_hands_over_to_another(net, grpc_tools):
    async def main():
        async with grpc_tools.serving() as first:
            second = GrpcServer({grpc_tools.echo: UnaryMethod(lambda call: call.respond(call.message))}.get)
            await first.server.stop_accepting()
            await first.server.close()
            port = first.port
            server = GrpcServer({grpc_tools.echo: UnaryMethod(lambda call: call.respond(call.message))}.get)
            await server.start("127.0.0.1", port, reuse_port=True)
            await second.start("127.0.0.1", port, reuse_port=True)
            stop = threading.Event()
            counts = [0]

            def load():
                with grpc.insecure_channel(
                    f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]
                ) as open_channel:
                    echo = open_channel.unary_unary(grpc_tools.echo)
                    while not stop.is_set():
                        assert echo(b"x", timeout=20) == b"x"
                        counts[0] += 1

            loads = [asyncio.create_task(asyncio.to_thread(load)) for _ in range(4)]
            await first.until(lambda: counts[0] > 100)
            await server.stop_accepting()
            assert await server.drain(20) == 0
            await server.close()
            seen = counts[0]
            await first.until(lambda: counts[0] > seen + 100)
            stop.set()
            await asyncio.gather(*loads)
            await second.drain(20)
            await second.close()

    net.run(main)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return self_signed(tmp_path_factory.mktemp("tls"))


def test_tls(net, grpc_tools, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["h2"])
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())

    async def main():
        async with grpc_tools.serving(ssl_context=context) as house:
            target = f"localhost:{house.port}"
            async with grpc.aio.secure_channel(target, credentials, UNLIMITED) as open_channel:
                echo = open_channel.unary_unary(grpc_tools.echo)
                for size in SIZES[:-1]:
                    assert await echo(bytes(size), timeout=30) == bytes(size)
                await asyncio.gather(*[echo(b"x") for _ in range(200)])
                await house.server.stop_accepting()
                assert await house.server.drain(20) == 0

    net.run(main)


def test_the_server_needs_no_grpcio():
    code = "import sys, edgewise.net.grpc_server; sys.exit('grpc' in sys.modules or 'google' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
