"""Names of segments: `P-L-WRITER-NUMBER`, with `.open` while it is written, `.seg` once it is closed, `.damaged` once it was set aside.

P is the priority of its samples, L their level. WRITER is the writer's name, a dot, and what was drawn when that writer started, so that no
name ever comes twice, not even in a spool that was emptied. NUMBER grows over all writers of a directory, as far as they know of each
other, whatever clocks do: the lower one is the older one.
"""

import re
from dataclasses import dataclass
from typing import Final

from edgewise.core.capture.retention import Worth, worth_of
from edgewise.core.errors import InvalidArgumentError

OPEN_SUFFIX: Final = ".open"
CLOSED_SUFFIX: Final = ".seg"
DAMAGED_SUFFIX: Final = ".damaged"
WRITER_SUFFIX: Final = ".writer"
WRITER_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,32}")
SEGMENT_NAME: Final = re.compile(r"([0-3])-([0-7])-([A-Za-z0-9_]{1,32}\.[0-9a-f]{8})-([0-9]{10})")
MAX_NUMBER: Final = 10**10 - 1


@dataclass(frozen=True, slots=True)
class SegmentName:
    """The parts of a name."""

    priority: int
    level: int
    writer: str
    number: int

    def __str__(self) -> str:
        return f"{self.priority}-{self.level}-{self.writer}-{self.number:010d}"

    @property
    def worth(self) -> Worth:
        """How long it is kept where room is short."""
        return worth_of(str(self), self.priority, self.level, self.number)


def read_segment_name(text: str) -> SegmentName:
    """The parts of a name without its suffix.

    Raises: InvalidArgumentError: no segment is called so.
    """
    match = SEGMENT_NAME.fullmatch(text)
    if match is None:
        raise InvalidArgumentError(
            f"found the segment name {text[:80]!r}, expected one such as 2-0-w0.5f3a9c01-0000000012"
        )
    priority, level, writer, number = match.groups()
    return SegmentName(int(priority), int(level), writer, int(number))


def split_file_name(text: str) -> tuple[SegmentName, str] | None:
    """The name and the suffix of a file; None where it is no segment."""
    for suffix in (CLOSED_SUFFIX, OPEN_SUFFIX, DAMAGED_SUFFIX):
        if text.endswith(suffix):
            match = SEGMENT_NAME.fullmatch(text, endpos=len(text) - len(suffix))
            if match is None:
                return None
            priority, level, writer, number = match.groups()
            return SegmentName(int(priority), int(level), writer, int(number)), suffix
    return None
