"""Whose a study directory is, and what --resume and --force may do with it."""

import errno
import os

import pytest

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from edgewise.study import journal, study_directory
from edgewise.study.cells import Cell
from edgewise.study.journal import Heading
from edgewise.study.scenario import GatewaySpec, Inputs, RunSettings, Scenario, Sweep
from edgewise.study.study_directory import RESERVE, Taking, found, release, take


def scenario(text="one"):
    return Scenario("a study", 1, text, RunSettings(), (), (), GatewaySpec(), Inputs(None), Sweep((), (), (), (), ()))


def heading(text="one"):
    return Heading("a study", 1, journal.digest(text), (Cell("edge", "", "m", "rest-json", 1.0, 1.0),))


def taken(directory, text="one", **how):
    take(directory, scenario(text), heading(text), Taking(**how)).close()


def finished(directory):
    with take(directory, scenario(), heading(), Taking()) as opened:
        opened.finished()


def test_a_new_directory_has_the_scenario_and_room_for_the_report(tmp_path):
    directory = tmp_path / "a" / "b"
    taken(directory)
    assert (directory / "scenario.toml").read_text() == "one"
    assert (directory / RESERVE).stat().st_blocks * 512 >= study_directory.RESERVE_BYTES
    release(directory)
    assert sorted(path.name for path in directory.iterdir()) == ["journal.jsonl", "records", "scenario.toml"]
    release(directory)


def test_an_unfinished_study_is_neither_overwritten_nor_silently_gone_on_with(tmp_path):
    taken(tmp_path)
    with pytest.raises(AlreadyExistsError, match=r"not finished .* --resume, or begin anew with --force"):
        taken(tmp_path)
    assert (tmp_path / "journal.jsonl").exists()


def test_a_finished_study_is_not_overwritten(tmp_path):
    finished(tmp_path)
    with pytest.raises(AlreadyExistsError, match=r"finished study .*--out, or measure it anew with --force"):
        taken(tmp_path)
    with pytest.raises(AlreadyExistsError):
        taken(tmp_path, "another scenario")


def test_force_takes_away_what_the_study_wrote_and_nothing_else(tmp_path):
    finished(tmp_path)
    (tmp_path / "records" / "old.parquet").write_bytes(b"")
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "plots").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    taken(tmp_path, "two", force=True)
    assert list((tmp_path / "records").iterdir()) == []
    assert not (tmp_path / "report.html").exists()
    assert not (tmp_path / "plots").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "scenario.toml").read_text() == "two"
    assert not journal.read(tmp_path / "journal.jsonl").finished


def test_force_leaves_what_another_process_writes(tmp_path):
    with take(tmp_path, scenario(), heading(), Taking()):
        (tmp_path / "records" / "one.parquet").write_bytes(b"")
        with pytest.raises(FailedPreconditionError, match="another study writes"):
            taken(tmp_path, force=True)
        assert (tmp_path / "records" / "one.parquet").exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_directory_of_other_things_is_left_alone(tmp_path, force):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(AlreadyExistsError, match="holds other files, such as thesis.tex"):
        taken(tmp_path, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_only_the_same_scenario_goes_on(tmp_path):
    taken(tmp_path)
    taken(tmp_path, resume=True)
    before = (tmp_path / "journal.jsonl").read_bytes()
    with pytest.raises(FailedPreconditionError, match=r"another scenario .* was changed since"):
        taken(tmp_path, "two", resume=True)
    assert (tmp_path / "journal.jsonl").read_bytes() == before


def test_what_a_killed_study_had_half_written_is_taken_away(tmp_path):
    taken(tmp_path)
    (tmp_path / "records" / ".a_r0.parquet.77.partial").write_bytes(b"half")
    (tmp_path / "records" / "b_r0.parquet").write_bytes(b"whole")
    taken(tmp_path, resume=True)
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["b_r0.parquet"]


def test_there_has_to_be_something_to_go_on_with(tmp_path):
    with pytest.raises(NotFoundError, match="leave --resume out"):
        taken(tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


def test_a_damaged_journal_is_not_gone_on_with(tmp_path):
    (tmp_path / "journal.jsonl").write_text("what?\n")
    for how in ({"resume": True}, {}):
        with pytest.raises(FailedPreconditionError, match="measure anew with --force|Measure anew with --force"):
            taken(tmp_path, **how)
    taken(tmp_path, force=True)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPreconditionError, match="cannot hold a study: Not a directory|File exists"):
        taken(tmp_path / "file" / "study")


def test_a_disk_without_room_for_the_report_is_told_before_anything_is_measured(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(FailedPreconditionError, match="cannot hold a study: No space left"):
        taken(tmp_path / "study")


def test_what_holds_no_study_is_told(tmp_path):
    with pytest.raises(NotFoundError, match="holds no study"):
        found(tmp_path)
    with pytest.raises(NotFoundError, match="is no directory"):
        found(tmp_path / "none")
    finished(tmp_path)
    assert found(tmp_path) == tmp_path
