"""Files that somebody hands in: read within bounds, and never from elsewhere than where they were said to be."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.core.file_names import checked_name
from edgewise.protocols.image_header import picture_type

MAX_LIST_BYTES: Final = 256 << 20
"""The longest file that lists pictures or labels."""
MAX_PICTURE_BYTES: Final = 32 << 20
MAX_ENTRIES: Final = 1_000_000
SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")
_TYPES: Final = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
_NAMED: Final = re.compile(r"([0-9a-f]{32}(?:-[0-9]{1,4})?)\.(?:jpe?g|png|webp)", re.IGNORECASE)
"""As exports name the picture of a sample."""
_PLACES: Final = ("", "images", "data")
"""Where the formats put pictures, below the directory of the file that lists them."""


def suffix_of(content_type: str) -> str:
    """Of a picture's file; "" for what is no picture that is known."""
    return _TYPES.get(content_type.partition(";")[0].strip().lower(), "")


def id_in(name: str) -> str:
    """The id of a sample in the name that its picture has in an export, with or without folders before it; "" where there is none."""
    found = _NAMED.fullmatch(name.replace("\\", "/").rpartition("/")[2])
    return found[1].lower() if found else ""


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file.

    Raises: InvalidArgumentError: it cannot be read, or is longer.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise InvalidArgumentError(f"{path} is longer than {most} bytes, the most that is read of such a file")
    return content


def read_picture(path: Path) -> tuple[bytes, str]:
    """A picture and its content type.

    Raises: InvalidArgumentError: it cannot be read, or is no picture.
    """
    content = read_bytes(path, MAX_PICTURE_BYTES)
    kind = picture_type(content)
    if not kind:
        what = f"begins with {content[:8]!r}" if content else "is empty"
        raise InvalidArgumentError(f"{path} {what}, expected a JPEG, PNG or WebP picture")
    return content, kind


def read_text(path: Path) -> str:
    """A text in UTF-8, with or without the mark that spreadsheets put first.

    Raises: InvalidArgumentError: it is none.
    """
    content = read_bytes(path, MAX_LIST_BYTES)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidArgumentError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None


def read_json(path: Path) -> Any:
    """A value of JSON.

    Raises: InvalidArgumentError: it is none.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InvalidArgumentError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise InvalidArgumentError(f"{path}: not JSON") from None


class Pictures:
    """Pictures that a file names, below a directory.

    Args:
        root: nothing is read from elsewhere, whatever names and links say.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real = root.resolve()

    def find(self, name: str) -> Path | None:
        """The picture of a name, or None where there is none.

        Raises: InvalidArgumentError: the name leads out of the directory.
        """
        try:
            plain = checked_name(name, what="the file")
        except FailedPreconditionError as error:
            raise InvalidArgumentError(error.message) from None
        for place in _PLACES:
            path = self._root / place / plain
            if plain and path.is_file():
                if fault := self.check(path):
                    raise InvalidArgumentError(f"{path} {fault}")
                return path
        return None

    def needed(self, name: str) -> Path:
        """The picture of a name.

        Raises: InvalidArgumentError: there is none, or the name leads out of the directory.
        """
        path = self.find(name)
        if path is None:
            raise InvalidArgumentError(
                f"there is no file {name[:200]!r} below {self._root}, nor in its folders images and data"
            )
        return path

    def walk(self, folder: Path) -> Iterator[Path]:
        """What lies in a folder, in order of names, without what systems hide there."""
        try:
            found = sorted(folder.iterdir(), key=lambda one: one.name)
        except OSError as error:
            raise InvalidArgumentError(f"{folder} cannot be read: {error.strerror}") from error
        yield from (one for one in found if not one.name.startswith(".") and one.name != "Thumbs.db")

    def check(self, path: Path) -> str:
        """Why a file is not to be read, behind its name; "" where nothing is wrong."""
        if path.resolve().is_relative_to(self._real):
            return ""
        return f"is a link that leads out of {self._root}; copy the picture instead"


def listed(path: Path, names: tuple[str, ...]) -> Path:
    """The file of a format that lists what there is: what was named, or what lies in the directory that was named.

    Args:
        names: as such files are called.
    Raises: InvalidArgumentError: there is none.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise InvalidArgumentError(f"there is no {path}")
    for name in names:
        if (path / name).is_file():
            return path / name
    classes = [one.name for one in Pictures(path).walk(path) if one.is_dir() and one.name not in _PLACES]
    folders = f"; if folders such as {min(classes)} are classes, use --format folder" if classes else ""
    raise InvalidArgumentError(f"{path} holds no {' and no '.join(names)}; name the file itself{folders}")
