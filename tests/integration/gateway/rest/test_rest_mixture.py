"""Everything at once, from a seed: nobody gets another one's answer, and each request ends once."""

import asyncio
import random
import time

import pytest

KIB = 1 << 10
REQUESTS = 300
CLIENTS = 24


def _digest(body: bytes) -> bytes:
    return b"%d-%08x" % (len(body), hash(body) & 0xFFFFFFFF)


class Whims:
    """A site that answers with a digest of what it was asked, in the moods that sites have."""

    def __init__(self, name: bytes, seed: int) -> None:
        self.name = name
        self.draw = random.Random(seed)
        self.executed: dict[bytes, int] = {}

    def __call__(self, exchange) -> None:
        draw = self.draw
        key = exchange.headers[b"x-key"]
        self.executed[key] = self.executed.get(key, 0) + 1
        answer = key + b" " + _digest(bytes(exchange.body))
        mood = draw.random()
        fields = [(b"x-edgewise-queue-depth", b"%d" % draw.randrange(9)), (b"x-key", key)]
        if draw.random() < 0.5:
            fields.append((b"x-request-id", exchange.headers[b"x-request-id"]))
        if draw.random() < 0.3:
            fields.append((b"x-edgewise-confidence", b"0.%04d" % draw.randrange(10_000)))
        loop = asyncio.get_running_loop()
        if mood < 0.04:
            exchange._connection.abort()
        elif mood < 0.08:
            exchange.respond(draw.choice([429, 500, 503]), fields, b"no")
        elif mood < 0.12:
            loop.call_later(draw.random() * 0.05, exchange._connection.abort)
        elif mood < 0.2:
            long = answer + b" " * (1200 * KIB)
            exchange.begin(b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % one for one in fields), len(long))
            exchange.write(long[: 900 * KIB])
            loop.call_later(0.01, lambda: (exchange.write(long[900 * KIB :]), exchange.end()))
        else:
            loop.call_later(draw.random() ** 4 * 0.06, exchange.respond, 200, fields, answer)


@pytest.mark.parametrize("seed", range(3))
def test_nobody_gets_another_ones_answer(tools, seed):
    draw = random.Random(seed)
    ends: dict[str, int] = {}
    cut = 0

    async def client(gateway, number: int) -> None:
        nonlocal cut
        app = await gateway.app()
        for turn in range(REQUESTS // CLIENTS):
            key = b"%d.%d" % (number, turn)
            size = draw.choice([0, 10, draw.randrange(2000), draw.randrange(40_000), draw.randrange(400_000)])
            body = draw.randbytes(size)
            headers = b"x-key: %b\r\n" % key
            if draw.random() < 0.5:
                headers += b"x-request-id: id-%b\r\n" % key
            if draw.random() < 0.1:
                headers += b"x-edgewise-idempotent: false\r\n"
            if draw.random() < 0.3:
                headers += b"x-edgewise-deadline-ms: %d\r\n" % draw.randrange(500, 5000)
            try:
                if draw.random() < 0.06:
                    start = b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n"
                    await app.send(start % (tools.predict, headers, size) + body)
                    await asyncio.sleep(draw.random() * 0.01)
                    app.writer.transport.abort()
                    ends["left"] = ends.get("left", 0) + 1
                    app = await gateway.app()
                    continue
                answer = await app.ask(body=body, headers=headers)
            except (asyncio.IncompleteReadError, ConnectionError):
                # A long answer whose site was lost in the middle.
                cut += 1
                app = await gateway.app()
                continue
            ends[str(answer.status)] = ends.get(str(answer.status), 0) + 1
            if answer.status == 200:
                assert answer.body.rstrip(b" ") == key + b" " + _digest(body)
                assert answer.headers[b"x-key"] == key
            if b"x-request-id: " in headers:
                assert answer.headers[b"x-request-id"] == b"id-" + key
            if answer.headers.get(b"connection") == b"close":
                app = await gateway.app()

    async def main():
        whims = [Whims(b"cloud", seed), Whims(b"edge", seed + 100)]
        cloud = tools.site("cloud", answers=whims[0])
        edge = tools.site("edge", "edge", answers=whims[1])
        limits = {"stream_over_bytes": 200_000}
        async with tools.gateway(cloud, edge, limits=limits) as gateway:
            await asyncio.gather(*(client(gateway, number) for number in range(CLIENTS)))
            metrics, router = gateway.service.metrics, gateway.service.router
            await gateway.until(lambda: metrics.in_flight == 0)
            router.validate_state(time.monotonic())
            assert ends["200"] > REQUESTS // 2, ends
            assert set(ends) <= {"200", "left", "429", "500", "503", "504"}, ends
            assert gateway.service.carrier._held == {}
            assert cut <= metrics.readings["edgewise_gateway_answers_cut_total"][1]() + 1
            for site in gateway.service.sites.values():
                assert site.rest.waiting == site.rest.waiting.__class__()
            await gateway.until(
                lambda: (
                    not any(
                        connection.busy
                        for site in gateway.service.sites.values()
                        for connection in site.rest._connections
                    )
                )
            )

    tools.run(main)
