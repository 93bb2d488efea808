"""What the agent has done and when, as its log says it."""

import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_MOVE = re.compile(
    r"^(?P<at>\S+ \S+) INFO \S+: (?P<rollout>\S+): \S+/\d+ is (?P<state>\w+)(?:, stage (?P<stage>\d+))?(?:: (?P<why>.*))?$"
)
_LOOK_S = 0.02


class StuckError(Exception):
    """Something did not come about."""


@dataclass(frozen=True, slots=True)
class Move:
    """Something that the agent wrote down, just before it acted on it.

    Attributes:
        at_s: seconds since the epoch, to the millisecond.
        stage: of the canary; -1 outside of it.
    """

    at_s: float
    rollout: str
    state: str
    stage: int
    why: str


class AgentLog:
    """The log of one agent, which others read too."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def moves(self, rollout: str) -> list[Move]:
        """Of a rollout, in their order."""
        found = (_MOVE.match(line) for line in self._path.read_text(errors="replace").splitlines())
        return [
            Move(
                datetime.strptime(one["at"], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp(),
                one["rollout"],
                one["state"],
                int(one["stage"] or -1),
                one["why"] or "",
            )
            for one in found
            if one is not None and one["rollout"] == rollout
        ]

    def wait_for(self, rollout: str, *states: str, timeout_s: float) -> Move:
        """The first move of a rollout to one of these states.

        Raises: StuckError: none came in time.
        """
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            for move in self.moves(rollout):
                if move.state in states:
                    return move
            time.sleep(_LOOK_S)
        last = self._path.read_text(errors="replace").splitlines()[-8:]
        raise StuckError(
            f"{rollout} is not {' or '.join(states)} after {timeout_s:.0f} s; the agent said:\n" + "\n".join(last)
        )
