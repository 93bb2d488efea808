"""Strict reading of a scenario's tables."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from edgewise.core.errors import EdgewiseError, InvalidArgumentError
from edgewise.core.toml_table import TomlTable, hint, is_integer, is_number, shown

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Table(TomlTable):
    """One table of a scenario; its errors are `InvalidArgumentError`s. Where any key is allowed, it has to be fit for a file's name."""

    __slots__ = ()

    fault: ClassVar[type[EdgewiseError]] = InvalidArgumentError

    def __init__(
        self,
        file: str,
        key: str,
        values: Mapping[str, Any],
        allowed: Sequence[str] = (),
        elsewhere: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(file, key, values, allowed, elsewhere)
        for name in values:
            if not allowed and not _NAME.fullmatch(name):
                raise self.error(
                    shown(name), "expected a name of 1 to 64 letters, digits, dots, dashes and underscores"
                )

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

    def numbers(self, name: str, low: float, high: float) -> tuple[float, ...]:
        """A list of at least one number, all different; required."""
        expected = f"a list of numbers in {low:g}..{high:g}"
        found: list[float] = []
        for place, value in enumerate(self._list(name, None, expected)):
            if not is_number(value) or not low <= value <= high:
                raise self.wrong(f"{name}[{place}]", value, f"a number in {low:g}..{high:g}")
            found.append(float(value))
        self._check_different(name, found)
        return tuple(found)

    def integers(self, name: str, low: int, high: int) -> tuple[int, ...]:
        """A list of whole numbers; empty when it is not there."""
        found: list[int] = []
        for place, value in enumerate(self._list(name, (), f"a list of whole numbers in {low}..{high}")):
            if not is_integer(value, low, high):
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
