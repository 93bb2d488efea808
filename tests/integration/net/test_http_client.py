"""The client against our server, and against servers that misbehave byte by byte."""

import asyncio
import contextlib
import socket

import pytest

from edgewise.net.errors import (
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    PoolTimeoutError,
    ProtocolError,
    RequestTimeoutError,
    ResponseTooLargeError,
)
from edgewise.net.http_client import HttpClient

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.asynccontextmanager
async def scripted(*scripts):
    """A server whose n-th connection runs the n-th script (the last one again after that); yields port and count."""
    count = []
    tasks = []

    async def serve(reader, writer):
        tasks.append(asyncio.current_task())
        script = scripts[min(len(count), len(scripts) - 1)]
        count.append(1)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await script(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], count
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*tasks), 20)
        await server.wait_closed()
        await asyncio.sleep(0)


def says(*answers, then_wait=False):
    """Answer one request after the other, then close (or wait)."""

    async def script(reader, writer):
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        if then_wait:
            await reader.read()

    return script


def test_requests_reuse_one_connection(net):
    async def main():
        async with net.serving() as house, HttpClient("127.0.0.1", house.port) as client:
            for number in range(3):
                response = await client.request(b"GET", b"/a?n=%d" % number, [(b"x-a", b"b")], timeout_s=5)
                assert (response.status, response.body) == (200, b"GET /a?n=%d|" % number)
                assert response.headers[b"content-type"] == b"text/plain"
            head = await client.request(b"HEAD", b"/", timeout_s=5)
            assert (head.status, head.body) == (200, b"")
            assert int(head.headers[b"content-length"]) > 0
            assert (await client.request(b"GET", b"/", timeout_s=5)).body == b"GET /?|"
            assert house.server.connections_accepted == 1
            assert house.seen[0].headers == {b"host": b"127.0.0.1:%d" % house.port, b"x-a": b"b"}

    net.run(main)


@pytest.mark.parametrize("size", [0, 1, 20_000, 700_000, 6_000_000])
def test_bodies_of_all_sizes_both_ways(net, size):
    body = bytes(range(251)) * (size // 251) + b"z" * (size % 251)

    async def main():
        async with net.serving() as house, HttpClient("127.0.0.1", house.port) as client:
            for given in (body, bytearray(body), memoryview(body), [body[: size // 2], memoryview(body)[size // 2 :]]):
                response = await client.request(b"POST", b"/p", body=given, timeout_s=20)
                assert response.body == b"POST /p?|" + body
            assert house.seen[0].headers[b"content-length"] == b"%d" % size

    net.run(main)


def test_concurrent_requests_share_the_pool(net):
    async def main():
        async with net.serving() as house, HttpClient("127.0.0.1", house.port, max_connections=3) as client:
            responses = await asyncio.gather(
                *(client.request(b"GET", b"/%d" % number, timeout_s=20) for number in range(200))
            )
            assert [response.body for response in responses] == [b"GET /%d?|" % number for number in range(200)]
            assert house.server.connections_accepted <= 3
            assert client.open_connections <= 3

    net.run(main)


def test_over_tls(net, tmp_path):
    """Only that a failed handshake is a ConnectError; certificates are tested elsewhere."""
    import ssl

    async def main():
        async with net.serving() as house:
            client = HttpClient("127.0.0.1", house.port, ssl_context=ssl.create_default_context())
            with pytest.raises(ConnectError):
                await client.request(b"GET", b"/", timeout_s=5)
            await client.close()

    net.run(main)


def test_socket_options(net):
    async def main():
        async with net.serving() as house, HttpClient("127.0.0.1", house.port, user_timeout_ms=1234) as client:
            await client.request(b"GET", b"/", timeout_s=5)
            connection = next(iter(client._connections))
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1234
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0

    net.run(main)


def test_connecting_fails(net):
    async def main():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            async with HttpClient("127.0.0.1", taken.getsockname()[1]) as client:
                for _ in range(3):
                    with pytest.raises(ConnectError, match=r"no connection to 127\.0\.0\.1"):
                        await client.request(b"GET", b"/", timeout_s=5)
                assert client._slots_used == 0

    net.run(main)


def test_connecting_takes_too_long(net):
    async def main():
        # A listener with a full backlog drops the packets of further connections.
        with socket.socket() as full, contextlib.ExitStack() as stack:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            async with HttpClient("127.0.0.1", full.getsockname()[1], connect_timeout_s=0.05) as client:
                with pytest.raises(ConnectTimeoutError, match=r"within 0\.05 s"):
                    await client.request(b"GET", b"/", timeout_s=5)
                assert client._slots_used == 0

    net.run(main)


def test_no_answer_in_time_closes_the_connection(net):
    async def main():
        async with net.serving(None) as house, HttpClient("127.0.0.1", house.port) as client:
            with pytest.raises(RequestTimeoutError) as caught:
                await client.request(b"GET", b"/", timeout_s=0.05)
            assert caught.value.received_bytes == 0
            await house.until(lambda: house.server.open_connections == 0)
            assert client._slots_used == 0
        async with (
            scripted(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", then_wait=True)) as (port, _),
            HttpClient("127.0.0.1", port) as client,
        ):
            with pytest.raises(RequestTimeoutError) as caught:
                await client.request(b"GET", b"/", timeout_s=0.1)
            assert caught.value.received_bytes > 0

    net.run(main)


def test_cancelling_closes_the_connection(net):
    async def main():
        async with net.serving(None) as house, HttpClient("127.0.0.1", house.port) as client:
            task = asyncio.create_task(client.request(b"GET", b"/", timeout_s=20))
            exchange = await house.next_exchange()
            cancelled = []
            exchange.on_cancel = lambda: cancelled.append(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await house.until(lambda: bool(cancelled))
            assert client._slots_used == 0

    net.run(main)


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_stale_connection_is_retried_only_for_idempotent_requests(net, idempotent):
    """The server closes a kept-alive connection at the moment the second request arrives."""

    async def stale(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")

    async def main():
        async with scripted(stale, says(OK, then_wait=True)) as (port, count), HttpClient("127.0.0.1", port) as client:
            await client.request(b"GET", b"/", timeout_s=5)
            if idempotent:
                assert (await client.request(b"GET", b"/", timeout_s=5, idempotent=True)).body == b"ok"
            else:
                with pytest.raises(ConnectionLostError) as caught:
                    await client.request(b"GET", b"/", timeout_s=5)
                assert caught.value.received_bytes == 0
            assert len(count) == (2 if idempotent else 1)

    net.run(main)


def test_a_fresh_connection_is_not_retried(net):
    async def main():
        async with scripted(says(b"")) as (port, count), HttpClient("127.0.0.1", port) as client:
            with pytest.raises(ConnectionLostError):
                await client.request(b"GET", b"/", timeout_s=5, idempotent=True)
            assert len(count) == 1

    net.run(main)


def test_an_answer_that_began_is_not_retried(net):
    async def main():
        script = says(OK, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        async with scripted(script) as (port, count), HttpClient("127.0.0.1", port) as client:
            await client.request(b"GET", b"/", timeout_s=5)
            with pytest.raises(ConnectionLostError) as caught:
                await client.request(b"GET", b"/", timeout_s=5, idempotent=True)
            assert caught.value.received_bytes > 0
            assert len(count) == 1

    net.run(main)


def test_an_idle_connection_closed_by_the_server_is_not_used(net):
    async def main():
        async with scripted(says(OK)) as (port, count), HttpClient("127.0.0.1", port) as client:
            for number in range(3):
                assert (await client.request(b"GET", b"/", timeout_s=5)).body == b"ok"
                async with asyncio.timeout(net.wait_s):
                    while client.open_connections:  # noqa: ASYNC110 - the closing has no event of its own
                        await asyncio.sleep(0.001)
                assert len(count) == number + 1

    net.run(main)


def test_bytes_that_nobody_asked_for_end_the_connection(net):
    async def chatty(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await reader.read()

    async def main():
        async with scripted(chatty, says(OK, then_wait=True)) as (port, count), HttpClient("127.0.0.1", port) as client:
            assert (await client.request(b"GET", b"/", timeout_s=5)).body == b"ok"
            go.set()
            async with asyncio.timeout(net.wait_s):
                while client.open_connections:  # noqa: ASYNC110 - the closing has no event of its own
                    await asyncio.sleep(0.001)
            assert (await client.request(b"GET", b"/", timeout_s=5)).body == b"ok"
            assert len(count) == 2

    go = asyncio.Event()
    net.run(main)


def test_connection_close_and_until_close(net):
    async def main():
        answers = [
            says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", then_wait=True),
            says(b"HTTP/1.1 200 OK\r\n\r\nall of it"),
            says(
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            ),
        ]
        async with scripted(*answers) as (port, count), HttpClient("127.0.0.1", port) as client:
            for body in (b"ok", b"all of it", b"ok"):
                assert (await client.request(b"GET", b"/", timeout_s=5)).body == body
            assert len(count) == 3

    net.run(main)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", ProtocolError),
        (OK + b"surplus", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000, ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", ResponseTooLargeError),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, ResponseTooLargeError),
    ],
)
def test_bad_answers(net, answer, kind):
    async def main():
        async with (
            scripted(says(answer, then_wait=True), says(OK, then_wait=True)) as (port, _),
            HttpClient("127.0.0.1", port, max_body_bytes=1000) as client,
        ):
            with pytest.raises(kind):
                await client.request(b"GET", b"/", timeout_s=5)
            assert (await client.request(b"GET", b"/", timeout_s=5)).body == b"ok"

    net.run(main)


def test_a_413_is_read_although_the_body_was_not_taken(net):
    async def main():
        async with (
            net.serving(limits={"max_body_bytes": 1000}) as house,
            HttpClient("127.0.0.1", house.port) as client,
        ):
            for _ in range(3):
                response = await client.request(b"POST", b"/", body=b"x" * 8_000_000, timeout_s=10)
                assert response.status == 413

    net.run(main)


def test_waiting_for_a_connection_is_bounded_and_fair(net):
    async def main():
        async with net.serving(None) as house, HttpClient("127.0.0.1", house.port, max_connections=1) as client:
            first = asyncio.create_task(client.request(b"GET", b"/1", timeout_s=20))
            exchange = await house.next_exchange()
            with pytest.raises(PoolTimeoutError, match="all 1 connections"):
                await client.request(b"GET", b"/late", timeout_s=0.02)
            second = asyncio.create_task(client.request(b"GET", b"/2", timeout_s=20))
            third = asyncio.create_task(client.request(b"GET", b"/3", timeout_s=20))
            fourth = asyncio.create_task(client.request(b"GET", b"/4", timeout_s=20))
            await asyncio.sleep(0)
            third.cancel()
            net.echo(exchange)
            assert (await first).body == b"GET /1?|"
            exchange = await house.next_exchange()
            assert exchange.path == b"/2"
            exchange._connection.abort()
            with pytest.raises(ConnectionLostError):
                await second
            net.echo(await house.next_exchange())
            assert (await fourth).body == b"GET /4?|"
            with pytest.raises(asyncio.CancelledError):
                await third
            assert client._slots_used == 1

    net.run(main)


@pytest.mark.interpreted
def test_a_waiter_cancelled_as_it_is_served_passes_the_connection_on(net):
    async def main():
        async with net.serving(None) as house, HttpClient("127.0.0.1", house.port, max_connections=1) as client:
            first = asyncio.create_task(client.request(b"GET", b"/1", timeout_s=20))
            exchange = await house.next_exchange()
            second = asyncio.create_task(client.request(b"GET", b"/2", timeout_s=20))
            await asyncio.sleep(0)
            release = client.release

            def release_and_cancel(connection):
                release(connection)
                client.release = release
                second.cancel()

            client.release = release_and_cancel
            net.echo(exchange)
            await first
            with pytest.raises(asyncio.CancelledError):
                await second
            third = asyncio.create_task(client.request(b"GET", b"/3", timeout_s=20))
            net.echo(await house.next_exchange())
            assert (await third).status == 200
            assert house.server.connections_accepted == 1

    net.run(main)


def test_closing_the_client_ends_what_is_in_flight_and_what_waits(net):
    async def main():
        async with net.serving(None) as house:
            client = HttpClient("127.0.0.1", house.port, max_connections=1)
            flying = asyncio.create_task(client.request(b"GET", b"/", timeout_s=20))
            await house.next_exchange()
            waiting = asyncio.create_task(client.request(b"GET", b"/", timeout_s=20))
            await asyncio.sleep(0)
            await client.close()
            with pytest.raises(ConnectionLostError):
                await flying
            with pytest.raises(ClientClosedError):
                await waiting
            with pytest.raises(ClientClosedError):
                await client.request(b"GET", b"/", timeout_s=20)
            assert client.open_connections == 0

    net.run(main)


@pytest.mark.parametrize(
    "request_parts",
    [
        (b"GET", b"/a b", ()),
        (b"GET", b"/a\r\nx: y", ()),
        (b"G T", b"/", ()),
        (b"GET", b"/", [(b"a", b"b\r\nc: d")]),
        (b"GET", b"/", [(b"a\n", b"b")]),
    ],
)
def test_requests_that_would_say_more_than_they_should_are_refused(net, request_parts):
    async def main():
        async with HttpClient("127.0.0.1", 1) as client:
            with pytest.raises(ValueError, match="line break"):
                await client.request(*request_parts, timeout_s=5)

    net.run(main)
