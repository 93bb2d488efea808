"""The deadlines of all calls behind one timer.

Deadlines that are close are put together, so that a call costs two operations on a set and no timer of its own.
"""

import asyncio
from heapq import heappop, heappush
from math import ceil
from time import monotonic
from typing import Final, Generic, Protocol, TypeVar

# Timers have milliseconds and may come a little early: then they are set once more, for a time that is not nothing.
_SOON_S: Final = 0.001
_NEVER_S: Final = float("inf")


class Expiring(Protocol):
    """A call, whichever side it is on."""

    def expire(self) -> None:
        """The deadline has passed."""


CallT = TypeVar("CallT", bound=Expiring)


class Deadlines(Generic[CallT]):
    """Calls by the time at which they expire, each rounded up to its head's `grain_s`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: dict[float, set[CallT]] = {}
        self._times_s: list[float] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = _NEVER_S

    def add(self, call: CallT, deadline_s: float, grain_s: float) -> set[CallT]:
        """Expire a call at `deadline_s` of `time.monotonic()`, or up to `grain_s` later.

        Returns: the set to take the call out of once it is over.
        """
        time_s = ceil(deadline_s / grain_s) * grain_s
        calls = self._calls.get(time_s)
        if calls is None:
            calls = self._calls[time_s] = set()
            heappush(self._times_s, time_s)
            if time_s < self._timer_s:
                self._set_timer(time_s)
        calls.add(call)
        return calls

    def close(self) -> None:
        """Expire nothing any more."""
        self._set_timer(_NEVER_S)
        self._calls.clear()
        self._times_s.clear()

    def _set_timer(self, time_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = time_s
        self._timer = None
        if time_s != _NEVER_S:
            self._timer = self._loop.call_later(max(_SOON_S, time_s - monotonic()), self._expire)

    def _expire(self) -> None:
        now_s = monotonic()
        times_s = self._times_s
        while times_s and times_s[0] <= now_s:
            for call in list(self._calls.pop(heappop(times_s))):
                call.expire()
        self._timer = None
        self._set_timer(times_s[0] if times_s else _NEVER_S)
