"""What is trained in a stage: the part of the network above what is frozen, and what the frozen part makes of the pictures.

What is frozen says the same of a picture in every epoch, so it is asked once, and the rest learns from the answers: the head of a large
network on some hundred pictures takes seconds. Where those answers would be too large to keep, the whole network runs in every step.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.train.keras_runtime import keras
from edgewise.train.mapped_arrays import new_array
from edgewise.train.networks import Network
from edgewise.train.pictures import Pictures, View
from edgewise.train.settings import ALL_GROUPS, FROM_SCRATCH, Optimizer, Stage, TrainSettings

MAX_KEPT_BYTES: Final = 4 << 30
PREDICTED_AT_ONCE: Final = 32
_MOMENTUM: Final = 0.9


@dataclass(frozen=True, slots=True)
class Examples:
    """What the trained part is shown: pixels, or what the frozen part made of them.

    Attributes:
        rows: [images, ...].
        tensor: makes of some of the rows what is fed.
    """

    rows: NDArray[Any]
    tensor: Callable[[NDArray[Any]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class StageModel:
    """A stage's network, compiled.

    Attributes:
        model: what is trained; it shares its layers with the network.
        below: what is frozen beneath it and asked once; None when pictures are fed.
    """

    model: Any
    below: Any | None
    shown: View

    def examples(self, pictures: Pictures, cache: Path) -> Examples:
        """What the model learns from, or is validated on.

        Args:
            cache: file for what the frozen part makes; written anew.

        Raises: OSError: there is no room for it.
        """
        if self.below is None:
            return Examples(pictures.pixels, self.shown.tensor)
        shape = tuple(self.below.output.shape[1:])
        made = new_array(cache, np.float32, (len(pictures.pixels), *shape))
        for rows in in_turn(len(made), PREDICTED_AT_ONCE):
            made[rows] = self.below.predict_on_batch(self.shown.tensor(pictures.pixels[rows]))
        return Examples(made, lambda rows: np.asarray(rows, np.float32))


def in_turn(count: int, at_once: int) -> Iterator[slice]:
    """Slices of at most `at_once` that cover `count` rows."""
    for start in range(0, count, at_once):
        yield slice(start, min(start + at_once, count))


def frozen_groups(network: Network, stage: Stage) -> int:
    """How many groups, from the input up, a stage leaves as they are."""
    return 0 if stage.unfreeze == ALL_GROUPS else len(network.groups) - stage.unfreeze


def stage_model(network: Network, settings: TrainSettings, stage: Stage, shown: View, images: int) -> StageModel:
    """Freeze what a stage leaves alone, and compile the rest.

    Args:
        images: how many answers of the frozen part would be kept.
    """
    frozen = frozen_groups(network, stage)
    _freeze(network, frozen, norms=settings.weights != FROM_SCRATCH)
    below, model = None, network.model
    if frozen:
        # Between the last group and the head there are layers without weights; they are asked once as well when all groups are frozen.
        name = network.features if frozen == len(network.groups) else network.groups[frozen - 1][-1]
        cut = network.model.get_layer(name).output
        if images * int(np.prod(cut.shape[1:])) * 4 <= MAX_KEPT_BYTES:
            below = keras().Model(network.model.input, cut)
            model = keras().Model(cut, network.model.output)
    model.compile(
        optimizer=_optimizer(settings, stage),
        loss=keras().losses.SparseCategoricalCrossentropy(),
        metrics=[keras().metrics.SparseCategoricalAccuracy(name="accuracy")],
        weighted_metrics=[],
        # Compiling for a processor takes longer than most of these trainings.
        jit_compile=False,
    )
    return StageModel(model, below, shown)


def _freeze(network: Network, frozen: int, *, norms: bool) -> None:
    """Freeze the lowest groups; with `norms` all batch normalisations too, whose statistics a few pictures would spoil.

    A normalisation that is frozen uses the statistics it has (Keras, "BatchNormalization", on `trainable`).
    """
    still = {name for group in network.groups[:frozen] for name in group}
    kind = keras().layers.BatchNormalization
    for layer in network.model.layers:
        layer.trainable = layer.name not in still and not (norms and isinstance(layer, kind))


def _optimizer(settings: TrainSettings, stage: Stage) -> Any:
    optimizers = keras().optimizers
    if settings.optimizer is Optimizer.SGD:
        return optimizers.SGD(learning_rate=stage.learning_rate, momentum=_MOMENTUM)
    return optimizers.Adam(learning_rate=stage.learning_rate)


def predict(model: Any, examples: Examples) -> NDArray[np.float32]:
    """What a model says: float32[images, classes]."""
    parts = [
        model.predict_on_batch(examples.tensor(examples.rows[rows]))
        for rows in in_turn(len(examples.rows), PREDICTED_AT_ONCE)
    ]
    return np.asarray(np.concatenate(parts), np.float32)
