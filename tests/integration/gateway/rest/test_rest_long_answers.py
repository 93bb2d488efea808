"""Answers that are passed on while they come."""

import asyncio

import pytest

from edgewise.core.routing.routes import Route, RouteKind
from edgewise.gateway import rest_pieces

MIB = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


PREDICT = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


def test_the_first_piece_is_there_before_the_last_is_sent(tools):
    async def main():
        async with tools.raw_site(lambda _: None) as (site, seen), tools.gateway(site) as gateway:
            app = await gateway.app()
            await app.send(PREDICT)
            await gateway.until(lambda: bool(seen))
            cloud = seen.transports[-1]
            cloud.write(HEAD + b"Content-Length: %d\r\n\r\n" % (3 * MIB) + b"a" * MIB)
            head = await asyncio.wait_for(app.reader.readuntil(b"\r\n\r\n"), tools.wait_s)
            assert b"content-length: %d\r\n" % (3 * MIB) in head
            assert b"x-edgewise-site: cloud\r\n" in head
            assert b"x-edgewise-attempts: 1\r\n" in head
            assert await asyncio.wait_for(app.reader.readexactly(MIB), tools.wait_s) == b"a" * MIB
            cloud.write(b"b" * (2 * MIB))
            assert await asyncio.wait_for(app.reader.readexactly(2 * MIB), tools.wait_s) == b"b" * (2 * MIB)
            await app.send(PREDICT)
            await gateway.until(lambda: len(seen) == 2)
            assert seen.transports[-1] is cloud, "both connections are used again"
            cloud.write(HEAD + b"Content-Length: 2\r\n\r\nok")
            assert (await app.answer()).body == b"ok"
            assert gateway.service.metrics.outcomes["answered"] == 2

    tools.run(main)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("framing", ["chunked", "until close"])
def test_a_length_nobody_knows_is_passed_on_as_such(tools, framing, version):
    async def main():
        async with tools.raw_site(lambda _: None) as (site, seen), tools.gateway(site) as gateway:
            app = await gateway.app()
            await app.send(PREDICT.replace(b"1.1", version))
            await gateway.until(lambda: bool(seen))
            cloud = seen.transports[-1]
            piece = b"c" * 700_000
            if framing == "chunked":
                cloud.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                for _ in range(4):
                    cloud.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
                cloud.write(b"0\r\n\r\n")
            else:
                cloud.write(HEAD + b"Connection: close\r\n\r\n")
                for _ in range(4):
                    cloud.write(piece)
                cloud.close()
            head = await asyncio.wait_for(app.reader.readuntil(b"\r\n\r\n"), tools.wait_s)
            assert b"content-length" not in head
            if version == b"1.0":
                assert b"connection: close\r\n" in head
                assert await app.rest() == 4 * piece
                return
            assert b"transfer-encoding: chunked\r\n" in head
            body = b""
            while size := int(await asyncio.wait_for(app.reader.readline(), tools.wait_s), 16):
                body += await app.reader.readexactly(size)
                assert await app.reader.readline() == b"\r\n"
            assert await app.reader.readline() == b"\r\n"
            assert body == 4 * piece
            await app.send(PREDICT)
            await gateway.until(lambda: len(seen) == 2)
            seen.transports[-1].write(HEAD + b"Content-Length: 2\r\n\r\nok")
            assert (await app.answer()).body == b"ok"

    tools.run(main)


@pytest.mark.parametrize("how", ["reset", "end", pytest.param("silence", marks=pytest.mark.interpreted)])
def test_a_loss_in_the_middle_is_shown_and_counted(tools, how, monkeypatch):
    monkeypatch.setattr(rest_pieces, "_STALL_S", 0.1)

    async def main():
        async with tools.raw_site(lambda _: None) as (site, seen), tools.gateway(site) as gateway:
            app = await gateway.app()
            await app.send(PREDICT)
            await gateway.until(lambda: bool(seen))
            cloud = seen.transports[-1]
            cloud.write(HEAD + b"Content-Length: %d\r\n\r\n" % (2 * MIB) + b"a" * MIB)
            await asyncio.wait_for(app.reader.readuntil(b"\r\n\r\n"), tools.wait_s)
            if how == "reset":
                cloud.abort()
            elif how == "end":
                cloud.close()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asyncio.wait_for(app.reader.readexactly(2 * MIB), tools.wait_s)
            name = "edgewise_gateway_answers_cut_total"
            assert gateway.service.metrics.readings[name][1]() == 1

    tools.run(main)


def test_an_app_that_goes_away_in_the_middle_ends_the_sites_work(tools):
    async def main():
        async with tools.raw_site(lambda _: None) as (site, seen), tools.gateway(site) as gateway:
            app = await gateway.app()
            await app.send(PREDICT)
            await gateway.until(lambda: bool(seen))
            cloud = seen.transports[-1]
            cloud.write(HEAD + b"Content-Length: %d\r\n\r\n" % (2 * MIB) + b"a" * MIB)
            await asyncio.wait_for(app.reader.readuntil(b"\r\n\r\n"), tools.wait_s)
            app.writer.transport.abort()
            await gateway.until(cloud.is_closing)
            assert gateway.service.metrics.readings["edgewise_gateway_answers_cut_total"][1]() == 0

    tools.run(main)


def test_an_app_that_reads_slowly_holds_the_site_back(tools):
    size = 64 * MIB

    async def main():
        async with tools.raw_site(lambda _: None) as (site, seen), tools.gateway(site) as gateway:
            app = await gateway.app()
            app.writer.transport.pause_reading()
            await app.send(PREDICT)
            await gateway.until(lambda: bool(seen))
            cloud = seen.transports[-1]
            cloud.write(HEAD + b"Content-Length: %d\r\n\r\n" % size)
            cloud.write(bytes(size))
            connections = gateway.service.sites["cloud"].rest._connections
            await gateway.until(lambda: any(connection.streaming for connection in connections))
            pieces = next(connection.sink for connection in connections if connection.streaming)
            await gateway.until(lambda: pieces._paused)
            assert pieces.came_bytes < size // 2
            app.writer.transport.resume_reading()
            head = await asyncio.wait_for(app.reader.readuntil(b"\r\n\r\n"), tools.wait_s)
            assert b"200 OK" in head
            assert len(await asyncio.wait_for(app.reader.readexactly(size), tools.wait_s)) == size

    tools.run(main)


def test_before_the_first_piece_another_site_still_answers(tools):
    async def main():
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        async with tools.raw_site(lambda _: None) as (site, seen), tools.gateway(site, edge) as gateway:
            app = await gateway.app()
            await app.send(PREDICT)
            await gateway.until(lambda: bool(seen))
            cloud = seen.transports[-1]
            cloud.write(HEAD + b"Content-Length: %d\r\n" % (2 * MIB))
            cloud.abort()
            assert (await app.answer()).body == b'{"by":"edge"}'

    tools.run(main)


def test_a_long_error_is_no_answer_yet(tools):
    async def main():
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        long_error = b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % (2 * MIB) + bytes(2 * MIB)
        async with tools.raw_site(lambda _: long_error) as (site, _), tools.gateway(site, edge) as gateway:
            assert (await (await gateway.app()).ask()).body == b'{"by":"edge"}'

    tools.run(main)


@pytest.mark.parametrize("sure", [True, False])
def test_a_long_answer_that_is_not_sure_enough_waits_for_the_cloud(tools, sure):
    """Cascade: the edge's answer is kept until it is clear which one the app gets."""
    length = 6 * MIB

    async def main():
        edge_says = HEAD + b"x-edgewise-confidence: 0.1\r\nContent-Length: %d\r\n\r\n" % length + b"e" * length

        def cloud_says(exchange):
            exchange.respond(200 if sure else 500, (), b"cloud")

        cloud = tools.site("cloud", answers=cloud_says)
        route = Route(RouteKind.CASCADE)
        raw = tools.raw_site(lambda _: edge_says, "edge", "edge")
        async with raw as (site, seen), tools.gateway(cloud, site, route=route) as gateway:
            app = await gateway.app()
            answer = await app.ask()
            assert answer.status == 200
            assert len(cloud.seen) >= 1
            if sure:
                assert answer.body == b"cloud"
                await gateway.until(seen.transports[0].is_closing)
            else:
                assert answer.body == b"e" * length
                assert answer.headers[b"x-edgewise-site"] == b"edge"

    tools.run(main)
