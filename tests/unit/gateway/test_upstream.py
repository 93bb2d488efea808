"""The pool against a server that the test controls byte by byte."""

import asyncio
import contextlib
import socket

import pytest

from edgewise.core.routing.calls import Failure
from edgewise.gateway.addresses import Addresses
from edgewise.gateway.config import Address
from edgewise.gateway.upstream import STALE_AFTER_S, HttpUpstream
from support.event_loop import run
from support.waiting import until

WAIT_S = 20.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"]


class Ticket:
    def __init__(self):
        self.carrier = None
        self.sent_s = 0.0


class Call:
    """Keeps what it is told."""

    def __init__(self):
        self.events = []
        self.over = asyncio.Event()
        self.on_answer = None

    def sent(self, ticket):
        self.events.append("sent")

    def bytes_came(self, ticket):
        self.events.append("bytes")

    def site_answered(self, ticket, head, body):
        self.events.append((head.status, bytes(body)))
        self.head = head
        self.over.set()
        if self.on_answer is not None:
            self.on_answer()

    def failed(self, ticket, failure, error):
        self.events.append(failure)
        self.error = error
        self.over.set()

    async def end(self):
        await asyncio.wait_for(self.over.wait(), WAIT_S)
        return self.events[-1]


class ServerSide(asyncio.Protocol):
    def __init__(self, server):
        self.server = server
        self.data = b""
        self.lost = asyncio.Event()
        self.why = None

    def connection_made(self, transport):
        self.transport = transport
        self.server.connections.append(self)
        self.server.changed.set()

    def data_received(self, data):
        self.data += data
        self.server.changed.set()
        if self.server.reply is not None and self.data.endswith(b"\r\n\r\n"):
            self.transport.write(self.server.reply)

    def connection_lost(self, exc):
        self.why = exc
        self.lost.set()


class Server:
    def __init__(self):
        self.connections = []
        self.changed = asyncio.Event()
        self.reply = OK
        self.port = 0

    async def until(self, true):
        async with asyncio.timeout(WAIT_S):
            while not true():
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def serving(**options):
    server = Server()
    listening = await asyncio.get_running_loop().create_server(lambda: ServerSide(server), "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    upstream = HttpUpstream(Address("127.0.0.1", server.port), **options)
    await upstream.start()
    try:
        yield server, upstream
    finally:
        await upstream.close()
        listening.close()


def send(upstream, **options):
    call, ticket = Call(), Ticket()
    upstream.send(GET, call, ticket, **options)
    assert call.events == [], "nothing is told from within"
    assert ticket.carrier is not None
    return call, ticket


async def answered(upstream, **options):
    call, ticket = send(upstream, **options)
    event = await call.end()
    assert ticket.carrier is None
    return call, event


def test_a_first_request_waits_for_a_connection_and_the_next_takes_it_at_once():
    async def main():
        async with serving() as (server, upstream):
            call, event = await answered(upstream)
            assert call.events == ["sent", (200, b"ok")]
            call, event = await answered(upstream)
            assert call.events == [(200, b"ok")], "nothing had to wait"
            assert event == (200, b"ok")
            assert len(server.connections) == upstream.open_connections == upstream.opened == 1

    run(main)


def test_the_connection_used_last_is_used_next():
    async def main():
        async with serving() as (server, upstream):
            server.reply = None
            calls = [send(upstream)[0] for _ in range(3)]
            await server.until(lambda: sum(bool(side.data) for side in server.connections) == 3)
            for side in server.connections:
                side.transport.write(OK)
            for call in calls:
                await call.end()
            assert upstream.idle_connections == 3
            server.reply = OK
            before = [len(side.data) for side in server.connections]
            for _ in range(5):
                await answered(upstream)
            used = [len(side.data) > n for side, n in zip(server.connections, before, strict=True)]
            assert sum(used) == 1

    run(main)


def test_a_connection_that_becomes_free_serves_who_waits_and_both_get_their_own_answer():
    async def main():
        async with serving() as (server, upstream):
            await answered(upstream)
            server.reply = None
            first, _ = send(upstream)
            hold = asyncio.Event()
            opened = upstream._opening.open

            async def slow_open(pool):
                await hold.wait()
                return await opened(pool)

            upstream._opening.open = slow_open
            second, ticket = send(upstream)
            await server.until(lambda: server.connections[0].data.count(b"GET") == 2)
            server.connections[0].transport.write(OK)
            await first.end()
            await server.until(lambda: server.connections[0].data.count(b"GET") == 3)
            assert first.events == [(200, b"ok")]
            assert second.events == ["sent"]
            assert ticket.carrier is not None
            server.connections[0].transport.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            assert await second.end() == (201, b"")
            hold.set()

    run(main)


def test_an_answer_in_pieces_is_told_by_its_bytes():
    async def main():
        async with serving() as (server, upstream):
            server.reply = b"HTTP/1.1 200 OK\r\nContent-Le"
            call, _ = send(upstream)
            await until(lambda: "bytes" in call.events)
            server.connections[0].transport.write(b"ngth: 2\r\n\r\nok")
            assert await call.end() == (200, b"ok")

    run(main)


def test_a_refused_connection_says_so():
    async def main():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            upstream = HttpUpstream(Address("127.0.0.1", taken.getsockname()[1]))
            call, event = await answered(upstream)
            assert event is Failure.CONNECT
            assert isinstance(call.error.__cause__, ConnectionRefusedError)
            await upstream.close()

    run(main)


def test_a_connection_that_is_never_made_times_out():
    async def main():
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            with contextlib.ExitStack() as stack:
                # A full queue of connections swallows further ones.
                for _ in range(3):
                    filler = stack.enter_context(socket.socket())
                    filler.setblocking(False)
                    filler.connect_ex(("127.0.0.1", port))
                upstream = HttpUpstream(Address("127.0.0.1", port), connect_timeout_s=0.05)
                _, event = await answered(upstream)
                assert event is Failure.CONNECT
                await upstream.close()

    run(main)


def test_a_name_nobody_knows_fails_and_is_looked_for_again():
    async def main():
        asked = []

        def lookup(host, port):
            asked.append(host)
            raise OSError("no such host")

        addresses = Addresses("cloud.example", 80, lookup=lookup)
        upstream = HttpUpstream(Address("cloud.example", 80), addresses=addresses)
        assert not await upstream.start()
        addresses._asked_s = float("-inf")
        _, event = await answered(upstream)
        assert event is Failure.CONNECT
        await until(lambda: len(asked) >= 2)
        await upstream.close()

    run(main)


def test_the_next_address_is_tried_when_one_refuses():
    async def main():
        async with serving() as (server, upstream):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                bad = (socket.AF_INET, taken.getsockname())
                good = upstream.addresses.known[0]
                upstream.addresses.known = (bad, good)
                _, event = await answered(upstream)
                assert event == (200, b"ok")
                assert upstream.addresses.known == (good, bad), "what worked goes first"
            assert len(server.connections) == 1

    run(main)


def test_a_lost_connection_is_told_at_once_when_it_was_in_use_a_moment_ago():
    async def main():
        async with serving() as (server, upstream):
            await answered(upstream)
            server.reply = None
            call, ticket = send(upstream)
            ticket.sent_s = server.connections and upstream._connections.copy().pop().idle_since_s
            await server.until(lambda: server.connections[0].data.count(b"GET") == 2)
            server.connections[0].transport.abort()
            assert await call.end() is Failure.LOST
            assert upstream.open_connections == 0
            assert upstream.retried_stale == 0

    run(main)


@pytest.mark.parametrize(
    ("options", "before_close", "outcome"),
    [
        ({}, b"", (200, b"ok")),
        ({"idempotent": False}, b"", None),
        ({}, b"HTTP/1.1 200 OK\r\n", Failure.LOST),
    ],
)
def test_a_connection_idle_for_long_that_ends_unanswered_is_replaced_once(options, before_close, outcome):
    async def main():
        async with serving() as (server, upstream):
            await answered(upstream)
            server.reply = None
            for connection in upstream._connections:
                connection.idle_since_s -= 2 * STALE_AFTER_S
            call, ticket = Call(), Ticket()
            ticket.sent_s = connection.idle_since_s + 2 * STALE_AFTER_S
            upstream.send(GET, call, ticket, **options)
            if outcome is None:
                # It could not be sent again, so it does not use such a connection in the first place.
                await server.until(lambda: len(server.connections) == 2 and server.connections[1].data)
                assert server.connections[0].data.count(b"GET") == 1
                return
            await server.until(lambda: server.connections[0].data.count(b"GET") == 2)
            server.reply = OK
            server.connections[0].transport.write(before_close)
            server.connections[0].transport.close()
            assert await call.end() == outcome
            assert upstream.retried_stale == (outcome != Failure.LOST)

    run(main)


def test_what_may_not_run_twice_is_not_sent_again_whatever_the_connection():
    async def main():
        async with serving() as (server, upstream):
            await answered(upstream)
            server.reply = None
            call, ticket = send(upstream, idempotent=False)
            await server.until(lambda: server.connections[0].data.count(b"GET") == 2)
            (connection,) = upstream._connections
            ticket.sent_s = connection.idle_since_s + 2 * STALE_AFTER_S
            server.connections[0].transport.close()
            assert await call.end() is Failure.LOST
            assert len(server.connections) == 1

    run(main)


def test_a_replaced_connection_that_ends_as_well_is_a_loss():
    async def main():
        async with serving() as (server, upstream):
            await answered(upstream)
            server.reply = None
            for connection in upstream._connections:
                connection.idle_since_s -= 2 * STALE_AFTER_S
            call, ticket = Call(), Ticket()
            ticket.sent_s = connection.idle_since_s + 2 * STALE_AFTER_S
            upstream.send(GET, call, ticket)
            await server.until(lambda: server.connections[0].data.count(b"GET") == 2)
            server.connections[0].transport.close()
            await server.until(lambda: len(server.connections) == 2 and server.connections[1].data)
            server.connections[1].transport.close()
            assert await call.end() is Failure.LOST
            assert len(server.connections) == 2

    run(main)


def test_what_was_given_up_is_never_executed_later():
    """A server that reads nothing for a while finds the connection reset, and the rest of the request gone."""

    async def main():
        async with serving() as (server, upstream):
            await answered(upstream)
            side = server.connections[0]
            side.transport.pause_reading()
            before = len(side.data)
            body = bytes(30_000_000)
            call, ticket = Call(), Ticket()
            upstream.send([b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 30000000\r\n\r\n", body], call, ticket)
            await asyncio.sleep(0)
            ticket.carrier.cancel()
            assert ticket.carrier is None
            side.transport.resume_reading()
            await asyncio.wait_for(side.lost.wait(), WAIT_S)
            assert len(side.data) - before < len(body)
            assert isinstance(side.why, ConnectionResetError)
            assert call.events == []

    run(main)


def test_a_request_cancelled_while_it_waits_is_never_sent():
    async def main():
        async with serving() as (server, upstream):
            call, ticket = send(upstream)
            ticket.carrier.cancel()
            await server.until(lambda: len(server.connections) == 1)
            await until(lambda: upstream.idle_connections)
            assert call.events == []
            assert server.connections[0].data == b""
            _, event = await answered(upstream)
            assert event == (200, b"ok")
            assert len(server.connections) == 1, "the connection opened for it is used"

    run(main)


def test_more_than_the_pool_holds_is_said_to_be_no_fault_of_the_link():
    async def main():
        async with serving(max_connections=2) as (server, upstream):
            server.reply = None
            for _ in range(2):
                send(upstream)
            call, _ = send(upstream)
            assert await call.end() is Failure.POOL
            refused, ticket = send(upstream)
            ticket.carrier.cancel()
            await server.until(lambda: len(server.connections) == 2)
            assert refused.events == []

    run(main)


def test_a_fresh_connection_is_its_own():
    async def main():
        async with serving() as (server, upstream):
            await answered(upstream)
            _, event = await answered(upstream, fresh=True)
            assert event == (200, b"ok")
            assert len(server.connections) == 2
            assert upstream.idle_connections == 2, "it is kept for later"

    run(main)


@pytest.mark.parametrize("fresh", [False, True])
def test_it_is_busy_from_the_first_moment_of_a_request_to_its_end(fresh):
    async def main():
        async with serving() as (_, upstream):
            assert not upstream.busy
            call, _ = send(upstream, fresh=fresh)
            assert upstream.busy
            await call.end()
            assert not upstream.busy
            upstream.warm(2)
            _, given_up = send(upstream, fresh=True)
            given_up.carrier.cancel()
            assert not upstream.busy, "connections that nobody waits for are no requests"

    run(main)


def test_connections_are_opened_ahead_of_need():
    async def main():
        async with serving(max_connections=3) as (server, upstream):
            upstream.warm(2)
            upstream.warm(2)
            await server.until(lambda: len(server.connections) == 2)
            await until(lambda: upstream.idle_connections == 2)
            upstream.warm(100)
            await server.until(lambda: len(server.connections) == 3)
            call, _ = await answered(upstream)
            assert call.events == [(200, b"ok")]

    run(main)


def test_when_the_link_is_down_idle_connections_go_and_busy_ones_stay():
    async def main():
        async with serving() as (server, upstream):
            server.reply = None
            call, _ = send(upstream)
            other, _ = send(upstream)
            await server.until(lambda: sum(bool(side.data) for side in server.connections) == 2)
            server.connections[0].transport.write(OK)
            await until(lambda: upstream.idle_connections)
            upstream.close_connections()
            await asyncio.wait_for(server.connections[0].lost.wait(), WAIT_S)
            server.connections[1].transport.write(OK)
            assert {await call.end(), await other.end()} == {(200, b"ok")}

    run(main)


def test_an_idle_connection_is_closed_in_time_and_politely():
    async def main():
        async with serving(idle_timeout_s=0.05) as (server, upstream):
            await answered(upstream)
            await asyncio.wait_for(server.connections[0].lost.wait(), WAIT_S)
            assert server.connections[0].why is None
            _, event = await answered(upstream)
            assert event == (200, b"ok")

    run(main)


def test_an_answer_that_ends_the_connection_is_whole_and_the_next_opens_another():
    async def main():
        async with serving() as (server, upstream):
            server.reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
            for _ in range(2):
                _, event = await answered(upstream)
                assert event == (200, b"ok")
            assert len(server.connections) == 2

    run(main)


@pytest.mark.parametrize("reply", [b"nonsense\r\n\r\n", OK + OK, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"])
def test_an_answer_that_is_none_is_told_as_such(reply):
    async def main():
        async with serving(max_body_bytes=50) as (server, upstream):
            server.reply = reply
            call, event = await answered(upstream)
            assert event is Failure.PROTOCOL
            assert upstream.open_connections in (0, 1)
            await asyncio.wait_for(server.connections[0].lost.wait(), WAIT_S)
            assert len(call.events) == 2

    run(main)


def test_heads_that_differ_in_the_echo_alone_are_parsed_once():
    async def main():
        async with serving() as (server, upstream):
            heads = []
            for n in range(3):
                server.reply = b"HTTP/1.1 200 OK\r\nx-request-id: %d\r\nContent-Length: 2\r\n\r\nok" % n
                call, _ = await answered(upstream, echo=b"x-request-id: %d\r\n" % n)
                heads.append(call.head)
            assert heads[0] is heads[1] is heads[2]
            assert b"x-request-id" not in heads[0].headers
            server.reply = b"HTTP/1.1 200 OK\r\nx-request-id: 9\r\nContent-Length: 2\r\n\r\nok"
            call, _ = await answered(upstream, echo=b"x-request-id: 8\r\n")
            assert call.head.headers[b"x-request-id"] == b"9", "another's id is no echo"

    run(main)


def test_closing_ends_everything_in_flight():
    async def main():
        async with serving() as (server, upstream):
            server.reply = None
            call, _ = send(upstream)
            await server.until(lambda: len(server.connections) == 1 and server.connections[0].data)
            waiting, _ = send(upstream)
            await upstream.close()
            assert await call.end() is Failure.LOST
            assert await waiting.end() is Failure.CONNECT
            late, _ = send(upstream)
            assert await late.end() is Failure.POOL

    run(main)
