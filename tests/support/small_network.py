"""A network of three convolutions: what is tested with it is how networks are trained, not what they can learn."""

from collections.abc import Iterator
from contextlib import contextmanager

from edgewise.train import networks


def _trunk(side):
    from edgewise.train.keras_runtime import keras

    layers = keras().layers
    source = value = keras().Input((side, side, 3), name=networks.INPUT)
    for number, channels in enumerate((8, 16, 32)):
        value = layers.Conv2D(channels, 3, strides=2, padding="same", name=f"conv{number}")(value)
        value = layers.BatchNormalization(momentum=0.5, name=f"norm{number}")(value)
        value = layers.ReLU(6.0, name=f"relu{number}")(value)
    return networks.Trunk(source, layers.GlobalMaxPooling2D(name="most")(value), ("relu0", "relu1", "relu2"))


@contextmanager
def small_network() -> Iterator[str]:
    """Its name, under which it can be built for this time."""
    kind = networks.NetworkKind(
        "small", "Small", 32, 36, 8, 3, (127.0,) * 3, (128.0,) * 3, _trunk, sensitive=("conv0",)
    )
    known = networks.NETWORKS
    assert isinstance(known, dict)
    known[kind.name] = kind
    try:
        yield kind.name
    finally:
        del known[kind.name]
