"""MLPerf's four scenarios, run by MLCommons' own load generator against a model server or gateway over the network.

Loadgen decides what is asked when, when there has been enough of it, and whether the run is valid; here its process is
started, bounded in time, and what it wrote is read. What loadgen cannot know is added: that requests failed.

Source: MLPerf Inference Rules, "Scenarios", "Early Stopping Criterion"; MLCommons LoadGen 6.0, `loadgen/results.cc`.
"""

import math
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Final

from edgewise.core.errors import (
    CancelledError,
    DeadlineExceededError,
    EdgewiseError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    UnavailableError,
)
from edgewise.study import planning
from edgewise.study.cells import Cell
from edgewise.study.engine.job import Asking
from edgewise.study.mlperf_logs import failed_samples, judge, read_answers, read_logs
from edgewise.study.mlperf_port import (
    ACCURACY_FILE,
    DETAIL_FILE,
    SCENARIOS,
    SUMMARY_FILE,
    MlperfJob,
    MlperfOutcome,
    decode_line,
    encode_job,
)
from edgewise.study.results import MlperfVerdict
from edgewise.study.scenario import MlperfSpec, Scenario

Right = Callable[[int, bytes], bool | None]
"""Whether an answer to a question, given by its index, is right; None when nobody knows."""

LEAST_QUERIES: Final = {"SingleStream": 64, "MultiStream": 662, "Server": 459, "Offline": 1}
"""Below this many queries early stopping cannot be satisfied: the smallest n with P(at most t of n over the latency) <= 1 %
when a share p is within it; t = 1 for the estimates (p = 0.9; p = 0.99), t = 0 for Server (p = 0.99).

Source: MLPerf Inference Rules, appendix "Early Stopping Criterion", tolerance 0, confidence 0.99."""

_WINDOWS: Final = {"SingleStream": 1, "MultiStream": 8, "Server": 256, "Offline": 32}
"""Samples in flight at once."""

_START_S: Final = 60.0
_GRACE_S: Final = 15.0
_POLL_S: Final = 0.25


# --- one run ---


def run(
    name: str,
    cell: Cell,
    asking: Asking,
    spec: MlperfSpec,
    directory: Path,
    *,
    timeout_s: float = 5.0,
    right: Right | None = None,
    window: int | None = None,
    stop: threading.Event | None = None,
) -> MlperfVerdict:
    """Run one of MLPerf's scenarios: for performance, and for accuracy as well where right answers are known.

    Args:
        name: one of `SCENARIOS`.
        cell: what is asked; for the verdict, and for the name of the logs' directory.
        asking: with host and port.
        spec: what loadgen is to demand.
        directory: of the study; logs go to `mlperf/` in it.
        timeout_s: for one sample.
        right: tells whether an answer is right; used where questions have labels.
        window: samples in flight at once; None for what suits the scenario.
        stop: when set, the run is given up.
    Returns: the verdict, valid or not.
    Raises:
        InvalidArgumentError: the settings are impossible.
        UnavailableError: the target gave no prediction, so that there was nothing to run.
        FailedPreconditionError: loadgen is not installed.
        DeadlineExceededError: loadgen did not come to its end, and was ended.
        CancelledError: it was stopped.
        InternalError: loadgen crashed.
    """
    _check(name, asking, spec, timeout_s)
    logs = Path("mlperf") / _file_name(name, cell)
    job = MlperfJob(
        scenario=name,
        accuracy=False,
        asking=asking,
        directory=str(_made(directory / logs / "performance")),
        name=f"{cell.model} at {cell.target} over {cell.protocol}",
        target_qps=spec.target_qps,
        target_latency_ms=spec.target_latency_ms,
        min_duration_s=spec.min_duration_s,
        min_queries=spec.min_queries,
        timeout_s=timeout_s,
        window=window if window is not None else _WINDOWS[name],
    )
    outcome = _in_a_process(job, stop)
    verdict = replace(_verdict(name, cell), directory=str(logs))
    verdict = judge(verdict, read_logs(Path(job.directory)), outcome)
    if right is None or not any(question.label for question in asking.questions):
        return verdict
    job = replace(job, accuracy=True, directory=str(_made(directory / logs / "accuracy")))
    try:
        outcome = _in_a_process(job, stop)
        answers = read_answers(Path(job.directory))
    except CancelledError:
        raise
    except EdgewiseError as error:
        # What was measured before is kept.
        return _spoiled(verdict, f"accuracy: {error.message}")
    return _with_accuracy(verdict, answers, outcome, right)


def _with_accuracy(
    verdict: MlperfVerdict, answers: Mapping[int, bytes], outcome: MlperfOutcome, right: Right
) -> MlperfVerdict:
    known = [found for index, body in answers.items() if (found := right(index, body)) is not None]
    verdict = replace(verdict, accuracy=sum(known) / len(known) if known else math.nan, labelled=len(known))
    if outcome.failed:
        # They are in the log with no bytes, and count as wrong where the label is known.
        return _spoiled(verdict, f"accuracy: {failed_samples(outcome)}")
    return verdict


def _spoiled(verdict: MlperfVerdict, reason: str) -> MlperfVerdict:
    return replace(verdict, valid=False, reasons=(*verdict.reasons, reason))


def _check(name: str, asking: Asking, spec: MlperfSpec, timeout_s: float) -> None:
    if name not in SCENARIOS:
        raise InvalidArgumentError(f"MLPerf has no scenario {name!r}; it has {', '.join(SCENARIOS)}")
    if not asking.questions:
        raise InvalidArgumentError("MLPerf's load generator needs at least one question to ask")
    for key, value in (
        ("target_latency_ms", spec.target_latency_ms),
        ("target_qps", spec.target_qps),
        ("min_duration_s", spec.min_duration_s),
        ("min_queries", spec.min_queries),
        ("timeout_s", timeout_s),
    ):
        if not 0 < value < math.inf:
            raise InvalidArgumentError(f"{key} is {value:g}; it has to be above 0")


def _file_name(name: str, cell: Cell) -> str:
    return "_".join(word for word in (cell.target, cell.profile, cell.model, cell.protocol, name) if word)


def _made(directory: Path) -> Path:
    """An empty place for logs: those of an earlier run must not be taken for this one's."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in (SUMMARY_FILE, DETAIL_FILE, ACCURACY_FILE):
        (directory / file).unlink(missing_ok=True)
    return directory.resolve()


# --- its process ---


def _in_a_process(job: MlperfJob, stop: threading.Event | None) -> MlperfOutcome:
    errors = Path(job.directory) / "loadgen_stderr.txt"
    with tempfile.TemporaryFile() as told, errors.open("wb") as sink:
        told.write(encode_job(job))
        told.flush()
        process = subprocess.Popen(  # noqa: S603 - it is this very package
            [sys.executable, "-m", "edgewise.study.mlperf_loadgen", str(told.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            pass_fds=(told.fileno(),),
            # Ctrl-C is for who asked for the run; the process ends with it.
            start_new_session=True,
        )
        try:
            outcome = _followed(process, job, stop)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
    if isinstance(outcome, int):
        raise InternalError(
            f"MLPerf's load generator ended with code {outcome} amid {job.scenario}: {_last_line(errors)}"
        )
    if not errors.stat().st_size:
        errors.unlink()
    if outcome.ending == "no-predictions":
        raise UnavailableError(
            f"{job.name} ({job.asking.host}:{job.asking.port}) gave no prediction before {job.scenario}: {outcome.problem}"
        )
    if outcome.ending == "no-loadgen":
        raise FailedPreconditionError(
            f"MLPerf's load generator cannot be used ({outcome.problem}): install edgewise with the extra `study`"
        )
    if outcome.ending == "bad-settings":
        raise InvalidArgumentError(outcome.problem)
    return outcome


def _followed(process: "subprocess.Popen[bytes]", job: MlperfJob, stop: threading.Event | None) -> MlperfOutcome | int:
    """The outcome, or the code that the process ended with before it told one."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    pipe = process.stdout.fileno()
    # A look before the run asks at most a dozen times, one after another.
    end_s = monotonic() + _START_S + 12 * job.timeout_s
    said = b""
    while True:
        if _is_set(stop):
            raise CancelledError(f"{job.scenario} of {job.name} was stopped")
        left_s = end_s - monotonic()
        if left_s <= 0:
            raise DeadlineExceededError(
                f"MLPerf's load generator did not come to the end of {job.scenario} of {job.name} in time, and was ended"
            )
        readable, _, _ = select.select([pipe], [], [], min(left_s, _POLL_S))
        if not readable:
            continue
        chunk = os.read(pipe, 65536)
        if not chunk:
            try:
                return process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                raise DeadlineExceededError(f"MLPerf's load generator hung at the end of {job.scenario}") from None
        said += chunk
        while b"\n" in said:
            line, said = said.split(b"\n", 1)
            word = decode_line(line)
            if isinstance(word, MlperfOutcome):
                return word
            end_s = monotonic() + word + job.timeout_s + _GRACE_S


def _last_line(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


# --- what is run ---


def cells(scenario: Scenario) -> tuple[Cell, ...]:
    """What is asked: each target and model of the sweep once, over the first protocol and profile, without outages."""
    first: dict[tuple[str, str], Cell] = {}
    for cell in planning.cells(scenario):
        first.setdefault((cell.model, cell.target), replace(cell, outage=""))
    return tuple(sorted(first.values(), key=lambda cell: (cell.model, cell.target)))


def _verdict(name: str, cell: Cell) -> MlperfVerdict:
    return MlperfVerdict(name, cell.target, cell.profile, cell.model, cell.protocol, valid=False)


def _is_set(stop: threading.Event | None) -> bool:
    return stop is not None and stop.is_set()


# --- for people ---


def in_a_line(verdict: MlperfVerdict) -> str:
    """A verdict in a line: the result, the metric, and why it is not valid."""
    result = "VALID" if verdict.valid else "INVALID"
    figure = "" if math.isnan(verdict.value) else f", {verdict.metric} {verdict.value:.4g} {verdict.unit}"
    p99 = verdict.latencies_ms.get(0.99)
    tail = f", p99 {p99:.4g} ms" if verdict.scenario == "Server" and p99 is not None else ""
    right = "" if math.isnan(verdict.accuracy) else f", accuracy {verdict.accuracy:.4f} of {verdict.labelled}"
    why = f": {verdict.reasons[0]}" if verdict.reasons else ""
    return f"{result}{figure}{tail}{right}{why}"
