"""What a network's weights are before it is trained: drawn, published, or out of a file."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from edgewise.core.errors import InvalidArgumentError
from edgewise.train.keras_runtime import keras
from edgewise.train.networks import LOGITS, Network, NetworkKind
from edgewise.train.settings import FROM_SCRATCH, PUBLISHED

_SUFFIXES: Final = (".keras", ".h5")
_BGR_STEMS: Final = {"resnet-50": "conv1_conv"}
"""Published files of these networks expect blue first; the stem's filters are turned round instead of the pictures."""


def check(kind: NetworkKind, weights: str) -> None:
    """Look whether there are such weights, before a network is built for them.

    Args:
        weights: "none", "imagenet" or a file.

    Raises: InvalidArgumentError: there are no published weights of this network, or no such file.
    """
    if weights == PUBLISHED and not kind.published:
        raise InvalidArgumentError(
            f"no published weights of {kind.name} are installed along; name a file, or train it from scratch"
        )
    if weights in {FROM_SCRATCH, PUBLISHED}:
        return
    path = Path(weights)
    if not path.is_file():
        raise InvalidArgumentError(
            f"there is no weights file {path}; expected a .keras that a training wrote or an .h5 of keras.applications without its top"
        )
    if path.suffix not in _SUFFIXES:
        raise InvalidArgumentError(
            f"{path.name} is no weights file; expected one that ends in {' or '.join(_SUFFIXES)}"
        )


def fill(network: Network, weights: str) -> None:
    """Fill a network that was just built.

    Args:
        weights: as `check` found them to be there.

    Raises:
        InvalidArgumentError: the file is not of this network.
        FailedPreconditionError: the published weights are not installed.
    """
    if weights == FROM_SCRATCH:
        return
    if weights == PUBLISHED:
        _fill_published(network)
    elif weights.endswith(".keras"):
        _fill_from_model(network, Path(weights))
    else:
        _fill_from_h5(network, Path(weights))


def _fill_published(network: Network) -> None:
    from edgewise.train.efficientnet import published_weights  # noqa: PLC0415  (of these networks only)

    head = network.model.get_layer(LOGITS)
    for name, arrays in published_weights(network.kind.name).items():
        layer = network.model.get_layer(name)
        # The published head knows the thousand classes of ImageNet; any other begins anew.
        if name != LOGITS or arrays[0].shape == tuple(head.kernel.shape):
            layer.set_weights(arrays)


def _trunk(model: Any, features: str) -> list[Any]:
    """The layers with weights below the head."""
    found = []
    for layer in model.layers:
        if layer.weights:
            found.append(layer)
        if layer.name == features:
            break
    return found


def _fill_from_model(network: Network, path: Path) -> None:
    try:
        given = keras().saving.load_model(path, compile=False)
    except Exception as error:
        # Keras raises nearly anything on a damaged file; what was wrong within is not for the reader.
        raise InvalidArgumentError(
            f"{path.name} cannot be read as a Keras model: it is damaged or something else"
        ) from error
    wanted = _trunk(network.model, network.features)
    found = _trunk(given, network.features)
    for mine, theirs in zip(wanted, found, strict=False):
        _check_shapes(
            network, path, mine.name, [one.shape for one in mine.weights], [one.shape for one in theirs.weights]
        )
    if len(wanted) != len(found):
        raise InvalidArgumentError(
            f"{path.name} is of another network: it has {len(found)} layers with weights below its head, {network.kind.name} has {len(wanted)}"
        )
    for mine, theirs in zip(wanted, found, strict=True):
        mine.set_weights(theirs.get_weights())
    head = network.model.get_layer(LOGITS)
    known = {layer.name: layer for layer in given.layers}
    if LOGITS in known and known[LOGITS].kernel.shape == head.kernel.shape:
        head.set_weights(known[LOGITS].get_weights())


def _check_shapes(network: Network, path: Path, layer: str, wanted: list[Any], found: list[Any]) -> None:
    if list(map(tuple, wanted)) != list(map(tuple, found)):
        raise InvalidArgumentError(
            f"{path.name} is of another network: where {network.kind.name} has {layer} with "
            f"{_shapes(wanted)}, it has {_shapes(found)}"
        )


def _shapes(shapes: list[Any]) -> str:
    return " and ".join("×".join(map(str, shape)) for shape in shapes) or "nothing"


def _fill_from_h5(network: Network, path: Path) -> None:
    trunk = keras().Model(network.model.input, network.model.get_layer(network.features).output)
    try:
        trunk.load_weights(path)
    except Exception as error:
        # As above.
        raise InvalidArgumentError(
            f"{path.name} does not hold the weights of {network.kind.name}; expected what keras.applications has of it without its top"
        ) from error
    stem = _BGR_STEMS.get(network.kind.name)
    if stem is not None:
        layer = network.model.get_layer(stem)
        kernel, *rest = layer.get_weights()
        layer.set_weights([np.ascontiguousarray(kernel[:, :, ::-1, :]), *rest])
