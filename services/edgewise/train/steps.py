"""One epoch of training, step by step."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import FailedPreconditionError
from edgewise.train.schedules import step_rate
from edgewise.train.settings import Stage
from edgewise.train.stage_model import Examples, StageModel

_PROGRESS_EVERY_S: Final = 0.2
_LEAST_STEPS: Final = 3
_LEAST_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a stage learns from.

    Attributes:
        weights: how much each row counts in the loss; None where all count the same.
        batch: rows of a step.
    """

    examples: Examples
    labels: NDArray[np.int64]
    weights: NDArray[np.float32] | None
    batch: int
    seed: int


@dataclass(frozen=True, slots=True)
class Steps:
    """What the steps of an epoch came to.

    Attributes:
        loss, accuracy: in the mean of the images, each as it was seen at its step.
        rate: the learning rate in the mean of the steps.
    """

    loss: float
    accuracy: float
    rate: float
    seconds: float
    images: int


def train_epoch(
    what: StageModel,
    lesson: Lesson,
    stage: Stage,
    *,
    epoch: int,
    overall: int,
    on_step: Callable[[float, float | None, float], None],
) -> Steps:
    """Train one epoch. Which pictures are in which step depends on the seed and the number of the epoch only.

    Args:
        epoch: of the stage, from 0.
        overall: counted through all stages, from 1.
        on_step: called now and then with the share of the epoch that has passed, the seconds that its steps take in all (None before
            that can be told), and the mean loss.

    Raises: FailedPreconditionError: the loss is no number any more.
    """
    order = np.random.default_rng((lesson.seed, overall)).permutation(len(lesson.labels))
    batches = -(-len(order) // lesson.batch)
    began_s = shown_s = first_s = time.monotonic()
    loss = accuracy = rates = 0.0
    seen = 0
    for batch in range(batches):
        # In the order of the file they are read from.
        rows = np.sort(order[batch * lesson.batch : (batch + 1) * lesson.batch])
        rate = step_rate(stage, epoch, batch, batches)
        what.model.optimizer.learning_rate = rate
        rates += rate
        found = what.model.train_on_batch(
            lesson.examples.tensor(lesson.examples.rows[rows]),
            lesson.labels[rows],
            sample_weight=None if lesson.weights is None else lesson.weights[rows],
            return_dict=True,
        )
        loss += float(found["loss"]) * len(rows)
        accuracy += float(found["accuracy"]) * len(rows)
        seen += len(rows)
        if not np.isfinite(loss):
            raise FailedPreconditionError(
                f"the loss is no number any more in epoch {overall}: a learning rate of {rate:g} is too high for this network; "
                "begin with a lower one, in another directory"
            )
        now_s = time.monotonic()
        if not batch:
            first_s = now_s
        if now_s - shown_s >= _PROGRESS_EVERY_S:
            shown_s = now_s
            share = (batch + 1) / batches
            on_step(share, _whole_s(now_s - first_s, batch, batches), loss / seen)
    return Steps(loss / seen, accuracy / seen, rates / batches, max(time.monotonic() - began_s, 1e-9), seen)


def _whole_s(took_s: float, steps: int, all_steps: int) -> float | None:
    """What all steps take, if these after the first took so long; that one is not like the others."""
    return took_s / steps * all_steps if steps >= _LEAST_STEPS and took_s >= _LEAST_S else None
