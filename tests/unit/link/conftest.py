"""Lanes on virtual time, without sockets."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from edgewise.link.lane import Lane, Way
from edgewise.link.timetable import Timetable
from edgewise.link.wire import Wire, WireConditions


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualTime:
    """A clock that goes on when it is told, and the timers of a loop with it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._timers: list[tuple[float, int, Handle, Callable[[], None]]] = []
        self._count = itertools.count()

    def __call__(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        handle = Handle()
        heapq.heappush(self._timers, (self.now_s + delay_s, next(self._count), handle, callback))
        return handle

    def go_on(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self._timers and self._timers[0][0] <= until_s:
            at_s, _, handle, callback = heapq.heappop(self._timers)
            self.now_s = max(self.now_s, at_s)
            if not handle.cancelled:
                callback()
        self.now_s = until_s


class VirtualAlarm:
    """An alarm of that clock."""

    def __init__(self, time: VirtualTime, callback: Callable[[], None]) -> None:
        self._time = time
        self._callback = callback
        self._handle = Handle()

    def set(self, at_s: float) -> None:
        self._handle.cancel()
        self._handle = self._time.call_later(max(0.0, at_s - self._time.now_s), self._callback)

    def close(self) -> None:
        self._handle.cancel()


@dataclass(eq=False)
class End:
    """One side of a connection: what it received and when, and whether it is read."""

    time: VirtualTime
    received: list[tuple[float, bytes]] = field(default_factory=list)
    ended: bool = False
    was_reset: bool = False
    reasons: int = 0

    def write(self, data: bytes) -> None:
        self.received.append((round(self.time.now_s - 100.0, 6), bytes(data)))

    def end(self) -> None:
        self.ended = True

    def reset(self) -> None:
        self.was_reset = True

    def hold(self, reason: int) -> None:
        self.reasons |= reason

    def release(self, reason: int) -> None:
        self.reasons &= ~reason

    @property
    def text(self) -> bytes:
        return b"".join(data for _, data in self.received)

    @property
    def times(self) -> list[float]:
        return [at_s for at_s, _ in self.received]


class Track:
    """A link of two ways with as many connections as asked for."""

    def __init__(self, up: WireConditions, down: WireConditions | None = None, seed: int = 1) -> None:
        self.time = VirtualTime()
        timetable = Timetable(self.time, partial(VirtualAlarm, self.time))
        self.up, self.down = (
            Way(Wire(conditions, random.Random(f"{seed}{name}").random), timetable, self.time, self.time.call_later)
            for name, conditions in (("up", up), ("down", down or up))
        )

    def connect(self) -> tuple[Lane, Lane, End, End]:
        """The lanes up and down, and the ends: client, server."""
        client, server = End(self.time), End(self.time)
        up, down = Lane(self.up, client, 0.0), Lane(self.down, server, 0.0)
        up.opposite, down.opposite = down, up
        up.connect(server)
        down.connect(client)
        return up, down, client, server


@pytest.fixture(scope="session")
def track() -> type[Track]:
    return Track


@pytest.fixture(scope="session")
def conditions() -> Callable[..., Any]:
    return WireConditions
