"""The queue between the loop and the spool: its bounds, what becomes of what is in it, and that nothing that goes wrong gets out."""

import itertools
import logging
import threading
import zlib

import pytest

from edgewise.core.capture.chooser import Chooser
from edgewise.core.capture.limits import Limit
from edgewise.core.capture.rules import RULES, CaptureRules
from edgewise.core.errors import InvalidArgumentError
from edgewise.gateway.capture_config import ModelCapture
from edgewise.gateway.capture_fields import Said, opted_out, source_of
from edgewise.gateway.capture_queue import KEEP_S, MAX_WAITING, MAX_WAITING_BYTES, WAKE_AT, SampleQueue
from edgewise.gateway.capture_samples import Taken
from edgewise.protocols.answers import Form
from edgewise.protocols.samples import decode_sample
from edgewise.spool import SpoolCounters
from support.waiting import WAIT_S

MANY = dict.fromkeys(RULES, Limit(1e6, 1e9))


class MemorySpool:
    """A spool behind the same port."""

    def __init__(self, fails=None, gate=None):
        self.counters = SpoolCounters()
        self.records = []
        self.fails = fails
        self.gate = gate
        self.reached = threading.Event()
        self.closed = False

    def offer(self, sample_id, priority, record):
        self.reached.set()
        if self.gate is not None:
            assert self.gate.wait(WAIT_S)
        if self.fails is not None:
            raise self.fails
        sample = decode_sample(record)
        assert (sample.sample_id, sample.priority) == (sample_id, priority)
        self.records.append(sample)
        return True

    def flush(self):
        return 0

    def tick(self):
        pass

    def close(self):
        self.closed = True


class Head:
    """What `CaptureHead` says of requests alike."""

    def __init__(self, encoding=b"", **config):
        self.name = "pets"
        self.form = Form.TFS_REST
        self.sample_form = "rest-image"
        self.config = ModelCapture(**config)
        self.content_type = "image/jpeg"
        self.encoding = encoding
        self.json_length = None
        self.source = "door-1"


def said(site="edge", body=b'{"predictions":[[0.1,0.9]]}', headers=None):
    return Said(site, "edge" if site == "edge" else "cloud", 3, headers or {b"content-type": b"application/json"}, body)


def taken(reasons=("sampled",), *, head=None, request=b"JPEG", other=None, answer=None):
    return Taken(
        head or Head(),
        Chooser(CaptureRules(limits=MANY), 0.0),
        reasons,
        1.75e9,
        request_id=b"r-1",
        request=request,
        answer=answer or said(),
        confidence=0.9,
        other=other,
    )


def through(*items, spool=None):
    """What becomes of them."""
    spool = spool or MemorySpool()
    queue = SampleQueue(spool, "factory-7")
    queue.start()
    for item in items:
        assert queue.put(item)
    queue.close()
    assert spool.closed
    return queue, spool


def test_a_sample_says_all_that_is_known():
    _, spool = through(taken())
    (sample,) = spool.records
    assert (sample.site, sample.source, sample.model, sample.version) == ("factory-7", "door-1", "pets", 3)
    assert (sample.answered_by, sample.tier, sample.reasons, sample.priority) == ("edge", "edge", ("sampled",), 1)
    assert (sample.confidence, sample.request_id, sample.captured_s) == (0.9, "r-1", 1.75e9)
    assert (sample.form, sample.content_type, sample.request) == ("rest-image", "image/jpeg", b"JPEG")
    assert (sample.answer, sample.answer_content_type) == (b'{"predictions":[[0.1,0.9]]}', "application/json")
    assert (sample.other, sample.other_answer) == ("", b"")


def test_ids_are_never_the_same():
    _, spool = through(*(taken() for _ in range(50)))
    assert len({sample.sample_id for sample in spool.records}) == 50


def test_two_answers_are_compared_and_the_other_one_is_kept_where_they_differ():
    queue, spool = through(
        taken((), other=said("cloud", b'{"predictions":[[0.9,0.1]]}')),
        taken((), other=said("cloud", b'{"predictions":[[0.4,0.6]]}')),
        taken(("all",), other=said("cloud", b'{"predictions":[[0.4,0.6]]}')),
        taken((), other=said("cloud", b"no JSON")),
    )
    first, second = spool.records
    assert (first.reasons, first.priority, first.other) == (("disagreement",), 3, "cloud")
    assert first.other_answer == b'{"predictions":[[0.9,0.1]]}'
    assert (second.reasons, second.other, second.other_answer) == (("all",), "", b"")
    assert (queue.compared, queue.disagreed) == (3, 1)


def test_disagreements_have_a_limit():
    chooser = Chooser(CaptureRules(limits={**MANY, "disagreement": Limit(2, 2)}), 0.0)
    items = [taken((), other=said("cloud", b'{"predictions":[[0.9,0.1]]}')) for _ in range(5)]
    for item in items:
        item.chooser = chooser
    spool = MemorySpool()
    queue = SampleQueue(spool, "s", monotonic_s=lambda: 0.0)
    for item in items:
        queue._write(item)
    assert len(spool.records) == 2
    assert chooser.limited["disagreement"] == 3


def test_what_may_not_be_kept_is_not():
    _, spool = through(
        taken(head=Head(pictures=False)),
        taken(head=Head(answers=False), other=said("cloud", b'{"predictions":[[0.9,0.1]]}')),
    )
    assert (spool.records[0].request, spool.records[0].answer) == (b"", said().body)
    assert spool.records[1].reasons == ("sampled", "disagreement")
    assert (spool.records[1].request, spool.records[1].answer, spool.records[1].other_answer) == (b"JPEG", b"", b"")


def test_bodies_of_any_kind_are_kept_as_they_are_and_packed_ones_unpacked():
    packed = zlib.compress(b"JPEG" * 100)
    _, spool = through(
        taken(request=bytearray(b"one")),
        taken(request=memoryview(b"-two-")[1:4]),
        taken(request=packed, head=Head(encoding=b"deflate")),
        taken(answer=said(body=zlib.compress(b"{}"), headers={b"content-encoding": b"deflate"})),
    )
    assert [sample.request for sample in spool.records[:3]] == [b"one", b"two", b"JPEG" * 100]
    assert spool.records[3].answer == b"{}"


def test_what_is_too_large_or_cannot_be_read_is_counted_by_why():
    queue, spool = through(
        taken(request=b"x" * 2000, head=Head(max_sample_bytes=1024)),
        taken(request=zlib.compress(b"x" * 2000), head=Head(max_sample_bytes=1024, encoding=b"deflate")),
        taken(request=b"no zlib", head=Head(encoding=b"deflate")),
        taken(request=b"x", head=Head(encoding=b"br")),
        taken(answer=said(body=b"x" * (65 << 10))),
    )
    (only,) = spool.records
    assert only.answer == b""
    assert +queue.dropped == {"too-large": 2, "unreadable": 2}


def test_all_reasons_are_there_from_the_start():
    """The loop reads them while the thread counts: none may come in between."""
    queue = SampleQueue(MemorySpool(), "s")
    assert dict(queue.dropped) == {"queue-full": 0, "too-large": 0, "unreadable": 0, "failed": 0}


def test_a_load_that_never_ends_does_not_keep_what_was_taken_from_the_disk():
    flushed, enough = threading.Event(), threading.Event()

    class EndlessSpool(MemorySpool):
        def offer(self, sample_id, priority, record):
            if not enough.is_set():
                queue.put(taken())
            return super().offer(sample_id, priority, record)

        def flush(self):
            flushed.set()
            return 0

    # Each look at the clock is as long after the last one as samples may wait for the disk.
    clock = itertools.count(0.0, KEEP_S)
    queue = SampleQueue(EndlessSpool(), "s", monotonic_s=lambda: next(clock))
    assert queue.put(taken())
    queue.start()
    try:
        assert flushed.wait(WAIT_S)
    finally:
        enough.set()
        queue.close()


def test_nothing_can_be_put_from_the_moment_on_that_it_ends_and_what_was_put_is_written():
    gate = threading.Event()
    spool = MemorySpool(gate=gate)
    queue = SampleQueue(spool, "s")
    queue.start()
    for _ in range(WAKE_AT + 2):
        assert queue.put(taken())
    assert spool.reached.wait(WAIT_S)
    queue.end()
    assert not queue.put(taken())
    assert not spool.closed, "it does not wait for the thread"
    gate.set()
    queue.close()
    assert (len(spool.records), spool.closed) == (WAKE_AT + 2, True)


def test_a_full_queue_drops_at_once_and_counts():
    gate = threading.Event()
    spool = MemorySpool(gate=gate)
    queue = SampleQueue(spool, "s")
    queue.start()
    assert queue.put(taken())
    assert spool.reached.wait(WAIT_S)
    kept = sum(queue.put(taken()) for _ in range(2 * MAX_WAITING))
    assert kept == MAX_WAITING - 1
    assert queue.waiting == MAX_WAITING
    assert queue.dropped["queue-full"] == MAX_WAITING + 1
    gate.set()
    queue.close()
    assert len(spool.records) == MAX_WAITING
    assert queue.waiting == 0
    assert not queue.put(taken()), "it is closed"


def test_bytes_that_wait_are_bounded_too():
    queue = SampleQueue(MemorySpool(), "s")
    large = bytes(MAX_WAITING_BYTES // 2 - 1000)
    assert [queue.put(taken(request=large)) for _ in range(3)] == [True, True, False]


def test_a_spool_that_fails_is_told_of_once_and_no_request_notices(caplog):
    spool = MemorySpool(fails=OSError(28, "No space left on device"))
    with caplog.at_level(logging.ERROR):
        queue, _ = through(*(taken() for _ in range(20)), spool=spool)
    assert queue.dropped["failed"] == 20
    assert len([one for one in caplog.records if "could not be kept" in one.message]) == 1


@pytest.mark.parametrize("call", ["flush", "tick", "close"])
def test_a_spool_that_cannot_be_tended_is_no_sample_that_failed(caplog, call):
    called = threading.Event()

    def fail():
        called.set()
        raise OSError(5, "Input/output error")

    spool = MemorySpool()
    setattr(spool, call, fail)
    clock = itertools.count(0.0, KEEP_S)
    queue = SampleQueue(spool, "s", monotonic_s=lambda: next(clock))
    with caplog.at_level(logging.ERROR):
        queue.start()
        assert queue.put(taken())
        if call != "close":
            assert called.wait(WAIT_S)
        queue.close()
    assert called.is_set()
    assert (len(spool.records), queue.written, +queue.dropped) == (1, 1, {})
    assert "the spool could not be flushed or closed" in caplog.text


@pytest.mark.parametrize(("value", "never"), [(None, False), (b"never", True), (b" Never ", True)])
def test_who_does_not_want_to_be_captured_says_never(value, never):
    assert opted_out({} if value is None else {b"x-edgewise-capture": value}) is never


@pytest.mark.parametrize("value", [b"", b"no", b"nevr", b"always"])
def test_who_misspells_that_is_told(value):
    with pytest.raises(InvalidArgumentError, match="x-edgewise-capture takes never and nothing else"):
        opted_out({b"x-edgewise-capture": value})


def test_a_source_that_is_too_long_is_refused_and_not_cut():
    with pytest.raises(InvalidArgumentError, match="x-edgewise-source takes 128 characters at most, found 129"):
        opted_out({b"x-edgewise-source": b"x" * 129})


@pytest.mark.parametrize(
    ("value", "source"),
    [(None, ""), (b"camera 3", "camera 3"), (b"a\tb\xff", "ab"), (b"x" * 128, "x" * 128), (b"  ", "")],
)
def test_a_source_is_what_can_be_read_of_it(value, source):
    assert source_of({} if value is None else {b"x-edgewise-source": value}) == source
