"""Strict reading of a table of `model.toml`."""

from enum import StrEnum
from typing import ClassVar, TypeVar

from edgewise.core.errors import EdgewiseError, FailedPreconditionError
from edgewise.core.toml_table import TomlTable, is_integer, is_number

Choice = TypeVar("Choice", bound=StrEnum)


class ModelConfigError(FailedPreconditionError):
    """`model.toml` does not say something that can be served; the message has file, key and what is allowed."""


class Table(TomlTable):
    """One table of `model.toml`; its errors are `ModelConfigError`s."""

    __slots__ = ()

    fault: ClassVar[type[EdgewiseError]] = ModelConfigError

    def text(self, name: str, default: str | None = None, *, empty: bool = False) -> str:
        """A string; required when there is no default."""
        expected = "a string" if empty else "a string that is not empty"
        value = self.get(name, required=default is None, expected=expected)
        if value is None:
            return default or ""
        if not isinstance(value, str) or (not value and not empty):
            raise self.wrong(name, value, expected)
        return value

    def choice(self, name: str, kind: type[Choice], default: Choice | None = None) -> Choice:
        """One member of a StrEnum; required when there is no default."""
        expected = "one of " + ", ".join(repr(member.value) for member in kind)
        value = self.get(name, required=default is None, expected=expected)
        if value is None and default is not None:
            return default
        member = next((member for member in kind if member.value == value), None)
        if member is None:
            raise self.wrong(name, value, expected)
        return member

    def integers(self, name: str, low: int, high: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """A list of whole numbers in [low, high]."""
        if name not in self._values:
            return default
        values = self.items(name, f"a list of whole numbers in {low}..{high}")
        checked = []
        for index, value in enumerate(values):
            if not is_integer(value, low, high):
                raise self.wrong(f"{name}[{index}]", value, f"a whole number in {low}..{high}")
            checked.append(value)
        return tuple(checked)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.items(name, "a list of strings")
        checked = []
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise self.wrong(f"{name}[{index}]", value, "a string")
            checked.append(value)
        return tuple(checked)

    def numbers(self, name: str, expected: str) -> tuple[float, ...]:
        """A number or a list of at least one; required."""
        value = self.get(name, required=True, expected=expected)
        numbers = [float(entry) for entry in (value if isinstance(value, list) else [value]) if is_number(entry)]
        if not numbers or (isinstance(value, list) and len(numbers) != len(value)):
            raise self.wrong(name, value, expected)
        return tuple(numbers)

    def value(self, name: str, expected: str) -> object:
        """Whatever is there; required."""
        return self.get(name, required=True, expected=expected)
