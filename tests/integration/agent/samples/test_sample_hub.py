"""What a site makes of what is answered about its segments, by a hub or by what stands in front of one."""

import json

import pytest

from edgewise.agent.site.sample_hub import SampleHub, SegmentFaultError, SegmentState, SegmentWaitsError
from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from support.answering import answering_server, plain

REFUSED = {"error": "record 0 has a wrong checksum", "code": "INVALID_ARGUMENT"}
LATER = json.dumps({"error": "the hub is being restored", "code": "FAILED_PRECONDITION"}).encode()


@pytest.fixture
def ask():
    """Asks once, how far it has come or with a piece, and is answered so."""

    def asked(what, status, content):
        with answering_server(plain(status, content)) as url:
            hub = SampleHub(url, "token", "alpha")
            try:
                if what == "state":
                    return hub.state("a", "0" * 64)
                return hub.send("a", "0" * 64, b"0123", offset=0, length=8)
            finally:
                hub.close()

    return asked


def test_the_hub_says_by_a_word_that_a_segment_is_at_fault(ask):
    with pytest.raises(SegmentFaultError, match="refuses: record 0 has a wrong checksum"):
        ask("send", 400, json.dumps({**REFUSED, "reason": "SEGMENT_DAMAGED"}).encode())


def test_the_hub_says_by_a_word_that_a_segment_has_to_wait(ask):
    refusal = {"error": "bring the hub up to date", "code": "FAILED_PRECONDITION", "reason": "SEGMENT_NEWER"}
    with pytest.raises(SegmentWaitsError, match="refuses: bring the hub up to date"):
        ask("send", 409, json.dumps(refusal).encode())


@pytest.mark.parametrize("more", [{}, {"reason": None}, {"reason": "SOMETHING_OF_LATER"}, {"reason": 7}])
def test_a_400_without_that_word_is_a_refusal_that_may_be_over_later(ask, more):
    with pytest.raises(InvalidArgumentError, match="wrong checksum") as found:
        ask("send", 400, json.dumps({**REFUSED, **more}).encode())
    assert not isinstance(found.value, SegmentFaultError)


@pytest.mark.parametrize("content", [b"", b"<html>400 Bad Request</html>", b'{"error": "plain HTTP to a TLS port"}'])
@pytest.mark.parametrize("what", ["send", "state"])
def test_a_400_of_a_proxy_says_nothing_of_the_segment(ask, what, content):
    with pytest.raises(UnavailableError, match="answered 400"):
        ask(what, 400, content)


def test_nothing_is_damaged_before_it_was_sent(ask):
    with pytest.raises(InvalidArgumentError, match="wrong checksum") as found:
        ask("state", 400, json.dumps({**REFUSED, "reason": "SEGMENT_DAMAGED"}).encode())
    assert not isinstance(found.value, SegmentFaultError)


def test_a_409_says_where_the_next_piece_begins(ask):
    refusal = {"error": "the next piece has to begin at byte 2", "code": "FAILED_PRECONDITION", "offset": 2}
    assert ask("send", 409, json.dumps(refusal).encode()) == SegmentState(2, done=False)


def test_a_409_without_an_offset_is_told_as_what_it_is(ask):
    with pytest.raises(FailedPreconditionError, match="the hub is being restored"):
        ask("send", 409, LATER)
    with pytest.raises(UnavailableError, match="answered 409 Conflict"):
        ask("send", 409, b"<html>")
