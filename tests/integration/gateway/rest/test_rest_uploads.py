"""A link while a long body is on it: slow is not silent, and silent is noticed before the deadline."""

import asyncio

import pytest

from edgewise.core.routing.routes import Route
from edgewise.gateway.config import Address, SiteConfig
from edgewise.link.emulator import LinkEmulator

KIB = 1 << 10
MIB = 1 << 20
LIMITS = {"stream_over_bytes": 64 * KIB, "max_body_bytes": 64 * MIB}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PROBES = (b"GET /v2/health", b"POST /edgewise")
READ_EACH_S = 0.01


def post(size):
    return b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size


class Site(asyncio.Protocol):
    """Takes one long body a little at a time, and answers no probe meanwhile.

    Attributes:
        stopped: it reads no more.
        taking: the connection that carries the body.
        taken: bytes of the body and its head so far.
    """

    stopped = False
    taking = None
    taken = 0
    busy = False

    def connection_made(self, transport):
        self.transport = transport
        self.body = False

    def data_received(self, data):
        kind = type(self)
        if not self.body and data.startswith(PROBES):
            if not kind.busy:
                self.transport.write(OK)
            return
        self.body = kind.busy = True
        kind.taken += len(data)
        kind.taking = self.transport
        if data.endswith(b"THE END"):
            kind.busy = False
            self.transport.write(OK)
            return
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(READ_EACH_S, self.read_on)

    def read_on(self):
        if not type(self).stopped and not self.transport.is_closing():
            self.transport.resume_reading()


@pytest.fixture
def site_class():
    class One(Site):
        pass

    return One


def changes(gateway):
    return [(name, after, why) for _, name, _, after, why in gateway.service.metrics.changes]


def test_a_slow_site_that_takes_the_body_is_no_silent_one(tools, site_class):
    async def main():
        size = 40 * MIB
        async with tools.protocol_site(site_class) as site, tools.gateway(site, limits=LIMITS) as gateway:
            app = await gateway.app()
            # Once is enough for the gateway to know how long probes take.
            await gateway.until(lambda: gateway.service.router.links["cloud"].probe_latency.count > 0)
            began_s = asyncio.get_running_loop().time()
            await app.send(post(size) + bytes(size - 7) + b"THE END")
            assert (await app.answer()).body == b"ok"
            took_s = asyncio.get_running_loop().time() - began_s
            assert took_s > 1.0, "it was not slow enough to mean anything"
            assert changes(gateway) == []
            assert gateway.service.metrics.outcomes["answered"] == 1

    tools.run(main)


def test_a_site_that_takes_no_more_of_it_is_silent(tools, site_class):
    async def main():
        size = 40 * MIB
        route = Route(deadline_s=60.0)
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        raw = tools.protocol_site(site_class)
        async with raw as site, tools.gateway(site, edge, limits=LIMITS, route=route) as gateway:
            app = await gateway.app()
            sending = asyncio.ensure_future(app.send(post(size) + bytes(size)))
            await gateway.until(lambda: site_class.taken > MIB)
            assert gateway.state("cloud") == "UP"
            site_class.stopped = True
            answer = await app.answer()
            assert answer.status == 503
            assert b"lost" in answer.body
            assert gateway.state("cloud") == "DOWN"
            # It may not run twice.
            assert edge.seen == []
            site_class.taking.abort()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            assert (await (await gateway.app()).ask()).body == b'{"by":"edge"}'

    tools.run(main)


def test_a_cut_in_the_middle_of_it_is_noticed(tools, site_class):
    async def main():
        size = 8 * MIB
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        async with tools.protocol_site(site_class) as behind:
            link = LinkEmulator(("127.0.0.1", 0), ("127.0.0.1", behind.rest.port), seed=1)
            await link.start()
            site = SiteConfig("cloud", "cloud", rest=Address("127.0.0.1", link.port))
            try:
                async with tools.gateway(site, edge, limits=LIMITS, route=Route(deadline_s=60.0)) as gateway:
                    app = await gateway.app()
                    await app.send(post(size) + bytes(MIB))
                    await gateway.until(lambda: site_class.taken > MIB)
                    link.set_fault("blackhole")
                    await app.send(bytes(MIB))
                    answer = await app.answer()
                    assert answer.status == 503
                    assert b"lost" in answer.body
                    assert gateway.state("cloud") == "DOWN"
                    assert edge.seen == []
            finally:
                await link.stop()

    tools.run(main)
