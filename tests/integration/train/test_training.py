"""A training that is stopped and goes on comes to what it would have come to; a version that is made of it can be served."""

import errno
import hashlib
import json
import os
import shutil
from dataclasses import replace

import pytest

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError
from edgewise.hub.releases.version_files import version_files
from edgewise.model_server.config.model_config_file import load_model_config
from edgewise.train import checkpoints, reporting
from edgewise.train.exporting import export
from edgewise.train.settings import ALL_GROUPS, Schedule, Stage, TrainSettings
from edgewise.train.training import train
from support.drawn_dataset import write_dataset
from support.small_network import small_network
from support.training_marks import TRAINING

pytestmark = TRAINING

STAGES = (Stage(4, 0.01, Schedule.COSINE, warmup=0.5, unfreeze=ALL_GROUPS), Stage(2, 0.002, unfreeze=1))
SETTINGS = TrainSettings("small", STAGES, batch_size=8)


@pytest.fixture(scope="module", autouse=True)
def small():
    with small_network() as name:
        yield name


class StoppedError(Exception):
    """Stands for whatever ends a process."""


def stopping_after(epoch):
    return stopping_at(f"epoch {epoch}:")


def stopping_at(beginning):
    def tell(text):
        if text.startswith(beginning):
            raise StoppedError

    return tell


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    directory = tmp_path_factory.mktemp("drawn")
    write_dataset(directory)
    return directory


@pytest.fixture(scope="module")
def trained(small, drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    return train(SETTINGS, drawn, out, lambda _text: None)


def test_training_learns_and_writes_down_each_epoch(trained):
    assert trained.accuracy >= 0.5
    assert [one.stage for one in trained.epochs] == [1, 1, 1, 1, 2, 2]
    assert len((trained.out / "metrics.csv").read_text().splitlines()) == 7
    assert trained.epochs[0].loss > trained.epochs[3].loss
    assert (trained.out / "saved_model" / "saved_model.pb").is_file()
    assert not (trained.out / "cache").exists()
    assert trained.peak_memory_bytes > 1 << 20
    assert trained.images_per_s > 1


@pytest.mark.parametrize("epoch", [4, 5], ids=["at the end of a stage", "within one"])
def test_stopped_training_goes_on_to_the_same_end(trained, drawn, tmp_path, epoch):
    out = tmp_path / "run"
    with pytest.raises(StoppedError):
        train(SETTINGS, drawn, out, stopping_after(epoch))
    assert "not finished" in reporting.summary_text(out)
    said = []
    again = train(SETTINGS, drawn, out, said.append, resume=True)
    assert f"going on after epoch {epoch}" in said
    assert [one.learning_rate for one in again.epochs] == [one.learning_rate for one in trained.epochs]
    for mine, whole in zip(again.epochs, trained.epochs, strict=True):
        assert mine.loss == pytest.approx(whole.loss, rel=0.02, abs=1e-3)
        assert mine.validation_loss == pytest.approx(whole.validation_loss, rel=0.02, abs=1e-3)


def test_finished_training_is_left_as_it_is(trained, drawn, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(trained.out, out)
    shutil.rmtree(out / "checkpoints")
    before = (out / "run.json").read_bytes()
    said = []
    again = train(SETTINGS, drawn, out, said.append, resume=True)
    assert said == [f"the training in {out} has finished already"]
    assert (out / "run.json").read_bytes() == before
    assert (again.epochs, again.best_epoch, again.parameters) == (
        trained.epochs,
        trained.best_epoch,
        trained.parameters,
    )
    assert again.evaluation.shown() == trained.evaluation.shown()
    assert again.evaluation.mistakes == trained.evaluation.mistakes


@pytest.mark.parametrize("epoch", [3, 6], ids=["within a stage", "after the last epoch"])
def test_epoch_that_was_not_written_down_is_when_it_goes_on(trained, drawn, tmp_path, epoch):
    out = tmp_path / "run"
    with pytest.raises(StoppedError):
        train(SETTINGS, drawn, out, stopping_after(epoch))
    lines = (out / "metrics.csv").read_text().splitlines(keepends=True)
    assert len(lines) == 1 + epoch
    (out / "metrics.csv").write_text("".join(lines[:-1]))
    with pytest.raises(StoppedError):
        train(SETTINGS, drawn, out, stopping_at("going on after epoch"), resume=True)
    assert (out / "metrics.csv").read_text() == "".join(lines)


def test_training_that_goes_on_says_and_shows_what_it_did_before(trained, drawn, tmp_path):
    out, weights = tmp_path / "run", tmp_path / "before" / "model.keras"
    shutil.copytree(trained.out, weights.parent)
    settings = replace(SETTINGS, stages=(Stage(2, 0.01, unfreeze=ALL_GROUPS),), weights=str(weights))
    with pytest.raises(StoppedError):
        train(settings, drawn, out, stopping_after(1))
    found = json.loads((out / "run.json").read_text())
    assert found["begun_from"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    shutil.rmtree(weights.parent)
    # As when weights lay beside a run.json that is gone by now.
    found["view"]["mean"] = [10.0, 20.0, 30.0]
    (out / "run.json").write_text(json.dumps(found))
    train(settings, drawn, out, lambda _text: None, resume=True)
    again = json.loads((out / "run.json").read_text())
    assert (again["view"], again["begun_from"]) == (found["view"], found["begun_from"])


def test_full_disk_is_named_and_what_was_trained_is_kept(drawn, tmp_path, monkeypatch):
    out = tmp_path / "run"
    kept = checkpoints.np.savez
    saved = []

    def savez(file, **arrays):
        saved.append(file)
        if len(saved) == 3:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        kept(file, **arrays)

    monkeypatch.setattr(checkpoints.np, "savez", savez)
    settings = replace(SETTINGS, stages=(Stage(2, 0.01),))
    with pytest.raises(
        FailedPreconditionError, match="No space left on device; what was trained so far is kept, go on with --resume"
    ):
        train(settings, drawn, out, lambda _text: None)
    assert {path.name for path in (out / "checkpoints").iterdir()} == {"last.npz", "best-00001.npz"}
    assert len((out / "metrics.csv").read_text().splitlines()) == 2
    assert len(train(settings, drawn, out, lambda _text: None, resume=True).epochs) == 2


def test_report_draws_what_was_trained(trained):
    page = reporting.write(trained.out).read_text()
    assert "Confusion matrix" in page
    assert "<script" not in page
    names = {path.name for path in (trained.out / "plots").glob("*.png")}
    assert {"learning-rate.png", "loss.png", "accuracy.png", "confusion.png", "by-class.png"} <= names


def test_versions_agree_and_are_ready_for_a_release(trained, drawn, tmp_path):
    said = []
    done = export(
        trained.out, tmp_path, model="pets", version=3, thresholds={"dog": 0.6}, tensorflow=True, tell=said.append
    )
    assert done.difference < 1e-4
    assert "9 of 9 test pictures go along as held-out examples, of 1 source" in said
    assert done.agreement.verdict_ratio >= 0.95
    assert done.release_command.startswith(
        f"edgewise release create pets 3 --cloud {tmp_path}/cloud/pets/3 --edge {tmp_path}/edge"
    )
    facts = json.loads((tmp_path / "lineage.json").read_text())
    assert facts["lineage"]["dataset"] == json.loads((drawn / "dataset.json").read_text())["digest"]
    assert f"--lineage dataset={facts['lineage']['dataset']}" in done.release_command
    for directory in done.directories.values():
        config = load_model_config(directory)
        assert config.pipelines[0].output.labels == ("cat", "dog", "other")
        assert {group.name: group.threshold for group in config.pipelines[0].output.groups} == {"cat": 0.5, "dog": 0.6}
        assert {one.expect for one in config.golden} <= {"cat", "dog", "other"}
        assert all((directory / one.file).is_file() for one in config.golden)
        assert "model.toml" in version_files(directory)
    # Exported again, it is the same version; from another training it would be another.
    export(trained.out, tmp_path, model="pets", version=3, thresholds={"dog": 0.6}, tell=said.append)
    assert said[-1].endswith("(there already)")
    with pytest.raises(AlreadyExistsError):
        export(trained.out, tmp_path, model="pets", version=3, tell=said.append)
