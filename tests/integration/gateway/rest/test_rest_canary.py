"""Requests that a canary divides, and shadows, over real sockets: what each site sees, what is counted, what apps notice."""

import asyncio
import json

import pytest

from edgewise.core.routing.routes import Route, RouteKind
from edgewise.protocols.canaries import NO_CANARIES, CanarySetting, CanarySettings
from support.waiting import until

PREFER = b"x-edgewise-prefer-version"
INFER = b"/v2/models/tiny/infer"


def setting(**changes):
    values = {
        "site": "edge",
        "model": "tiny",
        "old": 1,
        "new": 2,
        "share": 0.5,
        "shadow": 0.0,
        "slow_ms": None,
        "key": "k",
    }
    return CanarySetting(**{**values, **changes})


def put(gateway, *settings, generation=1):
    gateway.service.canaries.take_over(CanarySettings(generation, settings))


def canary_of(gateway):
    (canary,) = gateway.service.canaries
    return canary


def two_versions(json_header, *, answers=None, status=None):
    """A site with two versions: it answers with the one that is preferred."""

    def answer(exchange):
        version = int(exchange.headers.get(PREFER, b"1"))
        body = (answers or {}).get(version, b'{"predictions":[[0.1,0.9]]}')
        code = (status or {}).get(version, 200)
        exchange.respond(code, (json_header, (b"x-edgewise-model-version", b"%d" % version)), body)

    return answer


def versions(site):
    return [exchange.headers.get(PREFER) for exchange in site.seen]


def test_a_share_goes_to_the_new_version_and_the_rest_to_the_old(tools):
    async def main():
        edge = tools.site("edge", "edge", answers=two_versions(tools.json))
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            await app.ask()
            assert versions(edge) == [None]
            put(gateway, setting(share=0.3))
            count = 400
            said = [int((await app.ask()).headers[b"x-edgewise-model-version"]) for _ in range(count)]
            seen = versions(edge)[1:]
            assert [b"%d" % version for version in said] == seen
            new = seen.count(b"2")
            assert abs(new - 0.3 * count) < 5 * (count * 0.21) ** 0.5
            canary = canary_of(gateway)
            assert (canary.new.count, canary.old.count) == (new, count - new)
            assert canary.new.latency_ms.count == new
            gateway.service.canaries.take_over(NO_CANARIES)
            await app.ask()
            assert versions(edge)[-1] is None

    tools.run(main)


def test_what_names_a_version_is_left_alone_and_so_are_questions_and_other_models(tools):
    async def main():
        edge = tools.site("edge", "edge", answers=two_versions(tools.json))
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=1.0))
            for path in (
                *(b"/v1/models/tiny/versions/1:predict", b"/v1/models/tiny/labels/stable:predict"),
                *(b"/v2/models/tiny/versions/1/infer", b"/v1/models/other:predict"),
            ):
                await app.ask(path)
            await app.ask(b"/v1/models/tiny/metadata", b"", method=b"GET")
            await app.ask(b"/v2/models/tiny/ready", b"", method=b"GET")
            assert versions(edge) == [None] * 6
            for path in (tools.predict, INFER, b"/v1/models/tiny:classify", b"/v1/models/tiny:regress"):
                await app.ask(path)
            assert versions(edge)[6:] == [b"2"] * 4
            assert canary_of(gateway).new.count == 4

    tools.run(main)


@pytest.mark.parametrize("value", [b"7", b"9223372036854775807", b"no-version", b"1, 2"])
def test_an_apps_own_wish_travels_unless_a_canary_decides(tools, value):
    async def main():
        edge = tools.site("edge", "edge", answers=lambda exchange: exchange.respond(200, (tools.json,), b"{}"))
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            for _ in range(2):
                await app.ask(headers=b"X-Edgewise-Prefer-Version: %b\r\n" % value)
            assert versions(edge) == [value] * 2
            put(gateway, setting(share=1.0))
            await app.ask(headers=b"X-Edgewise-Prefer-Version: %b\r\n" % value)
            assert versions(edge)[-1] == b"2"
            await app.ask(b"/v1/models/tiny/versions/3:predict", headers=b"X-Edgewise-Prefer-Version: %b\r\n" % value)
            assert versions(edge)[-1] == value

    tools.run(main)


def test_errors_of_the_version_are_counted_and_no_others(tools):
    async def main():
        status = {2: 200}
        edge = tools.site("edge", "edge", answers=two_versions(tools.json, status=status))
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=1.0, slow_ms=1e6))
            canary = canary_of(gateway)
            for code, errors in ((200, 0), (400, 1), (404, 0), (429, 0), (503, 0), (500, 1), (502, 1), (504, 1)):
                status[2] = code
                before = (canary.new.count, canary.new.errors)
                assert (await app.ask()).status == code
                assert (canary.new.count - before[0], canary.new.errors - before[1]) == (1, errors), code
            # What an app can use has a time: the answer, and what it did wrong itself.
            assert (canary.new.timed, canary.new.slow, canary.new.latency_ms.count) == (2, 0, 2)
            assert canary.old.count == 0

    tools.run(main)


def test_a_lost_connection_is_not_counted(tools):
    async def main():
        replies = iter([None, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-edgewise-model-version: 2\r\n\r\n{}"])

        def reply(_):
            answer = next(replies)
            if answer is None:
                seen.transports[-1].abort()
            return answer

        async with tools.raw_site(reply, "edge", "edge") as (config, seen), tools.gateway(config) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=1.0))
            assert (await app.ask()).status == 200
            assert len(seen) == 2
            assert all(b"x-edgewise-prefer-version: 2\r\n" in request for request in seen)
            canary = canary_of(gateway)
            assert (canary.new.count, canary.new.errors) == (1, 0)

    tools.run(main)


def test_another_site_that_saves_a_request_is_asked_as_always_and_counts_nothing(tools):
    async def main():
        edge = tools.site("edge", "edge", answers=None)
        cloud = tools.site("cloud", answers=two_versions(tools.json))
        route = Route(RouteKind.PREFER_EDGE)
        async with tools.gateway(edge, cloud, route=route) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=1.0))
            asking = asyncio.create_task(app.ask())
            await until(lambda: edge.seen)
            await edge.server.close()
            answer = await asking
            assert (answer.status, answer.headers[b"x-edgewise-site"]) == (200, b"cloud")
            assert (versions(edge), versions(cloud)) == ([b"2"], [None])
            canary = canary_of(gateway)
            assert canary.new.count == canary.old.count == 0

    tools.run(main)


def test_an_app_that_gives_up_leaves_a_slow_one_behind(tools):
    async def main():
        edge = tools.site("edge", "edge", answers=None)
        async with tools.gateway(edge) as gateway:
            put(gateway, setting(share=1.0, slow_ms=0.001))
            app = await gateway.app()
            answer = await app.ask(headers=b"x-edgewise-deadline-ms: 40\r\n")
            assert answer.status == 504
            canary = canary_of(gateway)
            assert (canary.new.timed, canary.new.slow, canary.new.count, canary.new.errors) == (1, 1, 0, 0)
            leaving = await gateway.app()
            await leaving.send(b"POST %b HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}" % tools.predict)
            await until(lambda: len(edge.seen) == 2)
            await leaving.close()
            await until(lambda: canary.new.slow == 2)
            assert canary.new.count == 0

    tools.run(main)


def test_long_answers_and_long_requests_are_divided_as_well(tools):
    async def main():
        edge = tools.site("edge", "edge", answers=two_versions(tools.json, answers={2: b"x" * (3 << 20)}))
        async with tools.gateway(edge, limits={"stream_over_bytes": 1 << 20, "max_body_bytes": 1 << 24}) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=1.0, shadow=1.0))
            answer = await app.ask(body=b"y" * (2 << 20))
            assert (answer.status, len(answer.body)) == (200, 3 << 20)
            assert versions(edge) == [b"2"]
            assert canary_of(gateway).new.count == 1

    tools.run(main)


# --- shadows


@pytest.mark.parametrize(
    ("new", "shadowed", "disagreed", "errors"),
    [
        ((200, b'{"predictions":[[0.4,0.6]]}'), 1, 0, 0),
        ((200, b'{"predictions":[[0.6,0.4]]}'), 1, 1, 0),
        ((200, b"no JSON"), 0, 0, 0),
        ((500, b"{}"), 1, 0, 1),
        ((400, b"{}"), 1, 0, 1),
        ((503, b"{}"), 0, 0, 0),
        ((429, b"{}"), 0, 0, 0),
        ((404, b"{}"), 0, 0, 0),
        ((200, b'{"predictions":"%b"}' % (b"x" * (2 << 20))), 0, 0, 0),
    ],
)
def test_the_new_version_is_asked_as_well_and_the_app_does_not_notice(tools, new, shadowed, disagreed, errors):
    async def main():
        status, body = new
        edge = tools.site("edge", "edge", answers=two_versions(tools.json, answers={2: body}, status={2: status}))
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=0.0, shadow=1.0))
            answer = await app.ask(body=b'{"instances":[[1,2]]}', headers=b"X-Request-Id: r-1\r\nX-Mine: 1\r\n")
            assert (answer.status, answer.headers[b"x-edgewise-model-version"]) == (200, b"1")
            assert answer.headers[b"x-edgewise-attempts"] == b"1"
            shadows = gateway.service.shadows
            await until(lambda: len(edge.seen) == 2 and shadows.in_flight == 0)
            first, second = edge.seen
            assert versions(edge) == [b"1", b"2"]
            assert bytes(second.body) == bytes(first.body) == b'{"instances":[[1,2]]}'
            assert second.headers[b"x-request-id"] == b"r-1"
            assert second.headers[b"x-mine"] == b"1"
            assert int(second.headers[b"x-edgewise-deadline-ms"]) > 9000
            canary = canary_of(gateway)
            assert (canary.shadowed, canary.disagreed, canary.shadow_errors) == (shadowed, disagreed, errors)
            # It is no request of an app, no attempt, and no sample of the division.
            assert (canary.old.count, canary.new.count) == (1, 0)
            assert gateway.service.metrics.received_count == 1
            assert gateway.state("edge") == "UP"
            assert (await app.ask()).status == 200

    tools.run(main)


def test_another_version_than_the_new_one_is_no_answer_to_compare_with(tools):
    def answer(exchange):
        exchange.respond(200, (tools.json, (b"x-edgewise-model-version", b"1")), b'{"predictions":[[0.1,0.9]]}')

    async def main():
        edge = tools.site("edge", "edge", answers=answer)
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=0.0, shadow=1.0))
            await app.ask()
            await until(lambda: len(edge.seen) == 2 and gateway.service.shadows.in_flight == 0)
            assert canary_of(gateway).shadowed == 0

    tools.run(main)


def test_both_protocols_are_compared(tools):
    head = b'{"model_name":"tiny","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}'

    def answer(exchange):
        version = int(exchange.headers.get(PREFER, b"1"))
        numbers = {1: b"\0\0\0\0\0\0\x80\x3f", 2: b"\0\0\x80\x3f\0\0\0\0"}[version]
        fields = (
            (b"inference-header-content-length", b"%d" % len(head)),
            (b"x-edgewise-model-version", b"%d" % version),
        )
        exchange.respond(200, fields, head + numbers)

    async def main():
        edge = tools.site("edge", "edge", answers=answer)
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=0.0, shadow=1.0))
            await app.ask(INFER)
            canary = canary_of(gateway)
            await until(lambda: canary.shadowed == 1)
            assert canary.disagreed == 1

    tools.run(main)


def test_what_is_never_shadowed(tools):
    async def main():
        def answer(exchange):
            fields = [tools.json, (b"x-edgewise-model-version", exchange.headers.get(PREFER, b"1"))]
            if b"x-encode" in exchange.headers:
                fields.append((b"content-encoding", b"gzip"))
            size = int(exchange.headers.get(b"x-size", b"10"))
            exchange.respond(int(exchange.headers.get(b"x-status", b"200")), fields, b"[" + b" " * size + b"]")

        edge = tools.site("edge", "edge", answers=answer)
        async with tools.gateway(edge, limits={"stream_over_bytes": 1 << 20, "max_body_bytes": 1 << 24}) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=0.0, shadow=1.0))
            asked = [
                {"headers": b"x-edgewise-idempotent: false\r\n"},
                {"headers": b"x-status: 400\r\n"},
                {"headers": b"x-status: 500\r\n"},
                {"headers": b"x-encode: 1\r\n"},
                {"headers": b"x-size: 1200000\r\n"},
                {"body": b"y" * (2 << 20)},
                {"target": b"/v1/models/tiny:classify"},
                {"target": b"/v1/models/tiny/versions/1:predict"},
            ]
            for words in asked:
                await app.ask(**words)
            put(gateway, setting(share=1.0, shadow=1.0), generation=2)
            await app.ask()
            shadows = gateway.service.shadows
            assert (shadows.in_flight, shadows.skipped, len(edge.seen)) == (0, 0, len(asked) + 1)
            # And one that is.
            put(gateway, setting(share=0.0, shadow=1.0), generation=3)
            await app.ask()
            await until(lambda: len(edge.seen) == len(asked) + 3)

    tools.run(main)


def test_few_are_under_way_at_a_time_and_apps_wait_for_none_of_them(tools):
    held = []

    def answer(exchange):
        if exchange.headers[PREFER] == b"2":
            held.append(exchange)
        else:
            two_versions(tools.json)(exchange)

    async def main():
        edge = tools.site("edge", "edge", answers=answer)
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=0.0, shadow=1.0))
            for _ in range(20):
                assert (await app.ask()).status == 200
            shadows = gateway.service.shadows
            await until(lambda: len(held) == 4)
            assert (shadows.in_flight, shadows.skipped) == (4, 16)
            for exchange in held[:2]:
                two_versions(tools.json)(exchange)
            await until(lambda: shadows.in_flight == 2)
            canary = canary_of(gateway)
            assert (canary.shadowed, canary.disagreed) == (2, 0)
            # A connection that is lost is nobody's fault.
            await edge.server.close()
            await until(lambda: shadows.in_flight == 0)
            assert (canary.shadowed, canary.shadow_errors) == (2, 0)

    tools.run(main)


def test_a_new_version_that_never_answers_has_failed(tools):
    def answer(exchange):
        if exchange.headers[PREFER] == b"1":
            two_versions(tools.json)(exchange)

    async def main():
        edge = tools.site("edge", "edge", answers=answer)
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=0.0, shadow=1.0))
            assert (await app.ask(headers=b"x-edgewise-deadline-ms: 60\r\n")).status == 200
            canary = canary_of(gateway)
            await until(lambda: canary.shadow_errors == 1)
            assert (canary.shadowed, gateway.service.shadows.in_flight) == (1, 0)
            await until(lambda: edge.cancelled == 1)
            assert (await app.ask()).status == 200

    tools.run(main)


def test_the_page_tells_what_was_counted(tools):
    async def main():
        edge = tools.site("edge", "edge", answers=two_versions(tools.json))
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            put(gateway, setting(share=1.0, slow_ms=1e6), generation=9)
            await app.ask()
            answer = await app.ask(b"/edgewise/v1/canaries", b"", method=b"GET")
            shown = json.loads(answer.body)
            assert (shown["workers"], shown["silent"], shown["generation"]) == (1, 0, 9)
            (canary,) = shown["canaries"]
            assert (canary["site"], canary["model"], canary["new_count"], canary["new_timed"]) == ("edge", "tiny", 1, 1)
            metrics = await app.ask(b"/metrics", b"", method=b"GET")
            assert (
                b'edgewise_gateway_canary_answers_total{arm="new",model="tiny",site="edge",version="2"} 1.0'
                in metrics.body
            )

    tools.run(main)
