"""Photographs to ask about: read, scaled down, and varied in ways that repeat."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.core.toml_table import hint
from edgewise.study.scenario import Inputs

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")
LABEL_COLUMNS: Final = ("file", "label")

# In a wheel the photographs lie with the models that are built of them, in a checkout in examples/images.
_PACKAGE: Final = Path(__file__).parents[1]
_PLACES: Final = (_PACKAGE / "model_server" / "building" / "images", _PACKAGE.parents[1] / "examples" / "images")

_MAX_FILE_BYTES: Final = 32 << 20
_MAX_TOTAL_BYTES: Final = 128 << 20
"""Of all photographs together; each protocol keeps them in a form of its own."""
_MAX_PIXELS: Final = 50_000_000
_MAX_LABEL_ROWS: Final = 1_000_000
_MAX_LABEL_CHARS: Final = 200
_JPEG: Final = b"\xff\xd8\xff"
_TURN_DEGREES: Final = 20.0
_LEAST_CROP: Final = 0.6
_LEAST_BRIGHTNESS: Final = 0.4
_MOST_BRIGHTNESS: Final = 1.8


@dataclass(frozen=True, slots=True)
class Photograph:
    """One photograph as it is sent.

    Attributes:
        name: of its file; of a variation with a number behind: "cat.jpg#2".
        content: JPEG.
        label: what is on it, "" when nobody said.
    """

    name: str
    content: bytes
    label: str = ""


def example_images() -> Path:
    """The directory of Edgewise's own photographs.

    Raises: FailedPreconditionError: this installation carries none.
    """
    for place in _PLACES:
        if (place / "cat.jpg").is_file():
            return place
    raise FailedPreconditionError(
        "this installation carries no example images; name a directory of photographs with images in [inputs]"
    )


def files(directory: Path) -> tuple[Path, ...]:
    """The photographs in a directory, by name.

    Raises: InvalidArgumentError: there is none, or the directory cannot be read.
    """
    try:
        found = tuple(sorted(one for one in directory.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file()))
    except OSError as error:
        raise InvalidArgumentError(f"the photographs in {directory} cannot be read: {error.strerror}") from None
    if not found:
        raise InvalidArgumentError(f"{directory} holds no photographs; expected {', '.join(SUFFIXES)}")
    return found


def read_labels(path: Path, known: tuple[str, ...]) -> Mapping[str, str]:
    """What is on each photograph.

    Args:
        path: CSV with the columns `file` and `label`.
        known: names of the photographs that there are.
    Raises: InvalidArgumentError: it is no such file, or names a photograph that is not there.
    """
    labels: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as source:
            rows = csv.reader(source)
            names = [name.strip() for name in next(rows, [])]
            if tuple(names) != LABEL_COLUMNS:
                raise InvalidArgumentError(f"{path}: the first line is {','.join(names)[:60]!r}; expected 'file,label'")
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                if not row:
                    continue
                if len(row) != 2 or not row[1].strip() or len(row[1]) > _MAX_LABEL_CHARS:
                    raise InvalidArgumentError(f"{where}: found {','.join(row)[:60]!r}, expected a file and its label")
                name, label = row[0].strip(), row[1].strip()
                if name not in known:
                    raise InvalidArgumentError(f"{where}: there is no photograph {name[:60]!r}{hint(name, known)}")
                if labels.setdefault(name, label) != label:
                    raise InvalidArgumentError(f"{where}: {name!r} has the label {labels[name]!r} above; expected one")
                if rows.line_num > _MAX_LABEL_ROWS:
                    raise InvalidArgumentError(f"{path} has more than {_MAX_LABEL_ROWS:,} lines")
    except OSError as error:
        raise InvalidArgumentError(f"the labels {path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgumentError(f"{path} is no CSV file: {error}") from None
    return labels


@lru_cache(maxsize=4)
def load(inputs: Inputs, seed: int) -> tuple[Photograph, ...]:
    """The photographs of a scenario: first all as they are, then a first variation of each, a second, ...

    Args:
        inputs: `limit` of them at most; `short_side_px` scales down, never up.
        seed: of the variations; the same one gives the same bytes.
    Returns: at least one; variations have the label of the photograph they are made of.
    Raises: InvalidArgumentError: the directory, the labels or a photograph cannot be used, or all together are too large.
    """
    paths = files(inputs.images)
    labels = read_labels(inputs.labels, tuple(path.name for path in paths)) if inputs.labels is not None else {}
    found: list[Photograph] = []
    total_bytes = 0
    for variation in range(inputs.augment + 1):
        for place, path in enumerate(paths):
            if len(found) == inputs.limit:
                return tuple(found)
            name = path.name if not variation else f"{path.name}#{variation}"
            content = _as_sent(path, inputs) if not variation else _varied(path, inputs, (seed, place, variation))
            total_bytes += len(content)
            if total_bytes > _MAX_TOTAL_BYTES:
                raise InvalidArgumentError(
                    f"the first {len(found) + 1} photographs of {inputs.images} have more than {_MAX_TOTAL_BYTES:,} bytes; expected "
                    f"fewer (limit = {len(found)}) or smaller ones (short_side_px)"
                )
            found.append(Photograph(name, content, labels.get(path.name, "")))
    return tuple(found)


def _as_sent(path: Path, inputs: Inputs) -> bytes:
    """The file itself when nothing is to be done to it, else a JPEG of it."""
    content = _read(path)
    image = _decoded(path, content)
    if content.startswith(_JPEG) and (not inputs.short_side_px or min(image.size) <= inputs.short_side_px):
        return content
    return _encoded(_scaled(image, inputs.short_side_px), inputs.jpeg_quality)


def _varied(path: Path, inputs: Inputs, seed: tuple[int, int, int]) -> bytes:
    from PIL import Image, ImageEnhance  # noqa: PLC0415 - only a study that varies its photographs pays for it

    generator = np.random.Generator(np.random.PCG64(seed))
    image = _scaled(_decoded(path, _read(path)), inputs.short_side_px)
    degrees = float(generator.uniform(-_TURN_DEGREES, _TURN_DEGREES))
    turned = image.rotate(degrees, Image.Resampling.BICUBIC)
    width, height = _inside(image.width, image.height, math.radians(abs(degrees)))
    share = float(generator.uniform(_LEAST_CROP, 1.0))
    width, height = max(1, int(width * share)), max(1, int(height * share))
    # Anywhere in the part that turning left whole, which lies in the middle.
    left = (image.width - width) / 2 + (float(generator.uniform(-1, 1)) * width * (1 / share - 1) / 2)
    top = (image.height - height) / 2 + (float(generator.uniform(-1, 1)) * height * (1 / share - 1) / 2)
    view = turned.crop((int(left), int(top), int(left) + width, int(top) + height))
    if generator.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    brightness = float(generator.uniform(_LEAST_BRIGHTNESS, _MOST_BRIGHTNESS))
    return _encoded(ImageEnhance.Brightness(view).enhance(brightness), inputs.jpeg_quality)


def _inside(width: int, height: int, radians: float) -> tuple[float, float]:
    """The largest rectangle of the same proportions that a turned one still covers."""
    sine, cosine = math.sin(radians), math.cos(radians)
    shrink = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    return width * shrink, height * shrink


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise InvalidArgumentError(f"the photograph {path} has more than {_MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"the photograph {path} cannot be read: {error.strerror}") from None


def _decoded(path: Path, content: bytes) -> "Image":
    """Upright, in RGB."""
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415 - as above

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise InvalidArgumentError(f"the photograph {path} has more than {_MAX_PIXELS:,} pixels")
            return (ImageOps.exif_transpose(image) or image).convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InvalidArgumentError(f"the photograph {path} cannot be decoded: {str(error)[:200]}") from None


def _scaled(image: "Image", short_side_px: int) -> "Image":
    from PIL import Image  # noqa: PLC0415 - as above

    short = min(image.size)
    if not short_side_px or short <= short_side_px:
        return image
    size = tuple(max(1, round(side * short_side_px / short)) for side in image.size)
    return image.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def _encoded(image: "Image", quality: int) -> bytes:
    target = io.BytesIO()
    image.save(target, "JPEG", quality=quality)
    return target.getvalue()
