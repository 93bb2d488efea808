"""Encoded images as inputs: read, recognised by their first bytes."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from edgewise.core.errors import InvalidArgumentError
from edgewise.protocols.image_header import picture_type


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """A file as it is, with its media type."""

    content: bytes
    media_type: str


def read_image(source: bytes | bytearray | memoryview | str | PathLike[str]) -> EncodedImage:
    """An image from its bytes or from a file.

    Raises:
        InvalidArgumentError: no such file, not readable, or neither JPEG, PNG nor WebP.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        name, content = "the image", bytes(source)
    else:
        path = Path(source)
        name = str(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InvalidArgumentError(f"cannot read the image {name}: {error.strerror or error}") from None
    media_type = picture_type(content)
    if not media_type:
        raise InvalidArgumentError(f"{name} is not a JPEG, PNG or WebP file")
    return EncodedImage(content, media_type)
