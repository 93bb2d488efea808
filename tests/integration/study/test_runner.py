"""Whole studies, small ones, over real processes: from the scenario to the report."""

import io
import json
import threading

import pytest

from edgewise.cli.study import _profiles
from edgewise.core.errors import AlreadyExistsError
from edgewise.study import journal, records, report, runner, scenario_file, summary
from edgewise.study.engine.job import State
from support.waiting import wait_for

HEAD = """
title = "a small study"
seed = 4
calibrate = false
[run]
duration_s = 0.3
warmup_s = 0.1
repeats = 2
timeout_s = 2
max_lag_p99_ms = 500
[sweep]
models = ["tiny"]
loads = [30]
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def study(tmp_path, cache):
    """Runs a scenario in one directory; gives the outcome, and what was said on the way."""

    def run(text, **words):
        path = tmp_path / "scenario.toml"
        path.write_text(text)
        scenario = scenario_file.load(path, _profiles())
        said = io.StringIO()
        outcome = runner.run(scenario, tmp_path / "study", profiles=_profiles(), stream=said, cache=cache, **words)
        return outcome, said.getvalue()

    run.directory = tmp_path / "study"
    return run


@pytest.fixture
def bare_page(monkeypatch):
    """A page without plots, for studies that are looked at in their journal and their result."""

    def write(directory, result):
        page = directory / report.REPORT
        page.write_text(result.title)
        return page

    monkeypatch.setattr(report, "write", write)


def test_a_study_comes_to_its_report(study):
    text = HEAD.replace("calibrate = false", "calibrate = true").replace("duration_s = 0.3", "duration_s = 0.5")
    text += 'targets = ["cloud", "gateway"]\nprofiles = ["4g"]\nprotocols = ["oip-grpc"]\n'
    outcome, said = study(text)
    assert (outcome.problem, outcome.stopped_by) == ("", 0)
    result = outcome.result
    assert result.missing == {}
    assert len(result.cells) == 2
    for found in result.cells:
        assert found.availability.value == 1.0
        assert found.counts["ok"] == found.requests > 0
        assert sum(found.counts.values()) == found.requests
        assert found.cdf_ms[0] > 36  # 40 ms, with 2 ms of jitter each way
        assert {site for run in found.runs for site in run.sites} == {"cloud"}
        assert len(found.judgements) > 1
    assert len(result.calibrations) == 2
    assert {one.cell for one in result.predictions} == {found.cell for found in result.cells}
    assert {"edgewise", "kernel", "seed", "engine", "generator lag", "runs"} <= result.environment.keys()

    directory = study.directory
    assert json.loads((directory / "summary.json").read_text())
    assert repr(summary.read(directory)) == repr(result)
    assert outcome.report == directory / "report.html"
    assert outcome.report.stat().st_size > 10_000
    assert len(list((directory / "records").glob("*.parquet"))) >= 4
    assert sorted(path.name for path in directory.iterdir()) == [
        "histograms",
        "journal.jsonl",
        "logs",
        "plots",
        "records",
        "report.html",
        "scenario.toml",
        "summary.csv",
        "summary.json",
    ]
    assert journal.read(directory / "journal.jsonl").finished
    assert "run 4 of 4" in said

    with pytest.raises(AlreadyExistsError, match="finished"):
        study(text)
    before = (directory / "report.html").read_bytes()
    (directory / "report.html").unlink()
    (directory / "summary.json").unlink()
    rebuilt = runner.rebuilt(directory)
    assert repr(rebuilt.result) == repr(result)
    assert len(rebuilt.report.read_bytes()) == len(before)


def test_an_outage_takes_the_cloud_away_and_not_the_gateway(study, bare_page):
    text = """
title = "an outage"
calibrate = false
[run]
duration_s = 1.2
warmup_s = 0.2
repeats = 1
timeout_s = 0.6
max_lag_p99_ms = 500
[sweep]
targets = ["cloud", "gateway"]
models = ["tiny"]
protocols = ["rest-json"]
profiles = ["fibre"]
loads = [40]
[[outage]]
name = "cut"
steps = "0.3s:loss 0%, 0.6s:blackhole"
"""
    outcome, _ = study(text)
    found = {one.cell.target: one for one in outcome.result.cells}
    assert 0.2 < found["cloud"].availability.value < 0.8
    assert found["gateway"].availability.value > 0.99
    assert set(found["gateway"].runs[0].sites) == {"cloud", "edge"}
    line = next(
        one for one in journal.read(study.directory / "journal.jsonl").runs if one.result.run.cell.target == "cloud"
    )
    recording, metadata = records.read(study.directory / line.file)
    told = [step.split("s:", 1) for step in metadata["outage_told"].split(", ")]
    assert [step[1] for step in told] == ["loss 0%", "blackhole"]
    cut_s = float(told[1][0])
    assert cut_s == pytest.approx(0.6, abs=0.5)
    due_s = recording.due_ns / 1e9 - line.warmup_s
    before = due_s < cut_s - 0.2
    assert (recording.state[before] == State.OK).all()
    assert (recording.state[due_s > cut_s + 0.1] == State.LOST).all()


def test_a_study_that_is_stopped_keeps_what_it_has_and_goes_on(study, monkeypatch, bare_page):
    text = HEAD.replace('title = "a small study"', 'title = "stopped"') + (
        'targets = ["edge"]\nprotocols = ["rest-json", "rest-binary", "tfs-grpc"]\n'
    )
    path = study.directory / "journal.jsonl"
    requests = []

    class Request(runner.StopRequest):
        def __init__(self):
            super().__init__()
            requests.append(self)

    monkeypatch.setattr(runner, "StopRequest", Request)

    def stop():
        wait_for(lambda: path.exists() and path.read_bytes().count(b'"kind":"run"') >= 2)
        requests[0].signal = 15
        requests[0].event.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    outcome, _ = study(text)
    stopper.join()
    assert (outcome.stopped_by, outcome.problem) == (15, "it was stopped")
    assert outcome.report is not None
    kept = len(journal.read(path).runs)
    assert 2 <= kept < 6
    assert outcome.result.missing
    assert set(outcome.result.missing.values()) <= {
        "the study ended before it was measured",
        "its only run is void: it was stopped before its schedule was over",
    }

    again, said = study(text, resume=True)
    assert (again.stopped_by, again.problem, again.result.missing) == (0, "", {})
    assert f"{kept if kept < 3 else ''}" in said
    assert "of 6 runs are there" in said
    assert all(sum(not run.void for run in found.runs) == 2 for found in again.result.cells)
    assert again.result.environment["sessions"].startswith("2")


def test_servers_that_are_away_are_missing_with_the_reason(study, bare_page):
    text = (
        HEAD
        + 'targets = ["cloud", "edge"]\nprofiles = ["none"]\nprotocols = ["rest-json"]\n[site.cloud]\nurl = "http://127.0.0.1:9"\n'
    )
    outcome, said = study(text)
    assert outcome.problem == ""
    assert [found.cell.target for found in outcome.result.cells] == ["edge"]
    (reason,) = outcome.result.missing.values()
    assert reason == "nobody listens at 127.0.0.1:9 (cloud, http): Connection refused"
    assert "cannot measure cloud_none_tiny_rest-json_30: nobody listens" in said


def test_a_study_of_which_nothing_can_be_reached_says_so(study, bare_page):
    text = HEAD + 'targets = ["edge"]\nprotocols = ["rest-json"]\n[site.edge]\nurl = "http://127.0.0.1:9"\n'
    outcome, _ = study(text)
    assert outcome.problem.startswith("nothing could be measured: nobody listens at 127.0.0.1:9")
    assert outcome.result.cells == ()
    assert len(outcome.result.missing) == 1
    assert not journal.read(study.directory / "journal.jsonl").finished


@pytest.mark.parametrize("calibrate", ["true", "false"])
def test_a_server_that_answers_errors_only_is_missing_with_its_words(
    study, start_server, tiny_repository, calibrate, bare_page
):
    server = start_server("--repository", str(tiny_repository))
    text = (
        HEAD.replace("calibrate = false", f"calibrate = {calibrate}").replace('models = ["tiny"]', 'models = ["pets"]')
        + f'targets = ["edge"]\nprotocols = ["rest-json"]\n[site.edge]\nurl = "{server.rest_url}"\n'
    )
    outcome, _ = study(text)
    (reason,) = outcome.result.missing.values()
    assert "Servable not found for request: Latest(pets)" in reason
    assert outcome.problem.startswith("nothing could be measured: ")


def test_a_generator_that_is_too_slow_voids_its_runs_and_says_so(study, bare_page):
    text = HEAD.replace("max_lag_p99_ms = 500", "max_engine_share = 0.05\nvoid_retries = 1\nmax_lag_p99_ms = 500")
    text = text.replace("loads = [30]", "loads = [1500]") + 'targets = ["edge"]\nprotocols = ["rest-json"]\n'
    outcome, said = study(text)
    (reason,) = outcome.result.missing.values()
    assert reason.startswith("each of its 4 runs is void: ")
    assert "of its core" in reason
    assert "once more" in said
    assert outcome.result.environment["runs"] == "0 valid, 4 void"
    assert len(list((study.directory / "records").iterdir())) == 4
    assert outcome.report is not None
