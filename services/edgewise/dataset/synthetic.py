"""Drawn pictures for smoke tests: a shape for each class, on scenes of several made-up cameras. Simple to learn, and marked as synthetic."""

import colorsys
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.toml_table import shown
from edgewise.core.wording import counted
from edgewise.dataset import normalizing
from edgewise.dataset.draws import fraction
from edgewise.dataset.sources import SAMPLES, SAMPLES_FORMAT
from edgewise.dataset.staging import staged
from edgewise.protocols.dataset_manifest import CLASS_EXPECTED, is_class_name

PICTURES_OF_A_SOURCE: Final = 4
MAX_SYNTHETIC_CLASSES: Final = 24
_CORNERS: Final = (0, 3, 4, 6, 2, 8)
"""Of the classes' shapes: disc, triangle, square, hexagon, bar, octagon; then the same with a hole, then both in other colours."""
_BAR: Final = 2
_ROUND: Final = 48
_HUES: Final = (0.02, 0.33, 0.62, 0.12, 0.83, 0.48)
_GRAIN: Final = 16


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawn picture.

    Attributes:
        file: below the directory.
        source: the made-up camera.
    """

    file: str
    label: str
    source: str
    sha256: str


def make(
    out: Path,
    classes: Sequence[str],
    count: int,
    size: tuple[int, int],
    seed: int,
    *,
    tell: Callable[[str, int, int], None],
) -> list[Drawing]:
    """Draw pictures into a directory that `edgewise data build` takes.

    Args:
        out: not there yet.
        classes: two or more.
        count: of pictures of each class.
        size: height and width in pixels.
    Raises:
        InvalidArgumentError: the classes cannot be drawn.
        EdgewiseError: the directory is there, or cannot be written.
    """
    _check(classes)
    drawn = []
    with staged(out, "pictures") as stage:
        for index, label in enumerate(classes):
            (stage / label).mkdir()
            for number in range(count):
                content = normalizing.encode(_draw(index, label, number, size, seed), ".png")
                file = f"{label}/{label}-{number:05d}.png"
                (stage / file).write_bytes(content)
                drawn.append(Drawing(file, label, _source(label, number), normalizing.sha256_of(content)))
                tell("drawing", len(drawn), count * len(classes))
        value = {"format": SAMPLES_FORMAT, "synthetic": True, "samples": [_sample(each) for each in drawn]}
        (stage / SAMPLES).write_text(json.dumps(value, indent=1), encoding="utf-8")
    return drawn


def _check(classes: Sequence[str]) -> None:
    if not 2 <= len(classes) <= MAX_SYNTHETIC_CLASSES:
        raise InvalidArgumentError(
            f"found {counted(len(classes), 'class', 'classes')}, expected 2 to {MAX_SYNTHETIC_CLASSES}, such as cat,dog"
        )
    for place, label in enumerate(classes):
        if not is_class_name(label):
            raise InvalidArgumentError(f"found the class {shown(label)}, expected {CLASS_EXPECTED}")
        if label in classes[:place]:
            raise InvalidArgumentError(f"found the class {label!r} a second time, expected each once")


def _source(label: str, number: int) -> str:
    return f"synthetic-{label}-{number // PICTURES_OF_A_SOURCE}"


def _sample(drawing: Drawing) -> dict[str, Any]:
    return {
        "id": drawing.sha256[:32],
        "file": drawing.file,
        "label": drawing.label,
        "source": drawing.source,
        "sha256": drawing.sha256,
        "kind": "picture",
        "synthetic": True,
    }


def _draw(index: int, label: str, number: int, size: tuple[int, int], seed: int) -> Image.Image:
    """One picture: a scene in the tint of its camera, and the class's shape somewhere in it."""

    def chance(what: str, low: float, high: float) -> float:
        return low + (high - low) * fraction(seed, "synthetic", what, label, str(number))

    height, width = size
    tint = fraction(seed, "synthetic", "tint", _source(label, number))
    picture = _scene(tint, int(chance("grains", 0, 1 << 32))).resize((width, height), Image.Resampling.BICUBIC)
    radius = chance("radius", 0.22, 0.36) * min(size)
    middle = (chance("x", radius, width - radius), chance("y", radius, height - radius))
    style = index // len(_CORNERS)
    hue = _HUES[(index + style // 2) % len(_HUES)] + chance("hue", -0.03, 0.03)
    colour = _colour(hue, 0.85, chance("value", 0.65, 0.95))
    corners = _corners(_CORNERS[index % len(_CORNERS)], middle, radius, chance("turn", 0.0, math.tau))
    ImageDraw.Draw(picture).polygon(corners, fill=colour)
    if style % 2:
        inner = _corners(_CORNERS[index % len(_CORNERS)], middle, radius * 0.55, chance("turn", 0.0, math.tau))
        ImageDraw.Draw(picture).polygon(inner, fill=_colour(hue, 0.2, 0.2))
    return picture


def _scene(tint: float, grains: int) -> Image.Image:
    """A few large grains of light and dark, no two scenes the same."""
    light = np.random.default_rng(grains).uniform(0.35, 0.75, (_GRAIN, _GRAIN, 1))
    return Image.fromarray((light * np.array(_colour(tint, 0.15, 1.0))).astype(np.uint8))


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1.0, saturation, value))
    return red, green, blue


def _corners(count: int, middle: tuple[float, float], radius: float, turn: float) -> list[tuple[float, float]]:
    """Of a regular polygon, so that a disc is one with many; two make a bar."""
    if count == _BAR:
        angles = [turn + side for side in (-0.3, 0.3, math.pi - 0.3, math.pi + 0.3)]
    else:
        angles = [turn + math.tau * corner / (count or _ROUND) for corner in range(count or _ROUND)]
    return [(middle[0] + radius * math.cos(angle), middle[1] + radius * math.sin(angle)) for angle in angles]
