"""Strict reading of a TOML table: every key is known, every value has the right type and lies in its range.

A `TomlTable` knows its file and its dotted key, so that each error says where, what was found and what would be right. Those of
one kind of file are of a class of their own, which says what an error of it is.
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Self, TypeGuard

from edgewise.core.errors import EdgewiseError

_LONGEST_SHOWN: Final = 60


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


def _hint_of_tables(name: str, allowed: Iterable[str], elsewhere: Mapping[str, Sequence[str]]) -> str:
    """As `hint`; a key of another table that is written as it should be comes first, one that nearly is comes last."""
    for table, keys in elsewhere.items():
        if name in keys:
            return f" (it belongs into {table})"
    if here := hint(name, allowed):
        return here
    for table, keys in elsewhere.items():
        if close := difflib.get_close_matches(name, keys, 1):
            return f" (did you mean {close[0]!r} in {table}?)"
    return ""


def is_integer(value: object, low: int, high: int) -> TypeGuard[int]:
    """Whether a TOML value is a whole number in [low, high]; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a TOML value is a finite number; true and false are none."""
    if isinstance(value, bool):
        return False
    # A whole number may be too great for a float.
    return (isinstance(value, int) and abs(value) < 1 << 1000) or (isinstance(value, float) and math.isfinite(value))


class TomlTable:
    """One table of a file, with its keys checked against `allowed`.

    Args:
        file: the file's name as it appears in messages.
        key: dotted key of the table, "" for the top.
        values: what the TOML parser gave.
        allowed: the keys that may occur; empty allows any (a table keyed by names of the user's choice).
        elsewhere: keys of other tables that are easily put here, by how that table is written, such as "[[stage]]".

    Attributes:
        fault: what its errors are; made of a message alone.

    Raises:
        EdgewiseError: a `fault`: an unknown key.
    """

    __slots__ = ("_file", "_key", "_values")

    fault: ClassVar[type[EdgewiseError]]

    def __init__(
        self,
        file: str,
        key: str,
        values: Mapping[str, Any],
        allowed: Sequence[str] = (),
        elsewhere: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._file = file
        self._key = key
        self._values = values
        for name in values:
            if allowed and name not in allowed:
                raise self.error(
                    name, f"unknown key{_hint_of_tables(name, allowed, elsewhere or {})}; allowed: {', '.join(allowed)}"
                )

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def path(self, name: str) -> str:
        """The dotted key of `name` in this table."""
        return f"{self._key}.{name}" if self._key and name else self._key or name

    def table_words(self, name: str) -> str:
        """How a table of that name is written, for messages."""
        return f"a table [{self.path(name)}]"

    def tables_words(self, name: str) -> str:
        """How an array of tables of that name is written, for messages."""
        return f"an array of tables [[{self.path(name)}]]"

    def item_words(self, name: str) -> str:
        """What each item of an array of tables is, for messages."""
        return f"a table of {self.tables_words(name)}"

    def error(self, name: str, problem: str) -> EdgewiseError:
        """The error about one key of this table."""
        return self.fault(f"{self._file}: {self.path(name)}: {problem}")

    def wrong(self, name: str, found: object, expected: str) -> EdgewiseError:
        """The error about a value that is not what is allowed."""
        return self.error(name, f"found {shown(found)}, expected {expected}")

    def missing(self, name: str, expected: str) -> EdgewiseError:
        """The error about a key that has to be there."""
        return self.error(name, f"missing, expected {expected}")

    def get(self, name: str, *, required: bool, expected: str) -> Any:
        """Whatever is there; None where it need not be."""
        value = self._values.get(name)
        if value is None and required:
            raise self.missing(name, expected)
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._values.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, value, "true or false")
        return value

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number in [low, high]; required when there is no default."""
        expected = f"a whole number in {low}..{high}"
        value = self.get(name, required=default is None, expected=expected)
        if value is None and default is not None:
            return default
        if not is_integer(value, low, high):
            raise self.wrong(name, value, expected)
        return value

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A finite number in [low, high]; required when there is no default."""
        expected = f"a number in {low:g}..{high:g}"
        value = self.get(name, required=default is None, expected=expected)
        if value is None and default is not None:
            return default
        if not is_number(value) or not low <= value <= high:
            raise self.wrong(name, value, expected)
        return float(value)

    def items(self, name: str, expected: str) -> list[Any]:
        """A list of anything; empty when it is not there."""
        value = self._values.get(name, [])
        if not isinstance(value, list):
            raise self.wrong(name, value, expected)
        return value

    def table(self, name: str, allowed: Sequence[str] = ()) -> Self:
        """A table inside this one; empty when it is not there."""
        value = self._values.get(name, {})
        if not isinstance(value, dict):
            raise self.wrong(name, value, self.table_words(name))
        return type(self)(self._file, self.path(name), value, allowed)

    def tables(self, name: str, allowed: Sequence[str]) -> list[Self]:
        """An array of tables inside this one; empty when it is not there."""
        tables = []
        for place, value in enumerate(self.items(name, self.tables_words(name))):
            if not isinstance(value, dict):
                raise self.wrong(f"{name}[{place}]", value, self.item_words(name))
            tables.append(type(self)(self._file, f"{self.path(name)}[{place}]", value, allowed))
        return tables
