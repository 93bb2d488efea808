"""Probes, without a server."""

import pytest

from edgewise.core.errors import InvalidArgumentError, UnavailableError
from edgewise.model_server.doors.probe import MAX_PROBE_BYTES, ProbeAnswers


class Exchange:
    method = b"POST"

    def __init__(self, body=b"", query=b""):
        self.body = body
        self.query = query
        self.answers = []

    def respond(self, status, headers, body):
        self.answers.append((status, dict(headers), len(body)))


WHO = ((b"x-edgewise-site", b"cellar"), (b"x-edgewise-tier", b"edge"))


def test_a_server_that_is_not_ready_says_so():
    with pytest.raises(UnavailableError, match="not ready") as error:
        ProbeAnswers(WHO).answer(Exchange(), ready=False)
    assert error.value.retry_after_s


def test_a_question_that_is_too_large():
    probes = ProbeAnswers(WHO)
    allowed = Exchange(bytes(MAX_PROBE_BYTES))
    probes.answer(allowed, ready=True)
    assert allowed.answers[0][0] == 200
    with pytest.raises(InvalidArgumentError, match=str(MAX_PROBE_BYTES)):
        probes.answer(Exchange(bytes(MAX_PROBE_BYTES + 1)), ready=True)


def test_sizes_in_any_order():
    probes = ProbeAnswers(WHO)
    for size in (10, 1000, 0, 5):
        exchange = Exchange(query=b"answer_bytes=%d" % size)
        probes.answer(exchange, ready=True)
        assert exchange.answers == [(200, {b"content-type": b"application/octet-stream", **dict(WHO)}, size)]
