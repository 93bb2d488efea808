"""What the engine is told and what it gives back: the port between who plans a run and who sends it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray


class State(IntEnum):
    """How a request ended; each ends in exactly one."""

    OK = 0
    """A prediction came."""
    REJECTED = 1
    """The server answered that it would not: 429, 503, RESOURCE_EXHAUSTED, UNAVAILABLE."""
    EXPIRED = 2
    """The server answered that the deadline was over: 504, DEADLINE_EXCEEDED."""
    ERROR = 3
    """Any other answer."""
    LOST = 4
    """No answer within the timeout, or the connection broke or could not be made."""
    UNSENT = 5
    """The run was stopped before it was due."""


OTHER_ANSWER: Final = 0xFFFF
"""The index of an answer that found no room in the table of distinct ones, or of no answer at all."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request as it goes on the wire.

    Attributes:
        body: of the HTTP request, or the gRPC message (without its five-byte prefix).
        label: what the right answer is, "" when nobody knows.
        source: which input it was made of, for people.
    """

    body: bytes
    label: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Asking:
    """How the questions of one run are asked.

    Attributes:
        transport: "http" or "grpc".
        host, port: the target.
        path: the URL path with its query, or the gRPC method, such as "/inference.GRPCInferenceService/ModelInfer".
        headers: of each request, names in lower case (gRPC: metadata); without host, content-length, content-type.
        content_type: of the body; unused by gRPC.
    """

    transport: Literal["http", "grpc"]
    host: str
    port: int
    path: str
    questions: Sequence[Question]
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One run for the engine.

    Attributes:
        due_ns: int64 [n], rising: when each request is due, in nanoseconds after the start.
        question_index: uint16 [n]: which question each asks.
        timeout_s: the asker's patience, from the due time.
        deadline_ms: sent as `x-edgewise-deadline-ms` over HTTP and as the call's deadline over gRPC; 0 for none.
        max_connections: at once; a request that finds them all busy waits for one (its latency counts from its due time).
            Over gRPC, where one connection carries many calls: calls at once.
        cpus: the cores that the engine may use; empty for all.
    """

    asking: Asking
    due_ns: NDArray[np.int64]
    question_index: NDArray[np.uint16]
    timeout_s: float = 10.0
    deadline_ms: float = 0.0
    max_connections: int = 256
    cpus: tuple[int, ...] = ()


@dataclass(slots=True)
class Recording:
    """What became of a job: column arrays of one length n, one row a request, in the order of `due_ns`.

    Attributes:
        due_ns, sent_ns, ended_ns: int64 [n], nanoseconds after the start; sent and ended are -1 when that never happened. Sent
            is when the engine took the request up: wrote it, or put it in line for a connection.
        state: uint8 [n], a `State`.
        code: int16 [n]: the HTTP or gRPC status; -1 when there was none.
        question: uint16 [n].
        answer: uint16 [n]: index into `answers`, `OTHER_ANSWER` for none.
        site: uint8 [n]: index into `sites`; of the header `x-edgewise-site`, "" where there was none.
        attempts: uint8 [n]: of the header `x-edgewise-attempts`, 0 where there was none.
        version: int32 [n]: of the header `x-edgewise-model-version`, 0 where there was none.
        answers: distinct bodies of answers that are predictions, at most 4,096.
        sites: distinct names of sites.
        errors: distinct texts of what was not a prediction, with their counts, at most 64.
        started_wall_s: `time.time()` at the start, for people.
        cpu_s: of the engine's process, from the start to the end.
        waited_s: that this process was ready to run and had no core, where the system tells: what of its lag is not its own.
        stopped: the run was stopped before it was over.
        opened: connections made, those before the start too.
        resent: requests sent a second time, since the server had closed an idle connection before it took them.
        scheduling: what the engine's process had: "SCHED_RR", "nice -10", or "normal".
        cpus: the cores it could use.
    """

    due_ns: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    ended_ns: NDArray[np.int64]
    state: NDArray[np.uint8]
    code: NDArray[np.int16]
    question: NDArray[np.uint16]
    answer: NDArray[np.uint16]
    site: NDArray[np.uint8]
    attempts: NDArray[np.uint8]
    version: NDArray[np.int32]
    answers: list[bytes] = field(default_factory=list)
    sites: list[str] = field(default_factory=lambda: [""])
    errors: dict[str, int] = field(default_factory=dict)
    started_wall_s: float = 0.0
    cpu_s: float = 0.0
    stopped: bool = False
    opened: int = 0
    resent: int = 0
    waited_s: float = 0.0
    scheduling: str = ""
    cpus: tuple[int, ...] = ()

    def latency_ns(self) -> NDArray[np.int64]:
        """Of what was answered with a prediction, from the due time; int64 [k]."""
        kept = self.state == State.OK
        latency_ns: NDArray[np.int64] = self.ended_ns[kept] - self.due_ns[kept]
        return latency_ns

    def lag_ns(self) -> NDArray[np.int64]:
        """How late the engine itself was to send, of what it sent; int64 [k]."""
        sent = self.sent_ns >= 0
        lag_ns: NDArray[np.int64] = self.sent_ns[sent] - self.due_ns[sent]
        return lag_ns
