"""The reading side of a spool: the agent's, in another process than the writers."""

import hashlib
import os
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.spool.segment_names import CLOSED_SUFFIX, read_segment_name


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed segment; it never changes any more.

    Attributes:
        name: without suffix; no other segment ever has it.
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
        directory: of the spool; where it is missing there is nothing to read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def adopt(self) -> int:
        """Close what dead writers left. Returns: how many segments."""
        return 0

    def segments(self) -> list[Segment]:
        """What is to be sent, in the order in which to send it: highest priority, then highest level, then oldest."""
        found = []
        for path in self._directory.glob(f"*{CLOSED_SUFFIX}"):
            try:
                name = read_segment_name(path.stem if path.suffix else path.name)
                found.append(Segment(str(name), name.priority, name.level, name.number, path.stat().st_size))
            except (InvalidArgumentError, FileNotFoundError):
                continue
        return sorted(found, key=lambda each: (-each.priority, -each.level, each.number, each.name))

    def read(self, segment: Segment, offset: int, count: int) -> bytes:
        """Bytes of a segment; fewer at its end.

        Raises: NotFoundError: it is gone; the bound dropped it.
        """
        with self._open(segment) as file:
            return os.pread(file.fileno(), count, offset)

    def digest(self, segment: Segment) -> str:
        """SHA-256 of the whole segment, in hexadecimal digits.

        Raises: NotFoundError: it is gone; the bound dropped it.
        """
        with self._open(segment) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remove(self, segment: Segment) -> None:
        """Delete a segment that has arrived; one that the bound dropped meanwhile is no error."""
        self._path(segment).unlink(missing_ok=True)

    def _open(self, segment: Segment) -> BufferedReader:
        try:
            return self._path(segment).open("rb")
        except FileNotFoundError:
            raise NotFoundError(f"the segment {segment.name} is gone: the spool's bound dropped it") from None

    def _path(self, segment: Segment) -> Path:
        return self._directory / f"{segment.name}{CLOSED_SUFFIX}"
