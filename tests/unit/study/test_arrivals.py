"""Schedules and load shapes: what is due when, and what is said of what cannot be."""

import math

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.study import arrivals
from edgewise.study.arrivals import CONSTANT, arrival_scv, parse_shape, read_trace, schedule


def counts(due_ns, duration_s, parts):
    return np.histogram(due_ns / 1e9, bins=parts, range=(0, duration_s))[0]


def test_the_same_seed_gives_the_same_bytes_and_another_one_others():
    first, again, other = (schedule("poisson", 200, 5, CONSTANT, seed) for seed in (7, 7, 8))
    assert first.dtype == np.int64
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_constant_arrivals_are_evenly_spaced_from_the_start_on():
    due_ns = schedule("constant", 250, 2, CONSTANT, 0)
    assert due_ns.tolist() == [4_000_000 * index for index in range(500)]


def test_poisson_arrivals_have_the_rate_and_the_spread_of_their_process():
    due_ns = schedule("poisson", 1000, 60, CONSTANT, 3)
    # Five standard deviations.
    assert abs(len(due_ns) - 60_000) < 5 * math.sqrt(60_000)
    assert arrival_scv(due_ns) == pytest.approx(1, abs=0.05)
    per_second = counts(due_ns, 60, 60)
    assert per_second.var() / per_second.mean() == pytest.approx(1, abs=0.6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constant", [1000, 1000, 1000, 1000, 1000]),
        ("steps 0.5,1,0,2,1", [500, 1000, 0, 2000, 1000]),
        ("ramp 0..1", [100, 300, 500, 700, 900]),
        ("ramp 1..0", [900, 700, 500, 300, 100]),
        ("spike 3x at 40% for 20%", [1000, 1000, 3000, 1000, 1000]),
        ("spike 0x at 0% for 40%", [0, 0, 1000, 1000, 1000]),
    ],
)
def test_a_shape_puts_the_load_where_it_says(text, expected):
    shape = parse_shape(text)
    even = schedule("constant", 100, 50, shape, 0)
    assert np.abs(counts(even, 50, 5) - expected).max() <= 1
    random = counts(schedule("poisson", 100, 50, shape, 1), 50, 5)
    assert all(abs(found - wanted) <= 5 * math.sqrt(wanted) for found, wanted in zip(random, expected, strict=True))


def test_a_day_begins_and_ends_at_its_lowest_and_has_its_highest_at_noon():
    shape = parse_shape("day 0.3..1")
    assert shape.factor_at(0, 24) == pytest.approx(0.3)
    assert shape.factor_at(12, 24) == pytest.approx(1.0)
    assert shape.factor_at(24, 24) == pytest.approx(0.3)
    assert shape.mean_factor(24) == pytest.approx(0.65, abs=1e-3)


def test_a_shape_of_a_file_is_linear_between_its_points(tmp_path):
    path = tmp_path / "shape.csv"
    path.write_text("offset_s,factor\n0,0\n10,2\n")
    shape = parse_shape(f"custom {path}")
    assert shape.factor_at(5, 100) == pytest.approx(1.0)
    assert shape.factor_at(50, 100) == 2.0
    assert shape.mean_factor(20) == pytest.approx(1.5)
    assert shape.mean_factor(5) == pytest.approx(0.5)
    path.write_text("at_ratio,factor\n0.5,1\n0.5,3\n")
    assert counts(schedule("constant", 100, 10, parse_shape(f"custom {path}"), 0), 10, 2).tolist() == [500, 1500]


def test_a_jump_counts_from_where_it_is():
    shape = parse_shape("steps 1,5")
    assert shape.factor_at(4.999, 10) == 1
    assert shape.factor_at(5, 10) == 5
    assert shape.peak_factor() == 5


def test_a_trace_is_played_as_it_was_recorded_or_at_another_pace():
    trace = np.array([0.5, 1.0, 1.25, 2.5])
    assert schedule("trace", 0, 2, CONSTANT, 0, trace).tolist() == [500_000_000, 1_000_000_000, 1_250_000_000]
    # Three gaps take two seconds: at 3 a second one second, and again after one more mean gap.
    due_s = schedule("trace", 3, 4, CONSTANT, 0, trace) / 1e9
    assert due_s[:4] == pytest.approx([0, 0.25, 0.375, 1.0])
    assert due_s[4:8] == pytest.approx(due_s[:4] + 4 / 3)
    assert len(due_s) == 12
    assert arrival_scv(np.array([0, 5, 10, 15], np.int64)) == 0


def test_a_trace_comes_from_a_file(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("offset_s\n0\n0.25\n\n1e0\n")
    assert read_trace(path).tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 'offset_s'"),
        ("seconds\n1\n", "expected 'offset_s'"),
        ("offset_s\n", "no rows"),
        ("offset_s\n1\nmany\n", "line 3: 'many' is no number"),
        ("offset_s\n1\n0.5\n", "line 3: offset_s has to rise"),
        ("offset_s\n-1\n", "line 2: offset_s has to rise"),
        ("offset_s\n1,2\n", "line 2: 2 values; expected 1"),
        ("offset_s\nnan\n", "not finite"),
    ],
)
def test_a_file_that_is_no_trace_is_named_with_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError, match="trace.csv") as refused:
        read_trace(path)
    assert message in refused.value.message


def test_files_that_are_not_there_or_not_text_are_named(tmp_path):
    with pytest.raises(InvalidArgumentError, match="No such file"):
        read_trace(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InvalidArgumentError, match="is no CSV file"):
        read_trace(tmp_path / "image.csv")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flat",
        "constant 3",
        "ramp",
        "ramp 1",
        "ramp -1..2",
        "ramp 1..inf",
        "steps",
        "steps 1,,2",
        "steps 1,nan",
        "steps 1,-2",
        "steps inf",
        "spike 3x",
        "spike 3 at 10% for 5%",
        "spike 3x at 95% for 10%",
        "spike 3x at 5% for 0%",
        "day 1",
        "custom",
        "custom no-such-file.csv",
        "steps 0,0",
        "ramp 0..0",
        "steps 1e9",
    ],
)
def test_words_that_are_no_shape_are_refused(text):
    with pytest.raises(InvalidArgumentError):
        parse_shape(text)


def test_the_refusal_says_what_a_shape_looks_like():
    with pytest.raises(InvalidArgumentError, match=r'"spike 3x at 40% for 10%"'):
        parse_shape("peak")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("at_ratio,factor\n0.5,1\n0.2,1\n", "has to rise"),
        ("at_ratio,factor\n0.5,1\n1.2,1\n", "to 1"),
        ("at_ratio,factor\n0.5,-1\n", "below 0"),
        ("factor\n1\n", "expected 'at_ratio,factor'"),
        ("at_ratio,factor\n0,0\n", "never sends anything"),
    ],
)
def test_a_file_that_is_no_shape_is_named_with_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "shape.csv"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError, match="shape.csv") as refused:
        parse_shape(f"custom {path}")
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("process", "rate", "duration_s", "message"),
    [
        ("poisson", 0, 1, "rate"),
        ("poisson", math.nan, 1, "rate"),
        ("constant", -1, 1, "rate"),
        ("constant", 1, 0, "duration"),
        ("constant", 1, math.inf, "duration"),
        ("constant", 1e9, 1e3, "requests; at most"),
        ("trace", 1, 1, "needs a trace"),
        ("bursty", 1, 1, "expected poisson, constant or trace"),
    ],
)
def test_impossible_schedules_are_refused(process, rate, duration_s, message):
    with pytest.raises(InvalidArgumentError, match=message):
        schedule(process, rate, duration_s, CONSTANT, 0)


def test_a_trace_without_gaps_has_no_pace():
    with pytest.raises(InvalidArgumentError, match="give the rate 0"):
        schedule("trace", 5, 1, CONSTANT, 0, np.zeros(3))


def test_the_spread_of_gaps_needs_gaps():
    assert math.isnan(arrival_scv(np.array([1, 2], np.int64)))
    assert math.isnan(arrival_scv(np.zeros(5, np.int64)))


def test_a_long_schedule_is_made_in_parts_that_fit_together(monkeypatch):
    shape = parse_shape("ramp 0.5..2")
    whole = schedule("poisson", 100, 50, shape, 4)
    monkeypatch.setattr(arrivals, "_CHUNK", 7)
    assert schedule("poisson", 100, 50, shape, 4).tobytes() == whole.tobytes()
