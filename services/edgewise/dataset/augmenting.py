"""More pictures of those that are there: turned, resized, stretched, brighter, darker, mirrored.

What is done to a copy is drawn from the dataset's seed, the original's digest and the copy's number, and from nothing else.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from PIL import Image, ImageEnhance, ImageStat

from edgewise.dataset.draws import fraction
from edgewise.dataset.settings import Augmentation, Change

LEAST_RATIO: Final = 0.2
"""Of a change's strength: a weaker change would be none."""
_DIGITS: Final = 4


def draw(augmentation: Augmentation, seed: int, sha256: str, copy: int) -> dict[str, Any]:
    """What is done to a copy.

    Args:
        sha256: of the original's file.
        copy: its number, from 1.
    Returns: for the manifest and for `apply`: "rotate" in degrees to the left, "resize", "stretch", "brighten" and "darken" as factors, "flip" true.
    """
    changes, strengths = augmentation.changes, augmentation.strengths

    def chance(what: str) -> float:
        return fraction(seed, "augment", sha256, str(copy), what)

    def either_way(what: str, strength: float) -> float:
        way = 2.0 * chance(what) - 1.0
        return math.copysign(LEAST_RATIO + (1.0 - LEAST_RATIO) * abs(way), way) * strength

    def one_way(what: str, strength: float) -> float:
        return (LEAST_RATIO + (1.0 - LEAST_RATIO) * chance(what)) * strength

    brightens, darkens = Change.BRIGHTEN in changes, Change.DARKEN in changes
    if brightens and darkens:
        brightens = chance("brighten or darken") < 0.5
        darkens = not brightens
    drawn = {
        Change.ROTATE: either_way("rotate", strengths.rotate_degrees),
        Change.RESIZE: 1.0 + either_way("resize", strengths.resize_ratio),
        Change.STRETCH: 1.0 + either_way("stretch", strengths.stretch_ratio),
    }
    found: dict[str, Any] = {str(change): round(value, _DIGITS) for change, value in drawn.items() if change in changes}
    if brightens:
        found["brighten"] = round(1.0 + one_way("brighten", strengths.brighten_ratio), _DIGITS)
    if darkens:
        found["darken"] = round(1.0 - one_way("darken", strengths.darken_ratio), _DIGITS)
    if Change.FLIP in changes and (len(changes) == 1 or chance("flip") < 0.5):
        found["flip"] = True
    return found


def apply(picture: Image.Image, drawn: Mapping[str, Any]) -> Image.Image:
    """The picture with the changes made, as large as it was. What comes in at its edges has its mean colour.

    Args:
        picture: RGB.
        drawn: by `draw`.
    """
    if drawn.keys() & {"rotate", "resize", "stretch"}:
        picture = _turned(picture, drawn.get("rotate", 0.0), drawn.get("resize", 1.0), drawn.get("stretch", 1.0))
    for name in ("brighten", "darken"):
        if name in drawn:
            picture = ImageEnhance.Brightness(picture).enhance(drawn[name])
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if drawn.get("flip") else picture


def _turned(picture: Image.Image, degrees: float, resize: float, stretch: float) -> Image.Image:
    """All three at once about the middle, so that the pixels are interpolated once."""
    turn = math.radians(degrees)
    cosine, sine = math.cos(turn), math.sin(turn)
    middle_x, middle_y = picture.width / 2, picture.height / 2
    # From a place in the result to the place in the picture.
    right, down = 1.0 / (resize * stretch), 1.0 / resize
    a, b, d, e = cosine * right, -sine * down, sine * right, cosine * down
    matrix = (a, b, middle_x - a * middle_x - b * middle_y, d, e, middle_y - d * middle_x - e * middle_y)
    red, green, blue = (round(value) for value in ImageStat.Stat(picture).mean)
    return picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=(red, green, blue)
    )
