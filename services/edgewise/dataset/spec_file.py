"""Reads `dataset.toml`; its keys are described in docs/dataset.md.

name = "pets"
paths = ["exports/north", "shelter"]
split = [70, 15, 15]
size = "256x256"
augment = ["rotate", "flip"]
copies = 2

[labels]
tabby = "cat"
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from edgewise.core.errors import InvalidArgumentError
from edgewise.dataset.settings import (
    DEFAULT_MAX_PIXELS,
    DEFAULT_NEAR_BITS,
    DEFAULT_SHARES,
    MAX_COPIES,
    MAX_NEAR_BITS,
    Augmentation,
    BuildSettings,
    Fit,
    Strengths,
    check_augmentation,
    check_shares,
    parse_changes,
    parse_size,
)
from edgewise.protocols.dataset_manifest import CLASS_EXPECTED, MAX_SEED, is_class_name
from edgewise.protocols.documents import Document
from edgewise.protocols.toml_files import read_toml

_MOST_PIXELS: Final = 500_000_000
_KEYS: Final = (
    "name",
    "paths",
    "split",
    "seed",
    "size",
    "fit",
    "augment",
    "copies",
    "augmentation",
    "classes",
    "labels",
    "source_pattern",
    "keep",
    "near",
    "max_pixels",
    "skip_bad",
    "allow_missing",
)
_RANGES: Final = {
    "rotate_degrees": (0.1, 180.0),
    "resize_ratio": (0.01, 0.9),
    "stretch_ratio": (0.01, 0.9),
    "brighten_ratio": (0.01, 10.0),
    "darken_ratio": (0.01, 0.99),
}
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Spec:
    """What a file says.

    Attributes:
        paths: of pictures; empty where the command line names them.
    """

    paths: tuple[Path, ...]
    settings: BuildSettings


def load(path: Path) -> Spec:
    """Read a specification.

    Args:
        path: of the file; names of directories in it begin at its own directory.
    Raises: InvalidArgumentError: it cannot be read, or a value is not allowed; the message names the file, the key, what was
        found and what would be right.
    """
    _, values = read_toml(path, "the specification")
    top = Document(str(path), "", values, _KEYS)
    return Spec(tuple(path.parent / name for name in _texts(top, "paths")), _settings(top, path))


def _settings(top: Document, path: Path) -> BuildSettings:
    return BuildSettings(
        name=top.text("name", path.stem, longest=200),
        shares=_shares(top),
        seed=top.integer("seed", 0, MAX_SEED, 1),
        size=_said(top, "size", parse_size) if "size" in top else None,
        fit=top.word("fit", Fit) if "fit" in top else Fit.CROP,
        augmentation=_augmentation(top),
        classes=_classes(top),
        labels=_labels(top),
        source_pattern=_said(top, "source_pattern", _pattern) if "source_pattern" in top else None,
        keep=path.parent / top.text("keep") if "keep" in top else None,
        near_bits=top.integer("near", 0, MAX_NEAR_BITS, DEFAULT_NEAR_BITS),
        max_pixels=top.integer("max_pixels", 1, _MOST_PIXELS, DEFAULT_MAX_PIXELS),
        skip_bad=top.flag("skip_bad", default=False),
        allow_missing=top.flag("allow_missing", default=False),
    )


def _shares(top: Document) -> tuple[int, int, int]:
    values = top.items("split", "three percentages")
    if "split" not in top:
        return DEFAULT_SHARES
    whole = [value if isinstance(value, int) and not isinstance(value, bool) else -1 for value in values]
    return _keyed(top, "split", lambda: check_shares(whole, ",".join(map(str, values))))


def _augmentation(top: Document) -> Augmentation:
    table = top.table("augmentation", tuple(_RANGES))
    defaults = Strengths()
    found: dict[str, Any] = {
        each.name: table.number(each.name, *_RANGES[each.name], getattr(defaults, each.name))
        for each in fields(Strengths)
    }
    words = _texts(top, "augment")
    changes = _keyed(top, "augment", lambda: parse_changes(words))
    copies = top.integer("copies", 1, MAX_COPIES, 1)
    return _keyed(top, "copies", lambda: check_augmentation(Augmentation(changes, copies, Strengths(**found))))


def _classes(top: Document) -> tuple[str, ...]:
    found = _texts(top, "classes")
    for place, name in enumerate(found):
        if not is_class_name(name):
            raise top.wrong(f"classes[{place}]", name, CLASS_EXPECTED)
        if name in found[:place]:
            raise top.error(f"classes[{place}]", f"found {name!r} a second time, expected each once")
    return tuple(found)


def _labels(top: Document) -> dict[str, str]:
    table = top.names("labels")
    found = {name: table.text(name) for name in table}
    for name, label in found.items():
        if label and not is_class_name(label):
            raise table.wrong(name, label, f'{CLASS_EXPECTED}, or "" to leave such pictures out')
    return found


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, RecursionError) as error:
        raise InvalidArgumentError(f"found {text[:60]!r}, expected a regular expression: {error}") from None


def _texts(top: Document, name: str) -> list[str]:
    found = top.items(name, "a list of texts in quotes")
    for place, value in enumerate(found):
        if not isinstance(value, str) or not value:
            raise top.wrong(f"{name}[{place}]", value, "text in quotes")
    return found


def _said(top: Document, name: str, read: Callable[[str], _Read]) -> _Read:
    text = top.text(name)
    return _keyed(top, name, lambda: read(text))


def _keyed(top: Document, name: str, read: Callable[[], _Read]) -> _Read:
    """Let an error say at which key it is."""
    try:
        return read()
    except InvalidArgumentError as error:
        raise top.error(name, error.message) from None
