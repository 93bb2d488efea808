"""gRPC calls that a canary divides, over HTTP/1.1 to sites of ours; calls to other sites are left alone."""

import numpy as np
import pytest

from edgewise.core.requests import ModelSpec, PredictRequest, PredictResponse
from edgewise.protocols.canaries import CanarySetting, CanarySettings
from edgewise.protocols.oip_grpc import encode_infer_request, encode_infer_response
from edgewise.protocols.tfs_grpc import encode_predict_request, encode_predict_response
from edgewise.wire import serving_pb2
from support.waiting import until

PREFER = b"x-edgewise-prefer-version"
CLASSIFY = "/tensorflow.serving.PredictionService/Classify"
MULTI = "/tensorflow.serving.PredictionService/MultiInference"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
SCORES = {1: [[0.1, 0.9]], 2: [[0.2, 0.8]], 3: [[0.9, 0.1]]}


def put(gateway, **changes):
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
    gateway.service.canaries.take_over(CanarySettings(1, (CanarySetting(**{**values, **changes}),)))
    (canary,) = gateway.service.canaries
    return canary


def request(version=None, label=None):
    spec = ModelSpec("tiny", version, label)
    return encode_predict_request(PredictRequest(spec, {"x": np.zeros((1, 8), np.float32)}))


def infer(version=None):
    return encode_infer_request(PredictRequest(ModelSpec("tiny", version), {"x": np.zeros((1, 8), np.float32)}))


def two_versions(through, encode=encode_predict_response, failing=None):
    def answer(exchange):
        version = int(exchange.headers.get(PREFER, b"1"))
        fields = (*through.ok, (b"x-edgewise-model-version", b"%d" % version))
        if failing is not None and version in failing:
            code, http = failing[version]
            exchange.respond(http, (*through.ok[:1], (b"grpc-status", b"%d" % code)), b"")
            return
        outputs = {"y": np.array(SCORES[version], np.float32)}
        exchange.respond(200, fields, encode(PredictResponse("tiny", version, "serving_default", outputs)))

    return answer


def versions(site):
    return [exchange.headers.get(PREFER) for exchange in site.seen]


def test_a_share_goes_to_the_new_version(through):
    async def main():
        edge = through.http_site("edge", "edge", answers=two_versions(through))
        async with through.gateway(edge) as gateway:
            await gateway.ask(request())
            assert versions(edge) == [None]
            canary = put(gateway, share=0.3)
            count = 300
            said = [(await gateway.ask(request())).trailers[b"x-edgewise-model-version"] for _ in range(count)]
            assert versions(edge)[1:] == said
            new = said.count(b"2")
            assert abs(new - 0.3 * count) < 5 * (count * 0.21) ** 0.5
            assert (canary.new.count, canary.old.count) == (new, count - new)

    through.run(main)


def test_what_names_a_version_is_left_alone_and_so_are_questions(through):
    async def main():
        edge = through.http_site("edge", "edge", answers=two_versions(through))
        async with through.gateway(edge) as gateway:
            canary = put(gateway, share=1.0)
            tasks = serving_pb2.MultiInferenceRequest()
            tasks.tasks.add().model_spec.name = "tiny"
            pinned = serving_pb2.MultiInferenceRequest()
            pinned.tasks.add().model_spec.name = "tiny"
            pinned.tasks[0].model_spec.version_label = "stable"
            for message, method in (
                *((request(1), through.predict), (request(0), through.predict), (request(label="l"), through.predict)),
                *((infer(3), through.infer), (pinned.SerializeToString(), MULTI), (request(), METADATA)),
                (request().replace(b"tiny", b"Tiny"), through.predict),
            ):
                await gateway.ask(message, method=method)
            assert versions(edge) == [None] * 7
            for message, method in (
                *((request(), through.predict), (infer(), through.infer), (request(), CLASSIFY)),
                (tasks.SerializeToString(), MULTI),
            ):
                await gateway.ask(message, method=method)
            assert versions(edge)[7:] == [b"2"] * 4
            assert canary.new.count == 4

    through.run(main)


def test_an_apps_own_wish_travels_unless_a_canary_decides(through):
    async def main():
        edge = through.http_site("edge", "edge", answers=through.by(b"answer"))
        async with through.gateway(edge) as gateway:
            for wish in (b"7", b"8", b"no-version"):
                await gateway.ask(x_edgewise_prefer_version=wish)
            assert versions(edge) == [b"7", b"8", b"no-version"]
            assert (await gateway.ask(x_edgewise_prefer_version=b"\x01")).status == 3
            put(gateway, share=1.0)
            await gateway.ask(request(), x_edgewise_prefer_version=b"7")
            assert versions(edge)[-1] == b"2"

    through.run(main)


def test_calls_over_http_2_are_left_alone(through):
    async def main():
        edge = through.http2_site("edge", "edge", answers=through.by(b"answer"))
        async with through.gateway(edge) as gateway:
            canary = put(gateway, share=1.0)
            await gateway.ask(request())
            await gateway.ask(request(), x_edgewise_prefer_version=b"7")
            assert [exchange.metadata.get(PREFER) for exchange in edge.seen] == [None, b"7"]
            assert canary.new.count == canary.old.count == 0

    through.run(main)


@pytest.mark.parametrize(
    ("code", "http", "errors", "usable"),
    [
        *((2, 500, 1, 0), (13, 500, 1, 0), (15, 500, 1, 0), (3, 400, 1, 1), (4, 504, 0, 0)),
        *((5, 404, 0, 0), (8, 429, 0, 0), (9, 400, 1, 1), (12, 501, 0, 0), (14, 503, 0, 0)),
    ],
)
def test_errors_of_the_version_are_counted_and_no_others(through, code, http, errors, usable):
    async def main():
        edge = through.http_site("edge", "edge", answers=two_versions(through, failing={2: (code, http)}))
        async with through.gateway(edge) as gateway:
            canary = put(gateway, share=1.0, slow_ms=1e6)
            assert (await gateway.ask(request())).status == code
            assert (canary.new.count, canary.new.errors, canary.new.timed) == (1, errors, usable)

    through.run(main)


@pytest.mark.parametrize("new", [2, 3])
@pytest.mark.parametrize("protocol", ["tfs", "oip"])
def test_the_new_version_is_asked_as_well_and_compared(through, protocol, new):
    async def main():
        tfs = protocol == "tfs"
        message, method = (request(), through.predict) if tfs else (infer(), through.infer)
        encode = encode_predict_response if tfs else encode_infer_response
        edge = through.http_site("edge", "edge", answers=two_versions(through, encode))
        async with through.gateway(edge) as gateway:
            canary = put(gateway, share=0.0, shadow=1.0, new=new)
            outcome = await gateway.ask(message, method=method, x_request_id=b"r-1")
            assert (outcome.status, outcome.trailers[b"x-edgewise-model-version"]) == (0, b"1")
            await until(lambda: canary.shadowed == 1)
            first, second = edge.seen
            assert versions(edge) == [b"1", b"%d" % new]
            assert bytes(first.body) == bytes(second.body) == message
            assert second.headers[b"x-request-id"] == b"r-1"
            assert (canary.disagreed, canary.shadow_errors) == (int(new == 3), 0)
            assert (canary.old.count, canary.new.count) == (1, 0)
            # Not where it may not run twice, and nothing that cannot be compared.
            await gateway.ask(message, method=method, x_edgewise_idempotent=b"false")
            await gateway.ask(request(), method=CLASSIFY)
            assert (len(edge.seen), gateway.service.shadows.in_flight) == (4, 0)

    through.run(main)


def test_a_new_version_that_fails_in_the_shadow_is_counted(through):
    async def main():
        edge = through.http_site("edge", "edge", answers=two_versions(through, failing={2: (13, 500)}))
        async with through.gateway(edge) as gateway:
            canary = put(gateway, share=0.0, shadow=1.0)
            assert (await gateway.ask(request())).status == 0
            await until(lambda: canary.shadow_errors == 1)
            assert (canary.shadowed, canary.disagreed) == (1, 0)

    through.run(main)


def test_a_call_that_is_given_up_leaves_a_slow_one_behind(through):
    async def main():
        edge = through.http_site("edge", "edge", answers=None)
        async with through.gateway(edge) as gateway:
            canary = put(gateway, share=1.0, slow_ms=0.001)
            assert (await gateway.ask(request(), x_edgewise_deadline_ms=b"50")).status == 4
            await until(lambda: canary.new.slow == 1)
            assert (canary.new.timed, canary.new.count) == (1, 0)
            call, _ = gateway.begin(request())
            await until(lambda: len(edge.seen) == 2)
            call.cancel()
            await until(lambda: canary.new.slow == 2)

    through.run(main)
