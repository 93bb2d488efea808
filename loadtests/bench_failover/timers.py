"""Timers of the kernel's resolution. Event loops round theirs to milliseconds, which is a third of an edge's service time."""

import asyncio
import ctypes
import heapq
import itertools
import os
import time
from collections.abc import Callable
from typing import Any, Final

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1  # TFD_TIMER_ABSTIME
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timers:
    """Calls functions at times of `time.monotonic()`, on a running event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._fd = _LIBC.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._waiting: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._number = itertools.count()
        loop.add_reader(self._fd, self._fire)

    def call_at(self, when_s: float, function: Callable[..., object], *arguments: Any) -> None:
        """Call the function at that time, or as soon as the loop can."""
        heapq.heappush(self._waiting, (when_s, next(self._number), function, arguments))
        if self._waiting[0][0] == when_s:
            self._arm()

    def _arm(self) -> None:
        due_s = max(self._waiting[0][0], 1e-6)  # zero would disarm it
        setting = _Setting()
        setting.value.seconds = int(due_s)
        setting.value.nanoseconds = int((due_s - int(due_s)) * 1e9)
        _LIBC.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(setting), None)

    def _fire(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        waiting = self._waiting
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, function, arguments = heapq.heappop(waiting)
            function(*arguments)
        if waiting:
            self._arm()
