"""Request bodies that arrive compressed."""

import zlib
from typing import Final

from edgewise.core.errors import InvalidArgumentError

Buffer = bytes | bytearray | memoryview

# 32 + 15: a gzip or zlib head, whichever is there; "deflate" means zlib, and clients say either.
_WINDOW_BITS: Final = 47
_STEP_BYTES: Final = 64 * 1024


class UnpacksTooLongError(InvalidArgumentError):
    """A body that would be longer than it may be."""


def decompress(body: Buffer, encoding: bytes, max_bytes: int) -> Buffer:
    """A body without its Content-Encoding; never more than `max_bytes` are unpacked.

    Args:
        body: as received.
        encoding: the header's value; empty or b"identity" gives the body back as it is.
        max_bytes: what the body may be at most.

    Raises:
        UnpacksTooLongError: the body is larger than `max_bytes`; looked at only where something is unpacked.
        InvalidArgumentError: an encoding other than gzip and deflate, or a body that is not what it says.
    """
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    if name not in (b"gzip", b"x-gzip", b"deflate"):
        shown = name[:32].decode("ascii", errors="backslashreplace")
        raise InvalidArgumentError(f"Content-Encoding {shown!r} is not supported; expected gzip, deflate or identity")
    # A buffer that grows by steps costs what has been unpacked; zlib's own joining of blocks costs it twice.
    unpacker = zlib.decompressobj(_WINDOW_BITS)
    unpacked = bytearray()
    view = memoryview(body)
    try:
        for begin in range(0, len(view), _STEP_BYTES):
            packed: Buffer = view[begin : begin + _STEP_BYTES]
            while packed and not unpacker.eof:
                unpacked += unpacker.decompress(packed, _STEP_BYTES)
                if len(unpacked) > max_bytes:
                    raise UnpacksTooLongError(
                        f"The body unpacks to more than {max_bytes} bytes, the most that is accepted"
                    )
                packed = unpacker.unconsumed_tail
            if unpacker.eof:
                unused = len(unpacker.unused_data) + max(0, len(view) - begin - _STEP_BYTES)
                if unused:
                    raise InvalidArgumentError(f"The body has {unused} bytes behind its {name.decode()} data")
                return unpacked
    except zlib.error:
        raise InvalidArgumentError(f"The body is not valid {name.decode()} data") from None
    raise InvalidArgumentError(f"The {name.decode()} data of the body ends too early")
