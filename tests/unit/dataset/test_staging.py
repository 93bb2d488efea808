from pathlib import Path

import pytest

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError
from edgewise.dataset.staging import staged


def test_a_directory_is_there_when_all_of_it_is(tmp_path):
    with staged(tmp_path / "deep" / "out", "dataset") as stage:
        (stage / "a").write_text("x")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "a").read_text() == "x"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_nothing_is_left_of_what_failed(tmp_path):
    def fail():
        with staged(tmp_path / "out", "dataset") as stage:
            (stage / "a").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_called_so(tmp_path):
    def fill():
        with staged(tmp_path / "out", "dataset") as stage:
            (stage / "a").write_text("x")
            Path("/dev/full").write_bytes(b"x" * 10_000)

    with pytest.raises(FailedPreconditionError) as caught:
        fill()
    assert caught.value.message == (
        f"the disk is full: there is no room for the dataset {tmp_path}/out; nothing of it is left. Free some room, or name a directory "
        "on another disk"
    )
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_taken_away(tmp_path):
    left = tmp_path / ".out.building"
    (left / "train").mkdir(parents=True)
    (left / "train" / "half.jpg").write_bytes(b"x")
    with staged(tmp_path / "out", "dataset") as stage:
        (stage / "a").write_text("x")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_two_do_not_make_the_same(tmp_path):
    with staged(tmp_path / "out", "dataset") as stage:
        (stage / "a").write_text("x")
        with (
            pytest.raises(FailedPreconditionError, match="another process makes .*out at this moment"),
            staged(tmp_path / "out", "dataset"),
        ):
            pytest.fail("it was not the only one")
    assert (tmp_path / "out" / "a").exists()


def test_a_place_that_is_taken_or_not_to_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(AlreadyExistsError, match="is there already"), staged(tmp_path / "file", "dataset"):
        pytest.fail("it was free")
    with (
        pytest.raises(FailedPreconditionError, match="cannot be written: .*file is no directory"),
        staged(tmp_path / "file" / "out", "dataset"),
    ):
        pytest.fail("it could be written")


def test_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    with staged(tmp_path / "out", "dataset") as stage:
        (stage / "a").write_text("x")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
