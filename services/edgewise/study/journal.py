"""journal.jsonl: what a study has done so far, a line at a time, each on the disk before the study goes on.

The first line says which study it is; a study that was killed goes on from what the lines say. A last line without its end was being
written when the study died, and never happened.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from edgewise.core.errors import FailedPreconditionError
from edgewise.study.cells import Cell, Run
from edgewise.study.engine.job import Question
from edgewise.study.results import Calibration, MlperfVerdict, NetworkProfile, RunResult

FORMAT: Final = 1
_Kind = TypeVar("_Kind", Calibration, MlperfVerdict, RunResult)
_BY_RATIO: Final = frozenset({"quantiles_ms", "latencies_ms"})


@dataclass(frozen=True, slots=True)
class Heading:
    """Which study a journal is of: what its report needs beside what was measured.

    Attributes:
        scenario_sha256: of the scenario's text.
        duration_s, repeats, arrival_scv: of the runs as planned: how long, how many of each cell, and the squared coefficient of
            variation of the gaps between requests.
        route: of the gateway.
        settings: how runs are measured, for people, in the order in which it is shown.
        cells: all that were planned, in their order.
        profiles, prices, outages, environment: as in `StudyResult`.
    """

    title: str
    seed: int
    scenario_sha256: str
    cells: tuple[Cell, ...]
    duration_s: float = 0.0
    repeats: int = 1
    arrival_scv: float = 1.0
    route: str = "prefer-cloud"
    settings: Mapping[str, str] = field(default_factory=dict)
    profiles: Mapping[str, NetworkProfile] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    outages: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run that has ended.

    Attributes:
        file: of its records, relative to the study directory.
        attempt: from 0; a void run is tried again.
        warmup_s: of this run.
    """

    result: RunResult
    file: str
    attempt: int
    warmup_s: float


@dataclass(slots=True)
class Contents:
    """What a journal says.

    Attributes:
        missing: reasons by the name of the cell; of the last session that tried.
        questions: source and label of each question, by model and protocol.
        sessions: how often the study was begun or gone on with.
        notes: for people: what was learned about the measuring, by name; the last session's.
        finished: it came to its end.
    """

    heading: Heading
    runs: list[RunLine] = field(default_factory=list)
    calibrations: list[Calibration] = field(default_factory=list)
    mlperf: list[MlperfVerdict] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    questions: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)
    sessions: int = 1
    finished: bool = False


class Journal:
    """Appends lines; a context manager that holds the file, which no second study can then write.

    Args:
        path: of the file.
        heading: begins a new one; None goes on with the one that is there.

    Attributes:
        contents: all that the file says, kept up to date.
    Raises:
        FailedPreconditionError: another process writes it, or it cannot be read as a journal.
        OSError: the disk is full, or the directory cannot be written.
    """

    def __init__(self, path: Path, heading: Heading | None = None) -> None:
        self._path = path
        # Without a buffer, since one would keep what a full disk refused and write it later.
        self._file = path.open("ab", buffering=0)
        try:
            self._lock()
            if heading is not None:
                self.contents = Contents(heading)
                self._file.truncate(0)
                self._append("study", {"format": FORMAT, **_plain(heading)})
                return
            self.contents, whole_bytes = _read(path)
            # What a killed study left half written would spoil the next line.
            self._file.truncate(whole_bytes)
            self._append("resumed", {})
            _take(self.contents, "resumed", {})
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def run(self, line: RunLine) -> None:
        """Note a run that has ended."""
        self._append("run", _plain(line))
        self.contents.runs.append(line)

    def calibration(self, found: Calibration) -> None:
        """Note a calibration."""
        self._append("calibration", _plain(found))
        self.contents.calibrations.append(found)

    def mlperf(self, verdict: MlperfVerdict) -> None:
        """Note a verdict of MLPerf's load generator."""
        self._append("mlperf", _plain(verdict))
        self.contents.mlperf.append(verdict)

    def missing(self, cell: str, reason: str) -> None:
        """Note that a cell is not measured, and why."""
        self.contents.missing[cell] = reason
        self._append("missing", {"cell": cell, "reason": reason})

    def questions(self, model: str, protocol: str, asked: Sequence[Question]) -> None:
        """Note what a model is asked in a protocol, unless that was noted before."""
        if (model, protocol) not in self.contents.questions:
            listed = [(one.source, one.label) for one in asked]
            self._append("questions", {"model": model, "protocol": protocol, "asked": listed})
            self.contents.questions[model, protocol] = listed

    def note(self, name: str, text: str) -> None:
        """Note something about the measuring, for people."""
        if self.contents.notes.get(name) != text:
            self._append("note", {"name": name, "text": text})
            self.contents.notes[name] = text

    def finished(self) -> None:
        """Note that the study came to its end."""
        self._append("finished", {})
        self.contents.finished = True

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FailedPreconditionError(
                f"another study writes {self._path.parent}; wait for its end, or name another directory with --out"
            ) from None

    def _append(self, kind: str, said: Mapping[str, Any]) -> None:
        line = json.dumps({"kind": kind, **said}, ensure_ascii=False, separators=(",", ":")) + "\n"
        begin = self._file.seek(0, os.SEEK_END)
        try:
            left = memoryview(line.encode())
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError:
            # Half a line in the middle would make the journal unreadable.
            with contextlib.suppress(OSError):
                self._file.truncate(begin)
            raise


def read(path: Path) -> Contents:
    """What a journal says, without touching it.

    Raises: FailedPreconditionError: it cannot be read, or is none.
    """
    return _read(path)[0]


def digest(text: str) -> str:
    """By which a scenario is told from another."""
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> tuple[Contents, int]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FailedPreconditionError(f"{path} cannot be read: {error.strerror}") from None
    whole = content[: content.rfind(b"\n") + 1]
    contents: Contents | None = None
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            said = json.loads(line)
            kind = said.pop("kind")
            if kind == "study":
                if said.pop("format") != FORMAT:
                    raise FailedPreconditionError(
                        f"{path} is of another version of Edgewise; measure anew with --force"
                    )
                contents = Contents(_heading(said))
            elif contents is None:
                raise ValueError(kind)
            else:
                _take(contents, kind, said)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise FailedPreconditionError(
                f"{path}: line {number} is no line of a journal; it was written over. Measure anew with --force"
            ) from None
    if contents is None:
        raise FailedPreconditionError(f"{path} holds no study; measure anew with --force")
    return contents, len(whole)


def _take(contents: Contents, kind: str, said: dict[str, Any]) -> None:
    match kind:
        case "run":
            contents.runs.append(RunLine(**{**said, "result": _run_result(said["result"])}))
        case "calibration":
            contents.calibrations.append(_built(Calibration, said))
        case "mlperf":
            contents.mlperf.append(_built(MlperfVerdict, said))
        case "missing":
            contents.missing[said["cell"]] = said["reason"]
        case "questions":
            listed = [(str(source), str(label)) for source, label in said["asked"]]
            contents.questions[said["model"], said["protocol"]] = listed
        case "note":
            contents.notes[said["name"]] = said["text"]
        case "resumed":
            contents.sessions += 1
            contents.finished = False
            contents.missing.clear()
            contents.notes.clear()
        case "finished":
            contents.finished = True
        case _:
            raise ValueError(kind)


def _heading(said: dict[str, Any]) -> Heading:
    profiles = {name: NetworkProfile(**values) for name, values in said["profiles"].items()}
    cells = tuple(Cell(**values) for values in said["cells"])
    return Heading(**{**said, "profiles": profiles, "cells": cells})


def _run_result(said: dict[str, Any]) -> RunResult:
    run = said["run"]
    return _built(RunResult, {**said, "run": Run(Cell(**run["cell"]), run["repeat"], run["seed"])})


def _plain(value: Any) -> dict[str, Any]:
    """As JSON takes it."""
    return {key: _plain_keys(one) for key, one in asdict(value).items()}


def _plain_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain_keys(one) for key, one in value.items()}
    return [_plain_keys(one) for one in value] if isinstance(value, (list, tuple)) else value


def _built(kind: type[_Kind], said: Mapping[str, Any]) -> _Kind:
    """A dataclass again: lists are tuples, and ratios numbers."""
    words: dict[str, Any] = {}
    for one in fields(kind):
        if one.name not in said:
            continue
        value = said[one.name]
        if one.name in _BY_RATIO:
            value = {float(key): number for key, number in value.items()}
        words[one.name] = tuple(value) if isinstance(value, list) else value
    return kind(**words)
