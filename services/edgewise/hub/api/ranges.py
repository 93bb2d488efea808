"""Which bytes of a blob are asked for.

Source: RFC 9110, sections 13.1.5 and 14.
"""

import re
from dataclasses import dataclass
from typing import Final

_RANGE: Final = re.compile(r"bytes=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """From `start` up to and without `end`.

    Attributes:
        is_part: it was asked for as a range, and is answered as one.
    """

    start: int
    end: int
    is_part: bool


class UnsatisfiableRangeError(Exception):
    """None of the bytes that are asked for are there."""


def requested_range(range_field: str | None, if_range: str | None, *, etag: str, size_bytes: int) -> ByteRange:
    """What to answer with.

    A range that cannot be understood, several at once, and one of another state of the resource are as if no range was asked for.

    Args:
        range_field, if_range: header fields; None where they are not there.
        etag: strong, with its quotes.
    Raises: UnsatisfiableRangeError: it begins behind the end.
    """
    whole = ByteRange(0, size_bytes, is_part=False)
    found = _RANGE.fullmatch(range_field) if range_field is not None else None
    if found is None or (if_range is not None and if_range.strip() != etag):
        return whole
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(size_bytes - int(suffix), 0), size_bytes
    else:
        start, end = int(first), min(int(last) + 1, size_bytes) if last else size_bytes
        if last and int(last) < start:
            return whole
    if start >= size_bytes or start >= end:
        raise UnsatisfiableRangeError
    return ByteRange(start, end, is_part=True)


def etag_matches(if_none_match: str | None, etag: str) -> bool:
    """Whether a client says that it has this.

    Args:
        etag: strong, with its quotes.
    Source: RFC 9110, section 13.1.2: compared weakly.
    """
    if if_none_match is None:
        return False
    return any(each.strip().removeprefix("W/") in {etag, "*"} for each in if_none_match.split(","))
