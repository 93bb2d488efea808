"""Samples of gRPC calls, over HTTP/1.1 and HTTP/2 to the sites: what they say, and that both sites' answers are compared."""

from dataclasses import replace

import numpy as np
import pytest

from edgewise.core.requests import PredictResponse
from edgewise.core.routing.routes import Route, RouteKind
from edgewise.protocols.oip_grpc import encode_infer_response
from edgewise.protocols.tfs_grpc import encode_predict_response
from support.capturing import NOTHING, capturing, samples_in
from support.waiting import until

ALL = replace(NOTHING, all=True)
CLASSIFY = "/tensorflow.serving.PredictionService/Classify"


def scored(encode, scores):
    outputs = {"y": np.array([scores], np.float32)}
    return bytes(encode(PredictResponse("tiny", 3, "serving_default", outputs)))


def kept(gateway):
    gateway.service.capture.close()
    return samples_in(gateway.service.capture.config.directory)


@pytest.mark.parametrize("form", ["tfs-grpc", "oip-grpc"])
@pytest.mark.parametrize("over", ["http", "http2"])
def test_a_call_is_kept_as_it_came(through, tmp_path, form, over):
    async def main():
        tfs = form == "tfs-grpc"
        message, method = (
            (through.predict_request(size=100_000), through.predict)
            if tfs
            else (through.infer_request(), through.infer)
        )
        body = scored(encode_predict_response if tfs else encode_infer_response, [0.1, 0.9])
        fields = ((b"x-edgewise-model-version", b"3"), (b"x-edgewise-confidence", b"0.9000"))
        site = through.http_site if over == "http" else through.http2_site
        edge = site("edge", "edge", answers=through.by(body, *fields))
        async with through.gateway(edge, capture=capturing(tmp_path, ALL)) as gateway:
            outcome = await gateway.ask(message, method=method, x_request_id=b"r-1", x_edgewise_source=b"door")
            assert (outcome.status, outcome.body) == (0, body)
            await gateway.ask(message, method=method, x_edgewise_capture=b"never")
            refused = await gateway.ask(message, method=method, x_edgewise_capture=b"no")
            assert (refused.status, refused.status_message) == (3, b"x-edgewise-capture takes never and nothing else")
            (sample,) = kept(gateway)
            assert (sample.form, sample.request, sample.answer) == (form, message, body)
            assert (sample.model, sample.version, sample.confidence) == ("tiny", 3, 0.9)
            assert (sample.source, sample.request_id, sample.answered_by) == ("door", "r-1", "edge")

    through.run(main)


def test_errors_and_what_is_no_prediction_are_not_kept(through, tmp_path):
    async def main():
        edge = through.http_site("edge", "edge", answers=through.by(b"", (b"x-mine", b"1")))
        async with through.gateway(edge, capture=capturing(tmp_path, ALL)) as gateway:
            await gateway.ask(through.predict_request("faces"))
            await gateway.ask(through.predict_request(), method=CLASSIFY)
            edge.answers = lambda exchange: exchange.respond(400, (*through.ok[:1], (b"grpc-status", b"3")), b"")
            assert (await gateway.ask(through.predict_request())).status == 3
            assert kept(gateway) == []

    through.run(main)


@pytest.mark.parametrize("asked", ["cascade", "share"])
def test_answers_of_both_tiers_are_compared(through, tmp_path, asked):
    async def main():
        sure, unsure = scored(encode_predict_response, [0.1, 0.9]), scored(encode_predict_response, [0.6, 0.4])
        cloud = through.http_site("cloud", answers=through.by(sure, (b"x-edgewise-confidence", b"0.9")))
        edge = through.http_site("edge", "edge", answers=through.by(unsure, (b"x-edgewise-confidence", b"0.4")))
        share = asked == "share"
        route = Route() if share else Route(kind=RouteKind.CASCADE, confidence=0.6)
        capture = capturing(tmp_path, replace(NOTHING, disagreement=float(share)))
        async with through.gateway(cloud, edge, route=route, capture=capture) as gateway:
            outcome = await gateway.ask(through.predict_request(), x_edgewise_prefer_version=b"7")
            assert outcome.body == sure
            await until(lambda: gateway.service.capture.questions.in_flight == 0)
            await until(lambda: len(edge.seen) == 1)
            assert edge.seen[0].headers[b"x-edgewise-prefer-version"] == b"7"
            (sample,) = kept(gateway)
            assert (sample.answered_by, sample.answer, sample.other, sample.other_answer) == (
                "cloud",
                sure,
                "edge",
                unsure,
            )
            assert sample.reasons == ("disagreement",)

    through.run(main)


@pytest.mark.parametrize(
    ("route", "wish"), [(Route(kind=RouteKind.EDGE_ONLY), None), (Route(), b"edge-only")], ids=["config", "metadata"]
)
def test_what_is_to_stay_at_the_edge_is_not_asked_of_the_cloud_as_well(through, tmp_path, route, wish):
    async def main():
        body = scored(encode_predict_response, [0.1, 0.9])
        sites = [through.http_site(tier, tier, answers=through.by(body)) for tier in ("cloud", "edge")]
        capture = capturing(tmp_path, replace(NOTHING, disagreement=1.0))
        async with through.gateway(*sites, route=route, capture=capture) as gateway:
            metadata = {} if wish is None else {"x_edgewise_route": wish}
            assert (await gateway.ask(through.predict_request(), **metadata)).status == 0
            await until(lambda: gateway.service.capture.questions.in_flight == 0)
            assert [len(site.seen) for site in sites] == [0, 1]

    through.run(main)
