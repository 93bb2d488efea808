"""Tells the links of an outage while the engine runs, at times counted from the end of the warm-up."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgewise.core.errors import EdgewiseError
from edgewise.study.outage_steps import Step


class OutageClock:
    """The steps of one run's outage, on a thread of their own.

    Args:
        steps: what to tell, and when.
        tell: posts it to the links.
        warmup_s: of the run.

    Attributes:
        problem: why a step could not be made; "" when all were.
    """

    def __init__(self, steps: Sequence[Step], tell: Callable[[Mapping[str, Any]], None], warmup_s: float) -> None:
        self._steps = steps
        self._tell = tell
        self._warmup_s = warmup_s
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._told: list[tuple[float, str]] = []
        self.problem = ""

    def begin(self, begun_s: float) -> None:
        """The schedule began or begins at this second of the monotonic clock; further calls change nothing."""
        if self._thread is None and self._steps:
            self._thread = threading.Thread(target=self._run, args=(begun_s,), name="outage", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """The run is over; steps that were to come are left out."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def told_text(self, started_wall_s: float) -> str:
        """What was told when, for the records: seconds from the end of the warm-up, as they were."""
        return ", ".join(f"{at_s - started_wall_s - self._warmup_s:.3f}s:{words}" for at_s, words in self._told)

    def _run(self, begun_s: float) -> None:
        for step in self._steps:
            if self._ended.wait(max(begun_s + self._warmup_s + step.at_s - time.monotonic(), 0.0)):
                return
            try:
                self._tell(step.said)
            except EdgewiseError as error:
                self.problem = error.message
                return
            self._told.append((time.time(), step.words))
