"""What the writers and the reader of one directory share: its lock, its books, and who may write how much.

A writer asks here once in a while, never for each record: it is granted a 128th of the bound or so, and others count all of it as
used until it asks again. So all of them together stay within the bound without asking each other. Files that are dropped are written into the
books first, and deleted then; whoever takes the lock next deletes what a process that was killed in between has left. In the same way files
are set aside: counted first, then renamed.
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgewise.core.capture.retention import Worth, make_room
from edgewise.spool.bounds import SpoolBounds
from edgewise.spool.clock_watch import ClockLook, look_at_clock
from edgewise.spool.counters import (
    COUNTERS_NAME,
    MAX_COUNTERS_BYTES,
    Books,
    SpoolCounters,
    add,
    books_bytes,
    read_books,
)
from edgewise.spool.disk import FULL, UNREADABLE, Disk
from edgewise.spool.inventory import Inventory, StoredSegment
from edgewise.spool.salvage import Salvage
from edgewise.spool.segment_names import (
    CLOSED_SUFFIX,
    DAMAGED_SUFFIX,
    OPEN_SUFFIX,
    WRITER_SUFFIX,
    SegmentName,
    split_file_name,
)

LOCK_NAME: Final = "lock"
BOOKS_BYTES: Final = 64 * 1024
"""Of the bound, for the books and the locks."""

_MOST_AT_ONCE: Final = 256
_MOST_ADOPTED: Final = 128
_LEAST_GRANT_BYTES: Final = 16 * 1024
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

    Args:
        told: files that the log has told of already; added to.

    Attributes:
        inventory: as it was when the lock was taken, without what went since.
        books: as the file says.
    """

    def __init__(self, disk: Disk, told: set[str] | None = None) -> None:
        self.disk = disk
        self._told = set() if told is None else told
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
            self.books.aside = [file for file in self.books.aside if not self._put_aside(file)]
            self.inventory.look()
            self.books.mended = [file for file in self.books.mended if file in self.inventory.opened]
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
        used_bytes = self.inventory.total_bytes + BOOKS_BYTES + self._granted_to_others(own)
        bound_bytes = bounds.bytes - used_bytes
        disk_bytes = self.disk.free_bytes() - bounds.free_bytes
        # A disk that is smaller than the bound is a bound as well. Nothing goes for it unless something comes: others may have filled it.
        free_bytes = bound_bytes if incoming is None else min(bound_bytes, disk_bytes)
        small_bytes = max(_LEAST_GRANT_BYTES, (self.inventory.total_bytes + disk_bytes) // 128)
        room = make_room(
            (each.held for each in self.inventory.stored.values()),
            free_bytes=free_bytes,
            free_segments=bounds.segments - self.inventory.segments - 1,
            needed_bytes=needed_bytes,
            wanted_bytes=0 if incoming is None else min(bounds.grant_bytes, small_bytes),
            wanted_segments=0 if incoming is None else bounds.grant_segments,
            incoming=incoming,
        )
        dropped = self.drop([self.inventory.stored[each.name] for each in room.dropped], "bound")
        refused = ""
        if room.granted_bytes < needed_bytes:
            refused = "disk-full" if disk_bytes < min(bound_bytes, needed_bytes) else "refused"
        return Grant(refused, room.granted_bytes, room.floor, dropped)

    def expire(self, retention_s: float | None, now_s: float) -> Counter[tuple[str, int]]:
        """Drop what is older than that, as far as the clock can be believed; keep in mind for the reader what the retention is.

        Args:
            retention_s: None keeps all.
            now_s: seconds since the epoch.
        """
        is_new = retention_s != self.books.retention_s
        self.books.retention_s = retention_s
        old: list[StoredSegment] = []
        if retention_s is not None:
            look = look_at_clock(self.books.clock, now_s, retention_s)
            for each in list(self.inventory.stored.values()):
                if not look.earliest_s <= look.time_s(each.changed_s) <= look.latest_s:
                    with contextlib.suppress(OSError):
                        self.inventory.redate(each.file, look.anew_s)
                elif look.is_believed and self._is_old(each, look, now_s - retention_s):
                    old.append(each)
            for file in self.inventory.opened if not look.is_believed else ():
                # It is closed with the time of its last record, which may have been before the clock was set.
                with contextlib.suppress(OSError):
                    self.disk.touch(file, look.anew_s)
            is_new |= look.memory.is_worth_writing(self.books.clock)
            self.books.clock = look.memory
        if is_new and not old:
            # Where the disk is full, the next look comes to the same.
            with contextlib.suppress(OSError):
                self._write()
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
        # What could not be read last time comes last.
        left.sort(key=lambda each: each[0] in self._told)
        return sum(self._adopt(file, name) for file, name in left[:_MOST_ADOPTED])

    def set_aside(self, file: str, priority: int) -> None:
        """Rename a segment that is damaged, and count its samples as far as it says how many they are; nothing where it is gone.

        Raises: OSError: it stays as it is and is not counted; or it is, and is renamed later.
        """
        if file in self.books.aside:
            return
        try:
            records = self.disk.records(file)
        except FileNotFoundError:
            return
        except OSError:
            records = 1
        counted = self.books.counters.dropped
        counted["damaged", priority] += max(1, records)
        self.books.aside.append(file)
        try:
            self._write()
        except OSError:
            counted["damaged", priority] -= max(1, records)
            self.books.aside.remove(file)
            raise
        self._put_aside(file)

    def _put_aside(self, file: str) -> bool:
        """Rename what is counted as damaged. Returns: whether it is done."""
        found = split_file_name(file)
        if found is None:
            return True
        try:
            self.disk.rename(file, f"{found[0]}{DAMAGED_SUFFIX}")
        except FileNotFoundError:
            pass
        except OSError as error:
            self._tell_once(file, error)
            return False
        self.inventory.forget(file)
        self.inventory.opened.pop(file, None)
        return True

    def _tell_once(self, file: str, error: OSError) -> None:
        if file not in self._told:
            self._told.add(file)
            _log.error("the file %s of the spool is passed over: %s", file, error.strerror or "the disk fails")

    def _is_old(self, stored: StoredSegment, look: ClockLook, until_s: float) -> bool:
        if look.time_s(stored.changed_s) > until_s:
            return False
        try:
            return look.time_s(self.inventory.changed_again_s(stored.file)) <= until_s
        except OSError:
            return False

    def _adopt(self, file: str, name: SegmentName) -> bool:
        """Whether it is closed now. One that the disk cannot read is passed over: the others go on."""
        try:
            return self._adopt_whole(file, name)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._tell_once(file, error)
            if error.errno in UNREADABLE:
                with contextlib.suppress(OSError):
                    self.set_aside(file, name.priority)
            return False

    def _adopt_whole(self, file: str, name: SegmentName) -> bool:
        found = self.disk.salvage(file)
        if not found.records:
            if found.damaged:
                _log.error("the file %s of the spool is damaged, nothing of it is whole; it is set aside", file)
                self.set_aside(file, name.priority)
            else:
                self._delete(file)
            return False
        if found.is_whole:
            self._cut(file, found.whole_bytes)
        else:
            self._mend(file, name, found)
        self.disk.rename(file, f"{name}{CLOSED_SUFFIX}")
        self.inventory.opened.pop(file, None)
        return True

    def _cut(self, file: str, whole_bytes: int) -> None:
        opened = self.disk.reopen(file)
        try:
            # What lies behind was not accepted: its writer died within a record, or before the disk had it.
            opened.cut(whole_bytes)
            opened.sync()
        finally:
            opened.close()

    def _mend(self, file: str, name: SegmentName, found: Salvage) -> None:
        """Count what the disk has spoilt, then leave it out: whoever is killed in between finds it counted."""
        if found.damaged and file not in self.books.mended:
            counted = self.books.counters.dropped
            counted["damaged", name.priority] += found.damaged
            self.books.mended.append(file)
            try:
                self._write()
            except OSError:
                counted["damaged", name.priority] -= found.damaged
                self.books.mended.remove(file)
                raise
            _log.error(
                "the file %s of the spool is damaged: %d samples of it are lost, %d are kept",
                file,
                found.damaged,
                len(found.records),
            )
        self.disk.mend(file, found)

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
            if each.is_closed and each.file not in self.books.aside:
                try:
                    counted[reason, each.name.priority] += self.disk.records(each.file)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    # It has one at least.
                    self._tell_once(each.file, error)
                    counted[reason, each.name.priority] += 1
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
