"""Strict reading of a scenario's tables: every key is known, every value has the right type and lies in its range.

A `Table` knows its file and its dotted key, so that each error says where, what was found and what would be right.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from edgewise.core.errors import InvalidArgumentError

_LONGEST_SHOWN: Final = 60
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def shown(value: object) -> str:
    """What was found, in TOML's words and short enough for a message."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def hint(name: str, known: Iterable[str]) -> str:
    """The known word nearest to one that is not, as an addition to a message; "" when none is near."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Table:
    """One table of a file, with its keys checked against `allowed`.

    Args:
        file: the file's name as it appears in messages.
        key: dotted key of the table, "" for the top.
        values: what the TOML parser gave.
        allowed: the keys that may occur; empty allows any name fit for a file (a table keyed by names of the user's choice).

    Raises:
        InvalidArgumentError: an unknown key.
    """

    __slots__ = ("_file", "_key", "_values")

    def __init__(self, file: str, key: str, values: Mapping[str, Any], allowed: Sequence[str] = ()) -> None:
        self._file = file
        self._key = key
        self._values = values
        for name in values:
            if allowed and name not in allowed:
                raise self.error(name, f"unknown key{hint(name, allowed)}; allowed: {', '.join(allowed)}")
            if not allowed and not _NAME.fullmatch(name):
                raise self.error(
                    shown(name), "expected a name of 1 to 64 letters, digits, dots, dashes and underscores"
                )

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def path(self, name: str) -> str:
        """The dotted key of `name` in this table."""
        return f"{self._key}.{name}" if self._key and name else self._key or name

    def error(self, name: str, problem: str) -> InvalidArgumentError:
        """The error about one key of this table."""
        return InvalidArgumentError(f"{self._file}: {self.path(name)}: {problem}")

    def wrong(self, name: str, found: object, expected: str) -> InvalidArgumentError:
        """The error about a value that is not what is allowed."""
        return self.error(name, f"found {shown(found)}, expected {expected}")

    def missing(self, name: str, expected: str) -> InvalidArgumentError:
        """The error about a key that has to be there."""
        return self.error(name, f"missing, expected {expected}")

    def text(self, name: str, default: str | None = None, *, empty: bool = False) -> str:
        """A string; required when there is no default.

        Args:
            empty: whether it may be "" where it is required.
        """
        expected = "text in quotes"
        if name not in self._values:
            if default is None:
                raise self.missing(name, expected)
            return default
        value = self._values[name]
        if not isinstance(value, str) or (default is None and not value and not empty):
            raise self.wrong(name, value, expected)
        return value

    def name_of(self, name: str) -> str:
        """A string that can be part of a file's name; required."""
        value = self.text(name)
        if not _NAME.fullmatch(value):
            raise self.wrong(name, value, "a name of 1 to 64 letters, digits, dots, dashes and underscores")
        return value

    def choice(self, name: str, words: Sequence[str], default: str | None = None) -> str:
        """One of some words; required when there is no default."""
        expected = "one of " + ", ".join(repr(word) for word in words)
        if name not in self._values:
            if default is None:
                raise self.missing(name, expected)
            return default
        value = self._values[name]
        if value not in words:
            raise self.wrong(name, value, expected + (hint(value, words) if isinstance(value, str) else ""))
        return str(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._values.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, value, "true or false")
        return value

    def integer(self, name: str, low: int, high: int, default: int) -> int:
        """A whole number in [low, high]."""
        value = self._values.get(name, default)
        if not _is_integer(value, low, high):
            raise self.wrong(name, value, f"a whole number in {low}..{high}")
        return int(value)

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A finite number in [low, high]; required when there is no default."""
        expected = f"a number in {low:g}..{high:g}"
        if name not in self._values and default is None:
            raise self.missing(name, expected)
        value = self._values.get(name, default)
        if not _is_number(value) or not low <= value <= high:
            raise self.wrong(name, value, expected)
        return float(value)

    def numbers(self, name: str, low: float, high: float) -> tuple[float, ...]:
        """A list of at least one number, all different; required."""
        expected = f"a list of numbers in {low:g}..{high:g}"
        found: list[float] = []
        for place, value in enumerate(self._list(name, None, expected)):
            if not _is_number(value) or not low <= value <= high:
                raise self.wrong(f"{name}[{place}]", value, f"a number in {low:g}..{high:g}")
            found.append(float(value))
        self._check_different(name, found)
        return tuple(found)

    def integers(self, name: str, low: int, high: int) -> tuple[int, ...]:
        """A list of whole numbers; empty when it is not there."""
        found: list[int] = []
        for place, value in enumerate(self._list(name, (), f"a list of whole numbers in {low}..{high}")):
            if not _is_integer(value, low, high):
                raise self.wrong(f"{name}[{place}]", value, f"a whole number in {low}..{high}")
            found.append(value)
        return tuple(found)

    def words(
        self, name: str, known: Sequence[str], what: str, default: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """A list of at least one of the known words, all different; required when there is no default.

        Args:
            what: they are, for messages: "target".
        """
        expected = f"a list of some of {', '.join(known)}"
        found: list[str] = []
        for place, value in enumerate(self._list(name, default, expected)):
            if not isinstance(value, str):
                raise self.wrong(f"{name}[{place}]", value, "text in quotes")
            if value not in known:
                raise self.error(
                    f"{name}[{place}]",
                    f"there is no {what} {value!r}{hint(value, known)}; expected some of {', '.join(known)}",
                )
            found.append(value)
        self._check_different(name, found)
        return tuple(found)

    def table(self, name: str, allowed: Sequence[str] = ()) -> "Table":
        """A table inside this one; empty when it is not there."""
        value = self._values.get(name, {})
        if not isinstance(value, dict):
            raise self.wrong(name, value, f"a table [{self.path(name)}]")
        return Table(self._file, self.path(name), value, allowed)

    def tables(self, name: str, allowed: Sequence[str]) -> "list[Table]":
        """An array of tables inside this one; empty when it is not there."""
        expected = f"an array of tables [[{self.path(name)}]]"
        value = self._values.get(name, [])
        if not isinstance(value, list):
            raise self.wrong(name, value, expected)
        tables = []
        for place, one in enumerate(value):
            if not isinstance(one, dict):
                raise self.wrong(f"{name}[{place}]", one, f"a table of {expected}")
            tables.append(Table(self._file, f"{self.path(name)}[{place}]", one, allowed))
        return tables

    def holds_table(self, name: str) -> bool:
        """Whether a key is there and is a table."""
        return isinstance(self._values.get(name), dict)

    def values(self, name: str) -> tuple[Any, ...]:
        """What a key holds, as a tuple: a list's items, or the one value."""
        value = self._values[name]
        return tuple(value) if isinstance(value, list) else (value,)

    def _list(self, name: str, default: Sequence[Any] | None, expected: str) -> Sequence[Any]:
        if name not in self._values:
            if default is None:
                raise self.missing(name, expected)
            return default
        value = self._values[name]
        if not isinstance(value, list):
            raise self.wrong(name, value, expected)
        if not value and default != ():
            raise self.wrong(name, value, f"{expected}, at least one")
        return value

    def _check_different(self, name: str, found: Sequence[object]) -> None:
        for place, value in enumerate(found):
            if value in found[:place]:
                raise self.error(f"{name}[{place}]", f"found {shown(value)} a second time, expected each once")


def _is_integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: object) -> bool:
    """Whether a TOML value is a finite number; true and false are none."""
    if isinstance(value, bool):
        return False
    # A whole number may be too great for a float.
    return (isinstance(value, int) and abs(value) < 1 << 1000) or (isinstance(value, float) and math.isfinite(value))
