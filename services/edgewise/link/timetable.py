"""Calls lanes when something of theirs is due: one heap and one alarm for the whole link."""

import heapq
import math
from collections.abc import Callable
from typing import Final, Protocol

from edgewise.link.alarm import Alarm

SLACK_S: Final = 0.0001
"""What is due this soon goes now, so that what comes close together goes together."""
_NEVER: Final = math.inf

Clock = Callable[[], float]
"""Gives monotonic seconds."""


class Traveller(Protocol):
    """What the timetable calls."""

    def due(self, at_s: float, now_s: float) -> None:
        """The time that was asked for has come; `at_s` is that time."""


class Timetable:
    """Times of the monotonic clock, each with whom to call.

    Args:
        clock: the time.
        make_alarm: makes an alarm of that clock that calls what it is given.
    """

    def __init__(self, clock: Clock, make_alarm: Callable[[Callable[[], None]], Alarm]) -> None:
        self._clock = clock
        self._alarm = make_alarm(self._ring)
        self._heap: list[tuple[float, int, Traveller]] = []
        self._count = 0
        self._next_s = _NEVER

    def add(self, at_s: float, traveller: Traveller) -> None:
        """Call `traveller.due` at that time; it may be called for times it no longer cares for."""
        self._count += 1
        heapq.heappush(self._heap, (at_s, self._count, traveller))
        if at_s < self._next_s:
            self._next_s = at_s
            self._alarm.set(at_s)

    def close(self) -> None:
        """Forget everything."""
        self._heap.clear()
        self._alarm.close()

    def _ring(self) -> None:
        # What is called below may add times; the end of this sets the alarm for all of them.
        self._next_s = -_NEVER
        heap = self._heap
        now_s = self._clock()
        while heap and heap[0][0] <= now_s + SLACK_S:
            at_s, _, traveller = heapq.heappop(heap)
            traveller.due(at_s, now_s)
        self._next_s = _NEVER
        if heap:
            self._next_s = heap[0][0]
            self._alarm.set(self._next_s)
