"""Records on disk: what comes back, what is refused, and what a full disk leaves behind."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.study import records
from edgewise.study.engine.job import OTHER_ANSWER, Recording, State

COLUMNS = ("due_ns", "sent_ns", "ended_ns", "state", "code", "question", "answer", "site", "attempts", "version")


def recording(**changed):
    columns = {
        "due_ns": np.array([0, 10, 10, 40], dtype=np.int64),
        "sent_ns": np.array([1, 12, 13, -1], dtype=np.int64),
        "ended_ns": np.array([100, 5_000, 90, -1], dtype=np.int64),
        "state": np.array([State.OK, State.LOST, State.REJECTED, State.UNSENT], dtype=np.uint8),
        "code": np.array([200, -1, 503, -1], dtype=np.int16),
        "question": np.array([0, 1, 2, 65_535], dtype=np.uint16),
        "answer": np.array([1, OTHER_ANSWER, OTHER_ANSWER, OTHER_ANSWER], dtype=np.uint16),
        "site": np.array([1, 0, 0, 0], dtype=np.uint8),
        "attempts": np.array([2, 0, 1, 0], dtype=np.uint8),
        "version": np.array([7, 0, 0, 0], dtype=np.int32),
        "answers": [b"", b'{"predictions": [1]}\xff\x00'],
        "sites": ["", "edge ☃"],
        "errors": {"503: the queue is full": 1, "no answer within 5 s": 1},
        "started_wall_s": 1_764_000_000.25,
        "cpu_s": 0.125,
        "stopped": True,
        "opened": 5,
        "resent": 1,
        "waited_s": 0.0625,
        "scheduling": "nice -10",
        "cpus": (0, 3),
    }
    return Recording(**{**columns, **changed})


def same(one, other):
    return all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in COLUMNS
    ) and all(getattr(one, name) == getattr(other, name) for name in Recording.__slots__ if name not in COLUMNS)


def test_every_field_of_a_recording_is_tried_here():
    # A field that is added to the port and not to the file would come back as its default.
    plain = Recording(*(getattr(recording(), name) for name in COLUMNS))
    rest = [name for name in Recording.__slots__ if name not in COLUMNS]
    assert [name for name in rest if getattr(plain, name) == getattr(recording(), name)] == []


def test_what_was_written_comes_back(tmp_path):
    records.write(tmp_path / "r.parquet", recording(), {"run": "edge_60_r0", "note": "ünïcode"})
    found, metadata = records.read(tmp_path / "r.parquet")
    assert same(found, recording())
    assert metadata == {"run": "edge_60_r0", "note": "ünïcode"}
    assert [path.name for path in tmp_path.iterdir()] == ["r.parquet"]
    found.state[0] = State.ERROR  # the columns are the caller's own


def test_a_run_of_no_requests_comes_back(tmp_path):
    empty = recording(**{name: getattr(recording(), name)[:0] for name in COLUMNS}, answers=[])
    records.write(tmp_path / "r.parquet", empty, {})
    assert same(records.read(tmp_path / "r.parquet")[0], empty)


def test_other_tools_see_nothing_where_nothing_happened(tmp_path):
    records.write(tmp_path / "r.parquet", recording(), {})
    table = parquet.read_table(tmp_path / "r.parquet")
    assert table.column("ended_ns").to_pylist() == [100, 5_000, 90, None]
    assert table.column("code").to_pylist() == [200, None, 503, None]
    assert table.column("answer").to_pylist() == [1, None, None, None]
    assert json.loads(parquet.read_metadata(tmp_path / "r.parquet").metadata[b"edgewise.states"])["lost"] == 4
    assert parquet.read_metadata(tmp_path / "r.parquet").row_group(0).column(0).compression == "ZSTD"


def test_writing_replaces_what_was_there(tmp_path):
    records.write(tmp_path / "r.parquet", recording(), {"n": "1"})
    records.write(tmp_path / "r.parquet", recording(cpu_s=9.0), {"n": "2"})
    found, metadata = records.read(tmp_path / "r.parquet")
    assert (found.cpu_s, metadata) == (9.0, {"n": "2"})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sent_ns": np.zeros(3, dtype=np.int64)}, "4 due times, but 3 values in the column sent_ns"),
        ({"due_ns": np.array([0, 10, 9, 40])}, "due times that do not rise"),
        ({"state": np.array([0, 1, 2, 6], dtype=np.uint8)}, "state 6"),
        ({"site": np.array([2, 0, 0, 0], dtype=np.uint8)}, "site 2 of 2"),
        ({"answer": np.array([2, 0, 0, 0], dtype=np.uint16)}, "answer 2 of 2"),
        ({"ended_ns": np.array([-1, 0, 0, 0])}, "never ended"),
    ],
)
def test_columns_that_do_not_fit_are_not_written(tmp_path, changed, said):
    with pytest.raises(InvalidArgumentError, match=said):
        records.write(tmp_path / "r.parquet", recording(**changed), {})
    assert list(tmp_path.iterdir()) == []


def test_no_records_at_all(tmp_path):
    with pytest.raises(NotFoundError, match="there are no records at"):
        records.read(tmp_path / "r.parquet")
    with pytest.raises(FailedPreconditionError, match="directory"):
        records.read(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1PAR1", b"hello" * 100, b"PAR1" + bytes(200) + b"\x10\x00\x00\x00PAR1"]
)
def test_what_is_no_parquet_file_is_called_so(tmp_path, content):
    (tmp_path / "r.parquet").write_bytes(content)
    with pytest.raises(InvalidArgumentError, match="damaged or no Parquet file"):
        records.read(tmp_path / "r.parquet")


def test_a_foreign_parquet_file_is_called_so(tmp_path):
    parquet.write_table(pa.table({"a": [1, 2]}), tmp_path / "r.parquet")
    with pytest.raises(InvalidArgumentError, match="holds no records of a study"):
        records.read(tmp_path / "r.parquet")


@pytest.mark.parametrize(
    ("columns", "metadata", "said"),
    [
        ({"due_ns": [1]}, {b"edgewise.records.version": b"2"}, "version 2; this program reads version 1"),
        ({"due_ns": [1]}, {b"edgewise.records.version": b"1"}, "lacks the columns"),
        (
            {"due_ns": ["x"], **{name: [1] for name in COLUMNS[1:]}},
            {b"edgewise.records.version": b"1"},
            "column due_ns as string",
        ),
    ],
)
def test_records_of_another_shape_are_refused(tmp_path, columns, metadata, said):
    parquet.write_table(pa.table(columns).replace_schema_metadata(metadata), tmp_path / "r.parquet")
    with pytest.raises(InvalidArgumentError, match=said):
        records.read(tmp_path / "r.parquet")


def test_damage_is_noticed_wherever_the_data_lie(tmp_path):
    path = tmp_path / "r.parquet"
    records.write(path, recording(), {})
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidArgumentError, match="r.parquet"):
            records.read(path)
    path.write_bytes(whole)
    pages = parquet.read_metadata(path).row_group(0)
    for column in (pages.column(number) for number in range(pages.num_columns)):
        start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
        last = start + column.total_compressed_size - 1
        path.write_bytes(whole[:last] + bytes([whole[last] ^ 0xFF]) + whole[last + 1 :])
        with pytest.raises(InvalidArgumentError, match="damaged or no Parquet file"):
            records.read(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch, number):
    records.write(tmp_path / "r.parquet", recording(), {"n": "1"})

    def full(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        FailedPreconditionError, match=r"r\.parquet was not written: .*MB are free, about 0\.1 MB are needed"
    ):
        records.write(tmp_path / "r.parquet", recording(), {"n": "2"})
    assert [path.name for path in tmp_path.iterdir()] == ["r.parquet"]
    assert records.read(tmp_path / "r.parquet")[1] == {"n": "1"}


def test_a_file_that_may_not_grow_is_not_written_by_half(tmp_path):
    # The kernel itself refuses, in the midst of Parquet's pages: the limit of file sizes holds for a process of its own.
    program = """
import resource, sys
from pathlib import Path
import numpy as np
from edgewise.core.errors import FailedPreconditionError
from edgewise.study import records
from edgewise.study.engine.job import Recording
n = 200_000
draws = np.random.default_rng(1)
due = np.sort(draws.integers(0, 10**12, n))
zero = {name: np.zeros(n, kind) for name, kind in dict(
    state=np.uint8, code=np.int16, question=np.uint16, site=np.uint8, attempts=np.uint8, version=np.int32).items()}
big = Recording(due, due + 5, due + draws.integers(0, 10**9, n), answer=np.full(n, 65535, np.uint16), **zero)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    records.write(Path(sys.argv[1]), big, {})
except FailedPreconditionError as error:
    print(error.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "r.parquet")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "r.parquet was not written: a quota or the limit of file sizes is reached" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(FailedPreconditionError, match="cannot be written: No such file or directory"):
        records.write(tmp_path / "missing" / "r.parquet", recording(), {})


def test_whatever_stops_the_writing_leaves_no_half_file(tmp_path):
    def interrupted():
        with records.whole_file(tmp_path / "x") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FailedPreconditionError, match="extra `study`"):
        records.read(tmp_path / "r.parquet")
