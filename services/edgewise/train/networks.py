"""The networks that can be trained, by name, and what each expects.

A network is a trunk, which turns a picture into features, and a head: dropout, one dense layer, softmax. The trunk is divided into groups
of layers that are let go one after the other, from the top, when a trained network is trained on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.train.settings import FROM_SCRATCH

INPUT: Final = "image"
LOGITS: Final = "logits"
OUTPUT: Final = "probabilities"


@dataclass(frozen=True, slots=True)
class Trunk:
    """The part of a network below its head, as Keras tensors.

    Attributes:
        source: the input: float32[batch, px, px, 3].
        features: float32[batch, channels].
        ends: names of the layers at which the groups end, from the input up.
    """

    source: Any
    features: Any
    ends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NetworkKind:
    """What is known of a network without building it.

    Attributes:
        size_px: side of its images, unless another is asked for.
        resize_px: short side to which a picture is resized before its centre is cut out, at that size.
        least_px: side below which nothing is left of an image.
        groups: of layers below the head.
        mean, scale: what it is fed: (value - mean) / scale of 0..255, in RGB.
        dataset_mean: the mean of the dataset takes the place of `mean` when it is trained from scratch.
        published: trained weights are installed along.
        sensitive: beginnings of the names of layers that stay in float32 when it is quantized: the first convolutions cost the most accuracy
            and gain no time in int8.
        trunk: builds it for a side in pixels.
    """

    name: str
    title: str
    size_px: int
    resize_px: int
    least_px: int
    groups: int
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    trunk: Callable[[int], Trunk]
    dataset_mean: bool = False
    published: bool = False
    sensitive: tuple[str, ...] = ()

    def resize_for(self, size: int) -> int:
        """The short side after the resize for images of another side, in the same proportion."""
        return round(size * self.resize_px / self.size_px)


@dataclass(frozen=True, slots=True)
class Network:
    """A network that was built.

    Attributes:
        model: a Keras model from `INPUT`: float32[batch, px, px, 3] to `OUTPUT`: float32[batch, classes].
        features: name of the layer that feeds the head.
        groups: names of the layers of each group, from the input up.
        size_px: of its images.
    """

    kind: NetworkKind
    model: Any
    features: str
    groups: tuple[tuple[str, ...], ...]
    size_px: int


def build(
    name: str, classes: int, size: int = 0, weights: str = FROM_SCRATCH, *, dropout: float = 0.2, seed: int = 1
) -> Network:
    """Build a network.

    Args:
        name: out of `NETWORKS`.
        classes: how many it tells apart.
        size: side of the images in pixels; 0 is the network's own.
        weights: "none", "imagenet", or a file: a `.keras` that a training wrote, or an `.h5` of `keras.applications` without its top.
        dropout: share of the features that the head does not see in training.
        seed: of the weights that are drawn.

    Raises:
        InvalidArgumentError: no such network, or the file is not of its weights.
        FailedPreconditionError: the extra `train` is missing.
    """
    from edgewise.train import weights as stored  # noqa: PLC0415  (it knows this module)
    from edgewise.train.keras_runtime import keras  # noqa: PLC0415  (only what builds needs it)

    kind = NETWORKS.get(name)
    if kind is None:
        raise InvalidArgumentError(f"there is no network {name!r}; choose one of {', '.join(NETWORKS)}")
    stored.check(kind, weights)
    library = keras()
    # Names that Keras makes up count from here on, so that the same network always has the same.
    library.utils.clear_session()
    library.utils.set_random_seed(seed)
    side = size or kind.size_px
    trunk = kind.trunk(side)
    layers = library.layers
    value = layers.Dropout(dropout, name="head_dropout", seed=seed)(trunk.features)
    value = layers.Dense(classes, name=LOGITS)(value)
    value = layers.Activation("softmax", name=OUTPUT)(value)
    model = library.Model(trunk.source, value, name=name.replace("-", "_"))
    features = trunk.features._keras_history.operation.name  # noqa: SLF001  (Keras has no public way to a tensor's layer)
    network = Network(kind, model, features, _groups(model, trunk.ends), side)
    stored.fill(network, weights)
    return network


def _groups(model: Any, ends: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Cut the layers, which Keras keeps in the order in which they are run, behind each of the named ones."""
    groups: list[tuple[str, ...]] = []
    begun: list[str] = []
    for layer in model.layers:
        begun.append(layer.name)
        if len(groups) < len(ends) and layer.name == ends[len(groups)]:
            groups.append(tuple(begun))
            begun = []
    return tuple(groups)


def _alexnet(side: int) -> Trunk:
    from edgewise.train.alexnet import trunk  # noqa: PLC0415  (networks are imported when they are built)

    return trunk(side)


def _inception(side: int) -> Trunk:
    from edgewise.train.applications import inception_v3  # noqa: PLC0415  (as above)

    return inception_v3(side)


def _resnet(side: int) -> Trunk:
    from edgewise.train.applications import resnet_50  # noqa: PLC0415  (as above)

    return resnet_50(side)


def _lite0(side: int) -> Trunk:
    from edgewise.model_server.building.efficientnet_lite import LITE0  # noqa: PLC0415  (as above)
    from edgewise.train.efficientnet import trunk  # noqa: PLC0415

    return trunk(LITE0, side)


def _lite2(side: int) -> Trunk:
    from edgewise.model_server.building.efficientnet_lite import LITE2  # noqa: PLC0415  (as above)
    from edgewise.train.efficientnet import trunk  # noqa: PLC0415

    return trunk(LITE2, side)


_CAFFE_MEAN: Final = (123.68, 116.779, 103.939)
_LITE_MEAN: Final = (127.0, 127.0, 127.0)
_LITE_SCALE: Final = (128.0, 128.0, 128.0)
_LITE_SENSITIVE: Final = ("stem_", "block_0_")

NETWORKS: Final[Mapping[str, NetworkKind]] = {
    kind.name: kind
    for kind in (
        NetworkKind(
            "alexnet",
            "AlexNet",
            size_px=227,
            resize_px=256,
            least_px=67,
            groups=7,
            mean=_CAFFE_MEAN,
            scale=(58.0, 58.0, 58.0),
            trunk=_alexnet,
            dataset_mean=True,
            sensitive=("conv1",),
        ),
        NetworkKind(
            "inception-v3",
            "Inception v3",
            size_px=299,
            resize_px=331,
            least_px=75,
            groups=11,
            mean=(127.5, 127.5, 127.5),
            scale=(127.5, 127.5, 127.5),
            trunk=_inception,
            sensitive=("conv2d/", "conv2d_1/", "conv2d_2/"),
        ),
        NetworkKind(
            "resnet-50",
            "ResNet-50",
            size_px=224,
            resize_px=256,
            least_px=32,
            groups=17,
            mean=_CAFFE_MEAN,
            scale=(1.0, 1.0, 1.0),
            trunk=_resnet,
            sensitive=("conv1_",),
        ),
        NetworkKind(
            "efficientnet-lite0",
            "EfficientNet-Lite0",
            size_px=224,
            resize_px=256,
            least_px=32,
            groups=18,
            mean=_LITE_MEAN,
            scale=_LITE_SCALE,
            trunk=_lite0,
            published=True,
            sensitive=_LITE_SENSITIVE,
        ),
        NetworkKind(
            "efficientnet-lite2",
            "EfficientNet-Lite2",
            size_px=260,
            resize_px=292,
            least_px=32,
            groups=23,
            mean=_LITE_MEAN,
            scale=_LITE_SCALE,
            trunk=_lite2,
            published=True,
            sensitive=_LITE_SENSITIVE,
        ),
    )
}
