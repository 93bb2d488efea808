"""A timer that is exact to a fraction of a millisecond: the loop's own have a grain of a whole one."""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable
from typing import Final, Protocol

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1
_NANO: Final = 1_000_000_000


class Alarm(Protocol):
    """Calls back at a time, once."""

    def set(self, at_s: float) -> None:
        """Call back at that time of the monotonic clock, instead of at the time that was set before."""

    def close(self) -> None:
        """Call back no more."""


class _Timer(ctypes.Structure):
    """The kernel's `struct itimerspec`."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    )


class KernelAlarm:
    """A timer of the kernel, as a file that the loop watches.

    Args:
        loop: whose turn it is when the time has come.
        callback: what is called then.
    Raises: OSError: the process has too many files open.
    Source: timerfd_create(2). Python has it from 3.13 on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._file: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._timer = _Timer()
        self._timer_address = ctypes.addressof(self._timer)
        self._loop = loop
        self._callback = callback
        loop.add_reader(self._file, self._ring)

    def set(self, at_s: float) -> None:
        """Call back at that time of the monotonic clock; one that has passed is now."""
        seconds = int(at_s)
        self._timer.at_s = seconds
        # All zeros would switch the timer off.
        self._timer.at_ns = max(1, int((at_s - seconds) * _NANO))
        self._settime(self._file, _ABSOLUTE, self._timer_address, None)

    def close(self) -> None:
        """Call back no more."""
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _ring(self) -> None:
        # It may have been set anew since the loop looked: then it has not rung.
        with contextlib.suppress(BlockingIOError):
            os.read(self._file, 8)
            self._callback()
