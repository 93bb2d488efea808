"""What MLPerf's runs are told, how long they may take, and how their verdicts read."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.study import mlperf
from edgewise.study.cells import Cell
from edgewise.study.engine.job import Asking, Question
from edgewise.study.mlperf_loadgen import Pace, expected_s, user_conf
from edgewise.study.mlperf_port import MlperfJob
from edgewise.study.results import MlperfVerdict
from edgewise.study.scenario import (
    GatewaySpec,
    Inputs,
    MlperfSpec,
    ModelSpec,
    Outage,
    RunSettings,
    Scenario,
    SiteSpec,
    Sweep,
)

ASKING = Asking("http", "", 0, "/v1/models/m:predict", [Question(b"{}"), Question(b"[]", "cat")])
PACE = Pace(lone_s=0.02, query_s=0.1, rate=80.0)


def a_job(scenario, **changes):
    job = MlperfJob(
        scenario=scenario,
        accuracy=False,
        asking=ASKING,
        directory=".",
        name="m at edge",
        target_qps=25.0,
        target_latency_ms=12.5,
        min_duration_s=2.0,
        min_queries=500,
        timeout_s=1.0,
        window=8,
    )
    return replace(job, **changes)


def a_scenario(**changes):
    scenario = Scenario(
        title="t",
        seed=1,
        text="",
        run=RunSettings(timeout_s=0.5),
        models=(ModelSpec("b", "b", "tiny"), ModelSpec("a", "a", "tiny")),
        sites=(SiteSpec("cloud", "cloud"), SiteSpec("edge", "edge")),
        gateway=GatewaySpec(),
        inputs=Inputs(Path()),
        sweep=Sweep(("cloud", "edge"), ("4g", "lan"), ("b", "a"), ("rest-json", "oip-grpc"), (10.0, 20.0)),
        mlperf=MlperfSpec(("SingleStream", "Server")),
    )
    return replace(scenario, **changes)


# --- settings ---


@pytest.mark.parametrize(
    ("scenario", "lines"),
    [
        ("SingleStream", {"min_duration = 2000", "min_query_count = 500", "target_latency = 10.000000"}),
        ("MultiStream", {"min_duration = 2000", "min_query_count = 500", "target_latency = 50.000000"}),
        ("Server", {"min_duration = 2000", "min_query_count = 500", "target_qps = 25.000000", "target_latency = 13"}),
        ("Offline", {"min_duration = 2000", "min_query_count = 500", "target_qps = 112.000000"}),
    ],
)
def test_the_settings_of_a_scenario_are_those_of_its_job(scenario, lines):
    said = user_conf(a_job(scenario), PACE).splitlines()

    assert set(said) == {f"*.{scenario}.{line}" for line in lines}


@pytest.mark.parametrize(
    ("scenario", "line"),
    [
        # Loadgen draws for twice the duration: 2 × 600 s / 0.6 ms are two million.
        ("SingleStream", "target_latency = 0.600000"),
        ("MultiStream", "target_latency = 4.800000"),
        ("Offline", "target_qps = 3333.333333"),
    ],
)
def test_a_long_run_of_a_quick_target_draws_a_bounded_number_of_samples(scenario, line):
    said = user_conf(a_job(scenario, min_duration_s=600.0), Pace(0.0001, 0.0002, 50_000.0)).splitlines()

    assert f"*.{scenario}.{line}" in said


@pytest.mark.parametrize(
    ("scenario", "seconds"), [("SingleStream", 10.0), ("MultiStream", 50.0), ("Server", 20.0), ("Offline", 6.25)]
)
def test_a_run_takes_as_long_as_its_queries_do(scenario, seconds):
    assert expected_s(a_job(scenario), PACE) == pytest.approx(seconds)


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
def test_a_run_takes_its_least_duration_at_least(scenario):
    assert expected_s(a_job(scenario, min_queries=1, min_duration_s=60.0), PACE) >= 60.0


def test_an_accuracy_run_takes_as_long_as_its_questions():
    assert expected_s(a_job("SingleStream", accuracy=True), PACE) == pytest.approx(0.04)
    assert expected_s(a_job("Server", accuracy=True, target_qps=2.0), PACE) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "spec", "asking", "message"),
    [
        ("Interactive", MlperfSpec(()), ASKING, "MLPerf has no scenario 'Interactive'; it has SingleStream"),
        ("Server", MlperfSpec((), target_qps=0), ASKING, "target_qps is 0; it has to be above 0"),
        ("Server", MlperfSpec((), target_latency_ms=math.inf), ASKING, "target_latency_ms is inf"),
        ("Offline", MlperfSpec((), min_duration_s=-1), ASKING, "min_duration_s is -1"),
        ("Offline", MlperfSpec((), min_queries=0), ASKING, "min_queries is 0"),
        ("Offline", MlperfSpec(()), replace(ASKING, questions=[]), "at least one question"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, name, spec, asking, message):
    cell = Cell("edge", "", "m", "rest-json", 1, 1)

    with pytest.raises(InvalidArgumentError, match=message):
        mlperf.run(name, cell, asking, spec, tmp_path)

    assert list(tmp_path.iterdir()) == []


# --- what is run ---


def test_each_target_and_model_is_asked_once_over_the_first_protocol_and_network():
    cells = mlperf.cells(a_scenario())

    assert [(cell.model, cell.target, cell.profile, cell.protocol) for cell in cells] == [
        (model, target, profile, "rest-json")
        for model in ("a", "b")
        for target, profile in (("cloud", "4g"), ("edge", ""))
    ]


def test_a_study_with_outages_is_asked_without_them():
    sweep = replace(a_scenario().sweep, outages=(Outage("cut", "1s:blackhole, 2s:heal"),))

    cells = mlperf.cells(a_scenario(sweep=sweep))

    assert {cell.outage for cell in cells} == {""}
    assert {cell.target for cell in cells} == {"cloud", "edge"}


# --- for people ---


def test_a_verdict_reads_well():
    verdict = MlperfVerdict(
        "Server",
        "cloud",
        "4g",
        "pets",
        "rest-image",
        valid=False,
        reasons=("3 of 100 samples got no prediction (3: HTTP 503: full)", "loadgen: Early stopping satisfied: NO"),
        metric="completed samples per second (9.9 scheduled)",
        value=9.8765,
        unit="samples/s",
        latencies_ms={0.5: 40.0, 0.99: 112.34},
        lines=("Completed samples per second    : 9.80", "Result is : INVALID"),
        accuracy=0.9643,
        labelled=28,
    )

    assert mlperf.in_a_line(verdict) == (
        "INVALID, completed samples per second (9.9 scheduled) 9.877 samples/s, p99 112.3 ms, accuracy 0.9643 of 28: "
        "3 of 100 samples got no prediction (3: HTTP 503: full)"
    )


def test_a_verdict_without_a_figure_says_only_why():
    verdict = MlperfVerdict("Server", "edge", "", "m", "oip-grpc", valid=False, reasons=("it is away",))

    assert mlperf.in_a_line(verdict) == "INVALID: it is away"
