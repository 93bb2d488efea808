"""What is trained and how: the settings that a specification file gives."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final

ALL_GROUPS: Final = -1
"""As `Stage.unfreeze`: the whole network is trained."""

FROM_SCRATCH: Final = "none"
PUBLISHED: Final = "imagenet"


class Schedule(StrEnum):
    """How a stage's learning rate goes on from where it begins."""

    CONSTANT = "constant"
    STEP = "step"
    EXPONENTIAL = "exponential"
    COSINE = "cosine"


class Optimizer(StrEnum):
    """What turns gradients into steps."""

    ADAM = "adam"
    SGD = "sgd"


class ClassWeights(StrEnum):
    """How much an image counts in the loss, by its class."""

    NONE = "none"
    BALANCED = "balanced"


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training with its own learning rate, in which the same layers are trained.

    Attributes:
        epochs: at most; early stopping may end it before.
        learning_rate: at its beginning, after the warmup.
        decay: factor of a step (schedule "step") or of an epoch ("exponential"); the share that is left at the end ("cosine").
        every: epochs between two steps (schedule "step").
        warmup: epochs in which the rate rises in a straight line from nothing to `learning_rate`; may be a fraction.
        unfreeze: how many groups of layers below the head are trained, from the top; 0 trains the head alone, `ALL_GROUPS` everything.
    """

    epochs: int
    learning_rate: float = 1e-4
    schedule: Schedule = Schedule.CONSTANT
    decay: float = 0.1
    every: int = 10
    warmup: float = 0.0
    unfreeze: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """When a stage ends before its last epoch.

    Attributes:
        patience: epochs without a lower validation loss after which it ends; 0 never ends it.
        min_delta: how much lower a validation loss has to be to count.
    """

    patience: int = 5
    min_delta: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """All that decides, together with a dataset, what comes out.

    Attributes:
        network: a name in `networks.NETWORKS`.
        weights: what the training begins from: "none", "imagenet" (EfficientNet-Lite's published ones), or a file.
        stages: one after the other, each from the best weights so far.
        size: side of the images in pixels; 0 is the network's own.
        class_weights: by name of the class, or how they come from the counts.
        dropout: share of the features that the head does not see in a step of training.
    """

    network: str
    stages: tuple[Stage, ...]
    weights: str = FROM_SCRATCH
    name: str = "training"
    batch_size: int = 16
    seed: int = 1
    size: int = 0
    optimizer: Optimizer = Optimizer.ADAM
    dropout: float = 0.2
    class_weights: ClassWeights | Mapping[str, float] = ClassWeights.NONE
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)

    @property
    def digest(self) -> str:
        """SHA-256 of the settings: a training goes on only with the very same ones."""
        words = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(words.encode()).hexdigest()

    @property
    def epochs(self) -> int:
        """Of all stages, at most."""
        return sum(stage.epochs for stage in self.stages)
