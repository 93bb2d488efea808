import pytest

from edgewise.core.routing.calls import Outcome
from edgewise.gateway.answer_fields import (
    attempt_fields,
    parse_confidence,
    parse_queue_depth,
    parse_retry_after_s,
)
from edgewise.gateway.forwarding import HOP_BY_HOP, OWN_ANSWER_FIELDS, OWN_REQUEST_FIELDS, end_to_end
from edgewise.gateway.rest_answer import outcome_of

FIELDS = [(b"a", b"1"), (b"te", b"trailers"), (b"b", b"2"), (b"content-length", b"9"), (b"connection", b"b")]


@pytest.mark.parametrize(
    ("connection", "left"),
    [
        (None, [b"a", b"b"]),
        (b"keep-alive", [b"a", b"b"]),
        (b"close", [b"a", b"b"]),
        (b"b", [b"a"]),
        (b"Keep-Alive, B", [b"a"]),
        (b" a ,\tb", []),
        (b",,", [b"a", b"b"]),
    ],
)
def test_what_connection_names_ends_here(connection, left):
    assert [name for name, _ in end_to_end(FIELDS, connection, OWN_REQUEST_FIELDS)] == left


def test_framing_is_said_anew_in_both_directions():
    for fields in (OWN_REQUEST_FIELDS, OWN_ANSWER_FIELDS):
        assert {b"transfer-encoding", b"content-length", b"connection", b"trailer", b"upgrade"} <= fields
        assert fields > HOP_BY_HOP


def test_attempts_are_always_told_and_degraded_only_when_something_is():
    assert attempt_fields(1, "") == ((b"x-edgewise-attempts", b"1"),)
    assert attempt_fields(3, "rescue") == ((b"x-edgewise-attempts", b"3"), (b"x-edgewise-degraded", b"rescue"))


@pytest.mark.parametrize(
    ("value", "depth"),
    [(None, None), (b"0", 0), (b"17", 17), (b"-1", None), (b"1.5", None), (b"", None), (b"9" * 10, None)],
)
def test_a_queue_depth_is_a_count(value, depth):
    assert parse_queue_depth(value) == depth


@pytest.mark.parametrize(
    ("value", "confidence"),
    [
        (None, None),
        (b"0.25", 0.25),
        (b"1", 1.0),
        (b"1.01", None),
        (b"-0.1", None),
        (b"nan", None),
        (b"sure", None),
        (b"\xff", None),
        (b"0." + b"1" * 99, None),
    ],
)
def test_a_confidence_is_a_number_from_0_to_1(value, confidence):
    assert parse_confidence(value) == confidence


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (b"3", 3.0),
        (b"0", 0.0),
        (b"-3", None),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", None),
        (b"123456", None),
    ],
)
def test_retry_after_counts_in_seconds(value, seconds):
    assert parse_retry_after_s(value) == seconds


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.OK),
        (204, Outcome.OK),
        (301, Outcome.OK),
        (400, Outcome.OK),
        (401, Outcome.OK),
        (404, Outcome.NOT_SERVED),
        (413, Outcome.OK),
        (429, Outcome.OVERLOADED),
        (499, Outcome.OK),
        (500, Outcome.SITE_ERROR),
        (501, Outcome.OK),
        (502, Outcome.SITE_ERROR),
        (503, Outcome.OVERLOADED),
        (504, Outcome.EXPIRED),
        (999, Outcome.SITE_ERROR),
    ],
)
def test_what_a_status_means_for_routing(status, outcome):
    assert outcome_of(status) is outcome
