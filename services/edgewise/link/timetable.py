"""Calls lanes when something of theirs is due: one heap and one timer for the whole link."""

import asyncio
import heapq
from typing import Final, Protocol

# The loop's timers have a grain of 1 ms: what is due within half of it goes now.
SLACK_S: Final = 0.0005


class Traveller(Protocol):
    """What the timetable calls."""

    def due(self, at_s: float, now_s: float) -> None:
        """The time that was asked for has come; `at_s` is that time."""


class Timetable:
    """Times of the monotonic clock, each with whom to call.

    Args:
        loop: whose timers are used; its own clock is not.
        clock: gives monotonic seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: "Clock") -> None:
        self._loop = loop
        self._clock = clock
        self._heap: list[tuple[float, int, Traveller]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0

    def add(self, at_s: float, traveller: Traveller) -> None:
        """Call `traveller.due` at that time; it may be called for times it no longer cares for."""
        self._count += 1
        heapq.heappush(self._heap, (at_s, self._count, traveller))
        if self._timer is None or at_s < self._timer_s - SLACK_S:
            self._set(at_s, self._clock())

    def close(self) -> None:
        """Forget everything."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, at_s: float, now_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = at_s
        self._timer = self._loop.call_later(max(0.0, at_s - now_s), self._fire)

    def _fire(self) -> None:
        # Marks that calls below need set no timer: the end of this one does.
        self._timer_s = 0.0
        heap = self._heap
        now_s = self._clock()
        while heap and heap[0][0] <= now_s + SLACK_S:
            at_s, _, traveller = heapq.heappop(heap)
            traveller.due(at_s, now_s)
        self._timer = None
        if heap:
            self._set(heap[0][0], self._clock())


class Clock(Protocol):
    """Monotonic seconds."""

    def __call__(self) -> float:
        """The time now."""
        ...
