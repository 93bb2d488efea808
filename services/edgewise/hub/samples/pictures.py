"""What is a picture, by its header alone: nothing is decoded here, so no file costs more than its bytes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.blobs.port import BlobUpload
from edgewise.protocols.image_header import ImageFormat, check_whole, read_header

MAX_PICTURE_BYTES: Final = 32 << 20
MAX_PIXELS: Final = 100_000_000
CONTENT_TYPES: Final = MappingProxyType(
    {ImageFormat.JPEG: "image/jpeg", ImageFormat.PNG: "image/png", ImageFormat.WEBP: "image/webp"}
)


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture.

    Attributes:
        content_type: by its bytes, whatever anybody called it.
        width, height: pixels as stored.
    """

    content: bytes
    content_type: str
    width: int
    height: int


def read_picture(content: bytes) -> Picture:
    """A picture by its bytes.

    Raises: InvalidArgumentError: it is no JPEG, PNG or WebP image, damaged in its header, or too large.
    """
    if len(content) > MAX_PICTURE_BYTES:
        raise InvalidArgumentError(f"the picture has {len(content)} bytes; {MAX_PICTURE_BYTES} is the most")
    header = read_header(content, MAX_PIXELS)
    return Picture(content, CONTENT_TYPES[header.format], header.width, header.height)


def read_whole_picture(content: bytes) -> Picture:
    """The same of a picture that somebody brings: it is to go on to its end, so that nobody labels the upper half of one.

    Raises: InvalidArgumentError: it is no JPEG, PNG or WebP image, damaged in its header, cut off, or too large.
    """
    picture = read_picture(content)
    check_whole(content)
    return picture


def keep(upload: Callable[[str], BlobUpload], content: bytes) -> str:
    """Have a store of blobs keep some bytes.

    Returns: their SHA-256, which names them.
    Raises: UnavailableError: there is no room.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    coming = upload(sha256)
    try:
        coming.write(content)
        coming.commit()
    finally:
        coming.discard()
    return sha256
