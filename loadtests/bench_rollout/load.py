"""The apps: an open loop of requests in the background, until it is told to end."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewise.study.arrivals import CONSTANT, schedule
from edgewise.study.engine.job import Asking, Job, Recording, State
from edgewise.study.engine.process import Engine

RATE = 200.0
_MOST_S = 240.0


@dataclass(frozen=True, slots=True)
class Apps:
    """Who asks.

    Attributes:
        cpus: of the engine.
    """

    engine: Engine
    cpus: tuple[int, ...]


class Load:
    """One run of the engine on a thread.

    Args:
        seed: of the arrivals.

    Attributes:
        recording: once it is over.
    """

    def __init__(self, apps: Apps, asking: Asking, seed: int) -> None:
        self.recording: Recording
        due_ns = schedule("poisson", RATE, _MOST_S, CONSTANT, seed)
        self._engine = apps.engine
        self._job = Job(asking, due_ns, np.zeros(len(due_ns), np.uint16), cpus=apps.cpus)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._error: Exception | None = None

    def _run(self) -> None:
        try:
            self.recording = self._engine.run(self._job, stop=self._stop)
        except Exception as error:  # noqa: BLE001 - raised where the load is ended
            self._error = error

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Requests are sent inside, and answered or not at its end."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
        if self._error is not None:
            raise self._error


@dataclass(frozen=True, slots=True)
class Window:
    """What apps saw of a part of the time, by when their requests were due.

    Attributes:
        p50_ms, p99_ms: of what was answered, from the due time.
        new_share: of the answers, that the new version gave.
    """

    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    new_share: float


class Answers:
    """A recording on the clock of the agent's log."""

    def __init__(self, recording: Recording, new: int) -> None:
        sent = recording.state != State.UNSENT
        self.due_s: NDArray[np.float64] = recording.due_ns[sent] / 1e9 + recording.started_wall_s
        self.ended_s: NDArray[np.float64] = recording.ended_ns[sent] / 1e9 + recording.started_wall_s
        self.version: NDArray[np.int32] = recording.version[sent]
        self.ok: NDArray[np.bool_] = recording.state[sent] == State.OK
        self.errors = recording.errors
        self._new = new

    def window(self, begin_s: float, end_s: float) -> Window:
        """Of what was due in [begin_s, end_s)."""
        inside = (self.due_s >= begin_s) & (self.due_s < end_s)
        ok = inside & self.ok
        taken_ms = (self.ended_s[ok] - self.due_s[ok]) * 1e3
        p50_ms, p99_ms = np.quantile(taken_ms, (0.5, 0.99), method="inverted_cdf") if ok.any() else (np.nan, np.nan)
        new_share = float((self.version[ok] == self._new).mean()) if ok.any() else 0.0
        return Window(int(inside.sum()), int((inside & ~self.ok).sum()), float(p50_ms), float(p99_ms), new_share)

    @property
    def failed(self) -> int:
        """Of all requests."""
        return int((~self.ok).sum())
