"""Samples of REST requests, over real sockets and into a real spool: which ones, what they say, and that apps notice nothing."""

import json
import time
from dataclasses import replace

import pytest

from edgewise.core.routing.routes import Route, RouteKind
from support.capturing import NOTHING, capturing, samples_in
from support.waiting import until

INFER = b"/v2/models/tiny/infer"
ALL = replace(NOTHING, all=True)
CASCADE = Route(kind=RouteKind.CASCADE, confidence=0.6)
SURE, UNSURE = b'{"predictions":[[0.1,0.9]]}', b'{"predictions":[[0.6,0.4]]}'


def scoring(tools, *answers, fields=()):
    """Answers with these bodies and confidences in turn, the last one for good."""
    left = list(answers)

    def answer(exchange):
        body, confidence = left.pop(0) if len(left) > 1 else left[0]
        head = (tools.json, (b"x-edgewise-model-version", b"3"), (b"x-edgewise-confidence", confidence), *fields)
        exchange.respond(200, head, body)

    return answer


def kept(gateway):
    """The samples, once everything is over."""
    gateway.service.capture.close()
    return samples_in(gateway.service.capture.config.directory)


def test_a_picture_is_kept_with_what_was_answered_and_by_whom(tools, tmp_path):
    async def main():
        edge = tools.site("edge", "edge", answers=scoring(tools, (SURE, b"0.9000")))
        async with tools.gateway(edge, capture=capturing(tmp_path, ALL)) as gateway:
            app = await gateway.app()
            picture = b"\xff\xd8" + bytes(range(256)) * 200
            answer = await app.ask(
                b"/v1/models/pets:predict",
                picture,
                b"Content-Type: image/jpeg\r\nX-Edgewise-Source: camera 3\r\nX-Request-Id: r-1\r\n",
            )
            assert (answer.status, answer.body) == (200, SURE)
            (sample,) = kept(gateway)
            assert (sample.form, sample.content_type, sample.request) == ("rest-image", "image/jpeg", picture)
            assert (sample.site, sample.source, sample.request_id) == ("factory-7", "camera 3", "r-1")
            assert (sample.model, sample.version, sample.confidence) == ("pets", 3, 0.9)
            assert (sample.answered_by, sample.tier, sample.answer) == ("edge", "edge", SURE)
            assert (sample.reasons, sample.priority, sample.other) == (("all",), 0, "")
            assert abs(sample.captured_s - time.time()) < 60

    tools.run(main)


@pytest.mark.parametrize("size", [3, 20_000, 200_000, 3_000_000])
def test_bodies_are_what_they_were_whatever_comes_after_them(tools, tmp_path, size):
    """Large ones lie in buffers that are used again."""

    async def main():
        edge = tools.site("edge", "edge", answers=scoring(tools, (SURE, b"0.9000")))
        async with tools.gateway(edge, capture=capturing(tmp_path, ALL)) as gateway:
            app = await gateway.app()
            bodies = [bytes([number]) * size for number in range(1, 6)]
            for body in bodies:
                assert (await app.ask(body=body)).status == 200
            assert [sample.request for sample in kept(gateway)] == bodies

    tools.run(main)


def test_the_open_inference_protocol_is_kept_with_its_lengths(tools, tmp_path):
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}'
    told = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}'
    length = (b"inference-header-content-length", b"%d" % len(told))

    async def main():
        edge = tools.site("edge", "edge", answers=scoring(tools, (told + b"\0\0\0\0", b"0.5"), fields=(length,)))
        async with tools.gateway(edge, capture=capturing(tmp_path, ALL)) as gateway:
            app = await gateway.app()
            field = b"Inference-Header-Content-Length: %d\r\nContent-Type: application/octet-stream\r\n" % len(body)
            assert (await app.ask(INFER, body + b"\1\2\3\4", field)).status == 200
            (sample,) = kept(gateway)
            assert (sample.form, sample.inference_header_length) == ("oip-rest", len(body))
            assert sample.request == body + b"\1\2\3\4"
            assert (sample.answer_json_length, sample.answer) == (len(told), told + b"\0\0\0\0")

    tools.run(main)


def test_only_good_answers_to_predictions_of_named_models_are_kept(tools, tmp_path):
    def answer(exchange):
        status = int(exchange.headers.get(b"x-status", b"200"))
        exchange.respond(status, (tools.json,), SURE if status == 200 else b'{"error":"no"}')

    async def main():
        edge = tools.site("edge", "edge", answers=answer)
        async with tools.gateway(edge, capture=capturing(tmp_path, ALL)) as gateway:
            app = await gateway.app()
            for status in (b"400", b"404", b"500"):
                await app.ask(headers=b"X-Status: %b\r\n" % status)
            await app.ask(b"/v1/models/faces:predict")
            await app.ask(b"/v1/models/tiny:classify")
            await app.ask(b"/v1/models/tiny/metadata", b"", method=b"GET")
            await app.ask(headers=b"X-Edgewise-Capture: never\r\n")
            assert (await app.ask(body=b"kept")).status == 200
            refused = await app.ask(headers=b"X-Edgewise-Capture: nevr\r\n")
            assert (refused.status, refused.body) == (
                400,
                b'{"error":"x-edgewise-capture takes never and nothing else"}',
            )
            assert [sample.request for sample in kept(gateway)] == [b"kept"]

    tools.run(main)


@pytest.mark.parametrize(
    "target",
    [b"/v1/models/tiny:predict", b"/v1/models/faces:predict", b"/v1/models/tiny:classify", b"/v2/models/faces/infer"],
)
def test_a_misspelt_word_is_refused_whether_the_model_is_captured_or_not(tools, tmp_path, target):
    async def main():
        edge = tools.site("edge", "edge", answers=scoring(tools, (SURE, b"0.9")))
        async with tools.gateway(edge, capture=capturing(tmp_path, ALL)) as gateway:
            app = await gateway.app()
            assert (await app.ask(target, headers=b"X-Edgewise-Capture: nevr\r\n")).status == 400
            assert (await app.ask(target, headers=b"X-Edgewise-Source: %b\r\n" % (b"x" * 200))).status == 400
            assert (await app.ask(target, headers=b"X-Edgewise-Capture: never\r\n")).status == 200
            assert len(edge.seen) == 1

    tools.run(main)


def test_without_capture_nothing_is_kept_and_the_same_words_are_taken(tools):
    async def main():
        edge = tools.site("edge", "edge", answers=scoring(tools, (SURE, b"0.9")))
        async with tools.gateway(edge) as gateway:
            app = await gateway.app()
            assert gateway.service.capture is None
            assert (await app.ask(headers=b"X-Edgewise-Capture: never\r\n")).status == 200
            assert (await app.ask(headers=b"X-Edgewise-Capture: no\r\n")).status == 400
            assert (await app.ask(b"/edgewise/v1/capture", b"", method=b"GET")).body == b'{"enabled":false}'

    tools.run(main)


def test_unsure_answers_are_kept_and_sure_ones_are_not(tools, tmp_path):
    async def main():
        answers = [(SURE, b"0.9"), (UNSURE, b"0.4"), (SURE, b"0.7"), (UNSURE, b"0.1"), (SURE, b"0.9")]
        edge = tools.site("edge", "edge", answers=scoring(tools, *answers))
        capture = capturing(tmp_path, replace(NOTHING, low_confidence=0.5), pictures=False)
        async with tools.gateway(edge, capture=capture) as gateway:
            app = await gateway.app()
            for number in range(5):
                await app.ask(body=b"%d" % number)
            found = kept(gateway)
            assert [(one.confidence, one.reasons, one.priority) for one in found] == [
                (0.4, ("low-confidence",), 2),
                (0.1, ("low-confidence",), 2),
            ]
            # Pictures are not to be kept here.
            assert [(one.request, one.answer) for one in found] == [(b"", UNSURE)] * 2

    tools.run(main)


@pytest.mark.parametrize(("cloud", "differs"), [(SURE, True), (UNSURE, False)])
def test_in_a_cascade_both_answers_are_compared(tools, tmp_path, cloud, differs):
    async def main():
        sites = (
            tools.site("cloud", "cloud", answers=scoring(tools, (cloud, b"0.9"))),
            tools.site("edge", "edge", answers=scoring(tools, (UNSURE, b"0.4"))),
        )
        capture = capturing(tmp_path, replace(NOTHING, disagreement=0.0))
        async with tools.gateway(*sites, route=CASCADE, capture=capture) as gateway:
            app = await gateway.app()
            answer = await app.ask()
            assert (answer.body, answer.headers[b"x-edgewise-attempts"]) == (cloud, b"2")
            found = kept(gateway)
            assert gateway.service.capture.queue.compared == 1
            assert [(one.answered_by, one.answer, one.other, one.other_answer) for one in found] == (
                [("cloud", cloud, "edge", UNSURE)] if differs else []
            )
            assert all((one.reasons, one.priority) == (("disagreement",), 3) for one in found)

    tools.run(main)


def test_what_a_lost_site_answers_after_all_is_compared(tools, tmp_path):
    async def main():
        held = []
        cloud = tools.site("cloud", "cloud", answers=scoring(tools, (SURE, b"0.9")))
        edge = tools.site("edge", "edge", answers=scoring(tools, (UNSURE, b"0.6")))
        capture = capturing(tmp_path, replace(NOTHING, disagreement=0.0))
        async with tools.gateway(cloud, edge, capture=capture) as gateway:
            app = await gateway.app()
            for _ in range(20):
                assert (await app.ask()).body == SURE
            answer, cloud.answers = cloud.answers, held.append
            rescued = await app.ask(body=b"rescued")
            assert rescued.body == UNSURE
            assert rescued.headers[b"x-edgewise-degraded"]
            answer(held[0])
            await until(lambda: gateway.service.capture.queue.waiting or gateway.service.capture.queue.compared)
            (sample,) = kept(gateway)
            assert (sample.request, sample.answer, sample.answered_by) == (b"rescued", UNSURE, "edge")
            assert (sample.other, sample.other_answer, sample.reasons) == ("cloud", SURE, ("disagreement",))

    tools.run(main)


def test_a_share_is_asked_of_the_other_tier_once_the_app_has_its_answer(tools, tmp_path):
    async def main():
        held = []
        cloud = tools.site("cloud", "cloud", answers=scoring(tools, (SURE, b"0.9")))
        edge = tools.site("edge", "edge", answers=held.append)
        capture = capturing(tmp_path, replace(NOTHING, disagreement=1.0))
        async with tools.gateway(cloud, edge, capture=capture) as gateway:
            app = await gateway.app()
            questions = gateway.service.capture.questions
            for number in range(6):
                answer = await app.ask(body=b"%d" % number, headers=b"X-Request-Id: r-%d\r\n" % number)
                assert (answer.body, answer.headers[b"x-edgewise-attempts"]) == (SURE, b"1")
            # So many at a time, and no more.
            await until(lambda: len(held) == 4)
            assert (questions.in_flight, questions.skipped) == (4, 2)
            assert [bytes(exchange.body) for exchange in held] == [b"0", b"1", b"2", b"3"]
            assert held[2].headers[b"x-request-id"] == b"r-2"
            held[0].respond(200, (tools.json,), UNSURE)
            held[1].respond(200, (tools.json,), SURE)
            held[2].respond(503, (tools.json,), b"{}")
            held[3]._connection.abort()
            await until(lambda: questions.in_flight == 0)
            (sample,) = kept(gateway)
            assert (sample.request, sample.other, sample.other_answer) == (b"0", "edge", UNSURE)
            # It is no request of an app, and says nothing of the link.
            assert gateway.service.metrics.received_count == 6
            assert gateway.state("edge") == "UP"
            assert gateway.service.metrics.sites["edge"].answered == 0

    tools.run(main)


@pytest.mark.parametrize(
    ("route", "wish", "asked"),
    [
        (Route(), b"", ("cloud", "edge")),
        (Route(kind=RouteKind.EDGE_ONLY), b"", ("edge",)),
        (Route(kind=RouteKind.CLOUD_ONLY), b"", ("cloud",)),
        (Route(), b"edge-only", ("edge",)),
        (Route(), b"cloud-only", ("cloud",)),
        (Route(kind=RouteKind.EDGE_ONLY), b"prefer-edge", ("cloud", "edge")),
        (Route(kind=RouteKind.WEIGHTS, weights={"edge": 1.0, "cloud": 1e-9}), b"", ("cloud", "edge")),
        (Route(kind=RouteKind.WEIGHTS, weights={"edge": 1.0, "cloud": 0.0}), b"", ("edge",)),
        (Route(kind=RouteKind.WEIGHTS, weights={"edge": 1.0}), b"", ("edge",)),
        (Route(kind=RouteKind.WEIGHTS, weights={"edge": 1.0}), b"fastest", ("cloud", "edge")),
    ],
)
def test_no_site_is_asked_as_well_that_the_route_would_not_ask(tools, tmp_path, route, wish, asked):
    """Who says edge-only says that pictures do not leave the site."""

    async def main():
        sites = [tools.site(tier, tier, answers=scoring(tools, (SURE, b"0.9"))) for tier in ("cloud", "edge")]
        capture = capturing(tmp_path, replace(NOTHING, disagreement=1.0))
        async with tools.gateway(*sites, route=route, capture=capture) as gateway:
            app = await gateway.app()
            questions = gateway.service.capture.questions
            for _ in range(3):
                headers = b"X-Edgewise-Route: %b\r\n" % wish if wish else b""
                assert (await app.ask(headers=headers)).status == 200
                await until(lambda: questions.in_flight == 0)
            assert {site.name: len(site.seen) for site in sites if site.seen} == dict.fromkeys(asked, 3)

    tools.run(main)


def test_what_may_not_run_twice_is_not_asked_twice_and_other_reasons_keep_it_without(tools, tmp_path):
    async def main():
        cloud = tools.site("cloud", "cloud", answers=scoring(tools, (SURE, b"0.9")))
        edge = tools.site("edge", "edge", answers=lambda exchange: exchange.respond(503, (), b""))
        capture = capturing(tmp_path, replace(ALL, disagreement=1.0))
        async with tools.gateway(cloud, edge, capture=capture) as gateway:
            app = await gateway.app()
            await app.ask(headers=b"X-Edgewise-Idempotent: false\r\n")
            assert edge.seen == []
            await app.ask()
            await until(lambda: len(edge.seen) == 1 and gateway.service.capture.questions.in_flight == 0)
            assert [(one.reasons, one.other) for one in kept(gateway)] == [(("all",), "")] * 2

    tools.run(main)


def test_what_is_passed_on_in_pieces_is_counted_and_not_kept(tools, tmp_path):
    def answer(exchange):
        exchange.respond(200, (tools.json,), b"x" * (2 << 20) if exchange.body == b"long" else SURE)

    async def main():
        edge = tools.site("edge", "edge", answers=answer)
        limits = {"stream_over_bytes": 1 << 20, "max_body_bytes": 8 << 20}
        async with tools.gateway(edge, capture=capturing(tmp_path, ALL), limits=limits) as gateway:
            app = await gateway.app()
            assert len((await app.ask(body=b"long")).body) == 2 << 20
            assert (await app.ask(body=b"y" * (2 << 20))).body == SURE
            assert (await app.ask(body=b"short")).body == SURE
            assert [one.request for one in kept(gateway)] == [b"short"]
            # Nobody knows whether they would have been chosen.
            assert gateway.service.capture.in_pieces == 2
            assert not gateway.service.capture.dropped
            shown = json.loads((await app.ask(b"/edgewise/v1/capture", b"", method=b"GET")).body)
            assert (shown["in_pieces"], shown["dropped"]) == (2, [])

    tools.run(main)


def test_a_request_that_is_too_large_is_counted_and_not_kept(tools, tmp_path):
    async def main():
        edge = tools.site("edge", "edge", answers=scoring(tools, (SURE, b"0.9")))
        async with tools.gateway(edge, capture=capturing(tmp_path, ALL, max_sample_bytes=1024)) as gateway:
            app = await gateway.app()
            await app.ask(body=b"x" * 1025)
            await app.ask(body=b"x" * 1024)
            assert [len(one.request) for one in kept(gateway)] == [1024]
            assert gateway.service.capture.dropped["too-large"] == 1

    tools.run(main)


def test_a_request_that_is_too_large_takes_no_room_in_the_queue_and_is_not_asked_of_others(tools, tmp_path):
    async def main():
        cloud = tools.site("cloud", "cloud", answers=scoring(tools, (SURE, b"0.9")))
        edge = tools.site("edge", "edge", answers=scoring(tools, (UNSURE, b"0.4")))
        capture = capturing(tmp_path, replace(ALL, disagreement=1.0), max_sample_bytes=1024)
        async with tools.gateway(cloud, edge, capture=capture) as gateway:
            app = await gateway.app()
            found = gateway.service.capture
            await app.ask(body=b"x" * 1025)
            assert (found.queue._put, found.dropped["too-large"]) == (0, 1)
            assert (found.questions.in_flight, edge.seen) == (0, [])

    tools.run(main)


def test_the_length_of_a_request_does_not_matter_where_requests_are_not_kept(tools, tmp_path):
    async def main():
        edge = tools.site("edge", "edge", answers=scoring(tools, (SURE, b"0.9")))
        capture = capturing(tmp_path, ALL, max_sample_bytes=1024, pictures=False)
        async with tools.gateway(edge, capture=capture) as gateway:
            app = await gateway.app()
            await app.ask(body=b"x" * 1025)
            assert [(one.request, one.answer) for one in kept(gateway)] == [(b"", SURE)]

    tools.run(main)
