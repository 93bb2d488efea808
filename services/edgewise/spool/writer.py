"""The writing side of a spool: one per process that captures, several beside each other on one directory."""

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgewise.core.errors import InvalidArgumentError
from edgewise.spool.bounds import SpoolBounds
from edgewise.spool.counters import SpoolCounters
from edgewise.spool.records import HEADER, frame_head
from edgewise.spool.segment_names import CLOSED_SUFFIX, OPEN_SUFFIX, WRITER_NAME, SegmentName, level_of


@dataclass(slots=True)
class _Stream:
    path: Path
    file: int
    opened_s: float
    size_bytes: int
    pending: int = 0


class SpoolWriter:
    """Takes records in. One thread uses it.

    Args:
        directory: of the spool; made where it is missing.
        writer: a name that no other writer on this directory has at the same time; letters, digits and "_".
        wall_s: seconds since the epoch.

    Raises:
        InvalidArgumentError: no writer can be called so.
        OSError: the directory cannot be written to.
    """

    def __init__(
        self,
        directory: Path,
        bounds: SpoolBounds,
        *,
        writer: str,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if not WRITER_NAME.fullmatch(writer):
            raise InvalidArgumentError(f"found the writer {writer!r}, expected 1 to 32 letters, digits or underscores")
        self._directory = directory
        self._bounds = bounds
        self._writer = f"{writer}.{secrets.token_hex(4)}"
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._streams: dict[tuple[int, int], _Stream] = {}
        self._number = 0
        self.counters = SpoolCounters()
        directory.mkdir(parents=True, exist_ok=True)
        self.counters.bytes_on_disk = sum(each.stat().st_size for each in directory.iterdir())

    def offer(self, sample_id: str, priority: int, record: bytes) -> bool:
        """Take a record in; it is accepted with the next `flush`.

        Args:
            sample_id: hexadecimal digits, drawn evenly.
            priority: 0 to 3.
        Returns: False where it was refused, which is counted.
        """
        self.counters.offered += 1
        reason = self._fault(record)
        if reason:
            self.counters.dropped[reason, priority] += 1
            return False
        key = (priority, level_of(sample_id))
        stream = self._streams.get(key) or self._open(key)
        os.writev(stream.file, [frame_head(record), record])
        stream.size_bytes += 8 + len(record)
        stream.pending += 1
        self.counters.bytes_on_disk += 8 + len(record)
        if stream.size_bytes >= self._bounds.closing_bytes:
            self._close(key)
        return True

    def flush(self) -> int:
        """Have the disk hold what was taken in. Returns: how many became accepted."""
        return sum(self._sync(stream) for stream in self._streams.values())

    def tick(self) -> None:
        """Close segments that are old; to be called about every second."""
        now_s = self._monotonic_s()
        for key, stream in list(self._streams.items()):
            if now_s - stream.opened_s >= self._bounds.segment_age_s:
                self._close(key)

    def close(self) -> None:
        """Accept what was taken in, and close all segments."""
        for key in list(self._streams):
            self._close(key)

    def _fault(self, record: bytes) -> str:
        if len(record) > self._bounds.record_bytes:
            return "too-large"
        return "refused" if self.counters.bytes_on_disk + len(record) + 64 > self._bounds.bytes else ""

    def _open(self, key: tuple[int, int]) -> _Stream:
        self._number += 1
        name = SegmentName(*key, self._writer, self._number)
        path = self._directory / f"{name}{OPEN_SUFFIX}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(file, HEADER)
        stream = _Stream(path, file, self._monotonic_s(), len(HEADER))
        self._streams[key] = stream
        self.counters.bytes_on_disk += len(HEADER)
        return stream

    def _sync(self, stream: _Stream) -> int:
        if not stream.pending:
            return 0
        os.fsync(stream.file)
        accepted, stream.pending = stream.pending, 0
        self.counters.accepted += accepted
        return accepted

    def _close(self, key: tuple[int, int]) -> None:
        stream = self._streams.pop(key)
        self._sync(stream)
        os.close(stream.file)
        stream.path.rename(stream.path.with_suffix(CLOSED_SUFFIX))
