"""EfficientNet-Lite as a Keras network, with the numbers of `model_server.building.efficientnet_lite`: TensorFlow's "SAME" padding,
ReLU6, batch normalisation with an epsilon of 0.001. A test holds the two equal on a photograph.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.model_server.building import pets, torch_weights
from edgewise.model_server.building.efficientnet_lite import Architecture, Block, blocks_of
from edgewise.model_server.building.requirements import import_models_extra
from edgewise.train.keras_runtime import keras
from edgewise.train.networks import INPUT, Trunk

_EPSILON: Final = 1e-3
_STEM_CHANNELS: Final = 32
_HEAD_CHANNELS: Final = 1280
_VARIANTS: Final = {"efficientnet-lite0": "edge-float32", "efficientnet-lite2": "cloud"}


def trunk(architecture: Architecture, side: int) -> Trunk:
    """Stem, MBConv blocks and the last convolution are a group each."""
    source = keras().Input((side, side, 3), name=INPUT)
    value = _convolution(source, "stem", _STEM_CHANNELS, 3, stride=2)
    ends = ["stem_relu6"]
    for number, block in enumerate(blocks_of(architecture)):
        value, end = _block(value, f"block_{number}", block)
        ends.append(end)
    value = _convolution(value, "top", _HEAD_CHANNELS, 1)
    ends.append("top_relu6")
    return Trunk(source, keras().layers.GlobalAveragePooling2D(name="average")(value), tuple(ends))


def _block(source: Any, name: str, block: Block) -> tuple[Any, str]:
    layers = keras().layers
    value = source
    if block.expansion != 1:
        value = _convolution(value, f"{name}_expand", block.in_channels * block.expansion, 1)
    value = layers.DepthwiseConv2D(
        block.kernel, strides=block.stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(value)
    value = _normalised(value, f"{name}_depthwise")
    value = layers.ReLU(6.0, name=f"{name}_depthwise_relu6")(value)
    value = layers.Conv2D(block.out_channels, 1, use_bias=False, name=f"{name}_project")(value)
    value = _normalised(value, f"{name}_project")
    if not block.residual:
        return value, f"{name}_project_norm"
    return layers.Add(name=f"{name}_add")([value, source]), f"{name}_add"


def _convolution(source: Any, name: str, channels: int, kernel: int, *, stride: int = 1) -> Any:
    layers = keras().layers
    value = layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False, name=name)(source)
    return layers.ReLU(6.0, name=f"{name}_relu6")(_normalised(value, name))


def _normalised(value: Any, name: str) -> Any:
    return keras().layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_norm")(value)


def published_weights(name: str) -> dict[str, list[NDArray[Any]]]:
    """The published ImageNet weights as the Keras network's layers want them.

    Args:
        name: of the network.

    Returns: the arrays of each layer, by its name; of the thousand-class head too, as "logits".

    Raises: FailedPreconditionError: the extra `models` is missing, or its weights are not the published ones.
    """
    variant = pets.VARIANTS[_VARIANTS[name]]
    package = import_models_extra(variant.package)
    path = Path(getattr(package, variant.weights_class).get_model_file_path())
    found = torch_weights.load(path, sha256=variant.weights_sha256)
    weights = _pair(found, "stem", "_conv_stem", "_bn0") | _pair(found, "top", "_conv_head", "_bn1")
    for number, block in enumerate(blocks_of(variant.architecture)):
        of, name_of = f"_blocks.{number}", f"block_{number}"
        if block.expansion != 1:
            weights |= _pair(found, f"{name_of}_expand", f"{of}._expand_conv", f"{of}._bn0")
        depthwise = _pair(found, f"{name_of}_depthwise", f"{of}._depthwise_conv", f"{of}._bn1")
        # [height, width, 1, channels] as other convolutions have it; depthwise ones have the channels first.
        depthwise[f"{name_of}_depthwise"] = [depthwise[f"{name_of}_depthwise"][0].transpose(0, 1, 3, 2)]
        weights |= depthwise | _pair(found, f"{name_of}_project", f"{of}._project_conv", f"{of}._bn2")
    weights["logits"] = [found["_fc.weight"].T, found["_fc.bias"]]
    return weights


def _pair(found: Mapping[str, NDArray[Any]], layer: str, convolution: str, norm: str) -> dict[str, list[NDArray[Any]]]:
    """A convolution and the normalisation behind it."""
    return {
        layer: [np.ascontiguousarray(found[f"{convolution}.weight"].transpose(2, 3, 1, 0))],
        f"{layer}_norm": [found[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")],
    }
