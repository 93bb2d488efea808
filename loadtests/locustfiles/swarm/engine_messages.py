"""What a locust process and its open-loop engine tell each other through two pipes: frames of a length and a pickle."""

import pickle
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from edgewise.study.engine.job import Job

_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Setup:
    """What the process is to do.

    Attributes:
        job: without a schedule.
        protocol: of the answers, which are looked into.
        process, seed, phase: of the schedule, as of `LiveSchedule`.
    """

    job: Job
    protocol: str
    process: Literal["poisson", "constant"]
    seed: tuple[int, ...]
    phase: float = 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that have ended since the last one.

    Attributes:
        latency_ms: float64 [n], from the due time; of a lost request, the asker's patience.
        lag_ms: float64 [n], how late the engine took them up.
        state: uint8 [n], a `State`.
        length_bytes: int64 [n], of the answer; 0 where there is none or it is not known.
        errors: texts of what was not a prediction, with how many of these requests they are of.
        error: why the process ends; "" while it does not.
        ended: this is the last one.
    """

    latency_ms: NDArray[np.float64]
    lag_ms: NDArray[np.float64]
    state: NDArray[np.uint8]
    length_bytes: NDArray[np.int64]
    errors: dict[str, int] = field(default_factory=dict)
    error: str = ""
    ended: bool = False


def empty_batch(*, error: str = "", ended: bool = False) -> Batch:
    """A batch without requests."""
    return Batch(np.zeros(0), np.zeros(0), np.zeros(0, np.uint8), np.zeros(0, np.int64), {}, error, ended)


def frame(message: object) -> bytes:
    """A message as it goes through a pipe."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(_LENGTH_BYTES, "little") + data


def read_frame(source: BinaryIO) -> Any:
    """The next message.

    Raises: EOFError: the other side is gone.
    """
    return pickle.loads(_whole(source, int.from_bytes(_whole(source, _LENGTH_BYTES), "little")))


def _whole(source: BinaryIO, count: int) -> bytes:
    """So many bytes of a file that may give them piece by piece."""
    parts = []
    while count:
        part = source.read(count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
