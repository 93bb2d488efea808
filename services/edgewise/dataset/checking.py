"""Whether a dataset is what its manifest says, and nothing of one split is in another."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewise.dataset import normalizing, parallel
from edgewise.dataset.building import list_name, list_text
from edgewise.dataset.likeness import near_pairs
from edgewise.dataset.normalizing import BadPictureError, read_file, sha256_of
from edgewise.dataset.settings import DEFAULT_NEAR_BITS, MAX_NEAR_BITS
from edgewise.dataset.visits import Parting, duration_text, kept_apart
from edgewise.protocols.dataset_manifest import SPLITS, TRAIN, Dataset, DatasetImage, read_dataset

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        damages: files that are missing, changed, or not in the manifest.
        leaks: what is in two splits.
    """

    dataset: Dataset
    damages: tuple[str, ...]
    leaks: tuple[str, ...]


def check(directory: Path, *, tell: Tell, near_bits: int | None = None) -> Checked:
    """Hold a dataset against its manifest, and its splits against each other.

    Args:
        near_bits: pictures whose hashes differ in so few of 128 bits count as the same; None takes what the dataset was built with.
        tell: is told how far it is.
    Raises:
        NotFoundError: there is no manifest.
        InvalidArgumentError: it is none, or was changed.
    """
    dataset = read_dataset(directory)
    if near_bits is None:
        near_bits = _near_bits(dataset.build)
    with normalizing.guarded():
        bits, damages = _looked_at(dataset, directory, tell)
    damages.extend(_unlisted(dataset, directory))
    damages.extend(_wrong_lists(dataset, directory))
    tell("comparing", 0, len(bits))
    leaks = [
        *_same_files(dataset),
        *_parted_sources(dataset),
        *map(_parted_text, kept_apart(dataset)[0]),
        *_copies_elsewhere(dataset),
        *_parted_likes(bits, near_bits),
    ]
    return Checked(dataset, tuple(damages), tuple(leaks))


def _near_bits(build: Mapping[str, object]) -> int:
    value = build.get("near")
    return value if isinstance(value, int) and 0 <= value <= MAX_NEAR_BITS else DEFAULT_NEAR_BITS


def _looked_at(
    dataset: Dataset, directory: Path, tell: Tell
) -> tuple[list[tuple[DatasetImage, NDArray[np.uint64]]], list[str]]:
    """What each original looks like, and which files are not as they were."""

    def work(image: DatasetImage) -> NDArray[np.uint64] | str | None:
        path = directory / image.file
        if not path.exists():
            return "is missing"
        try:
            content = read_file(path)
            if sha256_of(content) != image.sha256:
                return "was changed: its digest is another one"
            return None if image.augmented_from else normalizing.describe(content, path.suffix).bits
        except BadPictureError as error:
            return error.message

    bits, damages = [], []
    for done, (image, found) in enumerate(zip(dataset.images, parallel.in_order(work, dataset.images), strict=True), 1):
        if isinstance(found, str):
            damages.append(f"{image.file} {found}")
        elif found is not None:
            bits.append((image, found))
        tell("checking", done, len(dataset.images))
    return bits, damages


def _unlisted(dataset: Dataset, directory: Path) -> Iterator[str]:
    listed = {image.file for image in dataset.images}
    for split in SPLITS:
        for path in sorted((directory / split).rglob("*")):
            name = path.relative_to(directory).as_posix()
            if not path.is_dir() and name not in listed:
                yield f"{name} is not in the manifest"


def _wrong_lists(dataset: Dataset, directory: Path) -> Iterator[str]:
    for split in SPLITS:
        path = directory / list_name(split)
        try:
            right = path.read_text(encoding="utf-8") == list_text(dataset, split)
        except (OSError, UnicodeDecodeError):
            right = False
        if not right:
            yield f"{path.name} does not list what the manifest has of {split}"


def _same_files(dataset: Dataset) -> Iterator[str]:
    first: dict[str, DatasetImage] = {}
    for image in dataset.images:
        other = first.setdefault(image.sha256, image)
        if other.split != image.split:
            yield f"{other.file} and {image.file} are the same file"


def _parted_sources(dataset: Dataset) -> Iterator[str]:
    first: dict[str, dict[str, DatasetImage]] = {}
    for image in dataset.images:
        if image.source:
            first.setdefault(image.source, {}).setdefault(image.split, image)
    for source, by_split in sorted(first.items()):
        if len(by_split) > 1:
            files = " and ".join(image.file for image in by_split.values())
            yield f"the source {source!r} is in {' and '.join(by_split)}: {files}"


def _parted_text(parting: Parting) -> str:
    return f"{parting.one.file} and {parting.other.file} are of one visit: {parting.camera} took them {duration_text(parting.pause_s)} apart"


def _copies_elsewhere(dataset: Dataset) -> Iterator[str]:
    by_file = {image.file: image for image in dataset.images}
    for image in dataset.images:
        if image.augmented_from is None:
            continue
        made_of = by_file[image.augmented_from]
        if image.split != made_of.split:
            yield f"{image.file} was made of {made_of.file}"
        elif image.split != TRAIN:
            yield f"{image.file} is augmented; only pictures of train may be"


def _parted_likes(bits: Sequence[tuple[DatasetImage, NDArray[np.uint64]]], near_bits: int) -> Iterator[str]:
    if not bits:
        return
    stacked = np.stack([each for _, each in bits])
    told: set[int] = set()
    for one, other in near_pairs(stacked, near_bits):
        first, second = bits[one][0], bits[other][0]
        if first.split != second.split and other not in told:
            told.add(other)
            yield f"{first.file} and {second.file} are nearly the same picture"
