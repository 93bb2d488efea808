"""A file into the picture that is kept: upright, RGB, of the wanted size, without EXIF, of which GPS is a part.

Values are taken as they are stored, whatever colour profile the file names; the model server does the same.
"""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageStat, UnidentifiedImageError

from edgewise.core.errors import InvalidArgumentError
from edgewise.dataset.likeness import picture_bits
from edgewise.dataset.settings import Fit
from edgewise.protocols.dataset_manifest import MAX_SIDE_PX

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
JPEG_QUALITY: Final = 95
MAX_FILE_BYTES: Final = 128 << 20
_LOSSLESS: Final = frozenset(("PNG", "GIF", "BMP"))
# Averages whole pixels first when shrinking by much; from 3 on the result is hardly different from a full resample.
_REDUCING_GAP: Final = 3.0
# Decoding a JPEG at 1/2, 1/4 or 1/8 loses nothing that the resize would keep as long as this much is left.
_DRAFT_RATIO: Final = 2


class BadPictureError(InvalidArgumentError):
    """A file is no picture that can be trained on; the message says why and does not name the file."""


@dataclass(frozen=True, slots=True)
class Normalized:
    """A picture as it is kept.

    Attributes:
        content: the file.
        suffix: ".jpg" or ".png".
        sha256: of the file.
        bits: what it looks like; see `likeness`.
        mean: red, green and blue in 0..255.
    """

    content: bytes
    suffix: str
    sha256: str
    bits: NDArray[np.uint64]
    mean: tuple[float, float, float]


@contextmanager
def guarded() -> Iterator[None]:
    """Let Pillow refuse, instead of warn of, what is far too large; for all threads, so it is entered once around them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def normalize(path: Path, size: tuple[int, int] | None, fit: Fit, max_pixels: int) -> Normalized:
    """Read a file and make of it what is kept.

    Args:
        size: height and width in pixels; None keeps what it has.
    Raises:
        BadPictureError: it is no picture, damaged or too large.
        MemoryError: there was no memory for it.
    """
    content = read_file(path)
    picture, kind = _decoded(content, max_pixels, _DRAFT_RATIO * max(size or (0,)))
    if size is not None:
        picture = _fitted(picture, size, fit)
    elif max(picture.size) > MAX_SIDE_PX:
        raise BadPictureError(
            f"is {picture.width} × {picture.height} pixels, {MAX_SIDE_PX} is the most of a side; give --size"
        )
    suffix = ".png" if kind in _LOSSLESS else ".jpg"
    return describe(encode(picture, suffix), suffix)


def read_file(path: Path) -> bytes:
    """All of a file.

    Raises: BadPictureError: it cannot be read, or is too large.
    """
    # A pipe or a device would hang the read.
    if not path.is_file():
        raise BadPictureError("is no regular file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadPictureError(f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise BadPictureError(f"has more than {MAX_FILE_BYTES >> 20} MiB, which is the most")
    return content


def encode(picture: Image.Image, suffix: str) -> bytes:
    """The file of an RGB picture, without anything about it."""
    out = io.BytesIO()
    if suffix == ".png":
        picture.save(out, "PNG")
    else:
        picture.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def describe(content: bytes, suffix: str) -> Normalized:
    """What is known of a file of a dataset, by its pixels as they will be read.

    Raises: BadPictureError: it is damaged.
    """
    picture = open_kept(content)
    red, green, blue = ImageStat.Stat(picture).mean
    return Normalized(content, suffix, sha256_of(content), picture_bits(picture), (red, green, blue))


def sha256_of(content: bytes) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def open_kept(content: bytes) -> Image.Image:
    """Decode a file of a dataset.

    Raises: BadPictureError: it is damaged, or none that this program wrote.
    """
    picture, _ = _decoded(content, MAX_SIDE_PX * MAX_SIDE_PX)
    return picture


def _decoded(content: bytes, max_pixels: int, enough_px: int = 0) -> tuple[Image.Image, str]:
    """Upright and in RGB, and what format it was in; a JPEG's sides may come smaller, down to `enough_px`, where that is not 0."""
    if not content:
        raise BadPictureError("is empty")
    try:
        # Reads the head alone; the format decides, whatever the file's name ends in.
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise BadPictureError("is no picture; expected JPEG, PNG, WebP, GIF or BMP") from None
    except Image.DecompressionBombError:
        raise BadPictureError(f"has far too many pixels; {max_pixels:,} is the most (max_pixels)") from None
    except Exception as error:  # noqa: BLE001  (see _damaged)
        raise _damaged(error) from None
    if picture.width * picture.height > max_pixels:
        raise BadPictureError(
            f"is {picture.width} × {picture.height} pixels, and {max_pixels:,} in all is the most (max_pixels)"
        )
    try:
        if enough_px:
            picture.draft(None, (enough_px, enough_px))
        picture.load()
    except Exception as error:  # noqa: BLE001  (see _damaged)
        raise _damaged(error) from None
    return _rgb(_upright(picture)), picture.format or ""


def _damaged(error: Exception) -> Exception:
    """Decoders raise almost anything on damaged files; what is no fault of the file stays what it is."""
    return error if isinstance(error, MemoryError) else BadPictureError("is truncated or damaged")


def _upright(picture: Image.Image) -> Image.Image:
    """As EXIF says that it was held; where EXIF is broken, as it is stored."""
    try:
        return ImageOps.exif_transpose(picture)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  (it is read with as little care as it was written)
        return picture


def _rgb(picture: Image.Image) -> Image.Image:
    """In RGB, transparency shown on white as on a page."""
    if picture.mode.startswith("I"):  # 16-bit greyscale; Pillow's own conversion would clip at 255
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8))
    elif picture.has_transparency_data:
        shown = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
    # A copy of the pixels alone: whatever the file said beside them stays behind.
    plain = Image.new("RGB", picture.size)
    plain.paste(picture if picture.mode == "RGB" else picture.convert("RGB"))
    return plain


def _fitted(picture: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    height, width = size
    if fit is Fit.STRETCH:
        return picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    if fit is Fit.CROP:
        return picture.resize(
            (width, height), Image.Resampling.BICUBIC, _middle(picture.size, size), reducing_gap=_REDUCING_GAP
        )
    ratio = min(width / picture.width, height / picture.height)
    inner = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    padded = Image.new("RGB", (width, height))
    shrunk = picture.resize(inner, Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    padded.paste(shrunk, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return padded


def _middle(has: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest part in the middle that has the wanted shape: left, upper, right, lower."""
    height, width = size
    ratio = min(has[0] / width, has[1] / height)
    left, upper = (has[0] - width * ratio) / 2, (has[1] - height * ratio) / 2
    return left, upper, left + width * ratio, upper + height * ratio
