"""Warming a pool's connections, against a real server on small segments, and with windows that the test makes up."""

import asyncio
import contextlib
import re
import socket
import types

import pytest

from edgewise.core.routing.calls import Probe
from edgewise.gateway import upstream_opening
from edgewise.gateway.config import Address, SiteConfig
from edgewise.gateway.dialing import dial
from edgewise.gateway.site import MAX_PROBE_BYTES, Site
from edgewise.gateway.tcp_window import NEW, TcpWindow
from edgewise.gateway.upstream import HttpUpstream
from edgewise.gateway.upstream_connection import UpstreamConnection
from edgewise.gateway.upstream_warming import UpstreamWarming
from support.event_loop import run
from support.waiting import until

WAIT_S = 20.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PAYLOAD_BYTES = 20_000
SEGMENT_BYTES = 1448
FLIGHT_BYTES = 10 * SEGMENT_BYTES
NO_THRESHOLD = (1 << 31) - 1
linux = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not tell")


class Call:
    """A request, and its own ticket."""

    def __init__(self):
        self.carrier = None
        self.sent_s = 0.0
        self.over = asyncio.Event()
        self.status = None

    def sent(self, ticket):
        pass

    def bytes_came(self, ticket):
        pass

    def site_answered(self, ticket, head, body):
        self.status = head.status
        self.over.set()

    def failed(self, ticket, failure, error):
        self.status = failure
        self.over.set()


class ServerSide(asyncio.Protocol):
    """Answers requests whole; questions of warming only while the server says so."""

    def __init__(self, server):
        self.server = server
        self.data = b""
        self.asked = []
        self.lost = False

    def connection_made(self, transport):
        self.transport = transport
        self.server.sides.append(self)

    def data_received(self, data):
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if not found or len(body) < (int(length[1]) if length else 0):
            return
        self.data = b""
        self.asked.append((head, len(body)))
        if not body or self.server.answers:
            self.transport.write(OK)

    def connection_lost(self, exc):
        self.lost = True


class Server:
    def __init__(self):
        self.sides = []
        self.answers = True

    @property
    def questions(self):
        """Sizes of the bodies that came whole, each connection's."""
        return [size for side in self.sides for _, size in side.asked if size]


def question(size_bytes):
    return [b"POST /q HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size_bytes, bytes(size_bytes)]


@contextlib.asynccontextmanager
async def listening(server, segment_bytes=0):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        if segment_bytes:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment_bytes)
        made = await asyncio.get_running_loop().create_server(lambda: ServerSide(server), sock=sock)
        try:
            yield sock.getsockname()[1]
        finally:
            made.close()


@contextlib.asynccontextmanager
async def serving(*, segment_bytes=0, max_connections=1024, **options):
    server = Server()
    async with listening(server, segment_bytes) as port:
        upstream = HttpUpstream(Address("127.0.0.1", port), max_connections=max_connections)
        warming = UpstreamWarming(upstream, question, **options)
        await upstream.start()
        try:
            yield server, upstream, warming
        finally:
            warming.give_up()
            await upstream.close()


@contextlib.asynccontextmanager
async def started(port, **config):
    site = Site(SiteConfig("cloud", "cloud", rest=Address("127.0.0.1", port, base_path="/at"), **config))
    await site.start()
    try:
        yield site
    finally:
        await site.close()


async def answered(upstream):
    call = Call()
    upstream.send([b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"], call, call)
    await asyncio.wait_for(call.over.wait(), WAIT_S)
    assert call.status == 200


async def open_connections(upstream, count):
    upstream.warm(count)
    await until(lambda: upstream.idle_connections == count)


async def done(warming):
    await until(lambda: warming.under_way == 0)


@pytest.fixture
def windows(monkeypatch):
    """What connections are said to have; a new one's by default."""
    given = {}
    monkeypatch.setattr(UpstreamConnection, "window", lambda self: given.get(self, NEW))
    return given


def window(segments=20, idle_s=0.0, threshold=NO_THRESHOLD):
    return TcpWindow(segments, SEGMENT_BYTES, threshold, idle_s, 0.25, fades=True)


# ---- real windows


@linux
def test_a_new_connection_is_made_fit_by_one_flight(monkeypatch):
    async def reno(address, *, user_timeout_ms):
        sock = await dial(address, user_timeout_ms=user_timeout_ms)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        return sock

    monkeypatch.setattr(upstream_opening, "dial", reno)

    async def main():
        async with serving(segment_bytes=536) as (server, upstream, warming):
            await open_connections(upstream, 3)
            cold_bytes = max(connection.window().bytes_after(0.0) for connection in upstream.connections)
            payload_bytes = 2 * cold_bytes - 1500
            warming.warm(2, payload_bytes)
            assert (warming.under_way, upstream.idle_connections) == (2, 1)
            await done(warming)
            assert upstream.open_connections == 3
            assert server.questions == [cold_bytes - 512] * 2
            fit = [connection.window().bytes_after(0.0) for connection in upstream.idle]
            assert fit == [cold_bytes, 2 * cold_bytes, 2 * cold_bytes], "those are used first"
            warming.warm(2, payload_bytes)
            assert warming.under_way == 0, "there are two already"
            warming.warm(3, payload_bytes)
            await done(warming)
            assert len(server.questions) == warming.asked == 3

    run(main)


@linux
def test_where_a_new_connection_takes_the_request_at_once_nothing_is_asked():
    async def main():
        async with serving() as (server, upstream, warming):
            await open_connections(upstream, 2)
            warming.warm(2, PAYLOAD_BYTES)  # segments of the loopback are 64 kB long
            assert (warming.under_way, warming.asked) == (0, 0)
            assert server.questions == []

    run(main)


def test_where_the_system_does_not_tell_all_are_warmed(monkeypatch):
    monkeypatch.setattr(UpstreamConnection, "window", lambda _self: None)

    async def main():
        async with serving() as (server, upstream, warming):
            await open_connections(upstream, 2)
            warming.warm(3, PAYLOAD_BYTES)
            await done(warming)
            assert server.questions == [FLIGHT_BYTES - 512] * 3

    run(main)


# ---- which, and how many


def test_connections_are_opened_where_there_are_too_few(windows):
    async def main():
        async with serving(max_connections=5) as (server, upstream, warming):
            await open_connections(upstream, 1)
            warming.warm(4, PAYLOAD_BYTES)
            warming.warm(4, PAYLOAD_BYTES)
            assert warming.under_way == 4, "those under way count"
            await done(warming)
            assert upstream.open_connections == upstream.idle_connections == 4
            assert len(server.questions) == 4
            warming.warm(100, PAYLOAD_BYTES)
            await done(warming)
            assert upstream.open_connections == 5, "no more than the pool may have"

    run(main)


def test_a_request_takes_another_connection_than_one_being_warmed(windows):
    async def main():
        async with serving() as (server, upstream, warming):
            server.answers = False
            await open_connections(upstream, 3)
            warming.warm(2, PAYLOAD_BYTES)
            await until(lambda: len(server.questions) == 2)
            await answered(upstream)
            assert upstream.open_connections == 3
            warming.warm(3, PAYLOAD_BYTES)
            await answered(upstream)
            assert upstream.open_connections == 4, "one is opened rather than waited for"

    run(main)


def test_fit_connections_are_used_first_and_cold_ones_warmed_before_fading_ones(windows):
    async def main():
        async with serving() as (_, upstream, warming):
            await open_connections(upstream, 5)
            cold, fading, unused, fit, other = upstream.idle
            windows.update(
                {
                    fading: window(20, 0.2),
                    unused: window(20, 0.1),
                    fit: window(40, 0.1),
                    other: window(40, 0.1),
                }
            )
            upstream.idle[:] = [fit, cold, other, fading, unused]
            warming.warm(3, PAYLOAD_BYTES, at_once=1, lasts_s=0.2)
            assert warming.under_way == 0, "the first is used at once, and two stay fit"
            assert upstream.idle == [cold, fading, fit, other, unused]
            warming.warm(4, PAYLOAD_BYTES, at_once=1, lasts_s=0.2)
            assert upstream.idle == [fading, fit, other, unused], "the cold one is being warmed"
            await done(warming)
            warming.warm(5, PAYLOAD_BYTES, at_once=1, lasts_s=0.2)
            assert upstream.idle == [fit, other, unused], "then the one that fades"
            await done(warming)

    run(main)


def test_a_connection_that_carries_a_request_counts_if_it_is_fit(windows):
    async def main():
        async with serving() as (_, upstream, warming):
            await open_connections(upstream, 3)
            *_, cold, fit = upstream.idle
            windows[fit] = window(20)
            for _ in range(2):
                call = Call()
                upstream.send([b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"], call, call)
            assert cold.busy
            assert fit.busy
            warming.warm(2, PAYLOAD_BYTES, at_once=2)
            assert warming.under_way == 1

    run(main)


@pytest.mark.parametrize(
    ("payload_bytes", "given", "lasts_s", "segments"),
    [
        (20_000, window(10), 0.0, 10),
        (20_000, window(10), 0.3, 10 + 20),
        (20_000, window(14), 0.2, 14),
        (20_000, window(20, 0.3), 0.0, 10),
        (100_000, window(10), 0.0, 10 + 20 + 40),
        (100_000, window(40), 0.0, 40),
        (100_000, window(10, threshold=30), 0.0, 10 + 20),
        (20_000, window(4), 0.0, 4 + 8),
        (20_000, window(1), 0.0, 1 + 2 + 4 + 8),
    ],
)
def test_a_question_is_as_many_whole_flights_as_it_takes(windows, payload_bytes, given, lasts_s, segments):
    async def main():
        async with serving() as (server, upstream, warming):
            await open_connections(upstream, 1)
            windows[upstream.idle[0]] = given
            warming.warm(1, payload_bytes, lasts_s=lasts_s)
            await done(warming)
            assert server.questions == [segments * SEGMENT_BYTES - 512]

    run(main)


def test_a_question_is_never_larger_than_the_site_takes(windows):
    async def main():
        async with serving(max_question_bytes=50_000) as (server, _, warming):
            warming.warm(1, 10_000_000)
            await done(warming)
            assert server.questions == [(10 + 20) * SEGMENT_BYTES - 512]

    run(main)


def test_a_window_that_hardly_grows_is_as_good_as_it_gets(windows):
    async def main():
        async with serving() as (_, upstream, warming):
            await open_connections(upstream, 1)
            windows[upstream.idle[0]] = window(12, threshold=12)
            warming.warm(1, PAYLOAD_BYTES)
            assert warming.under_way == 0

    run(main)


# ---- which is used next


def test_a_connection_that_has_carried_a_request_is_used_before_a_new_one():
    async def main():
        async with serving() as (_, upstream, _):
            await answered(upstream)
            (used,) = upstream.idle
            upstream.warm(3)
            await until(lambda: upstream.idle_connections == 3)
            assert upstream.idle[-1] is used

    run(main)


def test_a_connection_that_has_carried_a_small_probe_only_is_used_last():
    class Events:
        def __init__(self):
            self.over = asyncio.Event()

        def probe_answered(self, probe, *, ready=True):
            self.over.set()

    async def main():
        async with listening(Server()) as port, started(port) as site:
            seen = []
            for payload_bytes in (PAYLOAD_BYTES, 0, PAYLOAD_BYTES):
                events = Events()
                link = types.SimpleNamespace(name="cloud")
                site.send_probe(
                    Probe(link, sent_s=0.0, payload_bytes=payload_bytes, timeout_s=WAIT_S, fresh=True), events
                )
                await asyncio.wait_for(events.over.wait(), WAIT_S)
                (made,) = set(site.rest.idle) - set(seen)
                seen.append(made)
            first, small, second = seen
            assert site.rest.idle == [small, first, second]

    run(main)


# ---- the end of it


def test_what_is_given_up_is_closed_and_not_sent_later(windows):
    async def main():
        async with serving() as (server, upstream, warming):
            server.answers = False
            await open_connections(upstream, 1)
            warming.warm(3, PAYLOAD_BYTES)
            await until(lambda: len(server.questions) == 3)
            warming.warm(4, PAYLOAD_BYTES)  # being opened
            warming.give_up()
            upstream.close_connections()
            assert (warming.under_way, upstream.idle_connections) == (0, 0)
            await until(lambda: all(side.lost for side in server.sides) and not upstream.connections)
            await answered(upstream)
            assert len(server.questions) == 3

    run(main)


def test_a_question_without_an_answer_is_given_up_in_time(windows):
    async def main():
        async with serving(timeout_s=0.05) as (server, upstream, warming):
            server.answers = False
            warming.warm(2, PAYLOAD_BYTES)
            await done(warming)
            await until(lambda: upstream.open_connections == 0)
            server.answers = True
            warming.warm(1, PAYLOAD_BYTES)
            await done(warming)
            assert upstream.idle_connections == 1

    run(main)


def test_a_site_that_takes_no_connections_ends_it(windows):
    async def main():
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            upstream = HttpUpstream(Address("127.0.0.1", sock.getsockname()[1]))
            warming = UpstreamWarming(upstream, question)
            await upstream.start()
            warming.warm(3, PAYLOAD_BYTES)
            await done(warming)
            assert upstream.open_connections == 0
            await upstream.close()

    run(main)


def test_a_site_asks_its_own_page_with_its_own_key(windows, tmp_path):
    key = tmp_path / "key"
    key.write_text("secret")

    async def main():
        server = Server()
        async with listening(server) as port, started(port, api_key_file=key) as site:
            site.warm(2)
            await until(lambda: site.rest.idle_connections == 2)
            assert not any(side.asked for side in server.sides), "being open is enough"
            site.warm(2, PAYLOAD_BYTES, at_once=1, lasts_s=0.1)
            site.warm(3, 10 * MAX_PROBE_BYTES)
            await until(lambda: len(server.questions) == 3)
            heads = [head for side in server.sides for head, _ in side.asked]
            for head in heads:
                assert head.startswith(b"POST /at/edgewise/v1/probe?answer_bytes=0 HTTP/1.1\r\n")
                assert b"authorization: Bearer secret" in head
            assert sorted(server.questions)[:2] == [FLIGHT_BYTES - 512] * 2
            assert max(server.questions) <= MAX_PROBE_BYTES
            server.answers = False
            site.warm(5, PAYLOAD_BYTES)
            site.close_connections()
            await until(lambda: all(side.lost for side in server.sides))

    run(main)
