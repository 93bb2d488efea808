"""A training's directory is for one process, one specification and one dataset."""

import json

import pytest

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from edgewise.train.run_directory import FINISHED, FORMAT, RunDirectory, check_new, check_same, held


@pytest.fixture
def directory(tmp_path):
    found = RunDirectory(tmp_path / "run")
    found.write({"format": FORMAT, "state": "running", "spec_digest": "s", "dataset": {"digest": "d" * 64}})
    return found


def test_second_process_is_refused(tmp_path):
    with held(tmp_path / "run") as first:
        assert first.root.is_dir()
        with pytest.raises(FailedPreconditionError, match="another process trains in"), held(tmp_path / "run"):
            pass
    with held(tmp_path / "run"):
        pass


def test_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPreconditionError, match="cannot be written to"), held(tmp_path / "file" / "run"):
        pass


def test_training_that_is_there_is_not_overwritten(directory, tmp_path):
    check_new(RunDirectory(tmp_path / "other"))
    with pytest.raises(AlreadyExistsError, match="holds a training that is running; go on with --resume"):
        check_new(directory)


def test_training_that_has_finished_is_to_be_looked_at_not_gone_on_with(directory):
    directory.write(directory.read() | {"state": FINISHED})
    with pytest.raises(AlreadyExistsError) as raised:
        check_new(directory)
    assert (
        f"holds a training that has finished, which stays as it is; look at it with `edgewise train show {directory.root}`"
        in (raised.value.message)
    )
    assert "--resume" not in raised.value.message


def test_training_goes_on_with_the_same_specification_and_dataset_only(directory, tmp_path):
    assert check_same(directory, "s", "d" * 64)["state"] == "running"
    with pytest.raises(FailedPreconditionError, match="was begun with another specification"):
        check_same(directory, "t", "d" * 64)
    with pytest.raises(FailedPreconditionError, match="on the dataset dddddddddddd, this one is eeeeeeeeeeee"):
        check_same(directory, "s", "e" * 64)
    with pytest.raises(NotFoundError, match=r"holds no run\.json"):
        check_same(RunDirectory(tmp_path / "none"), "s", "d")


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"format": "edgewise-dataset/1"})])
def test_what_is_no_description_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(FailedPreconditionError):
        RunDirectory(tmp_path).read()


def test_unfinished_training_is_not_for_reports(directory):
    with pytest.raises(FailedPreconditionError, match="has not finished; go on with: edgewise train run"):
        directory.finished()
