"""Inception v3 and ResNet-50 as Keras defines them.

Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015); He et al., "Deep Residual Learning for Image
Recognition" (2015).
"""

from typing import Final

from edgewise.train.keras_runtime import keras
from edgewise.train.networks import INPUT, Trunk

_RESNET_BLOCKS: Final = {2: 3, 3: 4, 4: 6, 5: 3}
_INCEPTION_BLOCKS: Final = 11


def inception_v3(side: int) -> Trunk:
    """Stem and the first block are one group, each later block one of its own."""
    source = keras().Input((side, side, 3), name=INPUT)
    model = keras().applications.InceptionV3(include_top=False, weights=None, input_tensor=source, pooling="avg")
    return Trunk(source, model.output, tuple(f"mixed{number}" for number in range(_INCEPTION_BLOCKS)))


def resnet_50(side: int) -> Trunk:
    """The stem is a group, and so is each block."""
    source = keras().Input((side, side, 3), name=INPUT)
    model = keras().applications.ResNet50(include_top=False, weights=None, input_tensor=source, pooling="avg")
    blocks = [
        f"conv{stage}_block{number}_out" for stage, count in _RESNET_BLOCKS.items() for number in range(1, count + 1)
    ]
    return Trunk(source, model.output, ("conv1_relu", *blocks))
