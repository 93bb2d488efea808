"""What a site makes of a hub that is away, slow, wrong, or says too much."""

import contextlib
import threading

import pytest

from edgewise.agent.site.hub_client import HubClient
from edgewise.core.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from support.answering import answering_server, plain

DIGEST = "a" * 64


@pytest.fixture
def answering():
    """Starts a server that answers everything by one function, and gives a client of it."""
    with contextlib.ExitStack() as stack:

        def start(answer):
            # Its connections end before the server does.
            url = stack.enter_context(answering_server(answer))
            client = HubClient(url, "token", stall_s=0.5)
            stack.callback(client.close)
            return client

        yield start


@pytest.mark.parametrize(
    ("status", "content", "error", "words"),
    [
        (
            401,
            b'{"error": "unknown token", "code": "UNAUTHENTICATED"}',
            UnauthenticatedError,
            "refuses: unknown token",
        ),
        (403, b'{"error": "not yours", "code": "PERMISSION_DENIED"}', PermissionDeniedError, "not yours"),
        (404, b"<html>", NotFoundError, "answered 404 Not Found"),
        (409, b'{"error": "later", "code": "FAILED_PRECONDITION"}', FailedPreconditionError, "later"),
        (400, b'{"error": "no such form", "code": "INVALID_ARGUMENT"}', InvalidArgumentError, "no such form"),
        # Of what stands in front of it, or not of a hub at all.
        (400, b"", UnavailableError, "400"),
        (400, b"<html>", UnavailableError, "400"),
        (400, b'{"error": "odd"}', UnavailableError, "400 Bad Request: odd"),
        (503, b'{"error": "busy", "code": "UNAVAILABLE"}', UnavailableError, "busy"),
        (302, b"", UnavailableError, "302"),
        (500, b'{"error": ["x"], "code": 7}', UnavailableError, "500"),
    ],
)
def test_errors_are_told_by_their_codes(answering, status, content, error, words):
    with pytest.raises(error, match=words):
        answering(plain(status, content)).desired("edge-1", "", 0.0)


def test_a_hub_that_says_too_much_is_cut_off(answering):
    def endless(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(bytes(1 << 16))
        handler.close_connection = True

    with pytest.raises(UnavailableError, match="sent more than"):
        answering(endless).root()


def test_a_hub_that_keeps_silent_is_given_up(answering):
    over = threading.Event()
    with pytest.raises(UnavailableError, match="does not answer"):
        answering(lambda _: over.wait(5)).root()
    over.set()


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (206, {"Content_Range": "bytes 0-9/100"}),
        (206, {}),
        (204, {}),
        (206, {"Content_Range": "bytes 5-14/100"}),
    ],
)
def test_another_part_than_was_asked_for_is_refused(answering, status, headers):
    client = answering(plain(status, bytes(10), **headers))
    with pytest.raises(UnavailableError, match="of a file"), client.blob(DIGEST, 10, 20) as parts:
        next(parts)


def test_all_of_a_file_is_taken_up_to_where_it_was_asked_for(answering):
    with answering(plain(200, bytes(100))).blob(DIGEST, 0, 10) as parts:
        assert sum(map(len, parts)) == 10


def test_an_answer_to_an_enrolment_that_is_none(answering):
    with pytest.raises(UnavailableError, match="is it a hub"):
        answering(plain(200, b"hello")).enroll("once", "key", "edge", {})
