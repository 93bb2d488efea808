"""What an app sends and gets through the gateway, over real sockets."""

import asyncio
import json

import pytest

from edgewise.core.routing.routes import Route, RouteKind
from edgewise.gateway.config import Address, SiteConfig


def test_an_answer_comes_back_with_who_gave_it(tools):
    async def main():
        cloud = tools.site("aws", answers=tools.answer_name(b"aws"))
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            answer = await app.ask(body=b'{"instances":[1]}')
            assert (answer.status, answer.body) == (200, b'{"by":"aws"}')
            assert answer.headers[b"x-edgewise-site"] == b"aws"
            assert answer.headers[b"x-edgewise-tier"] == b"cloud"
            assert answer.headers[b"x-edgewise-model-version"] == b"7"
            assert answer.headers[b"x-edgewise-attempts"] == b"1"
            assert b"x-edgewise-degraded" not in answer.headers
            assert answer.headers[b"content-type"] == b"application/json"
            assert len(answer.fields) == len(answer.headers), "each field once"
            seen = cloud.seen[0]
            assert (seen.method, seen.path, bytes(seen.body)) == (b"POST", tools.predict, b'{"instances":[1]}')
            assert seen.headers[b"host"] == b"127.0.0.1:%d" % cloud.port
            assert 0 < int(seen.headers[b"x-edgewise-deadline-ms"]) <= 10_000
            assert seen.headers[b"x-request-id"] == answer.headers[b"x-request-id"] != b""

    tools.run(main)


def test_ids_are_given_to_requests_that_bring_none_and_kept_otherwise(tools):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            given = {(await app.ask()).headers[b"x-request-id"] for _ in range(3)}
            assert len(given) == 3
            answer = await app.ask(headers=b"X-Request-Id: mine-1\r\n")
            assert answer.headers[b"x-request-id"] == b"mine-1"
            assert cloud.seen[-1].headers[b"x-request-id"] == b"mine-1"

    tools.run(main)


def test_a_site_that_names_itself_or_repeats_the_id_is_overruled(tools):
    def answer(exchange):
        fields = [
            (b"x-edgewise-site", b"liar"),
            (b"x-edgewise-tier", b"moon"),
            (b"x-edgewise-attempts", b"9"),
            (b"x-edgewise-degraded", b"very"),
            (b"x-request-id", exchange.headers[b"x-request-id"]),
        ]
        exchange.respond(200, fields, b"{}")

    async def main():
        cloud = tools.site("cloud", answers=answer)
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            for _ in range(3):
                answer_ = await app.ask()
                assert answer_.headers[b"x-edgewise-site"] == b"cloud"
                assert answer_.headers[b"x-edgewise-tier"] == b"cloud"
                assert answer_.headers[b"x-edgewise-attempts"] == b"1"
                assert b"x-edgewise-degraded" not in answer_.headers
                assert len(answer_.fields) == len(answer_.headers)
                assert answer_.headers[b"x-request-id"] == cloud.seen[-1].headers[b"x-request-id"]

    tools.run(main)


def test_end_to_end_fields_pass_and_hop_by_hop_fields_do_not(tools):
    def answer(exchange):
        fields = [
            (b"content-encoding", b"gzip"),
            (b"inference-header-content-length", b"12"),
            (b"x-private", b"1"),
            (b"connection", b"x-private"),
            (b"keep-alive", b"timeout=5"),
            (b"proxy-authenticate", b"Basic"),
            (b"trailer", b"x-checksum"),
            (b"set-cookie", b"a=1; Path=/"),
            (b"set-cookie", b"b=2"),
            (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"),
        ]
        # The server adds a Date of its own; the site here is one that speaks for itself.
        block = b"".join(b"%b: %b\r\n" % one for one in fields)
        exchange.respond_encoded(b"HTTP/1.1 200 OK\r\n" + block, b"0123456789")

    async def main():
        cloud = tools.site("cloud", answers=answer)
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            answer_ = await app.ask(
                headers=b"Accept-Encoding: gzip\r\nInference-Header-Content-Length: 2\r\nContent-Encoding: gzip\r\n"
                b"X-Mine: 1\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\n"
                b"Proxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\nTrailer: x\r\nX-Other: 2\r\n"
                b"Expect: 100-continue\r\nx-edgewise-route: prefer-cloud\r\n",
            )
            seen = cloud.seen[0].headers
            assert seen[b"accept-encoding"] == b"gzip"
            assert seen[b"content-encoding"] == b"gzip"
            assert seen[b"inference-header-content-length"] == b"2"
            assert seen[b"x-other"] == b"2"
            assert seen[b"via"] == b"1.1 edgewise"
            for name in (
                *(b"connection", b"keep-alive", b"te", b"upgrade", b"trailer", b"x-mine", b"expect"),
                *(b"proxy-authorization", b"proxy-connection", b"x-edgewise-route"),
            ):
                assert name not in seen, name
            assert answer_.body == b"0123456789"
            assert answer_.headers[b"content-encoding"] == b"gzip"
            assert answer_.headers[b"inference-header-content-length"] == b"12"
            assert answer_.headers[b"date"] == b"Thu, 01 Jan 1970 00:00:00 GMT"
            assert [value for name, value in answer_.fields if name == b"set-cookie"] == [b"a=1; Path=/", b"b=2"]
            for name in (b"x-private", b"keep-alive", b"proxy-authenticate", b"trailer", b"connection"):
                assert name not in answer_.headers, name

    tools.run(main)


def test_what_differs_from_one_to_the_next_is_each_ones_own(tools):
    """Heads alike but for a few values are understood once; the values must not get mixed up."""

    def answer(exchange):
        n = int(exchange.body)
        fields = [(b"x-edgewise-confidence", b"0.%03d" % n), (b"x-edgewise-queue-depth", b"%d" % n)]
        exchange.respond(
            200, [(b"x-before", b"1"), *fields, (b"x-request-id", exchange.headers[b"x-request-id"])], b"%d" % n
        )

    async def main():
        cloud = tools.site("cloud", answers=answer)
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            for n in (1, 22, 333, 4):
                headers = b"X-Request-Id: r%d\r\ntraceparent: 00-%d-cd-01\r\nx-edgewise-deadline-ms: %d\r\n" % (
                    n,
                    n,
                    1000 + n,
                )
                got = await app.ask(body=b"%d" % n, headers=headers)
                assert got.body == b"%d" % n
                assert len(got.fields) == len(got.headers), "each field once"
                assert got.headers[b"x-before"] == b"1"
                assert got.headers[b"x-edgewise-confidence"] == b"0.%03d" % n
                assert got.headers[b"x-edgewise-queue-depth"] == b"%d" % n
                assert got.headers[b"x-request-id"] == b"r%d" % n
                seen = cloud.seen[-1].headers
                assert seen[b"traceparent"] == b"00-%d-cd-01" % n
                assert seen[b"x-request-id"] == b"r%d" % n
                assert 0 < int(seen[b"x-edgewise-deadline-ms"]) <= 1000 + n

    tools.run(main)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b"/v1/models/tiny"),
        (b"GET", b"/v1/models/tiny/metadata"),
        (b"GET", b"/v1/models/tiny/versions/3"),
        (b"POST", b"/v1/models/tiny/labels/stable:classify"),
        (b"POST", b"/v1/models/tiny:regress"),
        (b"GET", b"/v2"),
        (b"GET", b"/v2/models/tiny"),
        (b"GET", b"/v2/models/tiny/ready"),
        (b"POST", b"/v2/models/tiny/versions/1/infer"),
        (b"POST", b"/v1/models/a%20b:predict?x=1&y=%0d%0a"),
    ],
)
def test_every_question_of_both_protocols_is_forwarded_as_it_came(tools, method, target):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            answer = await app.ask(target, b"{}" if method == b"POST" else b"", method=method)
            assert answer.status == 200
            seen = cloud.seen[0]
            path, _, query = target.partition(b"?")
            assert (seen.method, seen.path, seen.query) == (method, path, query)

    tools.run(main)


@pytest.mark.parametrize(
    ("method", "target", "status", "message"),
    [
        (b"GET", b"/v1/models/tiny:predict", 400, "Malformed request: GET /v1/models/tiny:predict"),
        (b"POST", b"/v1/models/tiny:destroy", 400, "Malformed request: POST /v1/models/tiny:destroy"),
        (b"GET", b"/v1/models", 400, "Missing model name in request."),
        (b"POST", b"/v2/models/tiny", 400, "Malformed request: POST /v2/models/tiny"),
        (b"GET", b"/v2/nothing", 404, "Unknown path: /v2/nothing"),
        (b"GET", b"/nothing", 404, "no such path; models are under /v1/models and /v2/models"),
        (b"POST", b"/v1/models/..:predict", 400, "Malformed request: POST /v1/models/..:predict"),
    ],
)
def test_what_no_site_could_answer_is_refused_here(tools, method, target, status, message):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            answer = await app.ask(target, b"", b"X-Request-Id: r1\r\n", method=method)
            assert answer.status == status
            assert json.loads(answer.body) == {"error": message}
            assert answer.headers[b"x-request-id"] == b"r1"
            assert answer.headers[b"content-type"] == b"application/json"
            assert cloud.seen == []

    tools.run(main)


def test_head_requests_keep_the_length_and_send_no_body(tools):
    async def main():
        cloud = tools.site("cloud", answers=lambda exchange: exchange.respond(200, (tools.json,), b"x" * 77))
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            answer = await app.ask(b"/v2/models/tiny", b"", method=b"HEAD")
            assert answer.headers[b"content-length"] == b"77"
            # The connection is in step: the next answer is whole.
            assert (await app.ask(b"/v2/models/tiny", b"", method=b"GET")).body == b"x" * 77

    tools.run(main)


@pytest.mark.parametrize("value", [b"soon", b"-1", b"nan", b"1e12", b"99999999999"])
def test_a_deadline_that_is_none_is_refused(tools, value):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud) as gateway:
            answer = await (await gateway.app()).ask(headers=b"x-edgewise-deadline-ms: %b\r\n" % value)
            assert answer.status == 400
            assert "x-edgewise-deadline-ms is not a number of milliseconds" in json.loads(answer.body)["error"]
            assert cloud.seen == []

    tools.run(main)


def test_the_remaining_budget_travels_and_a_spent_one_goes_nowhere(tools):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            assert (await app.ask(headers=b"x-edgewise-deadline-ms: 500\r\n")).status == 200
            assert 0 < int(cloud.seen[0].headers[b"x-edgewise-deadline-ms"]) <= 500
            answer = await app.ask(headers=b"x-edgewise-deadline-ms: 0\r\n")
            assert answer.status == 504
            assert len(cloud.seen) == 1

    tools.run(main)


def test_an_unanswered_request_ends_at_its_deadline_and_is_taken_from_the_site(tools):
    async def main():
        cloud = tools.site("cloud", answers=None)
        async with tools.gateway(cloud) as gateway:
            answer = await (await gateway.app()).ask(headers=b"x-edgewise-deadline-ms: 60\r\n")
            assert answer.status == 504
            assert json.loads(answer.body)["error"]
            await gateway.until(lambda: cloud.cancelled == len(cloud.seen) == 1)

    tools.run(main)


def test_an_app_that_goes_away_takes_its_request_along(tools):
    async def main():
        cloud = tools.site("cloud", answers=None)
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            await app.send(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" % tools.predict)
            await gateway.until(lambda: len(cloud.seen) == 1)
            app.writer.transport.abort()
            await gateway.until(lambda: cloud.cancelled == 1)
            assert gateway.service.metrics.outcomes["cancelled"] == 1

    tools.run(main)


@pytest.mark.parametrize(("status", "body"), [(400, b'{"error":"x"}'), (501, b""), (204, b""), (301, b"away")])
def test_what_a_site_answers_is_passed_on_whatever_it_is(tools, status, body):
    async def main():
        cloud = tools.site("cloud", answers=lambda exchange: exchange.respond(status, (tools.json,), body))
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            answer = await app.ask()
            assert (answer.status, answer.body) == (status, body)
            assert (await app.ask()).status == status

    tools.run(main)


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_another_site_answers_when_one_says_that_it_cannot(tools, status):
    async def main():
        cloud = tools.site("cloud", answers=lambda exchange: exchange.respond(status, (tools.json,), b"no"))
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        async with tools.gateway(cloud, edge) as gateway:
            answer = await (await gateway.app()).ask()
            assert (answer.status, answer.body) == (200, b'{"by":"edge"}')
            assert answer.headers[b"x-edgewise-attempts"] == b"2"
            assert answer.headers[b"x-edgewise-degraded"]
            assert answer.headers[b"x-edgewise-tier"] == b"edge"
            ids = {exchange.headers[b"x-request-id"] for exchange in (*cloud.seen, *edge.seen)}
            assert len(ids) == 1

    tools.run(main)


def test_when_no_site_can_the_app_gets_what_a_site_said(tools):
    async def main():
        def overloaded(exchange):
            exchange.respond(503, (tools.json, (b"retry-after", b"3")), b'{"error":"full"}')

        cloud = tools.site("cloud", answers=overloaded)
        edge = tools.site("edge", "edge", answers=overloaded)
        async with tools.gateway(cloud, edge) as gateway:
            answer = await (await gateway.app()).ask()
            assert (answer.status, answer.body) == (503, b'{"error":"full"}')
            assert answer.headers[b"retry-after"] == b"3"
            assert answer.headers[b"x-edgewise-attempts"] == b"2"
            assert (len(cloud.seen), len(edge.seen)) == (1, 1)

    tools.run(main)


def test_a_request_that_may_not_run_twice_is_seen_by_one_site_only(tools):
    async def main():
        def break_off(exchange):
            exchange._connection.abort()

        cloud = tools.site("cloud", answers=break_off)
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        async with tools.gateway(cloud, edge) as gateway:
            app = await gateway.app()
            answer = await app.ask(headers=b"x-edgewise-idempotent: false\r\n")
            assert answer.status == 503
            assert len(cloud.seen) == 1
            assert edge.seen == []
            assert (await app.ask()).body == b'{"by":"edge"}'
            assert (await app.ask(headers=b"x-edgewise-idempotent: perhaps\r\n")).status == 400

    tools.run(main)


def test_routes_are_by_model_and_a_request_can_wish(tools):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        routes = {"near": Route(RouteKind.PREFER_EDGE)}
        async with tools.gateway(cloud, edge, routes=routes) as gateway:
            app = await gateway.app()
            assert (await app.ask()).body == b'{"by":"cloud"}'
            assert (await app.ask(b"/v1/models/near:predict")).body == b'{"by":"edge"}'
            assert (await app.ask(headers=b"x-edgewise-route: edge-only\r\n")).body == b'{"by":"edge"}'
            answer = await app.ask(headers=b"x-edgewise-route: sideways\r\n")
            assert answer.status == 400
            assert "x-edgewise-route is not one of" in json.loads(answer.body)["error"]

    tools.run(main)


def test_new_routes_hold_for_the_next_request_of_an_open_connection(tools):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        async with tools.gateway(cloud, edge) as gateway:
            app = await gateway.app()
            assert (await app.ask()).body == b'{"by":"cloud"}'
            config = gateway.service.config
            gateway.service.config = type(config)(config.sites, Route(RouteKind.PREFER_EDGE))
            assert (await app.ask()).body == b'{"by":"edge"}'

    tools.run(main)


def test_keys_are_asked_for_and_a_site_gets_its_own(tools, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("camera secret-of-app\n")
    site_key = tmp_path / "site-key"
    site_key.write_text("secret-of-site\n")

    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        config = {"api_key_file": site_key}
        async with tools.gateway(cloud, api_keys=keys, site_config=config) as gateway:
            app = await gateway.app()
            answer = await app.ask()
            assert answer.status == 401
            assert answer.headers[b"www-authenticate"] == b"Bearer"
            assert (await app.ask(headers=b"Authorization: Bearer wrong-key\r\n")).status == 401
            assert cloud.seen == []
            assert (await app.ask(headers=b"Authorization: Bearer secret-of-app\r\n")).status == 200
            assert (await app.ask(headers=b"x-api-key: secret-of-app\r\n")).status == 200
            for exchange in cloud.seen:
                assert exchange.headers[b"authorization"] == b"Bearer secret-of-site"
                assert b"x-api-key" not in exchange.headers

    tools.run(main)


def test_the_key_of_an_app_passes_to_a_site_without_one(tools):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud) as gateway:
            await (await gateway.app()).ask(headers=b"Authorization: Bearer for-the-site\r\n")
            assert cloud.seen[0].headers[b"authorization"] == b"Bearer for-the-site"

    tools.run(main)


@pytest.mark.parametrize("size_bytes", [0, 1, 16 * 1024, 16 * 1024 + 1, 3_000_000])
def test_bodies_of_any_size_pass_both_ways(tools, size_bytes):
    async def main():
        cloud = tools.site("cloud", answers=lambda exchange: exchange.respond(200, (), bytes(exchange.body)))
        async with tools.gateway(cloud) as gateway:
            body = (b"0123456789abcdef" * (size_bytes // 16 + 1))[:size_bytes]
            app = await gateway.app()
            for _ in range(2):
                assert (await app.ask(body=body)).body == body
            assert cloud.seen[0].headers[b"content-length"] == b"%d" % size_bytes

    tools.run(main)


def test_a_body_over_the_limit_is_refused_here(tools):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud, limits={"max_body_bytes": 1000}) as gateway:
            answer = await (await gateway.app()).ask(body=b"x" * 1001)
            assert answer.status == 413
            assert json.loads(answer.body)["error"]
            assert cloud.seen == []

    tools.run(main)


def test_pipelined_requests_are_answered_in_order(tools):
    async def main():
        waiting = []

        def answer(exchange):
            waiting.append(exchange)
            exchange.respond(200, (), bytes(exchange.body))

        cloud = tools.site("cloud", answers=answer)
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            raw = b"".join(
                b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n%02d" % (tools.predict, n) for n in range(50)
            )
            await app.send(raw)
            assert [(await app.answer()).body for _ in range(50)] == [b"%02d" % n for n in range(50)]

    tools.run(main)


def test_no_site_at_all_is_said_at_once(tools):
    async def main():
        nobody = SiteConfig("cloud", "cloud", rest=Address("127.0.0.1", 1))
        async with tools.gateway(nobody) as gateway:
            app = await gateway.app()
            answer = await app.ask()
            assert answer.status == 503
            assert int(answer.headers[b"retry-after"]) >= 1
            assert json.loads(answer.body)["error"]

    tools.run(main)


def test_a_site_with_grpc_alone_is_passed_over(tools):
    async def main():
        grpc_only = SiteConfig("far", "cloud", grpc=Address("127.0.0.1", 1))
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        async with tools.gateway(grpc_only, edge) as gateway:
            answer = await (await gateway.app()).ask()
            assert (answer.status, answer.body) == (200, b'{"by":"edge"}')

    tools.run(main)


def test_what_the_gateway_does_not_know_of_metrics_adds_up(tools):
    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            for _ in range(3):
                await app.ask()
            await app.ask(b"/v1/models/tiny:nothing")
            metrics = gateway.service.metrics
            assert metrics.received_count == 4
            assert metrics.outcomes["answered"] == 3
            assert metrics.outcomes["rejected"] == 1
            assert metrics.in_flight == 0

    tools.run(main)


def test_requests_in_flight_end_when_the_gateway_drains(tools):
    async def main():
        waiting = []
        cloud = tools.site("cloud", answers=waiting.append)
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            asked = asyncio.create_task(app.ask())
            await gateway.until(lambda: len(waiting) == 1)
            await gateway.server.stop_accepting()
            gateway.service.carrier.drain()
            draining = asyncio.create_task(gateway.server.drain(tools.wait_s))
            waiting[0].respond(200, (), b"late but there")
            assert (await asked).body == b"late but there"
            assert await draining == 0

    tools.run(main)
