"""The engine's book: each request ends once, its tables are bounded, and its memory is known beforehand."""

import os

import numpy as np
import pytest

from edgewise.study.engine import ledger as book
from edgewise.study.engine.columns import PENDING, ROW_BYTES, Columns, create, size_bytes
from edgewise.study.engine.job import OTHER_ANSWER, State
from edgewise.study.engine.ledger import NOBODY, OTHER_ERRORS, Ledger

MS = 1_000_000


@pytest.fixture
def columns():
    fd = create(10)
    try:
        columns = Columns(fd, 10)
    finally:
        os.close(fd)
    columns.clear()
    columns.arrays["due_ns"][:] = np.arange(10) * 10 * MS
    return columns


@pytest.fixture
def ledger(columns):
    return Ledger(columns, timeout_s=1.0)


def test_a_row_takes_37_bytes_whatever_becomes_of_it():
    assert ROW_BYTES == 37
    assert size_bytes(1_000_000) < 38_000_000


def test_two_processes_see_the_same_rows():
    fd = create(3)
    one, other = Columns(fd, 3), Columns(fd, 3)
    os.close(fd)
    one.clear()
    one.views["sent_ns"][1] = 77
    one.counters[2] = 5
    assert other.arrays["sent_ns"].tolist() == [-1, 77, -1]
    assert other.arrays["state"].tolist() == [PENDING] * 3
    assert other.counters[2] == 5


def test_a_prediction_is_written_down_with_its_answer_and_origin(ledger, columns):
    origin = (ledger.site(b"edge-1"), 2, 7)
    ledger.predicted(3, 35 * MS, 200, bytearray(b"cat"), origin)
    ledger.predicted(4, 45 * MS, 200, b"dog", NOBODY)
    ledger.predicted(5, 55 * MS, 200, memoryview(b"cat"), NOBODY)
    row = {name: array[3] for name, array in columns.arrays.items()}
    assert (row["state"], row["code"], row["ended_ns"]) == (State.OK, 200, 35 * MS)
    assert (row["site"], row["attempts"], row["version"]) == (1, 2, 7)
    assert list(ledger.answers) == [b"cat", b"dog"]
    assert columns.arrays["answer"][[3, 4, 5]].tolist() == [0, 1, 0]
    assert (ledger.ended, ledger.failed) == (3, 0)


def test_no_request_ends_twice(ledger):
    ledger.predicted(0, 1 * MS, 200, b"", NOBODY)
    with pytest.raises(RuntimeError, match="request 0 ended twice"):
        ledger.refused(0, 2 * MS, State.LOST, -1, "gone")
    with pytest.raises(RuntimeError, match="ended twice"):
        ledger.expire(0)


def test_an_answer_behind_the_patience_is_none(ledger, columns):
    ledger.predicted(1, 1010 * MS, 200, b"in time", NOBODY)
    ledger.predicted(2, 1020 * MS + 1, 200, b"late", NOBODY)
    ledger.refused(3, 1031 * MS, State.REJECTED, 503, "503 busy")
    states = columns.arrays["state"][1:4].tolist()
    assert states == [State.OK, State.LOST, State.LOST]
    assert columns.arrays["ended_ns"][1:4].tolist() == [1010 * MS, 1020 * MS, 1030 * MS]
    assert columns.arrays["code"][1:4].tolist() == [200, -1, -1]
    assert list(ledger.answers) == [b"in time"]
    assert ledger.errors == {"no answer within the timeout": 2}


def test_a_run_with_a_request_without_an_end_is_a_fault(ledger):
    for row in range(9):
        ledger.expire(row)
    with pytest.raises(RuntimeError, match="1 have no end"):
        ledger.check()
    ledger.leave_unsent(9)
    ledger.check()
    assert ledger.ended == 10


def test_what_has_ended_was_due(ledger):
    ledger.expire(9)
    with pytest.raises(RuntimeError, match="not due yet"):
        ledger.leave_unsent(8)


def test_the_table_of_answers_is_bounded_in_number_and_bytes(ledger, columns, monkeypatch):
    monkeypatch.setattr(book, "MAX_ANSWERS", 2)
    for row, body in enumerate((b"a", b"b", b"c", b"a")):
        ledger.predicted(row, row * 10 * MS, 200, body, NOBODY)
    assert columns.arrays["answer"][:4].tolist() == [0, 1, OTHER_ANSWER, 0]
    monkeypatch.setattr(book, "MAX_ANSWERS", 4096)
    monkeypatch.setattr(book, "MAX_ANSWERS_BYTES", 4)
    ledger.predicted(4, 40 * MS, 200, b"abc", NOBODY)
    ledger.predicted(5, 50 * MS, 200, b"ab", NOBODY)
    assert columns.arrays["answer"][4:6].tolist() == [OTHER_ANSWER, 2]


def test_a_long_answer_is_counted_and_not_kept(ledger, columns):
    ledger.predicted(0, 0, 200, bytes(book.MAX_ANSWER_BYTES + 1), NOBODY)
    assert columns.arrays["answer"][0] == OTHER_ANSWER
    assert ledger.answers == {}


def test_the_table_of_errors_is_bounded_and_adds_up(ledger, monkeypatch):
    monkeypatch.setattr(book, "MAX_ERRORS", 3)
    for row, text in enumerate(("a", "b", "c", "d", "a", "x" * 1000)):
        ledger.refused(row, row * 10 * MS, State.ERROR, 500, text)
    assert ledger.errors == {"a": 2, "b": 1, OTHER_ERRORS: 3}


def test_there_are_no_more_sites_than_a_byte_counts(ledger):
    indices = [ledger.site(b"site-%d" % number) for number in range(300)]
    assert indices[:254] == list(range(1, 255))
    assert set(indices[254:]) == {0}
