"""A segment that is being written."""

from typing import Final

from edgewise.spool.disk import Disk, SpoolFile
from edgewise.spool.records import FRAME, HEADER, frame_head
from edgewise.spool.segment_names import CLOSED_SUFFIX, OPEN_SUFFIX, SegmentName

OVERHEAD_BYTES: Final = len(HEADER) + FRAME.size
"""What a record needs besides its own bytes, at most."""


class OpenSegment:
    """A segment of one writer. Its file is made with its first record; what the disk refuses leaves it as it was.

    Attributes:
        worth: by its name.
        opened_s: when it began, on the clock of the writer.
        size_bytes: of whole records, with the header; 0 while there is no file.
        pending: records that the disk may not hold yet.
    """

    __slots__ = (
        "_disk",
        "_file",
        "_is_named",
        "_is_torn",
        "_name",
        "_synced_bytes",
        "_synced_pending",
        "opened_s",
        "pending",
        "size_bytes",
        "worth",
    )

    def __init__(self, disk: Disk, name: SegmentName, opened_s: float) -> None:
        self.worth = name.worth
        self.opened_s = opened_s
        self.size_bytes = 0
        self.pending = 0
        self._disk = disk
        self._name = name
        self._file: SpoolFile | None = None
        self._synced_bytes = 0
        self._synced_pending = 0
        self._is_torn = False
        self._is_named = False

    @property
    def exists(self) -> bool:
        """There is a file of it."""
        return self._file is not None

    def append(self, record: bytes) -> int:
        """Write a record. Returns: by how many bytes the file grew.

        Raises: OSError: the disk refuses; nothing of it is in the segment.
        """
        file = self._file
        if file is None:
            file = self._file = self._disk.create(f"{self._name}{OPEN_SUFFIX}")
        if self._is_torn:
            self._mend(file)
        parts = [frame_head(record), record] if self.size_bytes else [HEADER, frame_head(record), record]
        try:
            file.write(parts)
        except OSError:
            self._is_torn = True
            self._mend(file)
            raise
        grown_bytes = sum(map(len, parts))
        self.size_bytes += grown_bytes
        self.pending += 1
        return grown_bytes

    def sync(self) -> bool:
        """Have the disk hold what was written. Returns: whether its name is yet to be made safe: `named` says that it was.

        Raises: OSError: it does not; nothing that was written since the last time is in the segment, or pending.
        """
        if self._file is not None and self.pending:
            try:
                self._file.sync()
            except OSError:
                # A second try may tell that all is well while pages are lost.
                self.size_bytes, self.pending = self._synced_bytes, self._synced_pending
                self._is_torn = True
                self._mend(self._file)
                raise
            self._synced_bytes, self._synced_pending = self.size_bytes, self.pending
        return not self._is_named

    def named(self) -> int:
        """The directory is safe as well. Returns: how many records became accepted."""
        self._is_named = True
        accepted, self.pending, self._synced_pending = self.pending, 0, 0
        return accepted

    def finish(self) -> bool:
        """Close it: it can be sent, or is deleted where it is empty. Returns: whether a file stays.

        Raises: OSError: the disk refuses; it stays open.
        """
        if self._file is None:
            return False
        if self._is_torn:
            self._mend(self._file)
        if self.size_bytes:
            self._disk.rename(f"{self._name}{OPEN_SUFFIX}", f"{self._name}{CLOSED_SUFFIX}")
        else:
            self._disk.unlink(f"{self._name}{OPEN_SUFFIX}")
        self._file.close()
        self._file = None
        return self.size_bytes > 0

    def leave(self) -> None:
        """Let it lie as it is, for whoever adopts it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _mend(self, file: SpoolFile) -> None:
        file.cut(self.size_bytes)
        self._is_torn = False
