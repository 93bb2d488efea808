"""How a site is asked for the link's sake alone."""

import asyncio
import contextlib
import socket
import time

import pytest

from edgewise.core.routing.calls import Probe
from edgewise.gateway.config import Address, SiteConfig
from edgewise.gateway.site import MAX_PROBE_BYTES, Site
from support.event_loop import run

WAIT_S = 20.0


class Link:
    name = "cloud"


class Events:
    def __init__(self):
        self.told = []
        self.over = asyncio.Event()

    def probe_answered(self, probe, *, ready=True):
        self.told.append(("answered", ready))
        self.over.set()

    def probe_failed(self, probe, *, refused=False):
        self.told.append(("failed", refused))
        self.over.set()


class Server(asyncio.Protocol):
    """Keeps what it gets, and answers with `reply` when a request is whole; None leaves it unanswered."""

    requests: list[bytes]
    reply: bytes | None

    def __init__(self, world):
        self.world = world
        self.data = b""

    def connection_made(self, transport):
        self.transport = transport
        self.world.connections.append(self)

    def data_received(self, data):
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length: "):
                length = int(line[16:])
        if found and len(body) >= length:
            self.world.requests.append(self.data)
            self.data = b""
            if self.world.reply is not None:
                self.transport.write(self.world.reply)

    def connection_lost(self, exc):
        self.world.lost.set()


class World:
    def __init__(self):
        self.connections = []
        self.requests = []
        self.reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        self.lost = asyncio.Event()
        self.port = 0

    async def ask(self, site, **options):
        settings = {"payload_bytes": 0, "timeout_s": WAIT_S, "fresh": False, **options}
        events = Events()
        site.send_probe(Probe(Link(), sent_s=time.monotonic(), **settings), events)
        assert events.told == [], "nothing is told from within"
        await asyncio.wait_for(events.over.wait(), WAIT_S)
        return events


@contextlib.asynccontextmanager
async def world(**config):
    made = World()
    server = await asyncio.get_running_loop().create_server(lambda: Server(made), "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    address = Address("127.0.0.1", made.port, base_path=config.pop("base_path", ""))
    site = Site(SiteConfig("cloud", "cloud", rest=address, **config))
    await site.start()
    try:
        yield made, site
    finally:
        await site.close()
        server.close()


def test_a_small_probe_asks_whether_the_site_is_ready():
    async def main():
        async with world() as (made, site):
            assert (await made.ask(site)).told == [("answered", True)]
            assert made.requests[0].startswith(b"GET /v2/health/ready HTTP/1.1\r\n")

    run(main)


def test_a_probe_of_a_size_is_as_large_and_asks_for_as_much():
    async def main():
        async with world() as (made, site):
            await made.ask(site, payload_bytes=5000)
            await made.ask(site, payload_bytes=10 * MAX_PROBE_BYTES)
            first, second = made.requests
            assert first.startswith(b"POST /edgewise/v1/probe?answer_bytes=5000 HTTP/1.1\r\n")
            assert len(first.partition(b"\r\n\r\n")[2]) == 5000
            assert b"?answer_bytes=%d HTTP" % MAX_PROBE_BYTES in second
            assert len(second.partition(b"\r\n\r\n")[2]) == MAX_PROBE_BYTES

    run(main)


@pytest.mark.parametrize(
    ("line", "ready"),
    [
        (b"200 OK", True),
        (b"404 Not Found", True),
        (b"405 No", True),
        (b"401 No", True),
        (b"503 Busy", False),
        (b"500 Oops", False),
    ],
)
def test_any_answer_shows_that_the_link_lives(line, ready):
    async def main():
        async with world() as (made, site):
            made.reply = b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % line
            assert (await made.ask(site)).told == [("answered", ready)]
            assert (await made.ask(site, payload_bytes=10)).told == [("answered", ready)]

    run(main)


def test_key_path_and_base_are_the_sites_own(tmp_path):
    key = tmp_path / "key"
    key.write_text("secret-of-site")

    async def main():
        async with world(base_path="/base", health_path="/healthz", api_key_file=key) as (made, site):
            await made.ask(site)
            await made.ask(site, payload_bytes=1)
            assert made.requests[0].startswith(b"GET /base/healthz HTTP/1.1\r\n")
            assert made.requests[1].startswith(b"POST /base/edgewise/v1/probe?")
            for request in made.requests:
                assert b"\r\nauthorization: Bearer secret-of-site\r\n" in request

    run(main)


def test_a_probe_nobody_answers_is_given_up_in_time_with_its_connection():
    async def main():
        async with world() as (made, site):
            made.reply = None
            assert (await made.ask(site, timeout_s=0.05)).told == [("failed", False)]
            await asyncio.wait_for(made.lost.wait(), WAIT_S)

    run(main)


def test_a_host_that_refuses_says_so_at_once():
    async def main():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            site = Site(SiteConfig("cloud", "cloud", rest=Address("127.0.0.1", taken.getsockname()[1])))
            assert (await World().ask(site)).told == [("failed", True)]
            await site.close()

    run(main)


def test_a_connection_that_breaks_is_a_failed_probe():
    async def main():
        async with world() as (made, site):
            made.reply = b"nonsense\r\n\r\n"
            assert (await made.ask(site)).told == [("failed", False)]

    run(main)


def test_a_fresh_probe_does_not_trust_old_connections():
    async def main():
        async with world() as (made, site):
            await made.ask(site)
            await made.ask(site)
            assert len(made.connections) == 1
            await made.ask(site, fresh=True)
            assert len(made.connections) == 2

    run(main)


def test_a_site_without_any_address_fails_its_probes():
    async def main():
        assert (await World().ask(Site(SiteConfig("cloud", "cloud")))).told == [("failed", False)]

    run(main)
