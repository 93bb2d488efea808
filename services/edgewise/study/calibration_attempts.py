"""Calibrates what is served; once more where that failed, since all cells of the kind hang on it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from edgewise.core.errors import UnavailableError
from edgewise.study import calibration
from edgewise.study.engine.job import Asking, Job, Recording, State
from edgewise.study.measured_port import Measured
from edgewise.study.planning import Calibrated
from edgewise.study.progress import Progress
from edgewise.study.results import Calibration
from edgewise.study.runs_left import RunsLeft, calibration_blocks, calibration_s
from edgewise.study.scenario import Scenario

_LONE_TIMEOUT_S: Final = 10.0
_LONE_REQUESTS: Final = 3
_LONE_GAP_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class NotFound:
    """What was asked answers, and yet cannot be calibrated.

    Attributes:
        reason: why.
    """

    reason: str


class CalibrationAttempts:
    """Calibrates, and judges what it means where that fails.

    Args:
        scenario: says how long it may take.
        left: knows what was calibrated before.
        world: is asked.
        progress: is told.
        ask: runs a job of the engine.
    """

    def __init__(
        self,
        scenario: Scenario,
        left: RunsLeft,
        world: Measured,
        progress: Progress,
        ask: Callable[[Job], Recording],
    ) -> None:
        self._scenario = scenario
        self._left = left
        self._world = world
        self._progress = progress
        self._ask = ask

    def calibrated(self, kind: Calibrated, asking: Asking, words: str) -> Calibration | NotFound | None:
        """Calibrate.

        Args:
            kind: what is served now.
            asking: how it is asked.
            words: names it for people.
        Returns: what was found. None where it failed and what was found before stays good.
        Raises: EdgewiseError: it does not even answer a lone request, or the study was stopped.
        """
        self._progress.step(f"calibrating {words}")
        calibrate = self._prepared(kind, asking)
        try:
            try:
                return calibrate()
            except UnavailableError as error:
                self._world.check()
                self._progress.say(f"calibrating {words} failed: {error.message}; once more")
                self._world.settle()
                return calibrate()
        except UnavailableError as error:
            if not self._answers(asking):
                raise
            # A busy machine spoils a calibration, which is no reason to measure nothing.
            if self._left.calibrations(kind):
                self._progress.say(f"{words} stays predicted by what was found before: {error.message}")
                return None
            self._progress.say(f"{words} is not predicted: {error.message}")
            return NotFound(error.message)

    def _prepared(self, kind: Calibrated, asking: Asking) -> Callable[[], Calibration]:
        instances, largest_batch = self._world.batches(kind.target)
        blocks = calibration_blocks(self._scenario)
        return partial(
            calibration.calibrate,
            self._ask,
            asking,
            target=kind.target,
            model=kind.model,
            protocol=kind.protocol,
            batching=kind.batching,
            instances=instances,
            largest_batch=largest_batch,
            timeout_s=max(self._scenario.run.timeout_s, _LONE_TIMEOUT_S),
            budget_s=calibration_s(self._scenario, blocks),
            blocks=blocks,
            seed=self._scenario.seed + self._left.calibrations(kind),
        )

    def _answers(self, asking: Asking) -> bool:
        """Whether any of a few lone requests gets a prediction."""
        due_ns = np.arange(_LONE_REQUESTS, dtype=np.int64) * round(_LONE_GAP_S * 1e9)
        job = Job(asking, due_ns, np.zeros(_LONE_REQUESTS, np.uint16), timeout_s=_LONE_TIMEOUT_S)
        return bool((self._ask(job).state == State.OK).any())
