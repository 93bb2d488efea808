"""A site's HTTP/2 side by itself: what becomes of calls and probes, and which connections are kept."""

import contextlib
import socket

import grpc
import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.routing.calls import Failure, Probe
from edgewise.gateway.addresses import Addresses
from edgewise.gateway.config import Address, SiteConfig, SiteTls
from edgewise.gateway.grpc_upstream import Http2Upstream, make_upstream
from edgewise.net import errors
from support.certificates import self_signed
from support.waiting import until

PREDICT = b"/tensorflow.serving.PredictionService/Predict"


class Told:
    """What comes of calls and probes, in order."""

    def __init__(self):
        self.events = []

    def sent(self, ticket):
        self.events.append(("sent", ticket.name))

    def bytes_came(self, ticket):
        self.events.append(("bytes", ticket.name))

    def http2_answered(self, ticket, answer):
        self.events.append(("answered", ticket.name, answer.status, answer.body))
        assert ticket.carrier is None

    def failed(self, ticket, failure, error):
        self.events.append(("failed", ticket.name, failure, type(error)))
        assert ticket.carrier is None

    def probe_answered(self, probe, *, ready=True):
        self.events.append(("probe", ready))

    def probe_failed(self, probe, *, refused=False):
        self.events.append(("probe failed", refused))

    async def until(self, *events):
        await until(lambda: all(event in self.events for event in events))


class Ticket:
    def __init__(self, name):
        self.name = name
        self.carrier = None
        self.sent_s = 0.0


@contextlib.asynccontextmanager
async def reaching(port, **words):
    upstream = Http2Upstream(Address("127.0.0.1", port), **words)
    assert await upstream.start()
    try:
        yield upstream, Told()
    finally:
        await upstream.close()


def send(upstream, told, name, message=b"x"):
    ticket = Ticket(name)
    upstream.send(upstream.head(PREDICT), message, told, ticket)
    assert ticket.carrier is not None
    return ticket


def probe(*, timeout_s=20.0, fresh=False):
    return Probe(None, sent_s=0.0, payload_bytes=0, timeout_s=timeout_s, fresh=fresh)


@contextlib.asynccontextmanager
async def serving(through, **words):
    site = through.http2_site("cloud", **words)
    config = await site.start({})
    try:
        yield site, config.grpc.port
    finally:
        await site.server.close()


def test_calls_share_a_connection_and_end_once(through):
    async def main():
        async with serving(through) as (site, port), reaching(port) as (upstream, told):
            assert not upstream.busy
            first, second = send(upstream, told, "a"), send(upstream, told, "b")
            assert upstream.busy, "they wait for a connection"
            await told.until(("sent", "a"), ("sent", "b"))
            third = send(upstream, told, "c")
            await until(lambda: len(site.seen) >= 3)
            site.seen[0].respond(b"1")
            second.carrier.cancel()
            await told.until(("answered", "a", 0, b"1"))
            site.seen[2].fail(5, "no")
            await told.until(("answered", "c", 5, None))
            # What left at once is not told of.
            assert ("sent", "c") not in told.events
            assert not any(event[1] == "b" and event[0] != "sent" for event in told.events)
            assert upstream.client.opened == 1
            assert not upstream.busy
            assert first.carrier is None
            assert third.carrier is None

    through.run(main)


def test_an_answer_on_its_way_is_told_of(through):
    async def main():
        async with serving(through) as (site, port), reaching(port) as (upstream, told):
            send(upstream, told, "a")
            await until(lambda: site.seen)
            site.seen[0].respond(bytes(30_000_000))
            await told.until(("answered", "a", 0, bytes(30_000_000)))
            assert ("bytes", "a") in told.events

    through.run(main)


def test_why_calls_fail(through):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        async with reaching(port) as (upstream, told):
            send(upstream, told, "a")
            await told.until(("failed", "a", Failure.CONNECT, errors.ConnectError))
        async with serving(through) as (site, port), reaching(port, max_body_bytes=100) as (upstream, told):
            send(upstream, told, "b")
            await until(lambda: site.seen)
            site.seen[0].respond(bytes(101))
            await told.until(("failed", "b", Failure.PROTOCOL, errors.ResponseTooLargeError))
            send(upstream, told, "c")
            await until(lambda: len(site.seen) >= 2)
            await site.server.close()
            await told.until(("failed", "c", Failure.LOST, errors.ConnectionLostError))
            await upstream.close()
            send(upstream, told, "d")
            await told.until(("failed", "d", Failure.POOL, errors.ClientClosedError))

    through.run(main)


def test_connections_that_carry_no_call_are_dropped(through):
    async def main():
        async with serving(through) as (site, port), reaching(port) as (upstream, told):
            upstream.warm(3)
            await until(lambda: upstream.client.open_connections)
            upstream.close_connections()
            await until(lambda: not upstream.client.open_connections)
            kept = send(upstream, told, "a")
            await until(lambda: site.seen)
            upstream.close_connections()
            # Nobody else may be able to answer that one; new calls do not go there.
            send(upstream, told, "b")
            await until(lambda: len(site.seen) >= 2)
            assert upstream.client.opened == 3
            assert kept.carrier is not None
            for exchange in site.seen:
                exchange.respond(b"y")
            await told.until(("answered", "a", 0, b"y"), ("answered", "b", 0, b"y"))
            await until(lambda: upstream.client.open_connections == 1)

    through.run(main)


@pytest.mark.interpreted
def test_probes(through):
    async def main():
        async with serving(through) as (site, port), reaching(port, authorization=b"Bearer k") as (upstream, told):
            upstream.send_probe(probe(), told)
            await told.until(("probe", True))
            told.events.clear()
            upstream.send_probe(probe(fresh=True), told)
            await told.until(("probe", True))
            # The next call uses the connection that was found to be good.
            assert (upstream.client.opened, upstream.prober.opened) == (1, 1)
            send(upstream, told, "a")
            assert ("sent", "a") not in told.events
            await until(lambda: site.seen)
            site.seen[0].respond(b"y")
            await told.until(("answered", "a", 0, b"y"))
            assert upstream.client.opened == 1
            site.ready = b""
            upstream.send_probe(probe(), told)
            await told.until(("probe", False))
            site.ready = None
            told.events.clear()
            upstream.send_probe(probe(timeout_s=0.02), told)
            await told.until(("probe failed", False))
            assert told.events == [("probe failed", False)]
        async with reaching(port) as (upstream, told):
            upstream.send_probe(probe(fresh=True), told)
            upstream.send_probe(probe(), told)
            await told.until(("probe failed", True))
            await until(lambda: len(told.events) >= 2)
            assert told.events == [("probe failed", True)] * 2

    through.run(main)


def test_an_address_that_does_not_answer_is_passed_over(through):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            dead = listener.getsockname()[1]
        async with serving(through) as (site, port):
            site.answers = through.by(b"y")
            addresses = Addresses(
                "site.example",
                port,
                lookup=lambda _host, _port: [
                    (socket.AF_INET, ("127.0.0.1", dead)),
                    (socket.AF_INET, ("127.0.0.1", port)),
                ],
            )
            async with reaching(port, addresses=addresses) as (upstream, told):
                send(upstream, told, "a")
                await told.until(("answered", "a", 0, b"y"))
                assert addresses.known[0] == (socket.AF_INET, ("127.0.0.1", port))

    through.run(main)


def test_tls_and_mutual_tls(through, tmp_path):
    certificate, key = self_signed(tmp_path)

    async def main():
        pair = (key.read_bytes(), certificate.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], pair[1], require_client_auth=True)
        server = grpc.aio.server()

        class Echo(grpc.GenericRpcHandler):
            def service(self, details):
                return grpc.unary_unary_rpc_method_handler(self.echo)

            async def echo(self, request, _context):
                return request

        server.add_generic_rpc_handlers((Echo(),))
        port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        address = Address("127.0.0.1", port, tls=True)
        told = Told()
        for name, tls, event in (
            ("a", SiteTls(certificate, certificate, key, "localhost"), ("answered", "a", 0, b"x")),
            (
                "b",
                SiteTls(certificate, certificate, key, "elsewhere"),
                ("failed", "b", Failure.CONNECT, errors.ConnectError),
            ),
            ("c", SiteTls(None, certificate, key, "localhost"), ("failed", "c", Failure.CONNECT, errors.ConnectError)),
        ):
            upstream = make_upstream(SiteConfig("cloud", "cloud", grpc=address, tls=tls), None)
            assert upstream is not None
            await upstream.start()
            send(upstream, told, name)
            await told.until(event)
            await upstream.close()
        await server.stop(None)
        with pytest.raises(FailedPreconditionError):
            make_upstream(SiteConfig("cloud", "cloud", grpc=address, tls=SiteTls(tmp_path / "none.pem")), None)

    through.run(main)
