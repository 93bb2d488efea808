"""How a dataset is built."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.toml_table import hint
from edgewise.protocols.dataset_manifest import MAX_SIDE_PX

DEFAULT_SHARES: Final = (70, 15, 15)
DEFAULT_NEAR_BITS: Final = 10
"""Of 128. Photographs of different things differ in 40 and more, one photograph saved anew or made smaller in up to 5."""
MAX_NEAR_BITS: Final = 32
DEFAULT_MAX_PIXELS: Final = 50_000_000
MAX_COPIES: Final = 50
_SHARE_TOTAL: Final = 100
_SIZE: Final = re.compile(r"(\d{1,5})[x×](\d{1,5})")


class Fit(StrEnum):
    """How a picture of another shape comes to the wanted size."""

    CROP = "crop"
    """The middle of it, as the model server does it."""
    PAD = "pad"
    """All of it, with black bars."""
    STRETCH = "stretch"
    """All of it, its sides scaled each by its own factor."""


class Change(StrEnum):
    """What augmentation does to a picture."""

    ROTATE = "rotate"
    RESIZE = "resize"
    STRETCH = "stretch"
    BRIGHTEN = "brighten"
    DARKEN = "darken"
    FLIP = "flip"


@dataclass(frozen=True, slots=True)
class Strengths:
    """How far each change goes; a copy draws evenly within.

    Attributes:
        rotate_degrees: to either side.
        resize_ratio: 0.2 is 0.8 to 1.2 times as large, within the same frame.
        stretch_ratio: 0.2 is a width 0.8 to 1.2 times what it was for that height.
        brighten_ratio: 0.5 is up to 1.5 times as bright.
        darken_ratio: 0.5 is down to half as bright.
    """

    rotate_degrees: float = 15.0
    resize_ratio: float = 0.2
    stretch_ratio: float = 0.15
    brighten_ratio: float = 0.4
    darken_ratio: float = 0.4


@dataclass(frozen=True, slots=True)
class Augmentation:
    """More pictures for train, made of those that are there.

    Attributes:
        changes: what is done; empty makes none.
        copies: of each original.
    """

    changes: tuple[Change, ...] = ()
    copies: int = 1
    strengths: Strengths = field(default_factory=Strengths)

    def value(self) -> dict[str, Any]:
        """As the manifest tells it."""
        if not self.changes:
            return {}
        strengths = {each.name: getattr(self.strengths, each.name) for each in fields(self.strengths)}
        return {"changes": [str(change) for change in self.changes], "copies": self.copies, **strengths}


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How a dataset is built.

    Attributes:
        name: of the dataset.
        shares: of train, validation and test, in percent.
        size: height and width in pixels; None keeps each picture's own.
        classes: in the order of their indices; empty takes those that there are, by name.
        labels: what labels are read as; "" leaves a picture out.
        source_pattern: finds the source in the name of a picture for which none is stated: its first group, or all of it.
        keep: a dataset whose pictures and sources stay in their splits.
        near_bits: pictures whose hashes differ in so few of 128 bits are nearly the same.
        skip_bad: pass over files that cannot be read as pictures instead of stopping.
        allow_missing: let a class be missing from validation or test.
    """

    name: str
    shares: tuple[int, int, int] = DEFAULT_SHARES
    seed: int = 1
    size: tuple[int, int] | None = None
    fit: Fit = Fit.CROP
    augmentation: Augmentation = field(default_factory=Augmentation)
    classes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    source_pattern: re.Pattern[str] | None = None
    keep: Path | None = None
    near_bits: int = DEFAULT_NEAR_BITS
    max_pixels: int = DEFAULT_MAX_PIXELS
    skip_bad: bool = False
    allow_missing: bool = False

    def value(self) -> dict[str, Any]:
        """What of it shaped the dataset, as the manifest tells it."""
        return {
            "shares": list(self.shares),
            "fit": str(self.fit) if self.size else "",
            "near": self.near_bits,
            "augmentation": self.augmentation.value(),
        }


def parse_shares(text: str) -> tuple[int, int, int]:
    """Read "70,15,15".

    Raises: InvalidArgumentError: it is no such text.
    """
    parts = [part.strip() for part in text.split(",")]
    values = [int(part) if part.isdecimal() and part.isascii() else -1 for part in parts]
    return check_shares(values, text)


def check_shares(values: list[int], shown: str) -> tuple[int, int, int]:
    """Three shares that make up a whole, train's not 0.

    Raises: InvalidArgumentError: they are others.
    """
    if len(values) != 3 or min(values) < 0 or values[0] == 0 or sum(values) != _SHARE_TOTAL:
        raise InvalidArgumentError(
            f"found {shown!r}, expected the percentages of train, validation and test, which make {_SHARE_TOTAL} together, "
            "train's more than 0, such as 70,15,15"
        )
    return values[0], values[1], values[2]


def parse_size(text: str) -> tuple[int, int]:
    """Read "256x192", width first.

    Returns: height and width in pixels.
    Raises: InvalidArgumentError: it is no such text.
    """
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None or not all(1 <= int(side) <= MAX_SIDE_PX for side in found.groups()):
        raise InvalidArgumentError(
            f"found {text!r}, expected WIDTHxHEIGHT of 1 to {MAX_SIDE_PX} pixels, such as 256x256"
        )
    return int(found[2]), int(found[1])


def parse_changes(words: list[str]) -> tuple[Change, ...]:
    """Read the names of changes.

    Raises: InvalidArgumentError: one is unknown, or there twice.
    """
    known = [str(change) for change in Change]
    for place, word in enumerate(words):
        if word not in known:
            raise InvalidArgumentError(
                f"there is no augmentation {word!r}{hint(word, known)}; expected some of {', '.join(known)}"
            )
        if word in words[:place]:
            raise InvalidArgumentError(f"found the augmentation {word!r} a second time, expected each once")
    return tuple(change for change in Change if change in words)


def check_augmentation(augmentation: Augmentation) -> Augmentation:
    """See that the copies of a picture differ.

    Raises: InvalidArgumentError: a picture can only be flipped once.
    """
    if augmentation.changes == (Change.FLIP,) and augmentation.copies > 1:
        raise InvalidArgumentError(
            f"{augmentation.copies} copies of each picture were asked for, and flip alone makes one; "
            "expected 1 copy, or other changes beside it, such as rotate,flip"
        )
    return augmentation
