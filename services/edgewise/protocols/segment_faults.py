"""What a hub finds wrong with a segment of samples itself: `reason` in its refusal, beside the `code` that every error has.

Only what is named in `SegmentFault` is the segment's own fault for good, so that sending it again is in vain. Any other refusal may be over later.
"""

from enum import StrEnum
from typing import Final

NEWER: Final = "SEGMENT_NEWER"
"""A newer gateway wrote it: the hub takes it once it is up to date."""


class SegmentFault(StrEnum):
    """In the refusal of a segment that is all at the hub."""

    DAMAGED = "SEGMENT_DAMAGED"
