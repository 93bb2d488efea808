"""Reads a TOML file that a person wrote: what is wrong is told with the file's name and with what would be right."""

import tomllib
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError

MAX_FILE_BYTES: Final = 1 << 20


def read_toml(path: Path, what: str) -> tuple[str, dict[str, Any]]:
    """The text of a file, and what it says.

    Args:
        what: the file is, for messages, such as "the scenario".
    Raises: InvalidArgumentError: it is no regular file, cannot be read, is larger than 1 MiB, or is not TOML.
    """
    text = _read(path, what)
    return text, parse_toml(text, str(path))


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """What a text says.

    Args:
        name: of its file, for messages.
    Raises: InvalidArgumentError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgumentError(f"{name}: not TOML: {error}") from None
    except RecursionError:
        raise InvalidArgumentError(f"{name}: nested too deep") from None


def _read(path: Path, what: str) -> str:
    # A pipe or a device would hang the read.
    if path.exists() and not path.is_file():
        raise InvalidArgumentError(f"{path}: not a regular file")
    try:
        with path.open("rb") as source:
            content = source.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(f"{what} {path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise InvalidArgumentError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path}: not UTF-8 (byte {error.start})") from None
