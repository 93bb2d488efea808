"""What MLPerf's load generator wrote of a run, and the verdict that follows from it.

Source: MLCommons LoadGen 6.0, `loadgen/results.cc`.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import InternalError
from edgewise.study.mlperf_port import ACCURACY_FILE, DETAIL_FILE, SUMMARY_FILE, MlperfOutcome
from edgewise.study.results import MlperfVerdict

_METRICS: Final = {
    "SingleStream": ("90th percentile latency, early-stopping estimate", "ms", "early_stopping_latency_ss"),
    "MultiStream": (
        "99th percentile latency of queries of 8, early-stopping estimate",
        "ms",
        "early_stopping_latency_ms",
    ),
    # The scheduled rate was the metric until v4.0. Source: mlcommons/inference, `submission_checker`, RESULT_FIELD_NEW.
    "Server": ("completed samples per second", "samples/s", "result_completed_samples_per_sec"),
    "Offline": ("samples per second", "samples/s", "result_samples_per_second"),
}
_RATIOS: Final = {"50.00": 0.5, "90.00": 0.9, "95.00": 0.95, "97.00": 0.97, "99.00": 0.99, "99.90": 0.999}
_SHOWN_FAILURES: Final = 3
_MLLOG: Final = ":::MLLOG "


@dataclass(frozen=True, slots=True)
class Summary:
    """What loadgen's logs say of a performance run.

    Attributes:
        valid: "Result is : VALID".
        lines: from the metric to the result of early stopping, word for word.
        values: of the detail log, by key.
        errors: that it noted in the detail log.
    """

    valid: bool
    lines: tuple[str, ...]
    values: Mapping[str, Any]
    errors: tuple[str, ...]


def read_logs(directory: Path) -> Summary:
    """Read the logs of a performance run.

    Raises: InternalError: they are not there, or are no logs of a run that came to its end.
    """
    try:
        text = (directory / SUMMARY_FILE).read_text(encoding="utf-8", errors="replace")
        detail = (directory / DETAIL_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InternalError(f"loadgen left no logs in {directory.name}: {error.strerror}") from error
    lines = _verdict_lines(text)
    result = next((line for line in lines if line.startswith("Result is :")), "")
    if not result:
        raise InternalError(f"{directory.name}/{SUMMARY_FILE} has no line 'Result is : VALID' or INVALID")
    values, errors = _details(detail)
    return Summary(result.split(":", 1)[1].strip() == "VALID", lines, values, errors)


def _verdict_lines(text: str) -> tuple[str, ...]:
    """What stands between the head of a summary and its statistics."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("Mode "):
            inside = True
        elif inside and not line.strip():
            break
        elif inside:
            found.append(line.rstrip())
    return tuple(found)


def _details(text: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    values: dict[str, Any] = {}
    errors: list[str] = []
    for line in text.splitlines():
        if not line.startswith(_MLLOG):
            continue
        # What is no JSON is a value with quotation marks that loadgen did not escape; no figure is among them.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line[len(_MLLOG) :])
            if entry["metadata"]["is_error"]:
                errors.append(str(entry["value"]))
            else:
                values[entry["key"]] = entry["value"]
    return values, tuple(errors)


def read_answers(directory: Path) -> dict[int, bytes]:
    """The answers of an accuracy run, by the index of the question; of several the last.

    Raises: InternalError: there is no accuracy log.
    """
    try:
        entries = json.loads((directory / ACCURACY_FILE).read_bytes())
        return {int(entry["qsl_idx"]): bytes.fromhex(entry["data"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InternalError(f"loadgen left no accuracy log in {directory.name}: {error}") from error


def judge(verdict: MlperfVerdict, summary: Summary, outcome: MlperfOutcome) -> MlperfVerdict:
    """The verdict over a run: loadgen's own, and no failures.

    Args:
        verdict: its scenario, target and the like.
    """
    metric, unit, key = _METRICS[verdict.scenario]
    scale = 1e-6 if unit == "ms" else 1.0
    number = summary.values.get(key)
    scheduled = summary.values.get("result_scheduled_samples_per_sec")
    if scheduled is not None:
        metric = f"{metric} ({float(scheduled):.4g} scheduled)"
    # Loadgen writes 0 for an estimate that it could not make.
    value = float(number) * scale if number else math.nan
    kind = "per_query_latency" if verdict.scenario == "MultiStream" else "latency"
    latencies = {
        ratio: float(summary.values[name]) * 1e-6
        for percent, ratio in _RATIOS.items()
        if (name := f"result_{percent}_percentile_{kind}_ns") in summary.values
    }
    reasons = _reasons(summary, outcome)
    return replace(
        verdict,
        valid=not reasons,
        reasons=reasons,
        metric=metric,
        value=value,
        unit=unit,
        latencies_ms=latencies,
        queries=int(summary.values.get("result_query_count", 0)),
        samples=outcome.samples,
        failed=outcome.failed,
        duration_s=outcome.duration_s,
        lines=summary.lines,
    )


def failed_samples(outcome: MlperfOutcome) -> str:
    """How many samples failed, and why."""
    often = sorted(outcome.failures.items(), key=lambda item: -item[1])
    told = "; ".join(f"{count}: {text}" for text, count in often[:_SHOWN_FAILURES])
    others = sum(count for _, count in often[_SHOWN_FAILURES:])
    more = f"; {others}: for other reasons" if others else ""
    return f"{outcome.failed} of {outcome.samples} samples got no prediction ({told}{more})"


def _reasons(summary: Summary, outcome: MlperfOutcome) -> tuple[str, ...]:
    reasons: list[str] = []
    if outcome.failed:
        reasons.append(failed_samples(outcome))
    if not summary.valid:
        reasons += [f"loadgen: {line.strip()}" for line in summary.lines if line.endswith(": NO")]
        reasons += [f"loadgen: {line}" for line in _recommendations(summary.lines)]
        if summary.values.get("early_stopping_met") is False:
            said = str(summary.values.get("early_stopping_result", "")).replace(" * ", " ")
            reasons.append(f"loadgen: {' '.join(said.split())}")
        if not reasons:
            reasons.append("loadgen: Result is : INVALID")
    reasons += [f"loadgen noted an error: {error}" for error in summary.errors]
    return tuple(reasons)


def _recommendations(lines: Sequence[str]) -> Iterable[str]:
    after = iter(lines)
    for line in after:
        if line.startswith("Recommendations"):
            break
    for line in after:
        if not line.startswith((" ", "*")):
            break
        yield line.strip().removeprefix("* ")
