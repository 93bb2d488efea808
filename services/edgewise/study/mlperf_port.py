"""What the process with MLPerf's load generator is told and what it gives back: the port between `mlperf` and `mlperf_loadgen`."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from edgewise.study.engine.job import Asking, Question

SCENARIOS: Final = ("SingleStream", "MultiStream", "Server", "Offline")

SUMMARY_FILE: Final = "mlperf_log_summary.txt"
DETAIL_FILE: Final = "mlperf_log_detail.txt"
ACCURACY_FILE: Final = "mlperf_log_accuracy.json"

Ending = Literal["run", "no-loadgen", "no-predictions", "bad-settings"]
"""How it went: loadgen ran to its end; it is not installed; the target gave no prediction before the run; loadgen does not
take the settings."""


@dataclass(frozen=True, slots=True)
class MlperfJob:
    """One run for loadgen.

    Attributes:
        scenario: one of `SCENARIOS`.
        accuracy: loadgen's AccuracyOnly: each question once, the answers in its accuracy log; else PerformanceOnly.
        asking: who is asked, and the query sample library.
        directory: for loadgen's logs; it is there.
        name: of the system under test, behind "Network SUT".
        target_qps, target_latency_ms: of Server.
        min_duration_s, min_queries: what loadgen demands at least.
        timeout_s: for one sample, from when it is sent.
        window: samples in flight at once; further ones wait, and their latency counts on.
        patience: a run may take this many times as long as it has to, then what is unanswered is given up.
    """

    scenario: str
    accuracy: bool
    asking: Asking
    directory: str
    name: str
    target_qps: float
    target_latency_ms: float
    min_duration_s: float
    min_queries: int
    timeout_s: float
    window: int
    patience: float = 3.0


@dataclass(frozen=True, slots=True)
class MlperfOutcome:
    """What became of a job, beside loadgen's logs.

    Attributes:
        problem: why there was no run; "" when there was.
        samples, failed: asked during the run, and those that got no prediction.
        failures: distinct texts of why, with counts.
        duration_s: from the first query to the last answer.
        lone_ms: the quickest answer to a lone request before the run.
    """

    ending: Ending
    problem: str = ""
    samples: int = 0
    failed: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    duration_s: float = 0.0
    lone_ms: float = 0.0


def encode_job(job: MlperfJob) -> bytes:
    """A job as JSON; bodies in base64."""
    asking = job.asking
    questions = [
        {"body": base64.b64encode(one.body).decode("ascii"), "label": one.label, "source": one.source}
        for one in asking.questions
    ]
    shallow = {name: getattr(job, name) for name in job.__dataclass_fields__ if name != "asking"}
    told = {name: getattr(asking, name) for name in asking.__dataclass_fields__ if name != "questions"}
    return json.dumps({**shallow, "asking": {**told, "questions": questions}}).encode()


def decode_job(text: bytes) -> MlperfJob:
    """The inverse of `encode_job`.

    Raises: ValueError: it is not such a text.
    """
    try:
        fields: dict[str, Any] = json.loads(text)
        asking: dict[str, Any] = fields.pop("asking")
        questions = [
            Question(base64.b64decode(one["body"], validate=True), one["label"], one["source"])
            for one in asking.pop("questions")
        ]
        headers = [(name, value) for name, value in asking.pop("headers")]
        return MlperfJob(**fields, asking=Asking(**asking, questions=questions, headers=headers))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"that is no job of MLPerf's load generator: {error!r}") from error


def encode_outcome(outcome: MlperfOutcome) -> bytes:
    """An outcome as JSON on one line."""
    return json.dumps({"outcome": asdict(outcome)}).encode() + b"\n"


def encode_limit(limit_s: float) -> bytes:
    """What is said before a run: how long it takes at most; JSON on one line."""
    return json.dumps({"limit_s": limit_s}).encode() + b"\n"


def decode_line(line: bytes) -> MlperfOutcome | float:
    """An outcome, or the seconds that the run takes at most.

    Raises: ValueError: it is neither.
    """
    try:
        said: dict[str, Any] = json.loads(line)
        if "limit_s" in said:
            return float(said["limit_s"])
        return replace(MlperfOutcome("run"), **said["outcome"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"that is no line of MLPerf's load generator: {line[:200]!r}") from error
