"""The header block of a call of ours: one part for each method, what a call says beside it, and its deadline.

Literals that are never indexed, so that blocks can be made once, put together, and sent on any connection.

Source: gRPC over HTTP2, "Requests"; RFC 7541, appendix A.
"""

import re
from collections.abc import Iterable
from typing import Final

from edgewise.net.grpc_exchange import Field
from edgewise.net.grpc_head import FIELD_NAME, FIELD_VALUE_BAD
from edgewise.net.hpack import encode_field, encode_integer

_METHOD: Final = re.compile(rb"/[!-.0-~]+/[!-.0-~]+")
# Fields that are ours to say.
_RESERVED: Final = frozenset({b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b"user-agent", b"connection"})
# Entries of the static table: whole fields, and names.
_POST: Final = b"\x83"
_SCHEMES: Final = {False: b"\x86", True: b"\x87"}
_PATH: Final = encode_integer(4, 0x0F)
_AUTHORITY: Final = encode_integer(1, 0x0F)
_CONSTANT: Final = b"".join(
    (
        encode_field(b"te", b"trailers"),
        encode_field(b"content-type", b"application/grpc"),
        encode_field(b"user-agent", b"edgewise"),
    )
)
_TIMEOUT: Final = b"\x00\x0cgrpc-timeout"
_MOST: Final = 10**8 - 1  # eight digits


def encode_head(method: bytes, authority: bytes, *, secure: bool) -> bytes:
    """The fields that every call of a method has.

    Args:
        method: such as b"/package.Service/Method".
        authority: what the call is for, such as b"site:8500".
        secure: under TLS.
    Raises: ValueError: that is no method's path.
    """
    if not _METHOD.fullmatch(method):
        raise ValueError(f"{method!r} is no method; expected /package.Service/Method")
    path = _PATH + encode_integer(len(method), 0x7F) + method
    return b"".join(
        (_POST, _SCHEMES[secure], path, _AUTHORITY, encode_integer(len(authority), 0x7F), authority, _CONSTANT)
    )


def encode_metadata(fields: Iterable[Field]) -> bytes:
    """Metadata as they follow a call's own header fields.

    Raises: ValueError: a field cannot be sent as it is.
    """
    block = b""
    for name, value in fields:
        if not FIELD_NAME.fullmatch(name) or FIELD_VALUE_BAD.search(value) or name in _RESERVED:
            raise ValueError(f"the metadata {name!r} cannot be sent: a lower-case name of its own and one line can")
        block += encode_field(name, value)
    return block


def encode_timeout(timeout_s: float) -> bytes:
    """The field `grpc-timeout`; never more than there is, and never 0."""
    milliseconds = max(1, int(timeout_s * 1e3))
    value = b"%dm" % milliseconds if milliseconds <= _MOST else b"%dS" % min(_MOST, int(timeout_s))
    return b"%b%c%b" % (_TIMEOUT, len(value), value)
