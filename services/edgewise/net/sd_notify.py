"""Tells the service manager (systemd) that this process is ready, stops, reads its config again, and is alive.

Nothing happens where nobody asked to be told: `NOTIFY_SOCKET` is in the environment of a unit with `Type=notify` or
`WatchdogSec=`, and of a container that `podman run --sdnotify=container` started.

What says "alive" is a timer of the event loop, so a loop that hangs falls silent, and systemd restarts the service.
Until the service is ready the same beats ask for more time, so that a large model may take as long as it takes to load
while a start that hangs is still noticed.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from time import CLOCK_MONOTONIC, clock_gettime_ns
from typing import Final

_LOG: Final = logging.getLogger(__name__)

BEATS_IN_INTERVAL: Final = 3.0
"""The manager advises two; one of three may be late."""

_RETRY_S: Final = 0.1
_MAX_STATUS_CHARACTERS: Final = 500


class Notifier:
    """The way to the service manager.

    Nothing here blocks or raises: a service that cannot tell how it is goes on serving. Any thread may tell; what one tells
    after another reaches the manager after it.

    Args:
        address: of the manager's datagram socket: a path, or "@NAME" for one without a file; "" tells nobody.
        watchdog_s: seconds without a beat after which the manager takes the process for hung; 0 expects no beats.

    Attributes:
        address, watchdog_s: as they were given; "" and 0 where the address cannot be used.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        if address and address[0] not in "/@":
            _LOG.warning("NOTIFY_SOCKET is %r; expected a path or @NAME: the service manager is not told", address)
            address = ""
        self.address = address
        self.watchdog_s = watchdog_s if address else 0.0
        # Of one thread that beats while another says that the service is ready: a beat from before it must not come after it.
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        # What a full queue of the manager has kept from being told: the last state and the last sentence.
        self._waiting_state: tuple[str, ...] = ()
        self._waiting_status: tuple[str, ...] = ()
        self._retry: asyncio.TimerHandle | None = None
        self._is_ready = False
        self._has_complained = False

    def ready(self, status: str = "") -> None:
        """The service answers; also said when a config has been read again."""
        self._tell(("READY=1",), status, is_ready=True)

    def reloading(self, status: str = "") -> None:
        """The config is being read again; `ready` says that it is done."""
        # The time tells the manager which of its own requests this answers (Type=notify-reload).
        self._tell(("RELOADING=1", f"MONOTONIC_USEC={clock_gettime_ns(CLOCK_MONOTONIC) // 1000}"), status)

    def stopping(self, status: str = "") -> None:
        """The service has begun to stop."""
        self._tell(("STOPPING=1",), status)

    def status(self, status: str) -> None:
        """Show a sentence in `systemctl status`."""
        self._tell((), status)

    def beat(self) -> None:
        """Say that the process is alive."""
        if not self.watchdog_s:
            return
        with self._lock:
            alive = ["WATCHDOG=1"]
            if not self._is_ready:
                alive.append(f"EXTEND_TIMEOUT_USEC={round(self.watchdog_s * 1e6)}")
            # One that finds the queue full is of no use later; what is of use goes first, as an agent has no loop to try again.
            self._send_waiting()
            self._sent(alive)

    def keep_beating(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat from now on, for as long as the loop turns."""
        if not self.watchdog_s:
            return
        self.beat()
        loop.call_later(self.watchdog_s / BEATS_IN_INTERVAL, self.keep_beating, loop)

    def forget(self) -> None:
        """Tell nobody from here on: a forked child is not the process that the manager looks at."""
        self.address = ""
        self.watchdog_s = 0.0
        self._waiting_state = self._waiting_status = ()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, state: tuple[str, ...], status: str, *, is_ready: bool = False) -> None:
        with self._lock:
            self._is_ready = self._is_ready or is_ready
            if state:
                self._waiting_state = state
            if status:
                # A line of its own in the datagram: a newline within would begin another word of the protocol.
                self._waiting_status = (f"STATUS={' '.join(status.split())[:_MAX_STATUS_CHARACTERS]}",)
            self._send_waiting()

    def _send_waiting(self) -> None:
        lines = (*self._waiting_state, *self._waiting_status)
        if not lines or self._sent(lines):
            self._waiting_state = self._waiting_status = ()
            return
        if self._retry is None:
            # Without a running loop, the next message takes along what waits.
            with suppress(RuntimeError):
                self._retry = asyncio.get_running_loop().call_later(_RETRY_S, self._send_again)

    def _send_again(self) -> None:
        with self._lock:
            self._retry = None
            self._send_waiting()

    def _sent(self, lines: Sequence[str]) -> bool:
        """Send lines in one datagram; whether there is nothing to try again."""
        if not self.address:
            return True
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            place = "\0" + self.address[1:] if self.address[0] == "@" else self.address
            self._socket.sendto("\n".join(lines).encode(errors="replace"), place)
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._has_complained:
                self._has_complained = True
                _LOG.warning("the service manager cannot be told at %s: %s", self.address, error.strerror or error)
        return True


def from_environment(environment: Mapping[str, str], pid: int) -> Notifier:
    """The way that a service manager has described.

    Args:
        environment: with `NOTIFY_SOCKET`, and `WATCHDOG_USEC` and `WATCHDOG_PID` where beats are expected.
        pid: of the process that asks: beats are expected of one process only.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return Notifier(address)
    word = environment.get("WATCHDOG_USEC", "0")
    if not (word.isascii() and word.isdigit()):
        _LOG.warning("WATCHDOG_USEC is %r; expected a number of microseconds: no beats are sent", word)
        word = "0"
    return Notifier(address, int(word) / 1e6)


@cache
def notifier() -> Notifier:
    """The one of this process."""
    return from_environment(os.environ, os.getpid())
