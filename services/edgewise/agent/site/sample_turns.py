"""Whose turn it is among the segments that wait in a spool, where the hub takes some of them not in.

A segment that was sent to its end in vain says nothing yet: the hub may take none in at the moment. Which of the two it is shows when another one
arrives: then those that failed are at fault, and step aside, each for longer and longer. Until then few are tried, since what the hub keeps of a
segment goes when others begin, and would have to be sent again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from edgewise.spool import Segment

FRUITLESS: Final = 3
"""A segment that was sent to its end so often in vain is suspected."""
SUSPECTS: Final = 4
"""The hub keeps so many of a site that have begun, and the oldest gives way. While so many are suspected, another one begins by and by alone."""
NEXT_S: Final = 60.0
NEXT_MOST_S: Final = 3600.0
ASIDE_S: Final = 60.0
ASIDE_MOST_S: Final = 6 * 3600.0


@dataclass(slots=True)
class _Tried:
    """A segment that was sent to its end and has not arrived.

    Attributes:
        failures: since it stepped aside last.
        last, suspected: larger for the one that was tried, or suspected, later.
        asides: how often it stepped aside.
        until_s: aside until then.
    """

    failures: int = 0
    last: int = 0
    suspected: int = 0
    asides: int = 0
    until_s: float = float("-inf")

    @property
    def is_suspected(self) -> bool:
        return self.failures >= FRUITLESS


class SampleTurns:
    """Of one spool.

    Args:
        now_s: a monotonic clock.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._tried: dict[str, _Tried] = {}
        self._number = count(1)
        self._next_s = float("-inf")

    @property
    def held_up(self) -> int:
        """How many were sent in vain so often that they are suspected or have stepped aside."""
        return sum(1 for tried in self._tried.values() if tried.is_suspected or tried.asides)

    def look(self, waiting: Sequence[Segment]) -> Segment | None:
        """Whose turn it is; None when all that wait are aside.

        Args:
            waiting: in the order in which to send; what is not among them any more is forgotten.
        """
        names = {each.name for each in waiting}
        self._tried = {name: tried for name, tried in self._tried.items() if name in names}
        now_s = self._now_s()
        turns = [(each, self._tried.get(each.name, _Tried())) for each in waiting]
        suspects = [(each, tried) for each, tried in turns if tried.is_suspected]
        if len(suspects) < SUSPECTS or now_s >= self._next_s:
            others = [(each, tried) for each, tried in turns if not tried.is_suspected and tried.until_s <= now_s]
            # One that stepped aside more than once has nobody wait for it.
            first = min(others, key=lambda turn: turn[1].asides > 1, default=None)
            if first is not None:
                return first[0]
        # The hub has all of these, so that it is asked once more and sent nothing.
        suspects = sorted(suspects, key=lambda turn: turn[1].suspected)[-SUSPECTS:]
        return min(suspects, key=lambda turn: turn[1].last)[0] if suspects else None

    def sent(self, name: str) -> None:
        """One is sent to its end: in vain, unless it arrives."""
        tried = self._tried.setdefault(name, _Tried())
        tried.failures += 1
        tried.last = next(self._number)
        if not tried.is_suspected:
            return
        if tried.asides:
            # It was at fault before; nothing else has to arrive first.
            self._step_aside(tried)
        elif tried.failures == FRUITLESS:
            tried.suspected = tried.last
            more = sum(1 for each in self._tried.values() if each.is_suspected) - SUSPECTS
            if more >= 0:
                self._next_s = self._now_s() + min(NEXT_MOST_S, NEXT_S * 2.0 ** min(more, 32))

    def arrived(self, name: str) -> None:
        """One is at the hub. If that took it in at once, those which failed before are at fault; if not, the hub was."""
        found = self._tried.pop(name, _Tried())
        self._next_s = float("-inf")
        for tried in self._tried.values():
            if tried.is_suspected and found.failures > FRUITLESS:
                tried.failures = FRUITLESS - 1
            elif tried.is_suspected:
                self._step_aside(tried)

    def refused(self, name: str) -> None:
        """The hub's own word is that it does not take this one as it is."""
        self._step_aside(self._tried.setdefault(name, _Tried()))

    def _step_aside(self, tried: _Tried) -> None:
        tried.asides += 1
        tried.until_s = self._now_s() + min(ASIDE_MOST_S, ASIDE_S * 2.0 ** min(tried.asides - 1, 32))
        # The next time once is enough.
        tried.failures = FRUITLESS - 1
