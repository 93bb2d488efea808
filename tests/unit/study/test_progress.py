"""What is written while a study runs, on a terminal and elsewhere."""

import io

import pytest

from edgewise.study.progress import Progress, TimeLeft, duration_text, run_text


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def test_a_terminal_has_one_line_that_is_written_again():
    stream, clock = Terminal(), Clock()
    progress = Progress(stream, clock)
    progress.update("one")
    progress.update("too soon")
    clock.now_s += 1
    progress.update("two")
    assert stream.getvalue() == "\r\x1b[Kone\r\x1b[Ktwo"
    progress.say("a word that stays")
    assert stream.getvalue().endswith("\r\x1b[Kedgewise: a word that stays\n")
    progress.close()
    assert stream.getvalue().endswith("stays\n")


def test_a_line_longer_than_the_terminal_is_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    Progress(stream, Clock()).update("x" * 200)
    assert stream.getvalue() == "\r\x1b[K" + "x" * 19


def test_elsewhere_there_are_plain_lines_and_few_of_them():
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, clock)
    for _ in range(100):
        progress.update("running")
        clock.now_s += 0.25
    assert stream.getvalue() == ""
    clock.now_s += 30
    progress.update("running")
    progress.ended("run 1 of 2")
    progress.step("serving")
    assert stream.getvalue() == "edgewise: running\nedgewise: run 1 of 2\nedgewise: serving\n"


def test_a_reader_that_has_gone_does_not_stop_a_study():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    Progress(Gone(), Clock()).say("anything")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_are_for_people(seconds, text):
    assert duration_text(seconds) == text


def test_what_runs_take_beyond_their_schedule_is_learned():
    time = TimeLeft()
    for _ in range(50):
        time.learn(7.0, 5.0)
    assert time.overhead_s == pytest.approx(2.0, rel=1e-3)
    assert time.left_s(10, 50.0) == pytest.approx(70.0, rel=1e-3)
    for _ in range(50):
        time.learn(1.0, 5.0)  # stopped early
    assert time.overhead_s == pytest.approx(0.0, abs=1e-3)


def test_a_run_is_told_with_its_place_and_counts():
    text = run_text(3, 24, "edge_pets_r0", counts=(10, 9, 1), left_s=65)
    assert text == "run 3 of 24, 1 min 05 s left: edge_pets_r0: 10 sent, 9 ended, 1 failed"
