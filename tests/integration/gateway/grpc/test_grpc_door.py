"""gRPC calls of apps through the gateway, to sites that take them over HTTP/1.1 and over HTTP/2."""

import asyncio
import os

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from edgewise.core.routing.routes import Route, RouteKind
from edgewise.net.grpc_exchange import UNAVAILABLE
from edgewise.wire import inference_pb2, serving_pb2

CHECK = "/grpc.health.v1.Health/Check"
READY = "/inference.GRPCInferenceService/ServerReady"
KEY = "the-only-key"
BOTH = pytest.mark.parametrize("kind", ["http", "http2"])


def make(through, kind, *arguments, **words):
    return (through.http_site if kind == "http" else through.http2_site)(*arguments, **words)


def metadata_of(exchange):
    return exchange.headers if hasattr(exchange, "headers") else exchange.metadata


def message_of(exchange):
    return bytes(exchange.body if hasattr(exchange, "body") else exchange.message)


def fail(status, message=b"", *trailers, http=500):
    """Answers with an error, in either form."""

    def answer(exchange):
        if hasattr(exchange, "metadata"):
            exchange.fail(status, message.decode(), trailers)
        else:
            fields = [(b"grpc-status", b"%d" % status), (b"grpc-message", message), *trailers]
            exchange.respond(http, fields, b"")

    return answer


@BOTH
def test_an_answer_says_how_it_came_to_be(through, kind):
    async def main():
        said = [(b"x-edgewise-model-version", b"7"), (b"x-own", b"1"), (b"x-edgewise-site", b"itself")]
        cloud = make(through, kind, "cloud", answers=through.by(b"answer", *said))
        async with through.gateway(cloud) as gateway:
            for number in range(3):
                outcome = await gateway.ask(x_request_id=b"r-%d" % number)
                assert (outcome.status, outcome.body) == (0, b"answer")
                assert dict(outcome.trailers) == {
                    b"x-edgewise-model-version": b"7",
                    b"x-own": b"1",
                    b"x-edgewise-site": b"cloud",
                    b"x-edgewise-tier": b"cloud",
                    b"x-edgewise-attempts": b"1",
                    b"x-request-id": b"r-%d" % number,
                }
            own = [(await gateway.ask()).trailers[b"x-request-id"] for _ in range(2)]
            assert own[0] != own[1]
            assert [metadata_of(exchange)[b"x-request-id"] for exchange in cloud.seen[3:]] == own

    through.run(main)


@BOTH
@pytest.mark.parametrize("size", [0, 1, 20_000, 300_000, 5_000_000])
def test_messages_pass_as_they_are(through, kind, size):
    async def main():
        answer = os.urandom(size)
        cloud = make(through, kind, "cloud", answers=through.by(answer))
        async with through.gateway(cloud) as gateway:
            message = through.predict_request("tiny", size) + b"\xfa\x3f\x03abc"  # a field nobody knows
            outcome = await gateway.ask(message)
            assert outcome.body == answer
            assert message_of(cloud.seen[0]) == message
            # What is no message at all is the site's to refuse.
            await gateway.ask(b"\xff\xff\xff")
            assert message_of(cloud.seen[1]) == b"\xff\xff\xff"

    through.run(main)


def test_what_goes_to_a_site_over_http(through):
    async def main():
        cloud = through.http_site("cloud", answers=through.by(b""))
        async with through.gateway(cloud) as gateway:
            await gateway.ask(
                timeout_s=5.0,
                x_request_id=b"r-1",
                x_own=b"kept",
                raw_bin=b"AP8",
                authorization=b"Bearer app",
                x_edgewise_route=b"cloud-only",
                host=b"elsewhere",
                content_length=b"1",
                expect=b"100-continue",
                connection_id=b"kept as well",
            )
            seen = cloud.seen[0]
            assert (seen.method, seen.path, seen.query) == (b"POST", through.predict.encode(), b"")
            headers = dict(seen.headers)
            left_ms = int(headers.pop(b"x-edgewise-deadline-ms"))
            assert 4000 < left_ms <= 5000
            assert headers == {
                b"host": headers[b"host"],
                b"content-type": b"application/x-protobuf",
                b"content-length": b"%d" % len(through.predict_request()),
                b"via": b"2.0 edgewise",
                b"x-request-id": b"r-1",
                b"x-own": b"kept",
                b"raw-bin": b"AP8",
                b"authorization": b"Bearer app",
                b"connection-id": b"kept as well",
            }
            assert headers[b"host"].startswith(b"127.0.0.1:")

    through.run(main)


def test_what_goes_to_a_site_over_http2(through):
    async def main():
        cloud = through.http2_site("cloud", answers=through.by(b""))
        async with through.gateway(cloud) as gateway:
            await gateway.ask(x_request_id=b"r-1", raw_bin=b"AP8", x_edgewise_deadline_ms=b"5000", x_own=b"kept")
            seen = cloud.seen[0]
            assert seen.method == through.predict
            assert 4.0 < seen.timeout_s <= 5.0
            metadata = dict(seen.metadata)
            del metadata[b"grpc-timeout"], metadata[b"user-agent"]
            assert metadata == {
                b"te": b"trailers",
                b"content-type": b"application/grpc",
                b"raw-bin": b"AP8",
                b"x-own": b"kept",
                b"x-request-id": b"r-1",
            }

    through.run(main)


@BOTH
def test_a_site_gets_its_own_key(through, kind, tmp_path):
    key = tmp_path / "key"
    key.write_text("site-key\n")

    async def main():
        cloud = make(through, kind, "cloud", answers=through.by(b""))
        async with through.gateway(cloud, site_config={"api_key_file": key}) as gateway:
            await gateway.ask(authorization=b"Bearer app", x_api_key=b"app")
            metadata = metadata_of(cloud.seen[0])
            assert metadata[b"authorization"] == b"Bearer site-key"
            assert b"x-api-key" not in metadata

    through.run(main)


# status, its HTTP status, whether the other site is asked
STATUSES = [
    (1, 499, True),
    (2, 500, True),
    (3, 400, False),
    (4, 504, False),
    (5, 404, True),
    (6, 409, False),
    (7, 403, False),
    (8, 429, True),
    (9, 400, False),
    (10, 409, False),
    (11, 400, False),
    (12, 501, True),
    (13, 500, True),
    (14, 503, True),
    (15, 500, True),
    (16, 401, False),
]


@BOTH
@pytest.mark.parametrize(("status", "http", "retried"), STATUSES)
def test_statuses_words_and_details_survive(through, kind, status, http, retried):
    async def main():
        details = [(b"grpc-status-details-bin", b"AAEC"), (b"x-own", b"1")]
        cloud = make(through, kind, "cloud", answers=fail(status, "50 % of ü".encode(), *details, http=http))
        async with through.gateway(cloud) as gateway:
            outcome = await gateway.ask(x_request_id=b"r-1")
            assert outcome.status == status
            if kind == "http2":
                assert outcome.status_message == b"50 %25 of %C3%BC"
            assert outcome.trailers[b"grpc-status-details-bin"] == b"AAEC"
            assert outcome.trailers[b"x-own"] == b"1"
            assert outcome.trailers[b"x-edgewise-site"] == b"cloud"
            assert outcome.trailers[b"x-request-id"] == b"r-1"
        if status == 4:
            return
        cloud.seen.clear()
        edge = make(through, kind, "edge", "edge", answers=through.by(b"edge"))
        async with through.gateway(cloud, edge) as gateway:
            outcome = await gateway.ask()
            assert len(cloud.seen) == 1
            assert (outcome.status, len(edge.seen)) == ((0, 1) if retried else (status, 0))
            if retried:
                assert outcome.trailers[b"x-edgewise-attempts"] == b"2"

    through.run(main)


@pytest.mark.parametrize(
    ("http", "status", "asked_elsewhere"),
    [(200, 12, True), (400, 12, True), (404, 12, True), (405, 12, True), (501, 12, True), (413, 8, False),
     (401, 16, False), (403, 7, False), (429, 8, True), (500, 13, True), (503, 14, True)],
)  # fmt: skip
def test_a_rest_address_that_takes_no_grpc(through, http, status, asked_elsewhere):
    """TensorFlow Serving's REST port, say, or a proxy before a site."""

    async def main():
        cloud = through.http_site(
            "cloud", answers=lambda exchange: exchange.respond(http, ((b"content-type", b"text/html"),), b"<html>")
        )
        edge = through.http_site("edge", "edge", answers=through.by(b"edge"))
        async with through.gateway(cloud, edge) as gateway:
            outcome = await gateway.ask()
            assert (outcome.status, len(edge.seen)) == ((0, 1) if asked_elsewhere else (status, 0))
            alone = await gateway.ask(x_edgewise_route=b"cloud-only")
            assert alone.status == status
            assert b"html" not in alone.status_message

    through.run(main)


@BOTH
def test_routes_by_model_and_by_wish(through, kind):
    async def main():
        cloud = make(through, kind, "cloud", answers=through.by(b"cloud"))
        edge = make(through, kind, "edge", "edge", answers=through.by(b"edge"))
        routes = {"near": Route(RouteKind.PREFER_EDGE)}
        async with through.gateway(cloud, edge, routes=routes) as gateway:
            near = through.predict_request("near")
            assert (await gateway.ask()).body == b"cloud"
            assert (await gateway.ask(near)).body == b"edge"
            assert (await gateway.ask(through.infer_request("near"), method=through.infer)).body == b"edge"
            assert (await gateway.ask(through.infer_request("far"), method=through.infer)).body == b"cloud"
            assert (await gateway.ask(near, x_edgewise_route=b"cloud-only")).body == b"cloud"
            tasks = serving_pb2.MultiInferenceRequest()
            tasks.tasks.add().model_spec.name = "near"
            method = "/tensorflow.serving.PredictionService/MultiInference"
            assert (await gateway.ask(tasks.SerializeToString(), method=method)).body == b"edge"
            wrong = await gateway.ask(x_edgewise_route=b"nowhere")
            assert wrong.status == 3
            assert b"x-edgewise-route" in wrong.status_message
            assert {key[0] for key in gateway.service.metrics.requests} >= {"tiny", "near"}

    through.run(main)


@BOTH
def test_the_shorter_deadline_counts(through, kind):
    async def main():
        cloud = make(through, kind, "cloud")
        async with through.gateway(cloud, route=Route(deadline_s=0.05)) as gateway:
            for words in (
                {"timeout_s": 0.05},
                {"x_edgewise_deadline_ms": b"50"},
                {"timeout_s": 30.0, "x_edgewise_deadline_ms": b"50"},
                {"timeout_s": 0.05, "x_edgewise_deadline_ms": b"30000"},
                {},
            ):
                outcome = await gateway.ask(**words)
                assert getattr(outcome, "status", 4) == 4
            await gateway.until(lambda: cloud.cancelled == 5)
            wrong = await gateway.ask(x_edgewise_deadline_ms=b"soon")
            assert wrong.status == 3
            assert b"x-edgewise-deadline-ms" in wrong.status_message

    through.run(main)


@BOTH
def test_what_an_app_gives_up_is_taken_off_the_site(through, kind):
    async def main():
        cloud = make(through, kind, "cloud")
        async with through.gateway(cloud) as gateway:
            pairs = [gateway.begin(x_request_id=b"r-%d" % number) for number in range(4)]
            await gateway.until(lambda: len(cloud.seen) == 4)
            for call, _ in pairs[:3]:
                call.cancel()
            await gateway.until(lambda: cloud.cancelled == 3)
            (last,) = [exchange for exchange in cloud.seen if metadata_of(exchange)[b"x-request-id"] == b"r-3"]
            through.by(b"late")(last)
            assert (await asyncio.wait_for(pairs[3][1], through.wait_s)).body == b"late"
            await gateway.until(lambda: gateway.service.metrics.in_flight == 0)
            assert gateway.service.metrics.outcomes["cancelled"] == 3

    through.run(main)


@BOTH
def test_a_site_that_dies_is_not_noticed(through, kind):
    async def main():
        cloud = make(through, kind, "cloud")
        edge = make(through, kind, "edge", "edge", answers=through.by(b"edge"))
        async with through.gateway(cloud, edge) as gateway:
            cloud.answers = through.by(b"cloud")
            assert (await gateway.ask()).body == b"cloud"
            cloud.answers = None
            pairs = [gateway.begin() for _ in range(50)]
            await gateway.until(lambda: len(cloud.seen) == 51)
            await cloud.server.close()
            async with asyncio.timeout(through.wait_s):
                outcomes = [await future for _, future in pairs]
            assert {(outcome.status, outcome.body) for outcome in outcomes} == {(0, b"edge")}
            # The next ones do not try the cloud, or lose nothing by it.
            later = [await gateway.ask() for _ in range(10)]
            assert {(outcome.status, outcome.body) for outcome in later} == {(0, b"edge")}

    through.run(main)


@BOTH
def test_a_site_that_falls_silent_is_left(through, kind):
    async def main():
        cloud = make(through, kind, "cloud", answers=through.by(b"cloud"))
        edge = make(through, kind, "edge", "edge", answers=through.by(b"edge"))
        async with through.gateway(cloud, edge) as gateway:
            for _ in range(20):
                assert (await gateway.ask()).body == b"cloud"
            cloud.answers = None
            cloud.ready = None
            outcome = await gateway.ask(timeout_s=10.0)
            assert (outcome.status, outcome.body) == (0, b"edge")
            assert outcome.trailers[b"x-edgewise-degraded"]
            await gateway.until(lambda: cloud.cancelled > 0)

    through.run(main)


@BOTH
def test_what_is_not_idempotent_goes_to_one_site_only(through, kind):
    async def main():
        cloud = make(through, kind, "cloud", answers=fail(13))
        edge = make(through, kind, "edge", "edge", answers=through.by(b"edge"))
        async with through.gateway(cloud, edge) as gateway:
            outcome = await gateway.ask(x_edgewise_idempotent=b"false")
            assert (outcome.status, len(edge.seen)) == (13, 0)
            assert (await gateway.ask(x_edgewise_idempotent=b"true")).body == b"edge"
            wrong = await gateway.ask(x_edgewise_idempotent=b"perhaps")
            assert wrong.status == 3

    through.run(main)


def test_a_cascade_asks_again_where_the_answer_is_unsure(through):
    async def main():
        cloud = through.http_site("cloud", answers=through.by(b"cloud", (b"x-edgewise-confidence", b"0.9")))
        edge = through.http_site("edge", "edge", answers=through.by(b"edge", (b"x-edgewise-confidence", b"0.3")))
        async with through.gateway(cloud, edge, route=Route(RouteKind.CASCADE, confidence=0.5)) as gateway:
            assert (await gateway.ask()).body == b"cloud"
            edge.answers = through.by(b"edge", (b"x-edgewise-confidence", b"0.8"))
            assert (await gateway.ask()).body == b"edge"

    through.run(main)


def test_no_site_at_all(through):
    async def main():
        cloud = through.http_site("cloud")
        async with through.gateway(cloud) as gateway:
            await cloud.server.close()
            outcome = await gateway.ask(x_request_id=b"r-1", timeout_s=5.0)
            assert outcome.status in (UNAVAILABLE, 4)
            assert outcome.trailers[b"x-request-id"] == b"r-1"
            assert b"Traceback" not in outcome.status_message

    through.run(main)


def test_what_the_gateway_answers_itself(through):
    async def main():
        cloud = through.http_site("cloud", answers=through.by(b"site"))
        async with through.gateway(cloud) as gateway:
            await gateway.until(lambda: gateway.state("cloud") == "UP")
            service = "/inference.GRPCInferenceService/"
            assert inference_pb2.ServerLiveResponse.FromString(
                (await gateway.ask(b"", method=service + "ServerLive")).body
            ).live
            ready = await gateway.ask(b"", method=READY)
            assert inference_pb2.ServerReadyResponse.FromString(ready.body).ready
            check = await gateway.ask(b"", method=CHECK)
            assert health_pb2.HealthCheckResponse.FromString(check.body).status == 1
            asked = health_pb2.HealthCheckRequest(service="no.such").SerializeToString()
            assert (await gateway.ask(asked, method=CHECK)).status == 5
            reload = await gateway.ask(b"", method="/tensorflow.serving.ModelService/HandleReloadConfigRequest")
            assert reload.status == 12
            assert b"to the site itself" in reload.status_message
            for absent in ("ModelStreamInfer", "RepositoryModelUnload"):
                assert (await gateway.ask(b"", method=service + absent)).status == 12
            assert cloud.seen == []
            gateway.service.draining = True
            assert (await gateway.ask(b"", method=READY)).body == b""
            check = await gateway.ask(b"", method=CHECK)
            assert health_pb2.HealthCheckResponse.FromString(check.body).status == 2
            # What arrives is still answered.
            assert (await gateway.ask()).body == b"site"

    through.run(main)


@pytest.mark.parametrize(
    "method",
    [
        "/tensorflow.serving.PredictionService/GetModelMetadata",
        "/tensorflow.serving.ModelService/GetModelStatus",
        "/inference.GRPCInferenceService/ServerMetadata",
        "/inference.GRPCInferenceService/ModelMetadata",
        "/inference.GRPCInferenceService/ModelReady",
        "/inference.GRPCInferenceService/ModelConfig",
        "/inference.GRPCInferenceService/ModelStatistics",
    ],
)
@BOTH
def test_questions_go_to_a_site(through, kind, method):
    async def main():
        cloud = make(through, kind, "cloud", answers=fail(14, http=503))
        edge = make(through, kind, "edge", "edge", answers=through.by(b"edge"))
        async with through.gateway(cloud, edge, route=Route(idempotent=False)) as gateway:
            # Asking twice does no harm, whatever the model's predictions do.
            outcome = await gateway.ask(through.infer_request("tiny"), method=method)
            assert outcome.body == b"edge"

    through.run(main)


def test_keys(through, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"app {KEY}\n")

    async def main():
        cloud = through.http_site("cloud", answers=through.by(b"site"))
        async with through.gateway(cloud, api_keys=keys) as gateway:
            for words in ({}, {"authorization": b"Bearer another-key"}, {"x_api_key": b"another-key"}):
                refused = await gateway.ask(x_request_id=b"r-1", **words)
                assert refused.status == 16
                assert refused.trailers[b"x-request-id"] == b"r-1"
            assert cloud.seen == []
            for words in ({"authorization": b"Bearer " + KEY.encode()}, {"x_api_key": KEY.encode()}):
                for _ in range(2):
                    assert (await gateway.ask(**words)).body == b"site"
            assert (await gateway.ask(b"", method=CHECK)).status == 0
            assert gateway.service.metrics.outcomes["rejected"] == 3

    through.run(main)


def test_metadata_that_cannot_be_passed_on(through):
    async def main():
        cloud = through.http_site("cloud", answers=through.by(b"site"))
        async with through.gateway(cloud) as gateway:
            for words in ({"x_own": b"\xc3\xbc"}, {"x_own": b"a\x01b"}, {"x_request_id": b"a\x7fb"}):
                outcome = await gateway.ask(**words)
                assert outcome.status == 3
                assert b"printable ASCII" in outcome.status_message
            assert cloud.seen == []
            assert (await gateway.ask()).body == b"site"

    through.run(main)


def test_trailers_that_cannot_be_passed_on(through):
    async def main():
        fields = [
            (b"X-Upper", b"1"),
            (b"x-latin", b"\xfc"),
            (b"x-good", b"1"),
            (b"connection", b"x-hop"),
            (b"x-hop", b"1"),
        ]
        cloud = through.http_site("cloud", answers=through.by(b"site", *fields))
        long = through.http_site(
            "edge", "edge", answers=through.by(b"long", *[(b"x-%d" % i, b"v" * 500) for i in range(30)])
        )
        async with through.gateway(cloud, long) as gateway:
            outcome = await gateway.ask()
            assert outcome.body == b"site"
            assert b"x-good" in outcome.trailers
            assert not {b"X-Upper", b"x-latin", b"x-hop", b"connection"} & set(outcome.trailers)
            outcome = await gateway.ask(x_edgewise_route=b"edge-only")
            assert outcome.body == b"long"
            assert outcome.trailers[b"x-edgewise-site"] == b"edge"

    through.run(main)


def test_a_new_config_is_looked_at(through):
    async def main():
        cloud = through.http_site("cloud", answers=through.by(b"cloud"))
        edge = through.http_site("edge", "edge", answers=through.by(b"edge"))
        async with through.gateway(cloud, edge) as gateway:
            assert (await gateway.ask()).body == b"cloud"
            service = gateway.service
            config = service.config
            service.config = type(config)(config.sites, Route(RouteKind.PREFER_EDGE))
            assert (await gateway.ask()).body == b"edge"

    through.run(main)


def test_a_site_with_a_grpc_address_is_probed_there(through):
    async def main():
        cloud = through.http2_site("cloud", answers=through.by(b"cloud"))
        edge = through.http_site("edge", "edge", answers=through.by(b"edge"))
        async with through.gateway(cloud, edge) as gateway:
            await gateway.until(lambda: len(cloud.asked) > 1)
            assert set(cloud.asked) == {READY}
            cloud.missing.add(READY)
            # What is not there is an answer too; the other standard is asked from then on.
            await gateway.until(lambda: CHECK in cloud.asked)
            assert gateway.state("cloud") == "UP"
            cloud.ready = b"\x08\x02"
            await gateway.until(lambda: gateway.state("cloud") != "UP")
            assert (await gateway.ask()).body == b"edge"
            cloud.ready = b"\x08\x01"
            await gateway.until(lambda: gateway.state("cloud") == "UP")

    through.run(main)


def test_grpcios_client_and_its_health_watch(through):
    async def main():
        cloud = through.http_site("cloud", answers=through.by(b"site", (b"raw-bin", b"AP8")))
        async with through.gateway(cloud) as gateway, grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            call = channel.unary_unary(through.predict)(
                through.predict_request(),
                timeout=10,
                metadata=(("x-request-id", "r-1"),),
                compression=grpc.Compression.Gzip,
            )
            assert await call == b"site"
            trailers = dict(await call.trailing_metadata())
            assert trailers["raw-bin"] == b"\x00\xff"
            assert trailers["x-request-id"] == "r-1"
            assert bytes(cloud.seen[0].body) == through.predict_request()
            watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
            states = [await watch.read()]
            await cloud.server.close()
            states.append(await watch.read())
            assert [health_pb2.HealthCheckResponse.FromString(state).status for state in states] == [1, 2]
            watch.cancel()

    through.run(main)


def test_reflection(through, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"app {KEY}\n")
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

    async def main():
        async with (
            through.gateway(through.http_site("cloud"), api_keys=keys) as gateway,
            grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel,
        ):
            request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
            stream = channel.stream_stream(method)(iter([request]), metadata=(("x-api-key", KEY),), timeout=20)
            answer = reflection_pb2.ServerReflectionResponse.FromString(await stream.read())
            names = {service.name for service in answer.list_services_response.service}
            assert {"tensorflow.serving.PredictionService", "inference.GRPCInferenceService"} <= names
            refused = channel.stream_stream(method)(timeout=20)
            assert await refused.code() is grpc.StatusCode.UNAUTHENTICATED

    through.run(main)


def test_the_request_log(through, capfd):
    async def main():
        cloud = through.http_site("cloud", answers=through.by(b"site"))
        async with through.gateway(cloud, request_log=True) as gateway:
            await gateway.ask(x_request_id=b"r-1")
            cloud.answers = fail(3, http=400)
            await gateway.ask(x_request_id=b"r-2")
            gateway.service.request_log.close()

    through.run(main)
    lines = capfd.readouterr().out.splitlines()
    assert '"request_id":"r-1"' in lines[0]
    assert '"protocol":"grpc"' in lines[0]
    assert '"code":"OK"' in lines[0]
    assert '"code":"INVALID_ARGUMENT"' in lines[1]
