"""What was, kept at hand: pages that are asked for again and again read only what is new. The control plane's thread calls."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from edgewise.hub.control.plane import MOST_LISTED, ControlPlane
from edgewise.hub.control.status import HistoryEntry, RolloutSummary

_ROLLOUTS: Final = 64
_LATEST_ROLLOUTS: Final = 20


@dataclass(slots=True)
class _Seen:
    """Of one rollout.

    Attributes:
        last: the number of the newest move that was read.
    """

    moves: deque[HistoryEntry]
    last: int = 0


class LatestMoves:
    """The newest moves of rollouts.

    Args:
        most: of one rollout.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def of(self, plane: ControlPlane, rollout: str) -> list[HistoryEntry]:
        """The newest first.

        Raises: NotFoundError: there is no such rollout.
        """
        seen = self._seen.pop(rollout, None) or _Seen(deque(maxlen=self._most))
        while found := plane.history(rollout, after=seen.last):
            seen.moves.extend(found)
            seen.last = found[-1].number
            if len(found) < MOST_LISTED:
                break
        self._seen[rollout] = seen
        if len(self._seen) > _ROLLOUTS:
            self._seen.popitem(last=False)
        return list(reversed(seen.moves))


@dataclass(frozen=True, slots=True)
class Part:
    """How far a site came in a rollout."""

    rollout: RolloutSummary
    state: str
    why: str


@dataclass(slots=True)
class TookPart:
    """Which of the latest rollouts each site took part in. A rollout is read anew when it has changed."""

    _read: dict[str, tuple[int, Mapping[str, tuple[str, str]]]] = field(default_factory=dict)

    def of(self, plane: ControlPlane, site: str) -> list[Part]:
        """The newest first."""
        latest = plane.rollouts()[:_LATEST_ROLLOUTS]
        self._read = {one.name: self._sites(plane, one) for one in latest}
        return [Part(one, *sites[site]) for one in latest if site in (sites := self._read[one.name][1])]

    def _sites(self, plane: ControlPlane, rollout: RolloutSummary) -> tuple[int, Mapping[str, tuple[str, str]]]:
        read = self._read.get(rollout.name)
        if read is not None and read[0] == rollout.revision:
            return read
        status = plane.rollout(rollout.name)
        return rollout.revision, {one.site: (one.state, one.why) for one in status.sites}
