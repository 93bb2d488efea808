"""What became of the samples that were offered: of one writer since it started, and of a directory for good."""

import logging
from collections import Counter
from dataclasses import astuple, dataclass, field, fields
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.toml_table import is_number
from edgewise.protocols.documents import check_format, document_bytes, read_document
from edgewise.spool.clock_watch import MOST_JUMPS, ClockMemory, Jump

FORMAT: Final = "edgewise-spool-counters/1"
COUNTERS_NAME: Final = "counters"
MAX_COUNTERS_BYTES: Final = 4 << 20
ACCEPTED_REASONS: Final = frozenset({"bound", "expired", "damaged"})
"""With these a sample is dropped that had been accepted; with any other one it never was."""

_MOST: Final = 1 << 62
_MOST_S: Final = 1e18
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class SpoolCounters:
    """Samples, and the bytes of those that are there. `offered = accepted + refused`, and what waits for the next `flush`.

    Attributes:
        offered: to the writer.
        accepted: safe on the disk; those that were dropped later are among them.
        dropped: by reason and priority. Never accepted were "refused" (it would have been dropped at once), "disk-full" and
            "disk-error" (it could not be written), "too-large", and "busy" (another process held the directory for a second).
            Accepted were "bound" (the room went to what is worth more), "expired" (older than the retention) and "damaged" (set aside).
        bytes_on_disk: of the directory, as far as the writer knows.
    """

    offered: int = 0
    accepted: int = 0
    dropped: Counter[tuple[str, int]] = field(default_factory=Counter)
    bytes_on_disk: int = 0

    @property
    def refused(self) -> int:
        """What was offered and never accepted."""
        return sum(count for (reason, _), count in self.dropped.items() if reason not in ACCEPTED_REASONS)

    def differ(self, other: "SpoolCounters") -> bool:
        """Whether something was counted."""
        mine = (self.offered, self.accepted, self.dropped)
        return mine != (other.offered, other.accepted, other.dropped)

    def copy(self) -> "SpoolCounters":
        """As it is now."""
        return SpoolCounters(self.offered, self.accepted, Counter(self.dropped), self.bytes_on_disk)


@dataclass(slots=True)
class Books:
    """The file `counters` of a directory. Whoever writes it holds the directory's lock.

    Attributes:
        counters: of all writers there ever were.
        dropping: files that are counted as dropped already and may still be there: a process was killed before it deleted them.
        aside: files that are counted as damaged already and may not be renamed yet.
        mended: files of dead writers whose damaged records are counted already and may be in them yet.
        retention_s: as the last writer was told, for the reader, which goes on when no writer lives; None keeps all.
        clock: what is known of the wall clock, by which they are old.
    """

    counters: SpoolCounters = field(default_factory=SpoolCounters)
    dropping: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    retention_s: float | None = None
    clock: ClockMemory = field(default_factory=ClockMemory)


def books_bytes(books: Books) -> bytes:
    """The file's content."""
    dropped = {f"{reason}/{priority}": count for (reason, priority), count in books.counters.dropped.items()}
    return document_bytes(
        {
            "format": FORMAT,
            "offered": books.counters.offered,
            "accepted": books.counters.accepted,
            "dropped": dropped,
            "dropping": books.dropping,
            "aside": books.aside,
            "mended": books.mended,
            "retention_s": books.retention_s,
            "clock_seen_s": books.clock.seen_s,
            "clock_behind_s": books.clock.behind_s,
            "clock_jumps_s": [astuple(each) for each in books.clock.jumps],
        }
    )


def read_books(content: bytes) -> Books:
    """What the file says; all zero where it cannot be read, which is logged."""
    try:
        document = read_document(content, "the counters of the spool", max_bytes=MAX_COUNTERS_BYTES)
        check_format(document, FORMAT)
        dropped = document.table("dropped")
        counted = Counter({_split(name): dropped.integer(name, 0, _MOST) for name in dropped})
        counters = SpoolCounters(document.integer("offered", 0, _MOST), document.integer("accepted", 0, _MOST), counted)
        dropping = [str(each) for each in document.items("dropping", "names of files")]
        aside = [str(each) for each in document.items("aside", "names of files")]
        mended = [str(each) for each in document.items("mended", "names of files")]
        retention_s = document.optional_number("retention_s", _MOST_S)
        jumps = document.items("clock_jumps_s", "jumps of the clock")
        clock = ClockMemory(
            document.optional_number("clock_seen_s", _MOST_S),
            document.optional_number("clock_behind_s", _MOST_S),
            tuple(_jump(each) for each in jumps[-MOST_JUMPS:]),
        )
        return Books(counters, dropping, aside, mended, retention_s, clock)
    except (InvalidArgumentError, ValueError) as error:
        _log.error("%s; counting begins again from 0", error)
        return Books()


def _jump(found: object) -> Jump:
    numbers = [float(each) for each in found if is_number(each)] if isinstance(found, list) else []
    if len(numbers) != len(fields(Jump)) or not all(0.0 <= each <= _MOST_S for each in numbers):
        raise InvalidArgumentError(
            f"the counters of the spool: found the jump {str(found)[:80]}, expected four numbers"
        )
    return Jump(*numbers)


def _split(name: str) -> tuple[str, int]:
    reason, _, priority = name.rpartition("/")
    return reason, int(priority)


def add(books: Books, now: SpoolCounters, told: SpoolCounters) -> None:
    """Add to the books what a writer has counted since it told them last."""
    books.counters.offered += now.offered - told.offered
    books.counters.accepted += now.accepted - told.accepted
    for key, count in now.dropped.items():
        if count != told.dropped[key]:
            books.counters.dropped[key] += count - told.dropped[key]
