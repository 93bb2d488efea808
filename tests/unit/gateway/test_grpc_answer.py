"""What sites' answers to gRPC calls come to."""

import pytest

from edgewise.core.routing.calls import Outcome
from edgewise.gateway.config import Address, SiteConfig
from edgewise.gateway.grpc_answer import read_http, read_http2
from edgewise.gateway.site import Site
from edgewise.net.grpc_answer import encode_failure
from edgewise.net.grpc_client_answer import AnswerHead, GrpcAnswer
from edgewise.net.hpack import HeaderDecoder
from edgewise.net.http_response_head import parse_response_head

OUTCOMES = {
    Outcome.OK: {0, 3, 6, 7, 9, 10, 11, 16},
    Outcome.NOT_SERVED: {5, 12},
    Outcome.OVERLOADED: {8, 14},
    Outcome.SITE_ERROR: {1, 2, 13, 15},
    Outcome.EXPIRED: {4},
}


@pytest.fixture(scope="module")
def site():
    return Site(SiteConfig("cloud", "cloud", rest=Address("127.0.0.1", 1)))


def over_http(site, *lines, status=200):
    raw = b"HTTP/1.1 %d X\r\n" % status + b"".join(line + b"\r\n" for line in (*lines, b"content-length: 0", b""))
    return read_http(parse_response_head(raw, head_only=False), site)


def over_http2(site, status, message=b"", headers=None, **trailers):
    tail = {name.replace("_", "-").encode(): value for name, value in trailers.items()}
    return read_http2(GrpcAnswer(status, message, b"", AnswerHead(200, headers or {}), AnswerHead(0, tail)), site)


@pytest.mark.parametrize(("outcome", "status"), [(o, s) for o, statuses in OUTCOMES.items() for s in statuses])
def test_every_status_means_something(site, outcome, status):
    assert over_http(site, b"grpc-status: %d" % status).outcome is outcome
    assert over_http2(site, status).outcome is outcome


def test_all_statuses_are_in_the_table():
    assert set().union(*OUTCOMES.values()) == set(range(17))


def test_what_an_answer_says_to_the_router(site):
    said = {"x_edgewise_confidence": b"0.25", "x_edgewise_queue_depth": b"7", "retry_after": b"3"}
    lines = [name.replace("_", "-").encode() + b": " + value for name, value in said.items()]
    for answer in (over_http(site, b"grpc-status: 8", *lines, status=429), over_http2(site, 8, **said)):
        assert (answer.confidence, answer.queue_depth, answer.retry_after_s) == (0.25, 7, 3.0)


def test_trailers_are_the_sites_and_ours(site):
    answer = over_http(
        site,
        b"grpc-status: 0",
        b"x-own: 1",
        b"x-edgewise-site: itself",
        b"date: now",
        b"connection: x-hop",
        b"x-hop: 1",
    )
    assert answer.trailers(2, "rescue") == (
        (b"x-own", b"1"),
        (b"x-edgewise-site", b"cloud"),
        (b"x-edgewise-tier", b"cloud"),
        (b"x-edgewise-attempts", b"2"),
        (b"x-edgewise-degraded", b"rescue"),
    )
    fields, _ = HeaderDecoder(1000).decode(answer.only)
    assert fields == [(b"grpc-status", b"0"), *answer.trailers(1, "")]


def test_what_was_said_before_the_message_is_said_after_it(site):
    answer = over_http2(site, 0, headers={b"x-first": b"1", b"x-both": b"1"}, x_both=b"2")
    assert answer.trailers(1, "")[:2] == ((b"x-first", b"1"), (b"x-both", b"2"))


def test_words(site):
    assert over_http(site, b"grpc-status: 3", b"grpc-message: 50 %25 of %C3%BC", status=400).message == "50 % of ü"
    assert over_http2(site, 3, b"%zz").message == "%zz"


@pytest.mark.parametrize(
    ("http", "status", "outcome"),
    [(200, 12, Outcome.NOT_SERVED), (404, 12, Outcome.NOT_SERVED), (413, 8, Outcome.OK), (500, 13, Outcome.SITE_ERROR),
     (502, 14, Outcome.SITE_ERROR), (503, 14, Outcome.OVERLOADED), (504, 4, Outcome.EXPIRED)],
)  # fmt: skip
def test_answers_without_a_grpc_status(site, http, status, outcome):
    answer = over_http(site, b"x-own: 1", status=http)
    assert (answer.status, answer.outcome) == (status, outcome)
    assert b"x-own" not in dict(answer.trailers(1, ""))
    assert answer.message


@pytest.mark.parametrize("status", [0, 3])
def test_trailers_that_take_too_much_are_left_out(site, status):
    lines = [b"x-%d: %b" % (number, b"v" * 900) for number in range(5)]
    answer = over_http(site, b"grpc-status: %d" % status, b"grpc-message: " + b"%20" * 3000, *lines)
    assert answer.trailers(1, "")[0] == (b"x-edgewise-site", b"cloud")
    kept = over_http(site, b"grpc-status: %d" % status, b"grpc-message: " + b"m" * 3000, *lines[:4])
    assert len(kept.trailers(1, "")) == 7
    # Both can be sent.
    for one in (answer, kept):
        encode_failure(3, one.message, (*one.trailers(9, "failover"), (b"x-request-id", b"x" * 128)))
    assert bool(answer.only) is (status == 0)
