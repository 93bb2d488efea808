"""How much a spool may hold, and for how long."""

from dataclasses import dataclass
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.spool.records import MAX_RECORD_BYTES

_KIB: Final = 1024
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SpoolBounds:
    """What every writer of one directory is to be told alike.

    Attributes:
        bytes: of all files in the directory together; at least 1 MiB.
        segments: how many segments there may be, about.
        segment_bytes: a segment of that size is closed; None for a 512th of `bytes`, 64 KiB to 4 MiB.
        segment_age_s: a segment of that age is closed, so that it can be sent; later where many wait already.
        retention_s: a segment older than this is deleted, sent or not; None keeps it until it is sent.
        record_bytes: a record may have; a longer one is refused.
        free_bytes: of the file system that are left to others.
    Raises: InvalidArgumentError: it could not work.
    """

    bytes: int = 1024 * _MIB
    segments: int = 4096
    segment_bytes: int | None = None
    segment_age_s: float = 10.0
    retention_s: float | None = None
    record_bytes: int = 16 * _MIB
    free_bytes: int = 64 * _MIB

    def __post_init__(self) -> None:
        if self.bytes < _MIB:
            raise InvalidArgumentError(f"a spool of {self.bytes} bytes holds too little; {_MIB} is the least")
        if self.segments < 64:
            raise InvalidArgumentError(f"a spool of {self.segments} segments holds too little; 64 is the least")
        if not 0 < self.record_bytes <= MAX_RECORD_BYTES:
            raise InvalidArgumentError(f"records of {self.record_bytes} bytes; expected 1 to {MAX_RECORD_BYTES}")
        if self.segment_age_s <= 0 or (self.retention_s is not None and self.retention_s <= 0):
            raise InvalidArgumentError("segments of no age; expected a closing age and a retention above 0 s")

    @property
    def closing_bytes(self) -> int:
        """A segment of that size is closed."""
        return self.segment_bytes or min(4 * _MIB, max(64 * _KIB, self.bytes // 512))

    @property
    def grant_bytes(self) -> int:
        """A writer is granted at once."""
        return min(16 * _MIB, max(16 * _KIB, self.bytes // 128))
