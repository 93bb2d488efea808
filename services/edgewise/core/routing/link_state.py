"""The states of a link and how it moves between them, as one table.

The gateway believes what it hears: a link is UP until evidence says otherwise, and a link that was lost has to prove
itself in steps before it carries everything again.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from edgewise.core.state_diagrams import mermaid


class LinkState(StrEnum):
    """What the gateway takes the way to a site for."""

    UP = "UP"  # carries what its route gives it
    SUSPECT = "SUSPECT"  # something is overdue: new requests go elsewhere, those in flight are raced
    DOWN = "DOWN"  # given up: connections are closed, small probes ask whether it is back
    PROBING = "PROBING"  # a probe was answered; more, and larger, have to be
    RAMP = "RAMP"  # carries a growing share of the requests, each of them hedged


class LinkEvent(StrEnum):
    """What moves a link."""

    OVERDUE = "overdue"  # an answer or a probe is later than it has any right to be
    BROKEN = "broken"  # connections are refused or reset
    DECLINED = "declined"  # the site says that it is not ready, or answers with nothing but errors
    HEARD = "heard"  # an answer came after all, like the one that was missed
    SILENT = "silent"  # still nothing
    PROBED = "probed"  # a probe was answered
    PROVEN = "proven"  # enough probes were answered, and the hold-down is over
    CARRIED = "carried"  # the ramp reached everything


TRANSITIONS: Final = MappingProxyType(
    {
        (LinkState.UP, LinkEvent.OVERDUE): LinkState.SUSPECT,
        (LinkState.UP, LinkEvent.BROKEN): LinkState.DOWN,
        (LinkState.UP, LinkEvent.DECLINED): LinkState.DOWN,
        (LinkState.SUSPECT, LinkEvent.HEARD): LinkState.UP,
        (LinkState.SUSPECT, LinkEvent.SILENT): LinkState.DOWN,
        (LinkState.SUSPECT, LinkEvent.BROKEN): LinkState.DOWN,
        (LinkState.SUSPECT, LinkEvent.DECLINED): LinkState.DOWN,
        (LinkState.DOWN, LinkEvent.PROBED): LinkState.PROBING,
        (LinkState.PROBING, LinkEvent.SILENT): LinkState.DOWN,
        (LinkState.PROBING, LinkEvent.BROKEN): LinkState.DOWN,
        (LinkState.PROBING, LinkEvent.DECLINED): LinkState.DOWN,
        (LinkState.PROBING, LinkEvent.PROVEN): LinkState.RAMP,
        (LinkState.RAMP, LinkEvent.OVERDUE): LinkState.DOWN,
        (LinkState.RAMP, LinkEvent.BROKEN): LinkState.DOWN,
        (LinkState.RAMP, LinkEvent.DECLINED): LinkState.DOWN,
        (LinkState.RAMP, LinkEvent.CARRIED): LinkState.UP,
    }
)
"""The state after an event; a pair that is not here leaves the state as it is."""


def diagram() -> str:
    """The table as a Mermaid state diagram, for ARCHITECTURE.md."""
    return mermaid(LinkState.UP, TRANSITIONS)
