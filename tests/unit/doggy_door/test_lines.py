"""Where nobody reads what the door says, it goes on."""

import io
import json
import os
import sys

import pytest
from doggy_door.lines import Lines, let_go
from doggy_door.program import Stop, run
from doggy_door.settings import parse


class Gone(io.StringIO):
    """A pipe whose reader has gone after so many lines."""

    def __init__(self, lines):
        super().__init__()
        self.left = lines

    def flush(self):
        if not self.left:
            raise BrokenPipeError(32, "Broken pipe")
        self.left -= 1


def test_a_door_whose_lines_nobody_reads_goes_on_and_the_log_says_so_once(tmp_path):
    folder, log = tmp_path / "in", tmp_path / "log"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.jpg").write_bytes(b"x")
    # Nobody answers there: each picture has its line all the same.
    words = ["--folder", str(folder), "--log", str(log), "--plain", "--fps", "60", "--gateway", "http://127.0.0.1:1"]
    assert run(parse(words), Stop(), out=Gone(1), err=Gone(0)) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["frame"] for line in lines if "frame" in line] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [line["unseen"] for line in lines if "unseen" in line] == ["what is shown cannot be written: Broken pipe"]
    err = io.StringIO()
    assert run(parse([*words, "--log", ""]), Stop(), out=Gone(0), err=err) == 0
    assert err.getvalue().splitlines()[1:] == ["doggy_door: what it shows cannot be written: Broken pipe"]


CLOSED = io.StringIO()
CLOSED.close()


@pytest.mark.parametrize("file", [Gone(0), CLOSED, io.TextIOWrapper(io.BytesIO(), "ascii")])
def test_what_cannot_be_written_is_told_once_until_something_could(file):
    told = []
    lines = Lines(file, told.append)
    lines.say("\u00fc")
    lines.say("\u00fc")
    assert len(told) == 1
    lines.file = io.StringIO()
    lines.say("\u00fc")
    lines.file = file
    lines.say("\u00fc")
    assert len(told) == 2


def test_an_interpreter_ends_well_though_lines_are_left():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file:
        os.close(reading)
        file.write("a line")
        let_go(sys.stdout, file)
    assert file.closed
