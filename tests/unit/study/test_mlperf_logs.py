"""Verdicts from the logs of loadgen: of runs that it made here, and of hand-made ones."""

import math
import re
import subprocess
import sys

import pytest

from edgewise.core.errors import InternalError
from edgewise.study import mlperf, mlperf_logs
from edgewise.study.mlperf_port import SCENARIOS, MlperfOutcome
from edgewise.study.results import MlperfVerdict

pytest.importorskip("mlperf_loadgen")

# The rules' own queries, to a system that answers at once: no network, no model.
LOADGEN = """
import ctypes
import sys
import mlperf_loadgen as loadgen

scenario, mode, directory, conf, latency_ns = sys.argv[1:]
settings = loadgen.TestSettings()
settings.scenario = getattr(loadgen.TestScenario, scenario)
settings.mode = getattr(loadgen.TestMode, mode)
assert settings.FromConfig(conf, "edgewise", scenario) == 0
if int(latency_ns):
    settings.server_target_latency_ns = int(latency_ns)
logs = loadgen.LogSettings()
logs.log_output.outdir = directory
logs.log_output.copy_summary_to_stdout = False
logs.enable_trace = False
place = ctypes.create_string_buffer(b"cat", 3)

def issue(samples):
    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(one.id, ctypes.addressof(place), 3) for one in samples])

system = loadgen.ConstructQDL(issue, lambda: None, lambda: "Network SUT: none")
library = loadgen.ConstructQSL(5, 5, lambda _: None, lambda _: None)
loadgen.StartTestWithLogSettings(system, library, settings, logs, "")
loadgen.DestroyQDL(system)
loadgen.DestroyQSL(library)
"""


@pytest.fixture(scope="module")
def logs_of(tmp_path_factory):
    """Lets loadgen run, and gives the directory with its logs."""

    def make(scenario, queries, *, mode="PerformanceOnly", latency_ns=0, **settings):
        directory = tmp_path_factory.mktemp(scenario)
        conf = directory / "user.conf"
        keys = {"min_duration": 100, "min_query_count": queries, **settings}
        conf.write_text("".join(f"*.{scenario}.{key} = {value}\n" for key, value in keys.items()))
        subprocess.run(
            [sys.executable, "-c", LOADGEN, scenario, mode, str(directory), str(conf), str(latency_ns)],
            check=True,
            timeout=60,
            capture_output=True,
        )
        return directory

    return make


def a_verdict(scenario):
    return MlperfVerdict(scenario, "edge", "", "tiny", "rest-json", valid=False)


def judged(directory, scenario, **outcome):
    summary = mlperf_logs.read_logs(directory)
    return mlperf_logs.judge(a_verdict(scenario), summary, MlperfOutcome("run", **outcome))


def test_a_single_stream_is_valid_with_its_estimate(logs_of):
    verdict = judged(logs_of("SingleStream", 64, target_latency=0.0001), "SingleStream", samples=64)

    assert verdict.valid
    assert verdict.reasons == ()
    assert "Result is : VALID" in verdict.lines
    estimate = next(line for line in verdict.lines if "90.0th percentile estimate" in line)
    assert verdict.value == pytest.approx(int(estimate.rsplit(" ", 1)[1]) * 1e-6)
    assert verdict.unit == "ms"
    assert verdict.queries >= 64
    assert verdict.latencies_ms[0.5] <= verdict.latencies_ms[0.99] <= verdict.latencies_ms[0.999]


def test_too_few_queries_are_not_valid_and_have_no_estimate(logs_of):
    # So slow a system is expected that hardly any queries are drawn for the duration.
    verdict = judged(logs_of("SingleStream", 20, target_latency=50, min_duration=0), "SingleStream", samples=20)

    assert not verdict.valid
    assert math.isnan(verdict.value)
    assert "Result is : INVALID" in verdict.lines
    assert any(line.strip() == "Early stopping satisfied: NO" for line in verdict.lines)
    assert any("Need to process at least 64 queries" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("scenario", "settings"),
    [
        ("SingleStream", {"target_latency": 50, "min_duration": 0}),
        ("MultiStream", {"target_latency": 50, "min_duration": 0}),
        ("Server", {"target_latency": 1000, "target_qps": 20000, "min_duration": 0}),
    ],
)
def test_the_least_queries_are_those_of_loadgen(logs_of, scenario, settings):
    least = mlperf.LEAST_QUERIES[scenario]

    enough = judged(logs_of(scenario, least, **settings), scenario, samples=least)
    few = judged(logs_of(scenario, least - 1, **settings), scenario, samples=least - 1)

    assert enough.queries == least
    assert few.queries == least - 1
    assert enough.valid
    assert not few.valid


def test_a_server_is_given_with_its_rate_and_its_tail(logs_of):
    verdict = judged(logs_of("Server", 459, target_latency=1000, target_qps=5000), "Server", samples=459)

    assert verdict.valid
    found = re.fullmatch(r"completed samples per second \((.*) scheduled\)", verdict.metric)
    assert float(found[1]) == pytest.approx(5000, rel=0.3)
    assert verdict.unit == "samples/s"
    # What was scheduled is complete a moment after the last was.
    assert 0 < verdict.value <= float(found[1]) * 1.001
    assert verdict.latencies_ms[0.99] < 1000


def test_a_server_over_its_latency_is_not_valid(logs_of):
    verdict = judged(logs_of("Server", 459, latency_ns=10, target_qps=5000), "Server", samples=459)

    assert not verdict.valid
    assert any("Performance constraints satisfied : NO" in reason for reason in verdict.reasons)
    assert any("Reduce target QPS to improve latency" in reason for reason in verdict.reasons)


def test_offline_is_given_in_samples_a_second(logs_of):
    verdict = judged(logs_of("Offline", 100, target_qps=10, min_duration=0), "Offline", samples=100)

    assert verdict.valid
    assert verdict.value > 0
    assert verdict.unit == "samples/s"


def test_what_loadgen_calls_valid_is_not_when_a_sample_failed(logs_of):
    directory = logs_of("Offline", 100, target_qps=10, min_duration=0)

    verdict = judged(
        directory, "Offline", samples=100, failed=9, failures={"HTTP 503: full": 4, "a": 2, "b": 2, "no answer": 1}
    )

    assert "Result is : VALID" in verdict.lines
    assert not verdict.valid
    assert verdict.failed == 9
    assert verdict.reasons == (
        "9 of 100 samples got no prediction (4: HTTP 503: full; 2: a; 2: b; 1: for other reasons)",
    )


def test_running_out_of_queries_is_an_error_that_loadgen_noted(logs_of):
    verdict = judged(logs_of("SingleStream", 64, target_latency=1000), "SingleStream", samples=64)

    assert not verdict.valid
    assert any(reason.startswith("loadgen noted an error: Ending early") for reason in verdict.reasons)
    assert any("Decrease the expected latency" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_accuracy_run_asks_each_question_and_keeps_the_answers(logs_of, scenario):
    answers = mlperf_logs.read_answers(logs_of(scenario, 10, mode="AccuracyOnly", target_qps=10000))

    assert answers == dict.fromkeys(range(5), b"cat")


def test_a_line_of_the_detail_log_that_is_no_json_is_passed_over(logs_of):
    directory = logs_of("Offline", 100, target_qps=10, min_duration=0)
    detail = directory / "mlperf_log_detail.txt"
    detail.write_text(':::MLLOG {"key": "x", "value": "say "hi""}\nsomething\n' + detail.read_text())

    assert mlperf_logs.read_logs(directory).valid


def test_logs_that_are_not_there_are_told(tmp_path):
    with pytest.raises(InternalError, match="left no logs"):
        mlperf_logs.read_logs(tmp_path)
    with pytest.raises(InternalError, match="left no accuracy log"):
        mlperf_logs.read_answers(tmp_path)


def test_a_summary_without_a_result_is_told(tmp_path):
    (tmp_path / "mlperf_log_summary.txt").write_text("Mode     : PerformanceOnly\nand then the disk was full")
    (tmp_path / "mlperf_log_detail.txt").write_text("")

    with pytest.raises(InternalError, match="no line 'Result is : VALID'"):
        mlperf_logs.read_logs(tmp_path)


def test_an_accuracy_log_that_was_cut_is_told(tmp_path):
    (tmp_path / "mlperf_log_accuracy.json").write_text('[\n{"seq_id": 0, "qsl_idx": 1, "data": "7B"}')

    with pytest.raises(InternalError, match="left no accuracy log"):
        mlperf_logs.read_answers(tmp_path)
