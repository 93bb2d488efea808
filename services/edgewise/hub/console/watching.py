"""Follows a rollout by long polls until it has ended, or needs a person."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from edgewise.core.errors import UnavailableError
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.hub.console.client import HubClient
from edgewise.hub.console.rollout_text import history_line, title
from edgewise.hub.control.status import HistoryEntry, RolloutStatus

EXIT_CODES: Final = {
    RolloutState.COMPLETED.value: 0,
    RolloutState.ROLLED_BACK.value: 1,
    RolloutState.FAILED.value: 1,
    RolloutState.PAUSED.value: 3,
}
"""What `watch` ends with, by the state in which it ends; in others it goes on."""
_EXIT_CODES_BACK: Final = {**EXIT_CODES, RolloutState.ROLLED_BACK.value: 0}
"""The same where the way back is what was asked for."""
WAIT_S: Final = 30.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 15.0


class Screen(Protocol):
    """What shows a rollout."""

    def show(self, rollout: RolloutStatus, moves: list[HistoryEntry]) -> None:
        """It has changed; `moves` happened since it was shown last."""
        ...

    def notice(self, text: str) -> None:
        """Something else to tell; "" when it is over."""
        ...


class Lines:
    """A screen of lines, each of which says what moved.

    Args:
        say: takes a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._is_first = True

    def show(self, rollout: RolloutStatus, moves: list[HistoryEntry]) -> None:
        """See `Screen`."""
        if self._is_first:
            self._say(title(rollout, time.time()))
            self._is_first = False
        for entry in moves:
            self._say(history_line(entry))

    def notice(self, text: str) -> None:
        """See `Screen`."""
        if text:
            self._say(text)


def watch(
    client: HubClient,
    name: str,
    screen: Screen,
    *,
    back: bool = False,
    wait_s: float = WAIT_S,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Show a rollout until it has ended, or is paused. A hub that is away is waited for.

    Args:
        back: it was told to go back. That a rollout was undone before is seen without it.
        wait_s: how long one poll lasts.
        sleep: pauses between tries to reach a hub that is away.
    Returns: the exit code.
    Raises: EdgewiseError: the hub refuses; UnavailableError only when it was away from the beginning.
    """
    rollout = client.rollout(name)
    told = 0
    pause_s = _FIRST_PAUSE_S
    codes: Mapping[str, int] = {}
    while True:
        try:
            moves = client.history(name, after=told)
            if not codes:
                # Whoever began to watch before that waits for Completed.
                codes = _EXIT_CODES_BACK if back or _was_undone(moves) else EXIT_CODES
            told = max([told, *(entry.number for entry in moves)])
            screen.notice("")
            screen.show(rollout, list(moves))
            if rollout.state in codes:
                return codes[rollout.state]
            rollout = client.rollout(name, after=rollout.revision, wait_s=wait_s)
            pause_s = _FIRST_PAUSE_S
        except UnavailableError as error:
            screen.notice(f"{error.message} Trying again.")
            sleep(error.retry_after_s or pause_s)
            pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)


def _was_undone(moves: Sequence[HistoryEntry]) -> bool:
    """Whether a person had it go back after it had completed: nothing else leads from there to Aborting."""
    undone = (RolloutState.COMPLETED.value, RolloutState.ABORTING.value)
    return any(move.kind == "rollout" and (move.before, move.after) == undone for move in moves)
