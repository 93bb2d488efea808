"""The HTTP form of gRPC's statuses and words."""

import pytest

from edgewise.net.grpc_answer import escape_message
from edgewise.net.grpc_client_answer import parse_status, status_of_http
from edgewise.protocols.grpc_over_http import HTTP_STATUS, unescape_message


def test_every_status_has_an_http_status():
    assert HTTP_STATUS == (200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401)


@pytest.mark.parametrize(
    ("value", "status"), [(b"0", 0), (b"16", 16), (b"17", 2), (b"-1", 2), (b"", 2), (b"x", 2), (b"007", 2), (b" 1", 2)]
)
def test_the_status_field(value, status):
    assert parse_status(value) == status


def test_answers_without_a_status():
    assert [status_of_http(status) for status in (400, 401, 403, 404, 429, 502, 503, 504, 500, 418)] == [
        13, 16, 7, 12, 14, 14, 14, 14, 2, 2,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "plain", "50 % of ü", "a\nb", "\N{SNOWMAN}" * 100, "100%25"])
def test_words_survive(text):
    assert unescape_message(escape_message(text)) == text


@pytest.mark.parametrize(
    ("raw", "text"), [(b"50 %", "50 %"), (b"%zz%41", "%zzA"), (b"\xff", "\N{REPLACEMENT CHARACTER}")]
)
def test_words_of_others(raw, text):
    assert unescape_message(raw) == text
