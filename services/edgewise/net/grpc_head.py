"""What the headers of a gRPC call say.

Source: gRPC over HTTP2, "Requests"; RFC 9113, section 8.
"""

import re
from collections.abc import Iterable
from math import ldexp
from typing import Any, Final

from edgewise.net import grpc_exchange
from edgewise.net.errors import NetError
from edgewise.net.grpc_answer import ACCEPT_ENCODING, encode_failure
from edgewise.net.hpack import encode_fields
from edgewise.net.hpack_tables import Field

ENCODINGS: Final = frozenset({b"identity", b"gzip", b"deflate"})
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
FIELD_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
FIELD_VALUE_BAD: Final = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_MAX_GOOD_FIELDS: Final = 512
_MAX_KEPT_BYTES: Final = 128
_good_fields: set[Field] = set()
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_METHOD: Final = re.compile(rb"/[!-.0-~]+/[!-.0-~]+")
_CONTENT_TYPE: Final = re.compile(rb"application/grpc(?:[+;].*)?", re.IGNORECASE)


class MalformedHeadError(NetError):
    """Header fields that are no HTTP/2 request; the stream is reset."""


class CallHead:
    """The headers of a call; calls that say the same share one.

    Attributes:
        method: such as "/package.Service/Method".
        metadata: all fields but the pseudo-header ones.
        timeout_s: seconds; None without a deadline.
        grain_s: deadlines are rounded up to multiples of this.
        encoding: b"gzip", b"deflate", or None for messages as they are.
        refusal: the block of trailers that such a call is answered with, None when it can be served.
        size_bytes: as SETTINGS_MAX_HEADER_LIST_SIZE counts.
        note: the front door may keep here what it made of the head.
    """

    __slots__ = ("encoding", "grain_s", "metadata", "method", "note", "refusal", "size_bytes", "timeout_s")

    def __init__(self, method: str, metadata: dict[bytes, bytes], size_bytes: int) -> None:
        self.method = method
        self.metadata = metadata
        self.timeout_s: float | None = None
        self.grain_s = 0.0
        self.encoding: bytes | None = None
        self.refusal: bytes | None = None
        self.size_bytes = size_bytes
        self.note: Any = None


def read_head(fields: Iterable[Field], size_bytes: int, max_bytes: int) -> CallHead:
    """Make sense of a call's header fields.

    Args:
        fields: in their order.
        size_bytes: of all of them; more than max_bytes, and `fields` holds only the first ones.
    Returns: the head; one with a `refusal` when a gRPC client should be told what is wrong.
    Raises: MalformedHeadError: this is no HTTP/2 request.
    """
    pseudo, metadata = _part(fields)
    try:
        head = CallHead(pseudo[b":path"].decode("ascii", "replace"), metadata, size_bytes)
        verb, _ = pseudo[b":method"], pseudo[b":scheme"]
    except KeyError as error:
        raise MalformedHeadError(f"the request has no {error.args[0].decode()}") from None
    if size_bytes > max_bytes:
        head.refusal = encode_failure(
            grpc_exchange.RESOURCE_EXHAUSTED, f"the metadata take {size_bytes} bytes; at most {max_bytes} are taken"
        )
    elif verb != b"POST":
        head.refusal = encode_fields([(b":status", b"405"), (b"allow", b"POST")])
    elif not _CONTENT_TYPE.fullmatch(metadata.get(b"content-type", b"")):
        head.refusal = encode_fields([(b":status", b"415")])
    else:
        _read_grpc_fields(head, pseudo[b":path"])
    return head


def check_trailers(fields: Iterable[Field]) -> None:
    """Hold a client's trailers, which mean nothing in gRPC, to the rules for fields.

    Raises: MalformedHeadError: they break one.
    """
    pseudo, _ = _part(fields)
    if pseudo:
        raise MalformedHeadError("a pseudo-header field in trailers")


def _part(fields: Iterable[Field]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    pseudo: dict[bytes, bytes] = {}
    metadata: dict[bytes, bytes] = {}
    for field in fields:
        if field not in _good_fields:
            _check_field(field)
        name, value = field
        if name[:1] == b":":
            if metadata or name in pseudo or name not in _PSEUDO:
                raise MalformedHeadError("a pseudo-header field that is unknown, repeated or late")
            pseudo[name] = value
        elif name in metadata:
            metadata[name] += b"," + value
        else:
            metadata[name] = value
    return pseudo, metadata


def _check_field(field: Field) -> None:
    """Look at a field that has not been seen lately; clients send the same ones again and again."""
    name, value = field
    if name[:1] != b":" and (not FIELD_NAME.fullmatch(name) or name in _CONNECTION_SPECIFIC):
        raise MalformedHeadError("a header field's name is not allowed in HTTP/2")
    if FIELD_VALUE_BAD.search(value):
        raise MalformedHeadError("a header field's value has a character that is not allowed in HTTP/2")
    if len(name) + len(value) <= _MAX_KEPT_BYTES:
        if len(_good_fields) >= _MAX_GOOD_FIELDS:
            _good_fields.clear()
        _good_fields.add(field)


def _read_grpc_fields(head: CallHead, path: bytes) -> None:
    metadata = head.metadata
    encoding = metadata.get(b"grpc-encoding", b"identity")
    timeout = metadata.get(b"grpc-timeout")
    if not _METHOD.fullmatch(path):
        head.refusal = encode_failure(
            grpc_exchange.UNIMPLEMENTED, "the path is not that of a method: /package.Service/Method"
        )
    elif metadata.get(b"te") != b"trailers":
        head.refusal = encode_failure(
            grpc_exchange.INTERNAL, "the header `te: trailers` is missing: something on the way does not carry gRPC"
        )
    elif encoding not in ENCODINGS:
        head.refusal = encode_failure(
            grpc_exchange.UNIMPLEMENTED,
            "grpc-encoding is not one that is understood here: identity, deflate, gzip",
            (ACCEPT_ENCODING,),
        )
    elif encoding != b"identity":
        head.encoding = encoding
    if timeout is not None and head.refusal is None:
        match = _TIMEOUT.fullmatch(timeout)
        if match is None:
            head.refusal = encode_failure(
                grpc_exchange.INTERNAL, "grpc-timeout is not up to eight digits and one of H, M, S, m, u, n"
            )
            return
        head.timeout_s = int(match[1]) * _UNITS_S[match[2]]
        head.grain_s = grain_s(head.timeout_s)


def grain_s(timeout_s: float) -> float:
    """What a deadline so far away is rounded up to: at most a 32nd of it, at least 4 ms; a power of two."""
    grain = ldexp(1.0, -8)
    while grain * 64 < timeout_s:
        grain *= 2
    return grain
