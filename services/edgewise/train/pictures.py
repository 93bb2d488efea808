"""A dataset's pictures as arrays, seen as the model server will see them: decoded, resized and cropped by its own code."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import EdgewiseError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.model_server.config.model_config import ImageInput, Layout
from edgewise.model_server.images.transforms import decode_image
from edgewise.protocols.dataset_manifest import SPLITS, TRAIN, Dataset, DatasetImage
from edgewise.train.mapped_arrays import new_array
from edgewise.train.networks import INPUT, NetworkKind
from edgewise.train.run_directory import RunDirectory
from edgewise.train.settings import FROM_SCRATCH, PUBLISHED, TrainSettings

MIN_TRAINED: Final = 2
"""Pictures of a class without which nothing can be learned of it."""

_MAX_PICTURE_BYTES: Final = 32 << 20
_THREADS: Final = 2
_FITS: Final = {"pad": "have black bars (--fit pad)", "stretch": "are stretched (--fit stretch)"}


@dataclass(frozen=True, slots=True)
class Pictures:
    """A split.

    Attributes:
        pixels: uint8[images, px, px, 3], in a file that is mapped.
        labels: int64[images], indices of classes.
    """

    images: tuple[DatasetImage, ...]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class View:
    """What a network is shown of a picture.

    Attributes:
        resize_px: short side after the resize.
        size_px: side of the centre that is cut out.
        mean, scale: (value - mean) / scale, each in RGB.
    """

    resize_px: int
    size_px: int
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]

    def spec(self, layout: Layout = Layout.NHWC) -> ImageInput:
        """As the model server's own settings."""
        return ImageInput(INPUT, self.resize_px, self.size_px, self.size_px, self.mean, self.scale, layout)

    def tensor(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the network is fed: float32, of the same shape."""
        shifted = pixels.astype(np.float32) - np.array(self.mean, np.float32)
        return np.asarray(shifted / np.array(self.scale, np.float32), np.float32)


def view(kind: NetworkKind, settings: TrainSettings, dataset: Dataset) -> View:
    """What a network is shown of a dataset's pictures.

    A network that is trained on sees the mean that it was trained with, out of the run.json beside its weights.
    """
    size = settings.size or kind.size_px
    mean = kind.mean
    if kind.dataset_mean:
        mean = _mean_before(kind, settings) or dataset.mean
    return View(kind.resize_for(size), size, mean, kind.scale)


def view_of(found: Mapping[str, Any]) -> View:
    """What the network of a training was shown, by its run.json."""
    seen = found["view"]
    return View(seen["resize_px"], seen["size_px"], tuple(seen["mean"]), tuple(seen["scale"]))


def _mean_before(kind: NetworkKind, settings: TrainSettings) -> tuple[float, float, float] | None:
    """The mean that the weights were trained with; None where nothing beside them says so."""
    if settings.weights in {FROM_SCRATCH, PUBLISHED}:
        return None
    try:
        found = RunDirectory(Path(settings.weights).parent).read()
    except (NotFoundError, FailedPreconditionError):
        return None
    return view_of(found).mean if found["settings"]["network"] == kind.name else None


def unlike_served(dataset: Dataset, shown: View) -> str:
    """How a dataset's build made its pictures other than those that apps send; "" where it did not."""
    found = []
    if bars := _FITS.get(str(dataset.build.get("fit", ""))):
        found.append(bars)
    if dataset.size is not None and min(dataset.size) < shown.resize_px:
        height, width = dataset.size
        found.append(f"are {width} × {height} pixels and enlarged to {shown.resize_px}")
    if not found:
        return ""
    return (
        f"the dataset's pictures {' and '.join(found)}; what apps send is not, so the accuracy may not hold for it: "
        f"`edgewise data build` with --fit crop and --size {shown.resize_px}x{shown.resize_px} or more makes what the model server shows"
    )


def check(dataset: Dataset, settings: TrainSettings) -> None:
    """Look whether anything can be learned from a dataset.

    Raises: InvalidArgumentError: too few classes or pictures, or weights of classes that are not there.
    """
    if len(dataset.classes) < 2:
        raise InvalidArgumentError(
            f"the dataset has the class {', '.join(dataset.classes)} only; expected at least two to tell apart"
        )
    for name, count in dataset.counts(TRAIN).items():
        if count < MIN_TRAINED:
            raise InvalidArgumentError(
                f"class {name!r} has {count} picture{'' if count == 1 else 's'} in train, expected at least {MIN_TRAINED}: "
                f"add pictures of it, or leave the class out"
            )
    for split in SPLITS:
        if not dataset.of_split(split):
            raise InvalidArgumentError(
                f"the dataset has no pictures in {split}; build it anew with a share for each of {', '.join(SPLITS)}"
            )
    if isinstance(settings.class_weights, dict):
        wrong = sorted(set(settings.class_weights) ^ set(dataset.classes))
        if wrong:
            raise InvalidArgumentError(
                f"class_weights: {wrong[0]!r} is {'missing' if wrong[0] in dataset.classes else 'no class of the dataset'}; "
                f"expected one for each of {', '.join(dataset.classes)}"
            )


def missing_classes(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """By split, classes of which it has no picture: nothing can be said of them."""
    found = {split: tuple(name for name, count in dataset.counts(split).items() if not count) for split in SPLITS}
    return {split: names for split, names in found.items() if names}


def load(
    directory: Path, dataset: Dataset, split: str, *, shown: View, cache: Path, tell: Callable[[str], None]
) -> Pictures:
    """Decode a split, or take what was decoded before.

    Args:
        directory: of the dataset.
        cache: a directory for the decoded pictures; a file there is taken only for the same pictures and the same view.

    Raises:
        NotFoundError: a picture is missing.
        FailedPreconditionError: a picture was changed since the dataset was built, or cannot be decoded.
        OSError: there is no room for the cache.
    """
    images = dataset.of_split(split, augmented=split == TRAIN)
    labels = np.array([dataset.classes.index(image.label) for image in images], np.int64)
    words = f"{dataset.digest} {split} {shown.resize_px} {shown.size_px}"
    path = cache / f"{split}-{hashlib.sha256(words.encode()).hexdigest()[:16]}.npy"
    if not path.is_file():
        tell(f"decoding {len(images)} pictures of {split}")
        _decode_all(directory, images, shown, path)
    pixels = np.load(path, mmap_mode="r")
    return Pictures(images, pixels, labels)


def _decode_all(directory: Path, images: Sequence[DatasetImage], shown: View, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    shape = (len(images), shown.size_px, shown.size_px, 3)
    made = new_array(beside, np.uint8, shape)
    plain = View(shown.resize_px, shown.size_px, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).spec()

    def fill(row: int) -> None:
        # Pixels are whole numbers until they are scaled.
        made[row] = decode_image(_content(directory, images[row]), plain).astype(np.uint8)

    def named(row: int) -> None:
        try:
            fill(row)
        except (NotFoundError, FailedPreconditionError):
            raise
        except EdgewiseError as error:
            raise FailedPreconditionError(f"{directory / images[row].file}: {error.message}") from error

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(named, range(len(images))):
            pass
    made.flush()
    beside.replace(path)


def _content(directory: Path, image: DatasetImage) -> bytes:
    path = directory / image.file
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_PICTURE_BYTES + 1)
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror or error}; the dataset is not whole, build it anew"
        ) from error
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise FailedPreconditionError(f"{path} was changed since the dataset was built; build it anew")
    return content


def sample_weights(dataset: Dataset, settings: TrainSettings, labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """How much each image counts in the loss; None where all count the same.

    Balanced: images / (classes * images of the class), so that each class counts the same in all.
    """
    if isinstance(settings.class_weights, dict):
        by_class = np.array([settings.class_weights[name] for name in dataset.classes], np.float32)
    elif settings.class_weights == "balanced":
        counts = np.bincount(labels, minlength=len(dataset.classes))
        by_class = (len(labels) / (len(counts) * counts)).astype(np.float32)
    else:
        return None
    return np.asarray(by_class[labels], np.float32)
