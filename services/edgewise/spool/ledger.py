"""What the writers and the reader of one directory share: its lock, its books, and who may write how much.

A writer asks here once in a while, never for each record: it is granted a 128th of the bound or so, and others count all of it as
used until it asks again. So all of them together stay within the bound without asking each other. Files that are dropped are written into the
books first, and deleted then; whoever takes the lock next deletes what a process that was killed in between has left.
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgewise.core.capture.retention import Worth, make_room
from edgewise.spool.bounds import SpoolBounds
from edgewise.spool.counters import (
    COUNTERS_NAME,
    MAX_COUNTERS_BYTES,
    Books,
    SpoolCounters,
    add,
    books_bytes,
    read_books,
)
from edgewise.spool.disk import FULL, Disk
from edgewise.spool.inventory import Inventory, StoredSegment
from edgewise.spool.records import HEADER
from edgewise.spool.segment_names import CLOSED_SUFFIX, OPEN_SUFFIX, WRITER_SUFFIX, SegmentName

LOCK_NAME: Final = "lock"
BOOKS_BYTES: Final = 64 * 1024
"""Of the bound, for the books and the locks."""

_MOST_AT_ONCE: Final = 256
_MOST_ADOPTED: Final = 128
_CLOCK_WAS_SET_S: Final = 1577836800.0  # 2020: a clock that says less was never set
_AHEAD_S: Final = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Grant:
    """How much a writer may write before it asks again.

    Attributes:
        refused: why it may not; "" where it may.
        floor: what is worth less would be dropped at once; None where there is room for all.
        dropped: what went for it.
    """

    refused: str
    granted_bytes: int = 0
    floor: Worth | None = None
    dropped: Counter[tuple[str, int]] = field(default_factory=Counter)


class Ledger:
    """All of it is done by one who holds the lock: inside of `held`.

    Attributes:
        inventory: as it was when the lock was taken, without what went since.
        books: as the file says.
    """

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.inventory = Inventory(disk)
        self.books = Books()

    @contextlib.contextmanager
    def held(self, wait_s: float) -> Iterator[bool]:
        """Hold the lock; False where another process holds it for that long.

        Raises: OSError: the disk refuses.
        """
        lock = self.disk.lock(LOCK_NAME, wait_s)
        if lock is None:
            yield False
            return
        try:
            self.books = self._read()
            self.inventory.look()
            for file in self.books.dropping:
                self._delete(file)
            yield True
        finally:
            lock.release()

    def tell(self, now: SpoolCounters, told: SpoolCounters) -> None:
        """Write down what a writer has counted since it told last."""
        add(self.books, now, told)
        self.books.dropping = []
        self._write()

    def drop(self, stored: Sequence[StoredSegment], reason: str) -> Counter[tuple[str, int]]:
        """Count segments as dropped, and delete them. Returns: how many records, by reason and priority."""
        dropped: Counter[tuple[str, int]] = Counter()
        for start in range(0, len(stored), _MOST_AT_ONCE):
            some = stored[start : start + _MOST_AT_ONCE]
            counted = self._count(some, reason)
            self.books.counters.dropped.update(counted)
            self.books.dropping = [each.file for each in some]
            self._write_making_room(self.books.dropping)
            for each in some:
                self._delete(each.file)
            dropped.update(counted)
        return dropped

    def make_room(self, bounds: SpoolBounds, own: str, *, needed_bytes: int, incoming: Worth | None) -> Grant:
        """Grant a writer room, for which segments go that are worth less than what it has.

        Args:
            own: the writer's own file, whose old grant ends.
            needed_bytes: what it has.
            incoming: what that is worth; None only keeps the bound.
        """
        disk_bytes = self.disk.free_bytes() - bounds.free_bytes
        if incoming is not None and disk_bytes < needed_bytes:
            return Grant("disk-full")
        used_bytes = self.inventory.total_bytes + BOOKS_BYTES + self._granted_to_others(own)
        room = make_room(
            (each.held for each in self.inventory.stored.values()),
            free_bytes=bounds.bytes - used_bytes,
            free_segments=bounds.segments - self.inventory.segments - 1,
            needed_bytes=needed_bytes,
            wanted_bytes=0 if incoming is None else bounds.grant_bytes,
            incoming=incoming,
        )
        dropped = self.drop([self.inventory.stored[each.name] for each in room.dropped], "bound")
        granted_bytes = min(room.granted_bytes, max(0, disk_bytes))
        refused = "" if granted_bytes >= needed_bytes else "refused"
        return Grant(refused, granted_bytes, room.floor, dropped)

    def expire(self, retention_s: float, now_s: float) -> Counter[tuple[str, int]]:
        """Drop what is older than that; files with a time that cannot be are taken to be from now.

        Args:
            now_s: seconds since the epoch.
        """
        old = []
        for each in list(self.inventory.stored.values()):
            if each.changed_s > now_s + _AHEAD_S or each.changed_s < _CLOCK_WAS_SET_S <= now_s:
                with contextlib.suppress(FileNotFoundError):
                    self.inventory.redate(each.file, now_s)
            elif now_s - each.changed_s >= retention_s:
                old.append(each)
        return self.drop(old, "expired")

    def adopt(self, own: str = "", incarnation: str = "") -> int:
        """Close what writers left that are dead, a bounded number of segments at a time. Returns: how many.

        Args:
            own, incarnation: of the writer that does it, whose file cannot be asked whether it lives.
        """
        living = self._living(own)
        if own:
            living[own] = (incarnation, 0)
        left = []
        for file, name in self.inventory.opened.items():
            writer, _, drawn = name.writer.partition(".")
            # One on a full disk could not say which it is.
            if living.get(f"{writer}{WRITER_SUFFIX}", ("dead", 0))[0] not in {drawn, ""}:
                left.append((file, name))
        return sum(self._adopt(file, name) for file, name in left[:_MOST_ADOPTED])

    def set_aside(self, file: str, aside: str, priority: int) -> None:
        """Rename a segment that is damaged, and count its samples as far as it says how many they are; nothing where it is gone."""
        try:
            records = self.disk.records(file)
            self.disk.rename(file, aside)
        except FileNotFoundError:
            return
        self.books.counters.dropped["damaged", priority] += max(1, records)
        self._write()

    def _adopt(self, file: str, name: SegmentName) -> bool:
        try:
            whole_bytes = self.disk.whole_bytes(file)
            if whole_bytes <= len(HEADER):
                self._delete(file)
                return False
            opened = self.disk.reopen(file)
            try:
                # What lies behind was not accepted: its writer died within a record, or before the disk had it.
                opened.cut(whole_bytes)
                opened.sync()
            finally:
                opened.close()
            self.disk.rename(file, f"{name}{CLOSED_SUFFIX}")
        except FileNotFoundError:
            return False
        self.inventory.opened.pop(file, None)
        return True

    def _granted_to_others(self, own: str) -> int:
        return sum(granted_bytes for _, granted_bytes in self._living(own).values())

    def _living(self, own: str) -> dict[str, tuple[str, int]]:
        """Of each other writer that lives its incarnation and its grant, by file."""
        living = {}
        for file in list(self.inventory.writers):
            if file == own:
                continue
            lock = self.disk.lock(file, 0.0)
            if lock is None:
                living[file] = _said(self.disk.read(file, 0, 100))
                continue
            # Whoever starts under this name takes the directory's lock first.
            with contextlib.suppress(FileNotFoundError):
                self.disk.unlink(file)
            self.inventory.writers.remove(file)
            lock.release()
        return living

    def _count(self, stored: Sequence[StoredSegment], reason: str) -> Counter[tuple[str, int]]:
        counted: Counter[tuple[str, int]] = Counter()
        for each in stored:
            # What was set aside has been counted as damaged.
            if each.is_closed:
                with contextlib.suppress(FileNotFoundError):
                    counted[reason, each.name.priority] += self.disk.records(each.file)
        return counted

    def _delete(self, file: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.disk.unlink(file)
        self.inventory.forget(file)
        if file.endswith(OPEN_SUFFIX):
            self.inventory.opened.pop(file, None)

    def _read(self) -> Books:
        try:
            content = self.disk.read(COUNTERS_NAME, 0, MAX_COUNTERS_BYTES)
        except FileNotFoundError:
            return Books()
        return read_books(content)

    def _write_making_room(self, files: Sequence[str]) -> None:
        """Write the books; where the disk has no room even for that, files that are to go do so before they are counted."""
        for file in files:
            try:
                self._write()
            except OSError as error:
                if error.errno not in FULL:
                    raise
                self._delete(file)
            else:
                return
        self._write()

    def _write(self) -> None:
        self.disk.replace(COUNTERS_NAME, books_bytes(self.books))


def writer_text(incarnation: str, granted_bytes: int) -> str:
    """What a writer says in the file that it locks."""
    return f"{incarnation} {granted_bytes}"


def _said(content: bytes) -> tuple[str, int]:
    incarnation, _, granted = content.decode("ascii", "replace").partition(" ")
    return incarnation, int(granted) if granted.isdecimal() else 0
