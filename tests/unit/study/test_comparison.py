"""What a comparison shows, what it leaves open, and what it says."""

import math

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.study import analysis, comparison
from edgewise.study.cells import Cell, Run
from edgewise.study.comparison import Verdict
from edgewise.study.engine.job import Recording, State
from edgewise.study.results import CellResult, Estimate, RunResult, StudyResult
from edgewise.study.scenario import RunSettings

NAN = Estimate(math.nan, math.nan, math.nan)


def cell(
    name="edge",
    runs=3,
    *,
    mean=(20.0, 19.5, 20.5),
    p50=None,
    p99=None,
    availability=(1.0, 0.999, 1.0),
    accuracy=NAN,
    void=0,
):
    asked = Cell(name, "", "pets", "rest-image", 10.0, 10.0)
    each = [
        RunResult(
            Run(asked, number, number),
            100,
            {},
            mean[0],
            {},
            mean[0],
            5.0,
            0.1,
            0.1,
            void="late" if number < void else "",
        )
        for number in range(runs)
    ]
    quantiles = {0.5: Estimate(*(p50 or mean)), 0.99: Estimate(*(p99 or mean))}
    accuracy = accuracy if isinstance(accuracy, Estimate) else Estimate(*accuracy)
    return CellResult(asked, tuple(each), 300, {}, Estimate(*mean), quantiles, Estimate(*availability), accuracy)


def study(*cells, title="a study", seed=1, **environment):
    return StudyResult(title, seed, cells, environment=environment)


def only(a, b, **options):
    (found,) = comparison.compare(study(a), study(b), **options).cells
    return found


def change(found, figure):
    return next(each for each in found.changes if each.figure == figure)


def test_ratios_are_b_over_a_with_limits_recovered_from_both():
    found = change(only(cell(mean=(20.0, 16.0, 25.0)), cell(mean=(30.0, 24.0, 37.5))), "mean")
    assert found.ratio.value == pytest.approx(1.5)
    # Both sides reach as far as a factor of 1.25 either way.
    assert found.ratio.high == pytest.approx(1.5 * math.exp(math.sqrt(2) * math.log(1.25)))
    assert found.ratio.low == pytest.approx(1.5 / math.exp(math.sqrt(2) * math.log(1.25)))
    exact = change(only(cell(mean=(20.0, 20.0, 20.0)), cell(mean=(30.0, 24.0, 40.0))), "mean")
    assert (exact.ratio.low, exact.ratio.high) == (pytest.approx(1.2), pytest.approx(2.0))


@pytest.mark.parametrize(
    ("b", "verdict"),
    [
        ({"mean": (30.0, 29.5, 30.5)}, Verdict.SLOWER),
        ({"mean": (10.0, 9.9, 10.1)}, Verdict.FASTER),
        ({"mean": (20.2, 20.15, 20.25)}, Verdict.NO_DIFFERENCE),
        ({"mean": (30.0, 15.0, 60.0)}, Verdict.NO_DIFFERENCE),
        ({"p99": (30.0, 29.0, 31.0)}, Verdict.SLOWER),
        ({"p99": (30.0, 29.0, 31.0), "p50": (10.0, 9.9, 10.1)}, Verdict.SLOWER),
        ({"availability": (0.9, 0.89, 0.91)}, Verdict.WORSE),
        ({"availability": (0.9, 0.89, 0.91), "mean": (10.0, 9.9, 10.1)}, Verdict.WORSE),
        ({"availability": (0.998, 0.9979, 0.9981)}, Verdict.NO_DIFFERENCE),
    ],
)
def test_verdicts(b, verdict):
    assert only(cell(), cell(**b)).verdict == verdict


def test_more_answers_and_more_right_ones_are_better():
    assert only(cell(availability=(0.9, 0.89, 0.91)), cell()).verdict == Verdict.BETTER
    found = only(cell(accuracy=(0.7, 0.69, 0.71)), cell(accuracy=(0.9, 0.89, 0.91)))
    assert found.verdict == Verdict.BETTER
    assert change(found, "accuracy").better
    assert change(found, "accuracy").ratio.value == pytest.approx(9 / 7)


def test_trifles_are_the_callers_to_set():
    a, b = cell(), cell(mean=(20.6, 20.58, 20.62))
    small = cell(mean=(20.0, 19.99, 20.01))
    assert only(small, b).verdict == Verdict.NO_DIFFERENCE
    assert only(small, b, least_change=0.02).verdict == Verdict.SLOWER
    with pytest.raises(InvalidArgumentError, match="0 or more"):
        comparison.compare(study(a), study(b), least_change=-0.1)


def test_one_run_of_a_side_shows_nothing():
    found = only(cell(runs=1), cell(mean=(90.0, 89.0, 91.0)))
    assert found.verdict == Verdict.NO_DIFFERENCE
    assert all(math.isnan(each.p_value) for each in found.changes)
    assert change(found, "mean").ratio.value == pytest.approx(4.5)
    assert only(cell(void=2), cell(mean=(90.0, 89.0, 91.0))).verdict == Verdict.NO_DIFFERENCE
    assert only(cell(void=3), cell(mean=(90.0, 89.0, 91.0))).verdict == Verdict.NO_DIFFERENCE


def test_figures_that_a_study_lacks_are_not_compared():
    nothing = (math.nan, math.nan, math.nan)
    found = only(cell(), cell(mean=nothing, availability=(0.0, 0.0, 0.01)))
    assert found.verdict == Verdict.WORSE
    assert math.isnan(change(found, "mean").ratio.value)
    assert not change(found, "mean").shown
    lost = only(cell(availability=(0.0, 0.0, 0.01)), cell())
    assert math.isnan(change(lost, "availability").ratio.value)
    assert lost.verdict == Verdict.BETTER


def test_fewer_runs_and_more_cells_ask_for_more():
    a, b = cell(mean=(20.0, 19.0, 21.0)), cell(mean=(23.0, 22.0, 24.0))
    assert only(a, b).verdict == Verdict.SLOWER
    three, two = change(only(a, b), "mean"), change(only(cell(runs=2, mean=(20.0, 19.0, 21.0)), b), "mean")
    assert two.ratio == three.ratio
    assert two.p_value > three.p_value
    others = [cell(f"site{number}") for number in range(60)]
    found = comparison.compare(study(a, *others), study(b, *others))
    assert {each.verdict for each in found.cells} == {Verdict.NO_DIFFERENCE}
    alone, among = change(only(a, b), "mean"), change(found.cells[0], "mean")
    assert among.ratio == alone.ratio
    assert among.p_value > 10 * alone.p_value


def test_cells_of_one_study_alone_are_named_and_no_regression():
    found = comparison.compare(study(cell("one"), cell("two")), study(cell("three"), cell("two")))
    assert [(each.name, each.verdict) for each in found.cells] == [
        ("one_pets_rest-image_10", Verdict.ONLY_IN_A),
        ("two_pets_rest-image_10", Verdict.NO_DIFFERENCE),
        ("three_pets_rest-image_10", Verdict.ONLY_IN_B),
    ]
    assert not found.regressed
    assert found.verdict == "No difference is shown in 1 cells; mean latency B/A is 1.000 over all."
    assert comparison.compare(study(cell("one")), study(cell("two"))).verdict.startswith("The studies share no cell")


def test_regressions_are_told_in_one_line_and_by_a_property():
    slow = cell("cloud", mean=(30.0, 29.5, 30.5), p99=(40.0, 39.0, 41.0))
    found = comparison.compare(study(cell("cloud"), cell("edge")), study(slow, cell("edge", mean=(10.0, 9.9, 10.1))))
    assert found.regressed
    assert [each.name for each in found.regressions] == ["cloud_pets_rest-image_10"]
    assert "slower in 1 (in cloud_pets_rest-image_10: p99 ×2.000 [" in found.verdict
    assert "faster in 1" in found.verdict
    assert found.verdict.endswith("of 2 cells; mean latency B/A is 0.866 over all.")
    assert not comparison.compare(study(slow), study(cell("cloud"))).regressed


def test_the_table_has_all_cells_and_the_notes():
    a = study(cell("cloud"), cell("one"), title="before", seed=1, commit="abc", machine="2 cores", date="Monday")
    b = study(cell("cloud", mean=(30.0, 29.5, 30.5)), title="after", seed=2, commit="def", machine="2 cores")
    text = comparison.render(comparison.compare(a, b))
    lines = text.split("\n")
    assert lines[:2] == ["A: before", "B: after"]
    row = next(line for line in lines if line.startswith("cloud_pets"))
    assert "1.500 [1.456, 1.546]*" in row
    assert row.endswith("slower")
    assert next(line for line in lines if line.startswith("one_pets")).endswith("only in A")
    assert "Note: commit was 'abc' in A and is 'def' in B" in lines
    assert "Note: the seed was 1 in A and is 2 in B" in lines
    assert "machine" not in text
    assert "date" not in text
    assert lines[-2].startswith("B is slower in 1")
    many = comparison.compare(study(**{f"k{n}": "1" for n in range(20)}), study(**{f"k{n}": "2" for n in range(20)}))
    assert len(many.notes) == 9
    assert many.notes[-1] == "12 more facts about the environment differ"


def measured(seed, factor=1.0, cells=12):
    """A study of queues, with runs that differ by 3 %."""
    draws = np.random.default_rng(seed)
    results = []
    for number in range(cells):
        asked = Cell(f"site{number}", "", "pets", "rest-image", 10.0, 10.0)
        recordings = []
        for _ in range(4):
            due_ns = np.cumsum(draws.exponential(20e6, 1500))
            walk = np.cumsum(draws.exponential(10e6, 1500)) - due_ns
            latency_ns = (walk - np.minimum.accumulate(walk) + draws.exponential(10e6, 1500)) * factor
            latency_ns *= math.exp(0.03 * draws.standard_normal())
            recordings.append(answered(due_ns.astype(np.int64), latency_ns.astype(np.int64)))
        runs = [
            analysis.run_result(Run(asked, place, 0), each, warmup_s=0.0, settings=RunSettings(), right=None)
            for place, each in enumerate(recordings)
        ]
        results.append(analysis.cell_result(asked, runs, recordings, warmup_s=0.0, seed=1))
    return study(*results)


def answered(due_ns, latency_ns):
    zeros = {
        name: np.zeros(due_ns.size, dtype=kind)
        for name, kind in {
            "code": np.int16,
            "question": np.uint16,
            "answer": np.uint16,
            "site": np.uint8,
            "attempts": np.uint8,
        }.items()
    }
    return Recording(
        due_ns=due_ns,
        sent_ns=due_ns,
        ended_ns=due_ns + latency_ns,
        state=np.full(due_ns.size, State.OK, dtype=np.uint8),
        version=np.zeros(due_ns.size, dtype=np.int32),
        answers=[b""],
        **zeros,
    )


def test_a_study_measured_again_shows_nothing_and_a_slower_one_does():
    before = measured(1)
    again = comparison.compare(before, measured(2))
    assert {each.verdict for each in again.cells} == {Verdict.NO_DIFFERENCE}
    slower = comparison.compare(before, measured(3, factor=1.5))
    assert len(slower.regressions) >= 10
    quicker = comparison.compare(before, measured(3, factor=1 / 1.5))
    assert not quicker.regressed
    assert sum(each.verdict == Verdict.FASTER for each in quicker.cells) >= 10
