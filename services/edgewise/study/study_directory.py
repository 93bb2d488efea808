"""The directory of a study, and who may write it.

scenario.toml       the scenario, as it was
journal.jsonl       what has been done, a line at a time
records/            a Parquet file a run, void ones too
logs/               what the started processes wrote
summary.csv, summary.json, report.html, plots/      what came out
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from edgewise.study import journal
from edgewise.study.journal import Heading, Journal
from edgewise.study.scenario import Scenario

SCENARIO: Final = "scenario.toml"
JOURNAL: Final = "journal.jsonl"
RECORDS: Final = "records"
REPORT: Final = "report.html"
SUMMARY: Final = "summary.json"
RESERVE: Final = ".reserve"
RESERVE_BYTES: Final = 16 << 20
OURS: Final = (
    SCENARIO,
    JOURNAL,
    RECORDS,
    "logs",
    "world",
    "mlperf",
    "plots",
    "summary.csv",
    SUMMARY,
    REPORT,
    RESERVE,
)
"""What a study writes, and what --force takes away."""


@dataclass(frozen=True, slots=True)
class Taking:
    """How a directory is taken.

    Attributes:
        resume: go on with the study that is there.
        force: take what another study left away.
    """

    resume: bool = False
    force: bool = False


def take(directory: Path, scenario: Scenario, heading: Heading, how: Taking) -> Journal:
    """Make the directory this study's, or go on with what is there.

    Returns: its journal, open.
    Raises:
        AlreadyExistsError: it holds a study, or other files; the message says which words go on or begin anew.
        FailedPreconditionError: it holds another scenario's study, cannot be written, or another process writes it.
        NotFoundError: there is nothing to go on with.
    """
    there = directory / JOURNAL
    try:
        if how.resume and not how.force:
            return _resumed(directory, heading)
        directory.mkdir(parents=True, exist_ok=True)
        if there.exists() and not how.force:
            _refuse_study(directory)
        others = sorted(path.name for path in directory.iterdir() if path.name not in OURS)
        if others and not there.exists():
            raise AlreadyExistsError(
                f"{directory} holds other files, such as {others[0]}; name a directory that is empty or not there yet"
            )
        opened = Journal(there, heading)
        try:
            for name in OURS:
                if name != JOURNAL:
                    _remove(directory / name)
            (directory / SCENARIO).write_text(scenario.text, encoding="utf-8")
            (directory / RECORDS).mkdir(exist_ok=True)
            reserve(directory)
        except BaseException:
            opened.close()
            raise
    except OSError as error:
        raise FailedPreconditionError(f"{directory} cannot hold a study: {error.strerror or error}") from None
    return opened


def reserve(directory: Path) -> None:
    """Hold room on the disk for summary and report, so that a disk full of records still takes them.

    Raises: OSError: there is no room.
    """
    with (directory / RESERVE).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)


def release(directory: Path) -> None:
    """Give the reserved room back."""
    with contextlib.suppress(OSError):
        (directory / RESERVE).unlink(missing_ok=True)


def found(directory: Path) -> Path:
    """The directory of a study that is to be read.

    Raises: NotFoundError: it holds none.
    """
    if (directory / JOURNAL).is_file() or (directory / SUMMARY).is_file():
        return directory
    what = "is no directory" if not directory.is_dir() else f"holds no study: there is neither {JOURNAL} nor {SUMMARY}"
    raise NotFoundError(f"{directory} {what}; name what `edgewise study run` wrote")


def _resumed(directory: Path, heading: Heading) -> Journal:
    there = directory / JOURNAL
    if not there.exists():
        raise NotFoundError(f"there is no study in {directory} to go on with; leave --resume out to begin one")
    before = journal.read(there).heading
    if before.scenario_sha256 != heading.scenario_sha256:
        raise FailedPreconditionError(
            f"{directory} holds a study of another scenario ({before.title!r}), or the scenario was changed since; "
            f"it was begun with {directory / SCENARIO}. Begin anew with --force, or name another directory with --out"
        )
    opened = Journal(there)
    try:
        (directory / RECORDS).mkdir(exist_ok=True)
        # What a study that was killed had not finished writing.
        for partial in (directory / RECORDS).glob(".*.partial"):
            partial.unlink()
        reserve(directory)
    except BaseException:
        opened.close()
        raise
    return opened


def _refuse_study(directory: Path) -> None:
    contents = journal.read(directory / JOURNAL)
    if contents.finished:
        raise AlreadyExistsError(
            f"{directory} holds a finished study ({contents.heading.title!r}); name another directory with --out, "
            "or measure it anew with --force"
        )
    raise AlreadyExistsError(
        f"{directory} holds a study that was not finished ({contents.heading.title!r}, {len(contents.runs)} runs); "
        "go on with --resume, or begin anew with --force"
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
