"""Which sites are meant, by their labels.

A selector is written as for Kubernetes: requirements with commas between them, all of which must hold.

    region=eu              the label has this value            region!=eu          it has not, or there is no such label
    region in (eu, us)     one of them                         region notin (eu)   none of them, or there is no such label
    gpu                    there is such a label               !gpu                there is none

An empty selector means every site.

Source: Kubernetes, "Labels and Selectors".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edgewise.core.errors import InvalidArgumentError

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?"
_SET: Final = re.compile(rf"({_NAME})\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL: Final = re.compile(rf"({_NAME})\s*(==|=|!=)\s*({_NAME}|)")
_THERE: Final = re.compile(rf"(!?)\s*({_NAME})")
_VALUE: Final = re.compile(rf"{_NAME}|")
_LIKE: Final = "expected requirements such as tier=edge, region in (eu, us), !gpu, with commas between them"


class _Kind(StrEnum):
    IN = "in"
    NOT_IN = "notin"
    THERE = "there"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class _Requirement:
    key: str
    kind: _Kind
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.kind:
            case _Kind.IN:
                return value in self.values
            case _Kind.NOT_IN:
                return value not in self.values
            case _Kind.THERE:
                return value is not None
            case _Kind.ABSENT:
                return value is None


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that all must hold.

    Attributes:
        text: as it was written.
    """

    text: str
    _requirements: tuple[_Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a site with these labels is meant."""
        return all(requirement.holds(labels) for requirement in self._requirements)


def parse_selector(text: str) -> Selector:
    """Understand a selector.

    Raises: InvalidArgumentError: it is none; the message shows where and what would be right.
    """
    requirements = []
    rest = text.strip()
    while rest:
        requirement, rest = _first(rest, text)
        requirements.append(requirement)
        if rest:
            if not rest.startswith(","):
                raise _wrong(text, rest)
            rest = rest[1:].lstrip()
            if not rest:
                raise _wrong(text, ",")
    return Selector(text.strip(), tuple(requirements))


def check_label(key: str, value: str) -> None:
    """See that a label can be selected.

    Raises: InvalidArgumentError: it cannot; the message says what would be right.
    """
    for what, given, pattern in (("key", key, re.compile(_NAME)), ("value", value, _VALUE)):
        if not pattern.fullmatch(given):
            raise InvalidArgumentError(
                f"label {what} {given!r}: expected at most 63 letters, digits, '.', '_', '-'{' and /' if what == 'key' else ''}, "
                "with a letter or digit at both ends"
            )


def _first(rest: str, text: str) -> tuple[_Requirement, str]:
    if found := _SET.match(rest):
        values = [value.strip() for value in found[3].split(",")]
        if not all(_VALUE.fullmatch(value) for value in values):
            raise _wrong(text, found[0])
        return _Requirement(found[1], _Kind(found[2]), frozenset(values)), rest[found.end() :].lstrip()
    if found := _EQUAL.match(rest):
        kind = _Kind.NOT_IN if found[2] == "!=" else _Kind.IN
        return _Requirement(found[1], kind, frozenset({found[3]})), rest[found.end() :].lstrip()
    if found := _THERE.match(rest):
        kind = _Kind.ABSENT if found[1] else _Kind.THERE
        return _Requirement(found[2], kind), rest[found.end() :].lstrip()
    raise _wrong(text, rest)


def _wrong(text: str, rest: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"selector {text!r}: cannot understand {rest!r}; {_LIKE}")
