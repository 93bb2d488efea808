"""What lies in the directory of a spool. Closed segments never change, so each is looked at once."""

from dataclasses import dataclass, field, replace

from edgewise.core.capture.retention import Held, Worth
from edgewise.spool.disk import Disk, FileStatus
from edgewise.spool.segment_names import CLOSED_SUFFIX, OPEN_SUFFIX, WRITER_SUFFIX, SegmentName, split_file_name


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A file of a segment that nobody writes any more.

    Attributes:
        file: its name with the suffix.
        changed_s: when it was last written, in seconds since the epoch.
        held: as the bound sees it.
    """

    file: str
    name: SegmentName
    changed_s: float
    held: Held

    @property
    def is_closed(self) -> bool:
        """It can be sent; otherwise it was set aside."""
        return self.file.endswith(CLOSED_SUFFIX)


@dataclass(slots=True)
class Inventory:
    """As `look` has found it.

    Attributes:
        stored: by file; what is closed, and what was set aside.
        opened: what is being written, or was left by a process that died; by file.
        writers: the files that writers lock.
        total_bytes: of all files.
        highest_number: of all segments ever seen here.
    """

    disk: Disk
    stored: dict[str, StoredSegment] = field(default_factory=dict)
    opened: dict[str, SegmentName] = field(default_factory=dict)
    writers: list[str] = field(default_factory=list)
    total_bytes: int = 0
    highest_number: int = 0
    _stored_bytes: int = 0

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return len(self.stored) + len(self.opened)

    def look(self) -> None:
        """See what is there now.

        Raises: OSError: it cannot be read.
        """
        names = set(self.disk.names())
        # Thousands may lie here that have not changed: what has is found without a step for each.
        for file in self.stored.keys() - names:
            self.forget(file)
        self.opened, self.writers = {}, []
        self.total_bytes = self._stored_bytes
        for file in names - self.stored.keys():
            self._new(file)

    def redate(self, file: str, changed_s: float) -> None:
        """Have a file look as if it was last written then."""
        self.disk.touch(file, changed_s)
        self.stored[file] = replace(self.stored[file], changed_s=changed_s)

    def changed_again_s(self, file: str) -> float:
        """When a closed file was last written: another process may have had it look otherwise since it was looked at.

        Raises: OSError: it is gone, or cannot be looked at.
        """
        changed_s = self.disk.status(file).changed_s
        self.stored[file] = replace(self.stored[file], changed_s=changed_s)
        return changed_s

    def forget(self, file: str) -> None:
        """A file is gone."""
        gone = self.stored.pop(file, None)
        if gone is not None:
            self.total_bytes -= gone.held.size_bytes
            self._stored_bytes -= gone.held.size_bytes

    def _new(self, file: str) -> None:
        found = split_file_name(file)
        try:
            status = self.disk.status(file)
        except FileNotFoundError:
            # Its writer may have closed it since the listing.
            if found is not None and found[1] == OPEN_SUFFIX and f"{found[0]}{CLOSED_SUFFIX}" not in self.stored:
                self._new(f"{found[0]}{CLOSED_SUFFIX}")
            return
        if file in self.stored:
            return
        self.total_bytes += status.size_bytes
        if found is not None:
            self._segment(file, *found, status)
        elif file.endswith(WRITER_SUFFIX):
            self.writers.append(file)

    def _segment(self, file: str, name: SegmentName, suffix: str, status: FileStatus) -> None:
        self.highest_number = max(self.highest_number, name.number)
        if suffix == OPEN_SUFFIX:
            self.opened[file] = name
            return
        # What was set aside is of no use to the hub: it goes before anything else.
        worth = name.worth if suffix == CLOSED_SUFFIX else Worth(-1, 0, 0, name.number)
        self.stored[file] = StoredSegment(file, name, status.changed_s, Held(file, worth, status.size_bytes))
        self._stored_bytes += status.size_bytes
