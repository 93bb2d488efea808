"""Bodies too long to be kept: they go to one site while they come."""

import asyncio
import contextlib

import pytest

KIB = 1 << 10
MIB = 1 << 20
LIMITS = {"stream_over_bytes": 64 * KIB, "max_body_bytes": 8 * MIB}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _head(tools, length, extra=b""):
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n" % (tools.predict, extra, length)


def _chunks(body, size):
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


BODY = bytes(range(256)) * (4 * KIB)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_arrives_whole_and_the_connections_go_on(tools, chunked):
    async def main():
        cloud = tools.site("cloud", answers=lambda exchange: exchange.respond(200, (), bytes(exchange.body[-10:])))
        async with tools.gateway(cloud, limits=LIMITS) as gateway:
            app = await gateway.app()
            for n in range(3):
                if chunked:
                    head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % tools.predict
                    await app.send(head + _chunks(BODY, 30_000 + n))
                else:
                    await app.send(_head(tools, len(BODY)) + BODY)
                answer = await app.answer()
                assert (answer.status, answer.body) == (200, BODY[-10:])
                assert b"connection" not in answer.headers
                assert bytes(cloud.seen[-1].body) == BODY
            assert (await app.ask(body=b"short")).body == b"short"
            # Pipelined behind the end of a long body.
            await app.send(_head(tools, len(BODY)) + BODY + _head(tools, 3) + b"abc")
            assert (await app.answer()).body == BODY[-10:]
            assert (await app.answer()).body == b"abc"
            assert cloud.server.connections_accepted <= 8

    tools.run(main)


def test_it_is_on_its_way_before_it_is_whole(tools):
    async def main():
        got = bytearray()

        class Slow(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                if data.startswith((b"GET /v2/health", b"POST /edgewise")):
                    self.transport.write(OK)
                    return
                got.extend(data)
                if got.endswith(b"THE END"):
                    self.transport.write(OK)

        async with tools.protocol_site(Slow) as site, tools.gateway(site, limits=LIMITS) as gateway:
            app = await gateway.app()
            await app.send(_head(tools, 200 * KIB) + b"a" * (100 * KIB))
            await gateway.until(lambda: len(got) > 100 * KIB)
            assert b"content-length: 204800\r\n" in got
            await app.send(b"b" * (100 * KIB - 7) + b"THE END")
            assert (await app.answer()).body == b"ok"

    tools.run(main)


def test_only_one_site_ever_sees_it(tools):
    async def main():
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        async with (
            tools.raw_site(lambda _: None) as (site, seen),
            tools.gateway(site, edge, limits=LIMITS) as gateway,
        ):
            app = await gateway.app()
            await app.send(_head(tools, len(BODY)) + BODY)
            await gateway.until(lambda: bool(seen))
            seen.transports[-1].abort()
            answer = await app.answer()
            assert answer.status == 503
            assert edge.seen == []

    tools.run(main)


def test_where_nobody_listens_another_site_gets_it(tools):
    from edgewise.gateway.config import Address, SiteConfig

    async def main():
        nobody = SiteConfig("cloud", "cloud", rest=Address("127.0.0.1", 1))
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        async with tools.gateway(nobody, edge, limits=LIMITS) as gateway:
            app = await gateway.app()
            await app.send(_head(tools, len(BODY)) + BODY)
            assert (await app.answer()).body == b'{"by":"edge"}'
            assert bytes(edge.seen[0].body) == BODY

    tools.run(main)


def test_a_site_that_answers_early_is_believed_and_the_rest_is_dropped(tools):
    async def main():
        class Hasty(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                if data.startswith((b"GET /v2/health", b"POST /edgewise")):
                    self.transport.write(OK)
                elif data.startswith(b"POST /v1"):
                    self.transport.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")

        async with tools.protocol_site(Hasty) as site, tools.gateway(site, limits=LIMITS) as gateway:
            app = await gateway.app()
            await app.send(_head(tools, 4 * MIB) + b"a" * (100 * KIB))
            answer = await app.answer()
            assert (answer.status, answer.body) == (413, b"large")
            assert answer.headers[b"connection"] == b"close"
            await app.send(b"a" * 1000)
            assert await app.rest() == b""
            left = gateway.service.sites["cloud"].rest._connections
            assert not any(connection.sending for connection in left), "it is not used again"

    tools.run(main)


def test_an_app_that_leaves_in_the_middle_takes_the_request_along(tools):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud, limits=LIMITS) as gateway:
            app = await gateway.app()
            await app.send(_head(tools, len(BODY)) + BODY[: 200 * KIB])
            await gateway.until(lambda: gateway.service.metrics.in_flight == 1)
            app.writer.transport.abort()
            await gateway.until(lambda: gateway.service.metrics.outcomes["cancelled"] == 1)
            assert cloud.seen == [], "what is not whole is not run"

    tools.run(main)


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"zz\r\n", 400),
        (b"5\r\nabcdefgh\r\n", 400),
        (b"%x\r\n" % (9 * MIB) + b"x" * (9 * MIB), 413),
    ],
)
def test_a_body_that_breaks_the_rules_in_the_middle_is_refused(tools, rest, status):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud, limits=LIMITS) as gateway:
            app = await gateway.app()
            head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % tools.predict
            first = b"%x\r\n%b\r\n" % (100 * KIB, b"a" * (100 * KIB))
            await app.send(head + first)
            await gateway.until(lambda: gateway.service.metrics.in_flight == 1)
            with contextlib.suppress(ConnectionError):
                await app.send(rest)
            assert (await app.answer()).status == status
            assert cloud.seen == []

    tools.run(main)


def test_a_body_that_ends_too_early_is_refused(tools):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud, limits=LIMITS) as gateway:
            app = await gateway.app()
            await app.send(_head(tools, len(BODY)) + BODY[:-1])
            await gateway.until(lambda: gateway.service.metrics.in_flight == 1)
            app.writer.write_eof()
            assert (await app.answer()).status == 400
            assert cloud.seen == []

    tools.run(main)


def test_a_client_that_asks_first_is_told_to_go_on(tools):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud, limits=LIMITS) as gateway:
            app = await gateway.app()
            await app.send(_head(tools, len(BODY), b"Expect: 100-continue\r\n"))
            line = await asyncio.wait_for(app.reader.readuntil(b"\r\n\r\n"), tools.wait_s)
            assert line == b"HTTP/1.1 100 Continue\r\n\r\n"
            await app.send(BODY)
            assert (await app.answer()).body == b'{"by":"cloud"}'

    tools.run(main)


def test_a_site_that_reads_slowly_holds_the_app_back_and_is_no_fault_of_the_app(tools):
    async def main():
        sides = []

        class Stuck(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport
                self.data = bytearray()

            def data_received(self, data):
                if data.startswith((b"GET /v2/health", b"POST /edgewise")):
                    self.transport.write(OK)
                    return
                if not self.data:
                    sides.append(self)
                    self.transport.pause_reading()
                self.data += data
                if self.data.endswith(b"THE END"):
                    self.transport.write(OK)

        limits = {**LIMITS, "max_body_bytes": 64 * MIB, "body_stall_timeout_s": 0.1, "sweep_interval_s": 0.02}
        async with tools.protocol_site(Stuck) as site, tools.gateway(site, limits=limits) as gateway:
            app = await gateway.app()
            size = 48 * MIB
            sending = asyncio.create_task(app.send(_head(tools, size) + bytes(size - 7) + b"THE END"))
            await gateway.until(lambda: bool(sides))
            connection = next(iter(gateway.server._connections))
            await gateway.until(lambda: connection._incoming_paused_s > 0)
            await gateway.until(lambda: connection._incoming_paused_s < asyncio.get_running_loop().time() - 0.3)
            assert gateway.server.bytes_in < size // 2
            sides[0].transport.resume_reading()
            await sending
            assert (await app.answer()).body == b"ok"

    tools.run(main)


def test_a_refused_long_request_is_not_waited_for(tools, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("camera secret-of-app\n")

    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud, limits=LIMITS, api_keys=keys) as gateway:
            app = await gateway.app()
            await app.send(_head(tools, 4 * MIB) + b"a" * (100 * KIB))
            answer = await app.answer()
            assert answer.status == 401
            assert answer.headers[b"connection"] == b"close"
            assert cloud.seen == []

    tools.run(main)
