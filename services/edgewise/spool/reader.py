"""The reading side of a spool: the agent's, in another process than the writers."""

import contextlib
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.core.capture.retention import sending_key
from edgewise.core.errors import EdgewiseError, FailedPreconditionError, NotFoundError
from edgewise.spool.counters import SpoolCounters
from edgewise.spool.disk import UNREADABLE, Disk, PosixDisk, unusable
from edgewise.spool.inventory import Inventory
from edgewise.spool.ledger import Ledger
from edgewise.spool.segment_names import CLOSED_SUFFIX, read_segment_name

_WAIT_S: Final = 5.0
_CHUNK_BYTES: Final = 1 << 20
_MOST_FAILURES: Final = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed segment; it never changes any more.

    Attributes:
        name: without suffix; no other segment ever has it.
        priority: of all its samples, 0 to 3.
        level: leading zero bits of the ids of its samples, 0 to 7.
        number: the lower one is older.
    """

    name: str
    priority: int
    level: int
    number: int
    size_bytes: int


class SpoolReader:
    """Reads what writers have closed, beside them.

    Args:
        directory: of the spool; where it is missing there is nothing to read, and every call says so by what it returns.
        wall_s: seconds since the epoch.
        disk: for tests and simulations.
    """

    def __init__(self, directory: Path, *, wall_s: Callable[[], float] = time.time, disk: Disk | None = None) -> None:
        self._directory = directory
        self._given = disk
        self._disk: Disk = PosixDisk(directory) if disk is None else disk
        self._inventory = Inventory(self._disk)
        self._wall_s = wall_s
        self._told: set[str] = set()
        self._failures: Counter[str] = Counter()

    def adopt(self) -> int:
        """Close what dead writers left, so that it is sent even where no writer starts again, and drop what is older than the retention
        that the last writer was told, as writers do while they live; to be called about every minute. Returns: how many segments it has closed.

        Raises: FailedPreconditionError: the directory cannot be used.
        """
        with self._ledger() as ledger:
            if ledger is None:
                return 0
            adopted = ledger.adopt()
            ledger.expire(ledger.books.retention_s, self._wall_s())
            return adopted

    def counters(self) -> SpoolCounters:
        """Of all writers there ever were, as they last wrote it down; and the bytes that are there now.

        Raises: FailedPreconditionError: the directory cannot be used.
        """
        with self._ledger() as ledger:
            if ledger is None:
                return SpoolCounters()
            counters = ledger.books.counters.copy()
            counters.bytes_on_disk = ledger.inventory.total_bytes
            return counters

    def segments(self) -> list[Segment]:
        """What is to be sent, in the order in which to send it: highest priority, then highest level, then oldest.

        Raises: FailedPreconditionError: the directory cannot be read.
        """
        try:
            self._inventory.look()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unusable(self._directory, error) from None
        found = [
            Segment(str(each.name), each.name.priority, each.name.level, each.name.number, each.held.size_bytes)
            for each in self._inventory.stored.values()
            if each.is_closed
        ]
        # What could not be read keeps nothing else from being sent.
        return sorted(
            found,
            key=lambda each: (
                self._failures[each.name],
                *sending_key(each.priority, each.level, each.number, each.name),
            ),
        )

    def read(self, segment: Segment, offset: int, count: int) -> bytes:
        """Bytes of a segment; fewer at its end.

        Raises:
            NotFoundError: it is gone; the bound dropped it, its time was over, or it could not be read several times and was set aside.
            FailedPreconditionError: the disk cannot read it; it is the last of the segments then.
        """
        try:
            return self._disk.read(_file(segment), offset, count)
        except FileNotFoundError:
            raise NotFoundError(
                f"the segment {segment.name} is gone: the spool dropped it for what is worth more, or as too old"
            ) from None
        except OSError as error:
            raise self._unread(segment, error) from None

    def digest(self, segment: Segment) -> str:
        """SHA-256 of the whole segment, in hexadecimal digits.

        Raises: NotFoundError, FailedPreconditionError: as of `read`.
        """
        digest = hashlib.sha256()
        for offset in range(0, segment.size_bytes, _CHUNK_BYTES):
            digest.update(self.read(segment, offset, _CHUNK_BYTES))
        return digest.hexdigest()

    def remove(self, segment: Segment) -> None:
        """Delete a segment that has arrived; one that the bound dropped meanwhile is no error.

        Raises: FailedPreconditionError: the disk refuses.
        """
        try:
            with contextlib.suppress(FileNotFoundError):
                self._disk.unlink(_file(segment))
        except OSError as error:
            raise unusable(self._directory, error) from None

    def set_aside(self, segment: Segment) -> None:
        """Keep a segment that the hub calls damaged out of the way, for people to look at: it is not sent, goes first when room is
        short, and its samples are counted as dropped, for the reason "damaged".

        Raises: FailedPreconditionError: the disk refuses.
        """
        with self._ledger() as ledger:
            if ledger is not None:
                ledger.set_aside(_file(segment), segment.priority)

    def _unread(self, segment: Segment, error: OSError) -> EdgewiseError:
        """What is said of a segment that the disk cannot read; one that it has lost is set aside in the end."""
        why = f"the segment {segment.name} cannot be read: {error.strerror or 'the disk fails'}"
        self._failures[segment.name] += 1
        if error.errno not in UNREADABLE or self._failures[segment.name] < _MOST_FAILURES:
            return FailedPreconditionError(why)
        self.set_aside(segment)
        _log.error("%s; it is set aside", why)
        return NotFoundError(f"{why}; it is set aside")

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[Ledger | None]:
        """What the writers share, locked; None where there is no spool, or it stays locked."""
        ledger = Ledger(self._disk if self._given is not None else PosixDisk(self._directory), self._told)
        try:
            with contextlib.ExitStack() as stack:
                try:
                    is_held = stack.enter_context(ledger.held(_WAIT_S))
                except FileNotFoundError:
                    is_held = False
                yield ledger if is_held else None
        except OSError as error:
            raise unusable(self._directory, error) from None


def _file(segment: Segment) -> str:
    return f"{read_segment_name(segment.name)}{CLOSED_SUFFIX}"
