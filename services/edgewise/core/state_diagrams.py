"""Transition tables drawn, so that documentation and table can be compared."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

_State = TypeVar("_State", bound=StrEnum)
_Event = TypeVar("_Event", bound=StrEnum)


def mermaid(initial: _State, transitions: Mapping[tuple[_State, _Event], _State]) -> str:
    """A table as a Mermaid state diagram.

    Args:
        transitions: (state, event) to the state after it.
    """
    lines = ["stateDiagram-v2", f"    [*] --> {initial.value}"]
    lines += [f"    {before.value} --> {after.value}: {event.value}" for (before, event), after in transitions.items()]
    return "\n".join(lines)
