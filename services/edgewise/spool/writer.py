"""The writing side of a spool: one per process that captures, several beside each other on one directory."""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edgewise.core.capture.retention import Worth, closing_age_s, level_of
from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.spool.bounds import SpoolBounds
from edgewise.spool.counters import SpoolCounters
from edgewise.spool.disk import FULL, Disk, Lock, ready_directory, unusable
from edgewise.spool.ledger import Grant, Ledger, writer_text
from edgewise.spool.open_segment import OVERHEAD_BYTES, OpenSegment
from edgewise.spool.segment_names import WRITER_NAME, WRITER_SUFFIX, SegmentName

_START_WAIT_S: Final = 5.0
_WAIT_S: Final = 1.0
_ASK_AGAIN_S: Final = 5.0
_HOUSEKEEPING_S: Final = 10.0
_BEST: Final = Worth(4, 0, 0, 0)
_BY_WORTH: Final = frozenset({"refused", "disk-full"})
"""What is worth more may be granted nevertheless."""

_log = logging.getLogger(__name__)


class SpoolWriter:
    """Takes records in. One thread uses it; nothing but its making raises for what the disk does.

    An offered record is written at once and accepted with the next `flush`, which the caller does at least once a second. What was accepted
    survives kill -9 and a power cut; it goes only when it is sent, or dropped and counted. What was offered and not yet accepted may
    survive as well.

    `counters` begin at 0 with each writer. The file `counters` in the directory holds those of all writers for good: what was dropped is
    counted there exactly once; of what was offered, accepted and refused a kill -9 loses the last 10 s, and nothing is counted twice.

    Args:
        directory: of the spool; made where only it itself is missing.
        bounds: the same for all writers of the directory.
        writer: a name that no other writer on this directory has at the same time; 1 to 32 letters, digits and "_".
        wall_s: seconds since the epoch.
        monotonic_s: seconds; never goes back.
        disk: for tests and simulations.

    Attributes:
        counters: since this writer was made.

    Raises:
        InvalidArgumentError: no writer can be called so.
        FailedPreconditionError: the directory cannot be used, or another writer of that name lives.
    """

    def __init__(
        self,
        directory: Path,
        bounds: SpoolBounds,
        *,
        writer: str,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
        disk: Disk | None = None,
    ) -> None:
        if not WRITER_NAME.fullmatch(writer):
            raise InvalidArgumentError(f"found the writer {writer!r}, expected 1 to 32 letters, digits or underscores")
        self.counters = SpoolCounters()
        self._told = SpoolCounters()
        self._directory = directory
        self._bounds = bounds
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._disk: Disk = ready_directory(directory) if disk is None else disk
        self._ledger = Ledger(self._disk)
        self._own = f"{writer}{WRITER_SUFFIX}"
        self._incarnation = secrets.token_hex(4)
        self._name = f"{writer}.{self._incarnation}"
        self._writing: dict[tuple[int, int], OpenSegment] = {}
        self._finished: list[OpenSegment] = []
        self._number = 0
        self._created = 0
        self._granted_bytes = 0
        self._floor: Worth | None = None
        self._refusal: tuple[Worth, str, float] = (_BEST, "", float("-inf"))
        self._is_troubled = False
        self._is_closed = False
        try:
            self._lock = self._start(writer)
        except OSError as error:
            raise unusable(directory, error) from None
        self._kept_s = monotonic_s()

    def offer(self, sample_id: str, priority: int, record: bytes) -> bool:
        """Take a record in; it is accepted with the next `flush`.

        Args:
            sample_id: hexadecimal digits, drawn evenly.
            priority: 0 to 3.
        Returns: False where it was refused, which is counted.
        Raises: ValueError: the sample id or the priority is none.
        """
        level = level_of(sample_id)
        if not 0 <= priority <= 3:
            raise ValueError(f"found the priority {priority}, expected 0 to 3")
        self.counters.offered += 1
        try:
            reason = self._take((priority, level), record)
        except OSError as error:
            reason = self._trouble(error)
        if reason:
            self.counters.dropped[reason, priority] += 1
        return not reason

    def flush(self) -> int:
        """Have the disk hold what was taken in. Returns: how many became accepted."""
        safe, names_wait = [], False
        for (priority, _), segment in self._all():
            pending = segment.pending
            if not pending:
                continue
            try:
                names_wait |= segment.sync()
                safe.append(segment)
            except OSError as error:
                self.counters.dropped[self._trouble(error), priority] += pending - segment.pending
        accepted = sum(segment.named() for segment in safe) if self._synced_names(needed=names_wait) else 0
        self.counters.accepted += accepted
        self._finish()
        return accepted

    def tick(self) -> None:
        """Close segments that are old, and keep the directory in order; to be called about every second."""
        now_s = self._monotonic_s()
        age_s = closing_age_s(self._bounds.segment_age_s, self._ledger.inventory.segments)
        for key, segment in list(self._writing.items()):
            # What would be dropped next can be dropped only once it is closed.
            if now_s - segment.opened_s >= age_s or (
                segment.exists and self._floor is not None and segment.worth < self._floor
            ):
                self._put_by(key)
        if self._finished:
            self.flush()
        if now_s - self._kept_s >= _HOUSEKEEPING_S and not self._is_closed:
            self._kept_s = now_s
            self._keep_house()

    def close(self) -> None:
        """Accept what was taken in, and close all segments. Whatever is offered afterwards is refused."""
        if self._is_closed:
            return
        for key in list(self._writing):
            self._put_by(key)
        self.flush()
        for segment in self._finished:
            segment.leave()
        self._is_closed = True
        self._keep_house()
        self._lock.release()

    def _start(self, writer: str) -> Lock:
        with self._ledger.held(_START_WAIT_S) as is_held:
            lock = self._disk.lock(self._own, 0.0) if is_held else None
            if lock is None:
                who = f"another writer named {writer!r}" if is_held else "another process"
                remedy = "give each writer a name of its own" if is_held else "try again"
                raise FailedPreconditionError(f"{who} holds the spool {self._directory}; {remedy}")
            try:
                lock.write(writer_text(self._incarnation, 0))
                self._tidy()
            except OSError as error:
                self._trouble(error)
        self._note()
        return lock

    def _take(self, key: tuple[int, int], record: bytes) -> str:
        """Write a record. Returns: why it was refused; "" where it was not."""
        if self._is_closed:
            return "refused"
        if len(record) > self._bounds.record_bytes:
            return "too-large"
        segment = self._writing.get(key)
        if segment is None:
            self._number += 1
            name = SegmentName(*key, self._name, self._number)
            segment = self._writing[key] = OpenSegment(self._disk, name, self._monotonic_s())
        reason = self._no_room(segment.worth, len(record) + OVERHEAD_BYTES)
        if reason:
            return reason
        self._created += not segment.exists
        grown_bytes = segment.append(record)
        self._granted_bytes -= grown_bytes
        self.counters.bytes_on_disk += grown_bytes
        if self._is_troubled:
            self._is_troubled = False
            _log.warning("the spool %s takes samples again", self._directory)
        if segment.size_bytes >= self._bounds.closing_bytes:
            self._put_by(key)
        return ""

    def _no_room(self, worth: Worth, needed_bytes: int) -> str:
        is_low = self._floor is not None and worth < self._floor
        is_crowded = self._created >= self._bounds.grant_segments
        if not is_low and not is_crowded and needed_bytes <= self._granted_bytes:
            return ""
        now_s = self._monotonic_s()
        refused, reason, until_s = self._refusal
        if now_s < until_s and worth <= refused:
            return reason
        grant = self._ask(worth, needed_bytes)
        if grant.refused in _BY_WORTH and self._put_lower_by(worth):
            grant = self._ask(worth, needed_bytes)
        if grant.refused:
            highest = worth if grant.refused in _BY_WORTH else _BEST
            self._refusal = (highest, grant.refused, now_s + _ASK_AGAIN_S)
        elif self._floor is not None:
            self._refusal = (Worth(*self._floor[:3], self._floor.number - 1), "refused", now_s + _ASK_AGAIN_S)
        return grant.refused

    def _ask(self, worth: Worth, needed_bytes: int) -> Grant:
        self._granted_bytes = 0
        with self._ledger.held(_WAIT_S) as is_held:
            if not is_held:
                return Grant("busy")
            grant = self._ledger.make_room(self._bounds, self._own, needed_bytes=needed_bytes, incoming=worth)
            self._lock.write(writer_text(self._incarnation, grant.granted_bytes))
        self._granted_bytes = grant.granted_bytes
        self._floor = grant.floor
        self._dropped(grant.dropped)
        self._note()
        return grant

    def _put_lower_by(self, worth: Worth) -> bool:
        """Close what this writer itself holds open and is worth less. Returns: whether there was such a thing."""
        lower = [key for key, each in self._writing.items() if each.exists and each.worth < worth]
        for key in lower:
            self._put_by(key)
        if lower:
            self.flush()
        return bool(lower)

    def _put_by(self, key: tuple[int, int]) -> None:
        segment = self._writing.pop(key)
        if segment.exists:
            self._finished.append(segment)

    def _all(self) -> list[tuple[tuple[int, int], OpenSegment]]:
        finished = [((each.worth.priority, each.worth.level), each) for each in self._finished]
        return [*self._writing.items(), *finished]

    def _finish(self) -> None:
        """Close what is put by, as far as it is accepted."""
        waiting = []
        for segment in self._finished:
            try:
                if segment.pending:
                    waiting.append(segment)
                else:
                    segment.finish()
            except FileNotFoundError:
                # Somebody emptied the directory.
                segment.leave()
            except OSError as error:
                self._trouble(error)
                waiting.append(segment)
        self._finished = waiting

    def _synced_names(self, *, needed: bool) -> bool:
        try:
            if needed:
                self._disk.sync_names()
        except OSError as error:
            self._trouble(error)
            return False
        return True

    def _keep_house(self) -> None:
        try:
            with self._ledger.held(_WAIT_S) as is_held:
                if not is_held:
                    return
                self._lock.write(writer_text(self._incarnation, 0 if self._is_closed else self._granted_bytes))
                self._tidy()
                if self.counters.differ(self._told):
                    now = self.counters.copy()
                    self._ledger.tell(now, self._told)
                    self._told = now
        except OSError as error:
            self._trouble(error)
        self._note()

    def _tidy(self) -> None:
        """Adopt what dead writers left, drop what is too old, keep the bound also where it was lowered."""
        self._ledger.adopt(self._own, self._incarnation)
        self._dropped(self._ledger.expire(self._bounds.retention_s, self._wall_s()))
        self._dropped(self._ledger.make_room(self._bounds, self._own, needed_bytes=0, incoming=None).dropped)

    def _dropped(self, dropped: Counter[tuple[str, int]]) -> None:
        """Count what the books know already."""
        self.counters.dropped.update(dropped)
        self._told.dropped.update(dropped)

    def _note(self) -> None:
        inventory = self._ledger.inventory
        self._created = 0
        self._number = max(self._number, inventory.highest_number)
        self.counters.bytes_on_disk = inventory.total_bytes

    def _trouble(self, error: OSError) -> str:
        """Say it once. Returns: the reason that is counted."""
        if not self._is_troubled:
            self._is_troubled = True
            _log.error(
                "the spool %s cannot take samples: %s; they are counted as dropped", self._directory, error.strerror
            )
        return "disk-full" if error.errno in FULL else "disk-error"
