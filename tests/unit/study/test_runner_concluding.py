"""From a journal and its records to the result: what is missing, what it was measured with, what was expected."""

import math
from dataclasses import replace

import numpy as np
import pytest

from edgewise.study import analysis, journal, records
from edgewise.study.advising import Advice, advice_text, crossover_text, steady
from edgewise.study.cells import Cell, Run
from edgewise.study.concluding import NOT_REACHED, conclude
from edgewise.study.engine.job import Question, Recording
from edgewise.study.journal import Heading, Journal, RunLine
from edgewise.study.prediction import Crossover
from edgewise.study.results import Calibration, MlperfVerdict, NetworkProfile
from edgewise.study.scenario import GatewaySpec, Inputs, RunSettings, Scenario, SiteSpec, Sweep
from edgewise.study.telling import result_text

EDGE = Cell("edge", "", "m", "rest-json", 20.0, 20.0)
CLOUD = Cell("cloud", "4g", "m", "rest-json", 20.0, 20.0)
GATEWAY = Cell("gateway", "4g", "m", "rest-json", 20.0, 20.0)
CUT = replace(CLOUD, outage="cut")
HEADING = Heading(
    "a study",
    3,
    "",
    (EDGE, CLOUD, GATEWAY, CUT),
    duration_s=5.0,
    repeats=2,
    settings={"seed": "3"},
    profiles={"4g": NetworkProfile("4g", 40.0)},
    environment={"kernel": "Linux"},
)
SETTINGS = RunSettings(duration_s=5.0, repeats=2)
ANSWERS = [b'{"predictions": [{"verdict": "cat"}]}', b'{"predictions": [{"verdict": "dog"}]}']


def recording(lag_ms=0.0, seed=1):
    rng = np.random.default_rng(seed)
    due_ns = np.sort(rng.integers(0, 5_500_000_000, 110))
    n = len(due_ns)
    question = (np.arange(n) % 2).astype(np.uint16)
    sent_ns = due_ns + round(lag_ms * 1e6)
    return Recording(
        due_ns=due_ns,
        sent_ns=sent_ns,
        ended_ns=sent_ns + 10_000_000,
        state=np.zeros(n, np.uint8),
        code=np.full(n, 200, np.int16),
        question=question,
        answer=question,
        site=np.zeros(n, np.uint8),
        attempts=np.ones(n, np.uint8),
        version=np.ones(n, np.int32),
        answers=ANSWERS,
        sites=["edge"],
        cpu_s=0.5,
    )


@pytest.fixture
def study(tmp_path):
    """Adds runs to a journal and its records; concludes."""
    (tmp_path / "records").mkdir()
    opened = Journal(tmp_path / "journal.jsonl", HEADING)

    class Study:
        directory = tmp_path
        journal = opened

        def run(self, cell, repeat=0, attempt=0, **words):
            made = recording(**words)
            run = Run(cell, repeat, 7)
            result = analysis.run_result(run, made, warmup_s=0.5, settings=SETTINGS, right=None)
            file = f"records/{run.name}{attempt or ''}.parquet"
            records.write(tmp_path / file, made, {})
            opened.run(RunLine(result, file, attempt, 0.5))
            return tmp_path / file

        def conclude(self):
            return conclude(tmp_path, journal.read(tmp_path / "journal.jsonl"))

    with opened:
        yield Study()


def test_what_was_measured_is_there_and_what_was_not_is_missing_with_its_reason(study):
    study.run(EDGE)
    study.run(EDGE, 1, seed=2)
    study.journal.missing(CLOUD.name, "nobody listens")
    result = study.conclude()
    assert [found.cell for found in result.cells] == [EDGE]
    assert result.missing == {CLOUD.name: "nobody listens", GATEWAY.name: NOT_REACHED, CUT.name: NOT_REACHED}
    (found,) = result.cells
    assert found.mean_ms.value == pytest.approx(10.0, rel=1e-3)
    assert (result.title, result.seed, result.profiles) == ("a study", 3, HEADING.profiles)


def test_histograms_are_there_for_plotters(study, tmp_path):
    study.run(EDGE)
    (found,) = study.conclude().cells
    heading, *_, most, _ = (tmp_path / "histograms" / f"{EDGE.name}.hgrm").read_text().splitlines()
    assert heading.split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert most.rstrip("]").split()[-1] == str(found.counts["ok"])


def test_runs_that_are_void_count_nowhere_and_are_told(study):
    study.run(EDGE, lag_ms=5)
    study.run(EDGE, attempt=1)
    study.run(CLOUD, lag_ms=5)
    result = study.conclude()
    by_cell = {found.cell: found for found in result.cells}
    assert len(by_cell[EDGE].runs) == 2
    assert by_cell[EDGE].mean_ms.value == pytest.approx(10.0, rel=1e-3)
    assert math.isnan(by_cell[CLOUD].mean_ms.value)
    assert result.missing[CLOUD.name].startswith("its only run is void: ")
    assert result.environment["runs"] == "1 valid, 2 void"
    assert result.environment["void runs"].startswith("2 × ")
    assert result.environment["generator lag"] == "0.000 ms at p99 over all valid runs"


def test_how_it_was_measured_stands_in_one_order(study):
    study.run(EDGE)
    study.journal.note("engine", "SCHED_RR priority, core 1")
    assert list(study.conclude().environment)[:3] == ["kernel", "seed", "engine"]


def test_a_damaged_file_takes_its_cell_along_and_no_other(study):
    study.run(EDGE)
    file = study.run(CLOUD)
    file.write_bytes(file.read_bytes()[:500])
    result = study.conclude()
    assert [found.cell for found in result.cells] == [EDGE]
    assert "damaged" in result.missing[CLOUD.name]
    file.unlink()
    assert "there are no records" in study.conclude().missing[CLOUD.name]


def test_what_each_input_was_called_is_kept_for_comparing_sites(study):
    study.journal.questions("m", "rest-json", [Question(b"", "cat", "a.jpg"), Question(b"", "cat", "b.jpg")])
    study.run(EDGE)
    (found,) = study.conclude().cells
    assert [(one.source, one.label, one.verdict) for one in found.judgements] == [
        ("a.jpg", "cat", "cat"),
        ("b.jpg", "cat", "dog"),
    ]


def calibration(target, base_ms=10.0):
    samples = tuple(np.full(60, base_ms))
    return Calibration(target, "m", "rest-json", "", base_ms, samples, (1e3 / base_ms,), 0.1, 5000, 300)


def test_each_cell_that_was_calibrated_is_predicted_but_for_outages(study):
    for target in ("edge", "cloud"):
        study.journal.calibration(calibration(target))
    study.run(EDGE)
    result = study.conclude()
    assert {one.cell for one in result.predictions} == {EDGE, CLOUD}
    by_cell = {one.cell: one for one in result.predictions}
    assert by_cell[CLOUD].mean_ms > by_cell[EDGE].mean_ms + 35
    assert by_cell[EDGE].utilisation == pytest.approx(0.2, rel=0.01)


def test_the_findings_come_as_lines_with_what_is_missing(study):
    study.run(EDGE)
    study.journal.missing(CLOUD.name, "nobody listens")
    study.journal.mlperf(MlperfVerdict("Server", "cloud", "4g", "m", "rest-json", valid=False, reasons=("too few",)))
    text = result_text(study.conclude())
    assert text.startswith("a study\n")
    assert f"{EDGE.name}  " in text
    assert "100.0%" in text
    assert "3 cells are missing:\n  cloud_4g_m_rest-json_20: nobody listens\n" in text
    assert "MLPerf Server, m at cloud over 4g, rest-json: INVALID" in text


def advice(cells=HEADING.cells, route="prefer-cloud", **missing):
    heading = replace(HEADING, cells=cells, route=route)
    contents = journal.Contents(heading, calibrations=[calibration("edge", 40.0), calibration("cloud")])
    return Advice(heading, tuple(contents.calibrations), steady(contents), missing)


def scenario():
    sites = (SiteSpec("cloud", "cloud"), SiteSpec("edge", "edge"))
    return Scenario("a study", 3, "", SETTINGS, (), sites, GatewaySpec(), Inputs(None), Sweep((), (), (), (), ()))


def test_advice_says_who_wins_at_which_load_and_from_where_on():
    light, heavy = replace(EDGE, load=2.0, rate=2.0), replace(EDGE, load=24.0, rate=24.0)
    text = advice_text(
        advice((light, heavy, replace(CLOUD, load=2.0, rate=2.0), replace(CLOUD, load=24.0, rate=24.0), CUT)),
        scenario(),
    )
    assert "m rest-json, 4g (40 ms RTT):" in text
    assert "  2/s   edge    edge    4" in text
    assert "  24/s  cloud   cloud   " in text
    assert "crossover: the cloud wins from " in text
    assert "Not predicted: 1 of the cells have an outage" in text


def test_a_load_that_nobody_can_take_is_told():
    cell = replace(EDGE, load=30.0, rate=30.0)
    text = advice_text(advice((cell,)), scenario())
    assert "none can take it" in text
    assert "overloaded" in text


def test_what_advice_leaves_out_it_names():
    text = advice_text(advice(route="fastest", cloud_x="nobody listens"), scenario())
    assert "Not predicted: cloud_x: nobody listens" in text
    assert "Not predicted: the gateway (1 of the cells): what its route fastest does" in text


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "none; the edge answers sooner"),
        (Crossover(0.0, 0.0, 1.0, 0.0, 0.0, 0.1, 0.1, 5.0), "none; the cloud answers sooner"),
        (
            Crossover(12.0, 10.0, math.inf, 0.6, 0.5, math.inf, 0.1, 5.0),
            "from 12.0/s on [10.0, never], where the edge is 60% busy",
        ),
    ],
)
def test_a_crossover_is_told(found, said):
    assert said in crossover_text(found)
