"""AlexNet in one column.

Source: Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (2012): filters, strides and
neurons as there, the two columns joined into one as in their "One weird trick" (2014). Local response normalisation is left out: later work
(Simonyan and Zisserman, 2014) found it to cost time and gain nothing.
"""

from typing import Any, Final

from edgewise.train.keras_runtime import keras
from edgewise.train.networks import INPUT, Trunk

# (filters, side of a filter, stride, padding, whether a pool follows) of each convolution.
_CONVOLUTIONS: Final = (
    (96, 11, 4, "valid", True),
    (256, 5, 1, "same", True),
    (384, 3, 1, "same", False),
    (384, 3, 1, "same", False),
    (256, 3, 1, "same", True),
)
_NEURONS: Final = 4096
_DROPOUT: Final = 0.5


def trunk(side: int) -> Trunk:
    """Five convolutions and two dense layers."""
    layers = keras().layers
    source = keras().Input((side, side, 3), name=INPUT)
    value: Any = source
    ends = []
    for number, (filters, kernel, stride, padding, pooled) in enumerate(_CONVOLUTIONS, 1):
        value = layers.Conv2D(
            filters, kernel, strides=stride, padding=padding, kernel_initializer="he_normal", name=f"conv{number}"
        )(value)
        ends.append(f"conv{number}_relu")
        value = layers.Activation("relu", name=ends[-1])(value)
        if pooled:
            ends[-1] = f"pool{number}"
            value = layers.MaxPooling2D(3, strides=2, name=ends[-1])(value)
    value = layers.Flatten(name="flat")(value)
    for number in (6, 7):
        if number == 7:
            value = layers.Dropout(_DROPOUT, name="fc6_dropout", seed=6)(value)
        value = layers.Dense(_NEURONS, kernel_initializer="he_normal", name=f"fc{number}")(value)
        ends.append(f"fc{number}_relu")
        value = layers.Activation("relu", name=ends[-1])(value)
    return Trunk(source, value, tuple(ends))
