"""Comparisons of networks over real servers, with training laid there at once."""

import csv
import io
import json
import os
import signal
import threading

import pytest

from edgewise.cli.study import _profiles
from edgewise.cli.study_networks import _draw
from edgewise.core.errors import AlreadyExistsError, CancelledError, FailedPreconditionError
from edgewise.study.study_directory import Taking
from edgewise.train.networks_study import report, runner, scenario
from edgewise.train.networks_study.steps import run_command
from support.networks_world import SCENARIO, Trainer


@pytest.fixture
def study(tmp_path):
    """Runs a scenario in one directory; gives the outcome, and what was said on the way."""

    def run(trainer, text=SCENARIO, **how):
        path = tmp_path / "scenario.toml"
        path.write_text(text)
        found = scenario.load(path, _profiles())
        said = io.StringIO()
        words = {"profiles": _profiles(), "draw": _draw, "stream": said, "command": trainer}
        outcome = runner.run(found, tmp_path / "study", how=Taking(**how), **words)
        return outcome, said.getvalue()

    run.directory = tmp_path / "study"
    return run


@pytest.fixture
def bare_page(monkeypatch):
    """A page without plots, for those that are looked at in their result."""

    def write(root, result):
        page = root / "report.html"
        page.write_text(report.text(result))
        return page

    monkeypatch.setattr(report, "write", write)


def test_a_comparison_comes_to_its_report_and_a_network_that_fails_is_missing_alone(study, request):
    trainer = Trainer(failing=("resnet-50",))
    outcome, said = study(trainer)
    assert (outcome.problem, outcome.stopped_by) == ("", 0)
    assert trainer.asked == [("run", "alexnet"), ("export", "alexnet"), ("run", "resnet-50")]
    result = outcome.result
    assert {one.form for one in result.versions} == {"float32", "int8"}
    for one in result.versions:
        assert one.network == "alexnet"
        assert 0 < one.memory_bytes <= one.peak_bytes
        assert 10_000 < one.size_bytes < 20_000
        assert one.ready_s > 0
    assert len(result.asked.cells) == 2
    assert all(one.counts["ok"] == one.requests > 0 for one in result.asked.cells)
    assert result.synthetic
    assert result.missing["training resnet-50"].endswith("no number any more")
    assert result.missing["export resnet-50"] == "it needs training resnet-50, which could not be done"
    assert "left: training alexnet" in said

    root = study.directory
    page = outcome.report.read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "drawn by a program" in page
    for name in ("latency", "size-and-memory", "training", "curves"):
        assert (root / "plots" / f"{name}.png").stat().st_size > 5_000
    assert json.loads((root / "summary.json").read_text())["networks"]["title"] == "two networks"
    rows = list(csv.DictReader(io.StringIO((root / "summary.csv").read_text())))
    assert {(row["network"], row["format"], row["target"], row["profile"]) for row in rows} == {
        ("alexnet", form, "edge", "") for form in ("float32", "int8")
    }
    assert all(float(row["p50_ms"]) > 0 for row in rows)

    with pytest.raises(AlreadyExistsError, match="holds a finished study"):
        study(trainer)
    with pytest.raises(FailedPreconditionError, match="of another scenario"):
        study(trainer, SCENARIO + "\n", resume=True)

    # What failed is tried again, what is done is not.
    again = Trainer()
    request.getfixturevalue("bare_page")
    outcome, said = study(again, resume=True)
    assert again.asked == [("run", "resnet-50"), ("export", "resnet-50")]
    assert "4 steps are there" in said or "5 steps are there" in said
    assert outcome.result.missing == {}
    assert len(outcome.result.asked.cells) == 4
    assert repr(runner.rebuilt(root, _profiles()).result) == repr(outcome.result)


def test_a_signal_keeps_what_is_done(study, bare_page):
    def kill(words):
        if "resnet-50" in str(words):
            os.kill(os.getpid(), signal.SIGTERM)

    outcome, said = study(Trainer(at=kill))
    assert outcome.stopped_by == signal.SIGTERM
    assert outcome.problem == "it was stopped"
    assert "what was measured is kept" in said
    assert [one.network for one in outcome.result.trainings] == ["alexnet", "resnet-50"]
    assert outcome.result.asked is None
    assert outcome.report.is_file()


def test_a_full_disk_ends_it_with_a_word(study, bare_page):
    def full(_words):
        raise OSError(28, "No space left on device", "versions/alexnet")

    outcome, _ = study(Trainer(at=full))
    assert outcome.problem == "versions/alexnet cannot be written: No space left on device; what is done is kept"
    assert outcome.report.is_file()


def test_a_command_that_fails_is_quoted(tmp_path):
    told = []
    with pytest.raises(FailedPreconditionError) as caught:
        run_command(tmp_path / "log", ["train", "show", str(tmp_path / "none")], told.append, threading.Event())
    assert "`edgewise train show` ended with exit code 1: " in caught.value.message
    assert "holds no run.json" in caught.value.message


def test_a_command_ends_when_the_study_is_stopped(tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        run_command(tmp_path / "log", ["link", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:9"], str, stop)
