"""What people can ask of a rollout, and when: calculations without a memory."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.rollout.events import SiteView, Verb
from edgewise.core.rollout.rollout_state import RolloutEvent, RolloutState, allowed
from edgewise.core.rollout.site_state import SiteState

EVENTS: Final = MappingProxyType(
    {
        Verb.START: RolloutEvent.STARTED,
        Verb.PAUSE: RolloutEvent.PAUSED,
        Verb.RESUME: RolloutEvent.RESUMED,
        Verb.PROMOTE: RolloutEvent.PROMOTED,
        Verb.ABORT: RolloutEvent.ABORTED,
        Verb.UNDO: RolloutEvent.UNDONE,
    }
)
"""What each verb does to a rollout."""


def possible_verbs(state: RolloutState, sites: Iterable[SiteView]) -> tuple[Verb, ...]:
    """What can be asked of a rollout. There is nothing to undo at sites that another rollout took over."""
    possible = allowed(state)
    own = any(known.state != SiteState.SUPERSEDED for known in sites)
    return tuple(verb for verb, event in EVENTS.items() if event in possible and (own or verb != Verb.UNDO))


def check_verb(verb: Verb, state: RolloutState, sites: Iterable[SiteView]) -> None:
    """Look whether this can be asked now.

    Raises: FailedPreconditionError: it cannot; the message says what can.
    """
    possible = possible_verbs(state, sites)
    if verb in possible:
        return
    if verb == Verb.UNDO and EVENTS[verb] in allowed(state):
        raise FailedPreconditionError(
            "another rollout took every site of this one over, so it has nothing left to undo; roll out the version that is wanted: "
            "edgewise rollout start --release MODEL/VERSION"
        )
    raise FailedPreconditionError(
        f"the rollout is {state.value} and cannot {verb.value}; "
        + (f"it can {' or '.join(possible)}" if possible else "it has ended")
    )
