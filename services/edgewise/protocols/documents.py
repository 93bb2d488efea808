"""JSON documents between hub, agents and people, read strictly: where something is wrong, what was found, what would be right."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.toml_table import TomlTable
from edgewise.core.versions import MODEL_NAME

SHA256: Final = re.compile(r"[0-9a-f]{64}")
SHA256_EXPECTED: Final = "a SHA-256 of 64 hexadecimal digits in lower case"
_Word = TypeVar("_Word", bound=StrEnum)
_MOST_NAMES: Final = 10_000
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class Document(TomlTable):
    """One object of a document. Keys that are not known are passed over: an older program reads what a newer one wrote."""

    fault = InvalidArgumentError

    def text(self, name: str, default: str | None = None, *, longest: int = 4096) -> str:
        """A string; required when there is no default."""
        expected = f"a string of at most {longest} characters"
        value = self.get(name, required=default is None, expected=expected)
        if value is None:
            return default or ""
        if not isinstance(value, str) or len(value) > longest:
            raise self.wrong(name, value, expected)
        return value

    def word(self, name: str, words: type[_Word]) -> _Word:
        """One of an enumeration's values."""
        value = self.get(name, required=True, expected="a string")
        try:
            return words(value)
        except ValueError:
            raise self.wrong(name, value, f"one of {', '.join(words)}") from None

    def model(self, name: str) -> str:
        """The name of a model, which is the name of a directory as well."""
        value = self.text(name)
        if not MODEL_NAME.fullmatch(value) or value.startswith("."):
            raise self.wrong(name, value, "1 to 128 letters, digits, '_', '-' or '.', the first of them no '.'")
        return value

    def sha256(self, name: str) -> str:
        """A digest."""
        value = self.text(name)
        if not SHA256.fullmatch(value):
            raise self.wrong(name, value, SHA256_EXPECTED)
        return value

    def optional_integer(self, name: str, high: int) -> int | None:
        """A whole number in [0, high], or None where it is missing or null."""
        return None if self.get(name, required=False, expected="") is None else self.integer(name, 0, high)

    def optional_number(self, name: str, high: float) -> float | None:
        """A number in [0, high], or None where it is missing or null."""
        return None if self.get(name, required=False, expected="") is None else self.number(name, 0.0, high)

    def optional_table(self, name: str) -> "Document | None":
        """An object, or None where it is missing or null."""
        return None if self.get(name, required=False, expected="") is None else self.table(name)

    def entries(self, name: str) -> dict[str, "Document"]:
        """An object of objects, by names of the user's choice."""
        table = self.names(name)
        return {each: table.table(each) for each in table}

    def names(self, name: str) -> "Document":
        """An object whose keys are names of the user's choice."""
        table = self.table(name)
        if sum(1 for _ in table) > _MOST_NAMES:
            raise self.error(name, f"more than {_MOST_NAMES} names")
        return table


def read_document(content: bytes, what: str, *, max_bytes: int) -> Document:
    """Read an object.

    Args:
        what: as messages call it, such as "the report".
    Raises: InvalidArgumentError: it is too long, no JSON, or no object.
    """
    if len(content) > max_bytes:
        raise InvalidArgumentError(f"{what} has {len(content)} bytes; {max_bytes} is the most")
    try:
        text = content.decode()
        value = json.loads(text)
        if "\\u" in text:
            # An escape can be half of a character, which nobody can write again.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise InvalidArgumentError(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{what} is no JSON object")
    return Document(what, "", value)


def document_bytes(value: Mapping[str, Any]) -> bytes:
    """An object as the same bytes everywhere: keys sorted, no white space, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def check_format(document: Document, wanted: str) -> None:
    """Refuse a document of another kind or age.

    Raises: InvalidArgumentError: it is one.
    """
    found = document.text("format", "")
    if found != wanted:
        raise document.wrong("format", found, wanted)


def time_text(moment_s: float) -> str:
    """A moment on the wall clock, in seconds since the epoch, as RFC 3339 in UTC. Of one that no calendar has, the nearest."""
    nearest_s = min(max(moment_s, 0.0), 253402300799.0) if math.isfinite(moment_s) else 0.0
    return datetime.fromtimestamp(nearest_s, UTC).strftime(_TIME)


def time_s(text: str) -> float:
    """Seconds since the epoch.

    Raises: InvalidArgumentError: the text is no such time.
    """
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise InvalidArgumentError(f"found the time {text[:40]!r}, expected one such as 2026-11-23T10:00:00Z") from None
