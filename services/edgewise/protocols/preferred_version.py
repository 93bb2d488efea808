"""`x-edgewise-prefer-version`: which version should answer a request that names none, over REST and gRPC.

A wish, no demand: where that version does not answer at the moment, the default one does. So a gateway can divide requests
between two versions, and none is lost when one of them goes.
"""

from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.versions import MAX_VERSION

PREFERRED_VERSION_HEADER: Final = b"x-edgewise-prefer-version"
_MAX_DIGITS: Final = 19


def preferred_line(value: bytes) -> bytes:
    """The header as HTTP/1.1 has it, with its end."""
    return b"%b: %b\r\n" % (PREFERRED_VERSION_HEADER, value)


def parse_preferred_version(value: bytes | None) -> int | None:
    """The version that the header states.

    Args:
        value: of the header; None where it is missing.

    Returns: None where nothing is preferred.

    Raises:
        InvalidArgumentError: it is no positive whole number.
    """
    if value is None:
        return None
    # isdigit of bytes knows ASCII digits only; 19 of them hold every version.
    version = int(value) if value.isdigit() and len(value) <= _MAX_DIGITS else 0
    if not 0 < version <= MAX_VERSION:
        raise InvalidArgumentError("x-edgewise-prefer-version is not a version; expected a positive whole number")
    return version
