"""The states of a site in a rollout and how it moves between them, as one table.

Most moves are made by the agent at the site, which writes each of them to its disk before it acts on it, so that it goes on where it was
after a crash. The hub sees them through reports, any of which may be late, doubled or lost: a report says where the site is now, and the
hub takes it for true when the table has a way from what it knew. Three states are the hub's own: Pending (nothing heard of this
rollout yet), Unreachable (nothing heard at all for too long, or since the site was enrolled into a rollout that there was already) and
Superseded (another rollout wants something else of the site).
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from edgewise.core.state_diagrams import mermaid


class SiteState(StrEnum):
    """How far a site is on its way to a release."""

    PENDING = "Pending"  # has not been heard of in this rollout
    DOWNLOADING = "Downloading"  # fetches what it does not have
    STAGED = "Staged"  # all files are on its disk, checked; nothing has switched
    ACTIVATING = "Activating"  # the new version loads beside the old one, which answers
    VERIFYING = "Verifying"  # the new version answers a share of the requests, or all, and is compared
    ACTIVE = "Active"  # the new version answers everything and has held for the bake time
    ROLLED_BACK = "RolledBack"  # the previous version answers everything, and the release was let go
    FAILED = "Failed"  # cannot go on by itself, and says why; what ran before still runs
    UNREACHABLE = "Unreachable"  # silent for longer than the rollout allows, or since it was enrolled
    SUPERSEDED = "Superseded"  # another rollout has taken the site over


class SiteEvent(StrEnum):
    """What moves a site."""

    FETCHING = "fetching"  # something is missing on its disk
    STAGED = "staged"  # everything is there and checked
    SPOILED = "spoiled"  # what was staged is not what it was, or is gone
    LOADING = "loading"  # it was told to run the release
    ANSWERING = "answering"  # the first request may reach the new version
    PROVED = "proved"  # every gate held, for the bake time
    REVERTED = "reverted"  # the previous version answers everything, whether or not the new one ever did
    FAILED = "failed"  # tried what it may try
    RETRIED = "retried"  # tries again
    SILENT = "silent"  # the hub hears nothing
    HEARD = "heard"  # it asks for what it is to do, as one does that has done nothing yet
    SUPERSEDED = "superseded"  # the hub wants something else


AGENT_STATES: Final = frozenset(
    {
        SiteState.DOWNLOADING,
        SiteState.STAGED,
        SiteState.ACTIVATING,
        SiteState.VERIFYING,
        SiteState.ACTIVE,
        SiteState.ROLLED_BACK,
        SiteState.FAILED,
    }
)
"""What an agent may report."""

BEFORE_SWITCH: Final = frozenset({SiteState.PENDING, SiteState.DOWNLOADING, SiteState.STAGED})
"""Nothing there has begun to change what answers."""

RUNS_NEW: Final = frozenset({SiteState.ACTIVATING, SiteState.VERIFYING, SiteState.ACTIVE})
"""The new version may answer requests there."""

SETTLED: Final = frozenset({SiteState.ACTIVE, SiteState.ROLLED_BACK, SiteState.FAILED, SiteState.SUPERSEDED})
"""Nothing more is expected of the site unless it is told something else."""

TRANSITIONS: Final = MappingProxyType(
    {
        (SiteState.PENDING, SiteEvent.FETCHING): SiteState.DOWNLOADING,
        (SiteState.PENDING, SiteEvent.STAGED): SiteState.STAGED,
        (SiteState.PENDING, SiteEvent.REVERTED): SiteState.ROLLED_BACK,
        (SiteState.PENDING, SiteEvent.FAILED): SiteState.FAILED,
        (SiteState.PENDING, SiteEvent.SILENT): SiteState.UNREACHABLE,
        (SiteState.PENDING, SiteEvent.SUPERSEDED): SiteState.SUPERSEDED,
        (SiteState.DOWNLOADING, SiteEvent.STAGED): SiteState.STAGED,
        (SiteState.DOWNLOADING, SiteEvent.REVERTED): SiteState.ROLLED_BACK,
        (SiteState.DOWNLOADING, SiteEvent.FAILED): SiteState.FAILED,
        (SiteState.DOWNLOADING, SiteEvent.SILENT): SiteState.UNREACHABLE,
        (SiteState.DOWNLOADING, SiteEvent.SUPERSEDED): SiteState.SUPERSEDED,
        (SiteState.STAGED, SiteEvent.SPOILED): SiteState.DOWNLOADING,
        (SiteState.STAGED, SiteEvent.LOADING): SiteState.ACTIVATING,
        (SiteState.STAGED, SiteEvent.REVERTED): SiteState.ROLLED_BACK,
        (SiteState.STAGED, SiteEvent.FAILED): SiteState.FAILED,
        (SiteState.STAGED, SiteEvent.SILENT): SiteState.UNREACHABLE,
        (SiteState.STAGED, SiteEvent.SUPERSEDED): SiteState.SUPERSEDED,
        (SiteState.ACTIVATING, SiteEvent.ANSWERING): SiteState.VERIFYING,
        (SiteState.ACTIVATING, SiteEvent.REVERTED): SiteState.ROLLED_BACK,
        (SiteState.ACTIVATING, SiteEvent.FAILED): SiteState.FAILED,
        (SiteState.ACTIVATING, SiteEvent.SILENT): SiteState.UNREACHABLE,
        (SiteState.ACTIVATING, SiteEvent.SUPERSEDED): SiteState.SUPERSEDED,
        (SiteState.VERIFYING, SiteEvent.PROVED): SiteState.ACTIVE,
        (SiteState.VERIFYING, SiteEvent.REVERTED): SiteState.ROLLED_BACK,
        (SiteState.VERIFYING, SiteEvent.FAILED): SiteState.FAILED,
        (SiteState.VERIFYING, SiteEvent.SILENT): SiteState.UNREACHABLE,
        (SiteState.VERIFYING, SiteEvent.SUPERSEDED): SiteState.SUPERSEDED,
        (SiteState.ACTIVE, SiteEvent.REVERTED): SiteState.ROLLED_BACK,
        (SiteState.ACTIVE, SiteEvent.SILENT): SiteState.UNREACHABLE,
        (SiteState.ACTIVE, SiteEvent.SUPERSEDED): SiteState.SUPERSEDED,
        (SiteState.FAILED, SiteEvent.RETRIED): SiteState.DOWNLOADING,
        (SiteState.FAILED, SiteEvent.REVERTED): SiteState.ROLLED_BACK,
        (SiteState.FAILED, SiteEvent.SILENT): SiteState.UNREACHABLE,
        (SiteState.FAILED, SiteEvent.SUPERSEDED): SiteState.SUPERSEDED,
        (SiteState.ROLLED_BACK, SiteEvent.SUPERSEDED): SiteState.SUPERSEDED,
        (SiteState.UNREACHABLE, SiteEvent.HEARD): SiteState.PENDING,
        (SiteState.UNREACHABLE, SiteEvent.FETCHING): SiteState.DOWNLOADING,
        (SiteState.UNREACHABLE, SiteEvent.STAGED): SiteState.STAGED,
        (SiteState.UNREACHABLE, SiteEvent.LOADING): SiteState.ACTIVATING,
        (SiteState.UNREACHABLE, SiteEvent.ANSWERING): SiteState.VERIFYING,
        (SiteState.UNREACHABLE, SiteEvent.PROVED): SiteState.ACTIVE,
        (SiteState.UNREACHABLE, SiteEvent.REVERTED): SiteState.ROLLED_BACK,
        (SiteState.UNREACHABLE, SiteEvent.FAILED): SiteState.FAILED,
        (SiteState.UNREACHABLE, SiteEvent.SUPERSEDED): SiteState.SUPERSEDED,
    }
)
"""The state after an event; a pair that is not here is refused."""


def can_have_become(before: SiteState, reported: SiteState) -> bool:
    """Whether a site that was in `before` may truthfully report `reported`: by moves of its own, some of which nobody heard of."""
    return before == reported or reported in _LATER[before]


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    return mermaid(SiteState.PENDING, TRANSITIONS)


def _reachable(start: SiteState) -> frozenset[SiteState]:
    """By what an agent does on its own."""
    found: set[SiteState] = set()
    ahead = [start]
    while ahead:
        state = ahead.pop()
        for (before, event), after in TRANSITIONS.items():
            own = event not in {SiteEvent.SILENT, SiteEvent.HEARD, SiteEvent.SUPERSEDED}
            if before == state and own and after not in found:
                found.add(after)
                ahead.append(after)
    return frozenset(found)


_LATER: Final = MappingProxyType({state: _reachable(state) for state in SiteState})
