"""A timer of the kernel's resolution for one rising schedule. Loop timers are rounded to milliseconds."""

import asyncio
import ctypes
import os
from collections.abc import Callable
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1  # TFD_TIMER_ABSTIME
_NS: Final = 1_000_000_000


class _Setting(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class ScheduleTimer:
    """Calls one function at one time at a time, of `time.monotonic_ns()`.

    Args:
        loop: that runs.
        fire: called once for each `arm`, from the loop.

    Raises: OSError: the system gives no timer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._set = libc.timerfd_settime
        self._set.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Setting), ctypes.c_void_p)
        self._setting = _Setting()
        self._pointer = ctypes.pointer(self._setting)
        self._loop = loop
        self._fire = fire
        loop.add_reader(self._fd, self._expired)

    def arm(self, at_ns: int) -> None:
        """Fire then, or as soon as the loop can where that is over; instead of what was armed before."""
        seconds, nanoseconds = divmod(max(at_ns, 1), _NS)  # zero would disarm it
        self._setting.value_s = seconds
        self._setting.value_ns = nanoseconds
        self._set(self._fd, _ABSOLUTE, self._pointer, None)

    def close(self) -> None:
        """Never fire again."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was armed anew in the meantime
        self._fire()
