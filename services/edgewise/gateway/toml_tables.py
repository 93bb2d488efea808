"""Reads tables of a TOML file so that every mistake is told once, with where it is and what would be right."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.toml_table import hint

T = TypeVar("T")
_REQUIRED: Final = object()


class Table:
    """One table on its way into an object.

    Args:
        values: what the file holds.
        where: the file and the table, for messages: "gateway.toml: [route]".
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.where = where
        self._values = values
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, read: Callable[[Any], T], default: Any = _REQUIRED) -> T:
        """The value of a key.

        Args:
            read: turns it into what is wanted; raises ValueError with "expected ..." for what cannot be used.
            default: for a key that is not there; without one it has to be.
        Raises: InvalidArgumentError: it is missing, or of another kind.
        """
        self._known.append(key)
        if key not in self._values:
            if default is _REQUIRED:
                raise self.error(f"{key} is missing")
            value: T = default
            return value
        found = self._values[key]
        try:
            return read(found)
        except InvalidArgumentError as error:
            raise self.error(f"{key}: {error.message}") from None
        except ValueError as error:
            raise self.error(f"{key} is {_shown(found)}; {error}") from None

    def finish(self) -> None:
        """Refuse keys that nothing asked for.

        Raises: InvalidArgumentError: there is one.
        """
        for key in self._values:
            if key not in self._known:
                raise self.error(
                    f"there is no key {key!r}{hint(key, self._known)}; the keys are {', '.join(sorted(self._known))}"
                )

    def error(self, message: str) -> InvalidArgumentError:
        """An error that says where it is."""
        return InvalidArgumentError(f"{self.where}: {message}")


def text(value: Any) -> str:
    """A word."""
    if not isinstance(value, str) or not value:
        raise ValueError("expected text in quotes")
    return value


def label(value: Any) -> str:
    """A name that answers carry in a header and in gRPC metadata; a slash goes between it and an endpoint."""
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= 64
        or not (value.isascii() and value.isprintable() and value == value.strip())
        or "/" in value
    ):
        raise ValueError(
            "expected 1 to 64 printable ASCII characters without slashes and without spaces at the ends, such as factory-7"
        )
    return value


def one_of(*words: str) -> Callable[[Any], str]:
    """One of these words."""

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return str(value)

    return read


def whole(least: int, most: int) -> Callable[[Any], int]:
    """A whole number."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return value

    return read


def number(least: float, most: float) -> Callable[[Any], float]:
    """A number; whole ones are taken too."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"expected a number from {least:g} to {most:g}")
        return float(value)

    return read


def boolean(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004 - it is the file that is wrong
    return value


def file_in(directory: Path) -> Callable[[Any], Path]:
    """A file that is there; relative names begin at the directory."""

    def read(value: Any) -> Path:
        path = directory / text(value)
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path

    return read


def table(value: Any) -> Mapping[str, Any]:
    """A table in a table."""
    if not isinstance(value, dict):
        raise ValueError("expected a table")  # noqa: TRY004 - it is the file that is wrong
    return value


def _shown(value: Any) -> str:
    shown = "true" if value is True else "false" if value is False else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
