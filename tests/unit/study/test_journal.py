"""The journal: what comes back, what a death in the middle leaves, and who may write it."""

import errno
import json
import math

import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.study import journal
from edgewise.study.cells import Cell, Run
from edgewise.study.engine.job import Question
from edgewise.study.journal import Heading, Journal, RunLine
from edgewise.study.results import Calibration, MlperfVerdict, NetworkProfile, RunResult

CELL = Cell("cloud", "4g", "pets", "rest-json", 10.0, 10.0)
HEADING = Heading(
    title="mine",
    seed=7,
    scenario_sha256=journal.digest("text"),
    cells=(CELL, Cell("edge", "", "pets", "rest-json", 10.0, 20.0, "one", "cut")),
    duration_s=2.0,
    repeats=3,
    profiles={"4g": NetworkProfile("4g", 40.0, 10_240.0, 10_240.0, 2.0)},
    prices={"per_gb": 0.09},
    outages={"cut": "1s:blackhole"},
    environment={"kernel": "Linux"},
)


def result(void="", repeat=0):
    return RunResult(
        run=Run(CELL, repeat, 99),
        requests=3,
        counts={"ok": 2, "lost": 1},
        mean_ms=1.5,
        quantiles_ms={0.5: 1.0, 0.99: math.nan},
        max_ms=2.0,
        duration_s=1.0,
        lag_p99_ms=0.1,
        engine_share=0.05,
        void=void,
        sites={"cloud": 2},
        errors={"no answer": 1},
    )


def line(repeat=0, void=""):
    return RunLine(result(void, repeat), f"records/{repeat}.parquet", 0, 0.5)


CALIBRATION = Calibration("cloud", "pets", "rest-json", "", 12.5, (12.0, 13.0), (80.0, 140.0), 0.1, 9000, 300)
VERDICT = MlperfVerdict("Server", "edge", "", "pets", "rest-json", True, ("a",), "latency", 3.0, "ms", {0.9: 3.0})


def test_what_was_noted_comes_back(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADING) as opened:
        opened.run(line())
        opened.calibration(CALIBRATION)
        opened.mlperf(VERDICT)
        opened.missing("some", "because")
        opened.questions("pets", "rest-json", [Question(b"...", "cat", "cat.jpg"), Question(b"...")])
        opened.note("engine", "SCHED_RR")
        opened.finished()
    found = journal.read(path)
    assert found.heading == HEADING
    assert repr(found.runs) == repr([line()])  # nan is not equal to itself
    assert found.calibrations == [CALIBRATION]
    assert repr(found.mlperf) == repr([VERDICT])
    assert found.missing == {"some": "because"}
    assert found.questions == {("pets", "rest-json"): [("cat.jpg", "cat"), ("", "")]}
    assert found.notes == {"engine": "SCHED_RR"}
    assert found.finished
    assert found.sessions == 1


def test_a_note_or_a_list_of_questions_that_is_there_is_not_written_again(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADING) as opened:
        for _ in range(3):
            opened.note("engine", "SCHED_RR")
            opened.questions("pets", "rest-json", [Question(b"")])
    assert len(path.read_bytes().splitlines()) == 3


@pytest.mark.parametrize("torn", [b'{"kind":"run","resu', b'{"kind":"finished"}', b"\xff\x00"])
def test_a_line_without_its_end_never_happened(tmp_path, torn):
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADING) as opened:
        opened.run(line())
    with path.open("ab") as file:
        file.write(torn)
    assert len(journal.read(path).runs) == 1
    assert not journal.read(path).finished
    with Journal(path) as opened:
        assert len(opened.contents.runs) == 1
        opened.run(line(repeat=1))
    found = journal.read(path)
    assert [one.result.run.repeat for one in found.runs] == [0, 1]
    assert found.sessions == 2


def test_going_on_forgets_what_was_given_up_and_that_it_was_finished(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADING) as opened:
        opened.missing("some", "the server was away")
        opened.note("ended early", "disk full")
        opened.finished()
    with Journal(path) as opened:
        assert (opened.contents.missing, opened.contents.notes, opened.contents.finished) == ({}, {}, False)
    found = journal.read(path)
    assert (found.missing, found.notes, found.finished) == ({}, {}, False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no study"),
        (b"no json\n", "line 1 is no line of a journal"),
        (b'{"kind":"run"}\n', "line 1"),
        (b"[]\n", "line 1"),
        (b'{"kind":"study","format":99}\n', "another version"),
    ],
)
def test_what_is_no_journal_is_refused_in_words(tmp_path, content, said):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    with pytest.raises(FailedPreconditionError, match=said):
        journal.read(path)
    with pytest.raises(FailedPreconditionError, match=said):
        Journal(path)


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADING) as opened:
        opened.run(line())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"kind":"what"}\n' + lines[1])
    with pytest.raises(FailedPreconditionError, match="line 2"):
        journal.read(path)


def test_only_one_study_writes_a_directory(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADING) as opened:
        opened.run(line())
        for heading in (None, HEADING):
            with pytest.raises(FailedPreconditionError, match="another study writes"):
                Journal(path, heading)
        # Not even --force may empty what somebody writes.
        assert len(journal.read(path).runs) == 1


class FullDisk:
    """A file that takes so many bytes more."""

    def __init__(self, file, room):
        self.file = file
        self.room = room

    def write(self, content):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self.file.write(bytes(content)[: self.room])
        self.room -= taken
        return taken

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 50])
def test_a_full_disk_leaves_whole_lines(tmp_path, room):
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADING) as opened:
        opened.run(line())
        whole = path.read_bytes()
        opened._file = FullDisk(opened._file, room)
        with pytest.raises(OSError, match="No space"):
            opened.run(line(repeat=1))
        assert path.read_bytes() == whole
        assert len(opened.contents.runs) == 1
        opened._file = opened._file.file
        opened.run(line(repeat=2))
    assert [one.result.run.repeat for one in journal.read(path).runs] == [0, 2]


def test_a_write_that_takes_part_of_a_line_goes_on_with_the_rest(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, HEADING) as opened:
        file = opened._file
        opened._file = type("Slow", (FullDisk,), {"write": lambda self, content: self.file.write(bytes(content)[:7])})(
            file, 0
        )
        opened.run(line())
        opened._file = file
    assert [json.loads(one)["kind"] for one in path.read_text().splitlines()] == ["study", "run"]
