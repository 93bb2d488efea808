"""The learning rate at each step of a stage."""

import math
from typing import Final

from edgewise.train.settings import Schedule, Stage

_ROUNDING: Final = 1e-9


def learning_rate(stage: Stage, epoch: float) -> float:
    """The learning rate at a moment of a stage.

    Args:
        epoch: how many epochs of the stage have passed, in [0, stage.epochs]; 1.5 is the middle of its second one.

    Source of the cosine: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", without restarts. Of the warmup:
        Goyal et al., "Accurate, Large Minibatch SGD", section 2.2.
    """
    if epoch < stage.warmup:
        return stage.learning_rate * epoch / stage.warmup
    return stage.learning_rate * _share(stage, epoch - stage.warmup)


def _share(stage: Stage, passed: float) -> float:
    """What is left of the rate so many epochs after the warmup."""
    match stage.schedule:
        case Schedule.STEP:
            # A part of an epoch, as 2.3 - 0.3, may come a little short of the whole number that it stands for.
            return float(stage.decay ** math.floor(passed / stage.every + _ROUNDING))
        case Schedule.EXPONENTIAL:
            return float(stage.decay**passed)
        case Schedule.COSINE:
            ratio = min(passed / max(stage.epochs - stage.warmup, _ROUNDING), 1.0)
            return stage.decay + (1.0 - stage.decay) * (1.0 + math.cos(math.pi * ratio)) / 2.0
        case Schedule.CONSTANT:
            return 1.0


def step_rate(stage: Stage, epoch: int, batch: int, batches: int) -> float:
    """The learning rate of one step.

    Args:
        epoch: of the stage, from 0.
        batch: of the epoch, from 0.
        batches: of an epoch.

    Returns: the rate at the step's end while it is warmed up, so that no step is lost to a rate of 0; at its beginning afterwards.
    """
    begun = epoch + batch / batches
    if begun < stage.warmup:
        return learning_rate(stage, min(begun + 1.0 / batches, stage.warmup))
    return learning_rate(stage, begun)
