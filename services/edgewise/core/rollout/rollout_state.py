"""The states of a rollout and how it moves between them, as one table."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from edgewise.core.state_diagrams import mermaid


class RolloutState(StrEnum):
    """How far a rollout is."""

    PLANNED = "Planned"  # nothing has moved
    PROGRESSING = "Progressing"  # waves open one after another
    PAUSED = "Paused"  # no further site is told to switch; those that did stay, and still revert by themselves
    COMPLETED = "Completed"  # every wave has passed; late sites catch up
    ABORTING = "Aborting"  # every site that switched is told to go back
    ROLLED_BACK = "RolledBack"  # all of them are back
    FAILED = "Failed"  # some could not go back, and need a person


class RolloutEvent(StrEnum):
    """What moves a rollout."""

    STARTED = "started"  # by a person
    PAUSED = "paused"  # by a person, or because the data is too thin to say yes
    RESUMED = "resumed"  # by a person: the same question is asked again
    PROMOTED = "promoted"  # by a person, who takes the answer upon himself
    PASSED = "passed"  # the last wave has
    SUPERSEDED = "superseded"  # another rollout took over what was left
    SPENT = "spent"  # more sites failed than the error budget allows, or a gate failed
    ABORTED = "aborted"  # by a person
    UNDONE = "undone"  # by a person, after the end
    RETURNED = "returned"  # every site that had switched is back
    STUCK = "stuck"  # every one has answered, and one cannot go back


TRANSITIONS: Final = MappingProxyType(
    {
        (RolloutState.PLANNED, RolloutEvent.STARTED): RolloutState.PROGRESSING,
        (RolloutState.PLANNED, RolloutEvent.ABORTED): RolloutState.ROLLED_BACK,
        (RolloutState.PROGRESSING, RolloutEvent.PAUSED): RolloutState.PAUSED,
        (RolloutState.PROGRESSING, RolloutEvent.PROMOTED): RolloutState.PROGRESSING,
        (RolloutState.PROGRESSING, RolloutEvent.PASSED): RolloutState.COMPLETED,
        (RolloutState.PROGRESSING, RolloutEvent.SUPERSEDED): RolloutState.COMPLETED,
        (RolloutState.PROGRESSING, RolloutEvent.SPENT): RolloutState.ABORTING,
        (RolloutState.PROGRESSING, RolloutEvent.ABORTED): RolloutState.ABORTING,
        (RolloutState.PAUSED, RolloutEvent.RESUMED): RolloutState.PROGRESSING,
        (RolloutState.PAUSED, RolloutEvent.PROMOTED): RolloutState.PROGRESSING,
        (RolloutState.PAUSED, RolloutEvent.SUPERSEDED): RolloutState.COMPLETED,
        (RolloutState.PAUSED, RolloutEvent.SPENT): RolloutState.ABORTING,
        (RolloutState.PAUSED, RolloutEvent.ABORTED): RolloutState.ABORTING,
        (RolloutState.COMPLETED, RolloutEvent.UNDONE): RolloutState.ABORTING,
        (RolloutState.ABORTING, RolloutEvent.RETURNED): RolloutState.ROLLED_BACK,
        (RolloutState.ABORTING, RolloutEvent.STUCK): RolloutState.FAILED,
        (RolloutState.FAILED, RolloutEvent.RETURNED): RolloutState.ROLLED_BACK,
    }
)
"""The state after an event; a pair that is not here is refused."""


def allowed(state: RolloutState) -> tuple[RolloutEvent, ...]:
    """What may happen in a state, in the table's order."""
    return tuple(event for before, event in TRANSITIONS if before == state)


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    return mermaid(RolloutState.PLANNED, TRANSITIONS)
