"""How fast and how much may be fetched, or sent: a rate in bytes per second, and a quota for each day that survives restarts."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import InvalidArgumentError
from edgewise.protocols.documents import document_bytes, read_document, time_text

_WRITTEN_BYTES: Final = 1 << 20
_BURST_S: Final = 0.25
_LEAST_AT_ONCE_BYTES: Final = 256 << 10
_MAX_BYTES: Final = 4096
_MOST: Final = 1 << 60


class TokenBucket:
    """Lets so many bytes through in a second, and a quarter of that at once.

    Args:
        rate_bytes_per_s: None for no limit.
        now_s: a monotonic clock.
    """

    def __init__(self, rate_bytes_per_s: float | None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate_bytes_per_s
        self._now_s = now_s
        self._full = (rate_bytes_per_s or 0.0) * _BURST_S
        self._tokens = self._full
        self._looked_s = now_s()

    @property
    def rate_bytes_per_s(self) -> float | None:
        """None for no limit."""
        return self._rate

    @property
    def at_once_bytes(self) -> int | None:
        """How much to ask for at once: what is under way when a connection ends was for nothing. None for all."""
        return None if self._rate is None else max(_LEAST_AT_ONCE_BYTES, int(self._rate))

    def take(self, count: int) -> float:
        """Take so many bytes, which are here already.

        Returns: for how many seconds to take no more.
        """
        if self._rate is None:
            return 0.0
        now_s = self._now_s()
        self._tokens = min(self._full, self._tokens + (now_s - self._looked_s) * self._rate) - count
        self._looked_s = now_s
        return max(0.0, -self._tokens / self._rate)


class DailyQuota:
    """Counts the bytes of a day (UTC). What was counted is written down now and then, so a process that is killed forgets little.

    Args:
        quota_bytes: for each day; None for no limit.
        wall_s: seconds since the epoch.
        path: where it is written down; None for that of what is fetched.
    """

    def __init__(
        self,
        state: StateDirectory,
        quota_bytes: int | None,
        wall_s: Callable[[], float] = time.time,
        *,
        path: Path | None = None,
    ) -> None:
        self._state = state
        self._path = path or state.quota
        self._quota_bytes = quota_bytes
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._day, self._used = self._read()
        self._written = self._used

    def left_bytes(self) -> int | None:
        """What may still be fetched today; None without a limit."""
        with self._lock:
            if self._quota_bytes is None:
                return None
            self._turn()
            return max(0, self._quota_bytes - self._used)

    def take(self, count: int) -> None:
        """Count bytes.

        Raises: EdgewiseError: it could not be written down.
        """
        if self._quota_bytes is None:
            return
        with self._lock:
            self._turn()
            self._used += count
            if self._used - self._written >= _WRITTEN_BYTES:
                self._write()

    def keep(self) -> None:
        """Write down what was counted.

        Raises: EdgewiseError: the disk refuses.
        """
        with self._lock:
            if self._quota_bytes is not None and self._used != self._written:
                self._write()

    def _turn(self) -> None:
        today = time_text(self._wall_s())[:10]
        if today != self._day:
            self._day, self._used, self._written = today, 0, 0

    def _write(self) -> None:
        self._state.write(self._path, document_bytes({"day": self._day, "bytes": self._used}))
        self._written = self._used

    def _read(self) -> tuple[str, int]:
        content = self._state.read(self._path, _MAX_BYTES)
        if content is None:
            return "", 0
        try:
            top = read_document(content, "the quota", max_bytes=_MAX_BYTES)
            return top.text("day"), top.integer("bytes", 0, _MOST)
        except InvalidArgumentError:
            self._state.set_aside(self._path)
            return "", 0
