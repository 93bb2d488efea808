"""A dataset's manifest, `dataset.json`: what a training run reads, and what a leak check holds against the files.

    {"format": "edgewise-dataset/1", "name": "pets", "classes": ["cat", "dog"], "seed": 1, "digest": "9f86...",
     "created": "2026-11-23T10:00:00Z", "size": [256, 256], "mean": [121.3, 112.9, 101.1], "build": {"near": 8, ...},
     "splits": {"train": {"images": 2, "counts": {"cat": 1, "dog": 1}}, "validation": ..., "test": ...},
     "images": [{"file": "train/cat/60303ae22b998861.jpg", "sha256": "60303ae2...", "class": "cat", "split": "train",
                 "source": "north/door-1 2026-11-20", "taken": ["north/door-1 2026-11-20T07:12:00Z"], "origin": "sample:4f9c...", "augmented_from": null, "augmentation": null,
                 "synthetic": false}, ...]}

`digest` is the SHA-256 of all of it but `created` and `digest`, keys sorted and without white space: the same pictures built the same
way have the same digest. The pictures are in it by their own digests, so it stands for every byte that is trained on.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.core.toml_table import hint, is_number
from edgewise.protocols.documents import Document, check_format, document_bytes, read_document, time_s, time_text

FORMAT: Final = "edgewise-dataset/1"
MANIFEST: Final = "dataset.json"
TRAIN: Final = "train"
VALIDATION: Final = "validation"
TEST: Final = "test"
SPLITS: Final = (TRAIN, VALIDATION, TEST)

MAX_MANIFEST_BYTES: Final = 512 << 20
MAX_SEED: Final = (1 << 53) - 1
MAX_SIDE_PX: Final = 8192
MAX_CLASSES: Final = 10_000
CLASS_NAME: Final = re.compile(r"(?! )[A-Za-z0-9 _.-]{1,64}(?<! )")
CLASS_EXPECTED: Final = "1 to 64 letters, digits, spaces, '_', '-' or '.', the first of them no '.'"
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True, slots=True)
class DatasetImage:
    """One picture of a dataset.

    Attributes:
        file: its name below the dataset's directory: "train/cat/60303ae22b998861.jpg".
        sha256: of the file.
        label: its class.
        split: "train", "validation" or "test".
        source: what is never in two splits: camera and day, or as it was stated; "" where nobody said.
        origin: "sample:<id>" or "file:<name>", its name below the PATH that it was found in; where there were several, with that PATH's.
        augmented_from: the `file` that it was made of, None for an original.
        augmentation: what was done to that one.
        synthetic: drawn by a program, no photograph.
        taken: by which camera and when, "north/door-1 2026-11-20T07:12:00Z", once for each of the files that were this picture; none
            where nobody said, and none of copies.
    """

    file: str
    sha256: str
    label: str
    split: str
    source: str = ""
    origin: str = ""
    augmented_from: str | None = None
    augmentation: Mapping[str, Any] | None = None
    synthetic: bool = False
    taken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset.

    Attributes:
        classes: names in the order of their indices, from 0.
        seed: of split, augmentation and shuffling.
        created: RFC 3339 in UTC.
        size: height and width of all pictures in pixels; None where each has its own.
        mean: red, green and blue in 0..255 over the originals of train.
        images: in the order of their files' names.
        build: how it was made, for people and for the check.
    """

    name: str
    classes: tuple[str, ...]
    seed: int
    created: str
    size: tuple[int, int] | None
    mean: tuple[float, float, float]
    images: tuple[DatasetImage, ...]
    build: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's content, 64 hexadecimal digits."""
        return hashlib.sha256(document_bytes(_content(self))).hexdigest()

    @property
    def synthetic(self) -> bool:
        """Whether any picture is synthetic."""
        return any(image.synthetic for image in self.images)

    def of_split(self, split: str, *, augmented: bool = True) -> tuple[DatasetImage, ...]:
        """The pictures of a split.

        Args:
            augmented: whether augmented ones are among them; only train has any.
        """
        return tuple(
            image for image in self.images if image.split == split and (augmented or image.augmented_from is None)
        )

    def counts(self, split: str) -> dict[str, int]:
        """How many pictures of each class a split has, augmented ones too; 0 where there are none."""
        found = Counter(image.label for image in self.images if image.split == split)
        return {label: found[label] for label in self.classes}


def read_dataset(directory: Path) -> Dataset:
    """Read the manifest of a dataset directory. The pictures are not looked at: `edgewise data check` does that.

    Raises:
        NotFoundError: there is no manifest.
        InvalidArgumentError: it is none, or was changed since it was written.
    """
    path = directory / MANIFEST
    if not path.is_file():
        what = f"holds no {MANIFEST}" if directory.is_dir() else "is no directory"
        raise NotFoundError(f"{directory} {what}; expected a dataset that `edgewise data build` made")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from None
    return decode_dataset(content, what=str(path))


def encode_dataset(dataset: Dataset) -> bytes:
    """The bytes of a manifest."""
    content = _content(dataset)
    digest = hashlib.sha256(document_bytes(content)).hexdigest()
    return document_bytes({**content, "created": dataset.created, "digest": digest}) + b"\n"


def decode_dataset(content: bytes, *, what: str = "the manifest") -> Dataset:
    """Read a manifest.

    Args:
        what: as messages call it.
    Raises: InvalidArgumentError: it is none, its parts contradict each other, or it was changed since it was written.
    """
    top = read_document(content, what, max_bytes=MAX_MANIFEST_BYTES)
    check_format(top, FORMAT)
    classes = _classes(top)
    dataset = Dataset(
        name=top.text("name", longest=200),
        classes=classes,
        seed=top.integer("seed", 0, MAX_SEED),
        created=top.text("created"),
        size=_size(top),
        mean=_mean(top),
        images=_images(top, frozenset(classes)),
        build=_plain(top, "build") or {},
    )
    if top.sha256("digest") != dataset.digest or top.get("splits", required=True, expected="") != _splits(dataset):
        raise top.error("digest", "does not fit the rest: the manifest was changed after it was written; build it anew")
    return dataset


def _content(dataset: Dataset) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": dataset.name,
        "classes": list(dataset.classes),
        "seed": dataset.seed,
        "size": None if dataset.size is None else list(dataset.size),
        "mean": list(dataset.mean),
        "build": dict(dataset.build),
        "splits": _splits(dataset),
        "images": [_image_value(image) for image in dataset.images],
    }


def _splits(dataset: Dataset) -> dict[str, Any]:
    counts = {split: dataset.counts(split) for split in SPLITS}
    return {split: {"images": sum(counts[split].values()), "counts": counts[split]} for split in SPLITS}


def _image_value(image: DatasetImage) -> dict[str, Any]:
    value = {
        "file": image.file,
        "sha256": image.sha256,
        "class": image.label,
        "split": image.split,
        "source": image.source,
        "origin": image.origin,
        "augmented_from": image.augmented_from,
        "augmentation": None if image.augmentation is None else dict(image.augmentation),
        "synthetic": image.synthetic,
    }
    # Left out where there is none: the digests of manifests that had no times stay what they were.
    return {**value, "taken": list(image.taken)} if image.taken else value


def taken_text(camera: str, at_s: float) -> str:
    """By which camera and when a picture was taken, as `DatasetImage.taken` has it."""
    return f"{camera} {time_text(at_s)}"


def camera_and_time_s(taken: str) -> tuple[str, float]:
    """The camera, and seconds since the epoch.

    Raises: InvalidArgumentError: `taken_text` wrote no such text.
    """
    camera, _, at = taken.rpartition(" ")
    return camera, time_s(at)


def _classes(top: Document) -> tuple[str, ...]:
    found = top.items("classes", "a list of names")
    if not 0 < len(found) <= MAX_CLASSES:
        raise top.error("classes", f"found {len(found)} classes, expected 1 to {MAX_CLASSES}")
    for place, name in enumerate(found):
        if not isinstance(name, str) or not is_class_name(name):
            raise top.wrong(f"classes[{place}]", name, CLASS_EXPECTED)
    if len(set(found)) < len(found):
        raise top.error("classes", "two have the same name")
    return tuple(found)


def is_class_name(name: str) -> bool:
    """Whether a class can be called so: it is the name of a directory as well."""
    return CLASS_NAME.fullmatch(name) is not None and not name.startswith(".")


def _size(top: Document) -> tuple[int, int] | None:
    match top.get("size", required=False, expected=""):
        case None:
            return None
        case [int(height), int(width)] if 0 < height <= MAX_SIDE_PX and 0 < width <= MAX_SIDE_PX:
            return height, width
        case value:
            raise top.wrong("size", value, f"[height, width] in 1..{MAX_SIDE_PX}, or null")


def _mean(top: Document) -> tuple[float, float, float]:
    value = top.items("mean", "three numbers in 0..255")
    if len(value) != 3 or not all(is_number(each) and 0 <= each <= 255 for each in value):
        raise top.wrong("mean", value, "three numbers in 0..255")
    return value[0], value[1], value[2]


def _images(top: Document, classes: frozenset[str]) -> tuple[DatasetImage, ...]:
    images = tuple(_image(table, classes) for table in top.tables("images", ()))
    by_file = {image.file: image for image in images}
    if len(by_file) < len(images):
        raise top.error("images", "two have the same file")
    for image in images:
        if image.augmented_from is None:
            continue
        made_of = by_file.get(image.augmented_from)
        if made_of is None or made_of.augmented_from is not None:
            raise top.error(
                "images", f"{image.file} is made of {image.augmented_from!r}, which is none of the originals"
            )
    return images


def _image(table: Document, classes: frozenset[str]) -> DatasetImage:
    label = table.text("class")
    if label not in classes:
        raise table.error("class", f"{label!r} is none of the classes{hint(label, classes)}")
    split = table.text("split")
    if split not in SPLITS:
        raise table.wrong("split", split, f"one of {', '.join(SPLITS)}")
    file = table.text("file")
    folder, _, name = file.rpartition("/")
    if folder != f"{split}/{label}" or not _FILE_NAME.fullmatch(name):
        raise table.wrong("file", file, f"a name such as {split}/{label}/60303ae22b998861.jpg")
    return DatasetImage(
        file=file,
        sha256=table.sha256("sha256"),
        label=label,
        split=split,
        source=table.text("source"),
        origin=table.text("origin"),
        augmented_from=table.text("augmented_from", "") or None,
        augmentation=_plain(table, "augmentation"),
        synthetic=table.flag("synthetic", default=False),
        taken=_taken(table),
    )


def _taken(table: Document) -> tuple[str, ...]:
    expected = "a list of cameras and times, such as north/door-1 2026-11-20T07:12:00Z"
    found = table.items("taken", expected)
    for each in found:
        try:
            camera_and_time_s(each if isinstance(each, str) else "")
        except InvalidArgumentError:
            raise table.wrong("taken", each, expected) from None
    return tuple(found)


def _plain(table: Document, name: str) -> dict[str, Any] | None:
    value = table.get(name, required=False, expected="")
    if value is not None and not isinstance(value, dict):
        raise table.wrong(name, value, table.table_words(name))
    return value
