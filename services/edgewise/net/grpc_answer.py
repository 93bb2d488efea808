"""The bytes of a gRPC answer: blocks of headers and trailers, and the frames before a message.

Source: gRPC over HTTP2, "Responses".
"""

import re
from collections.abc import Iterable
from struct import Struct
from typing import Final

from edgewise.net.grpc_exchange import Field, Message
from edgewise.net.hpack import encode_field, encode_fields
from edgewise.net.http2_frames import DATA, END_HEADERS, HEADERS

ACCEPT_ENCODING: Final = (b"grpc-accept-encoding", b"identity, deflate, gzip")
_STATUS_200: Final = b"\x88"
_CONTENT_TYPE: Final = encode_field(b"content-type", b"application/grpc")
RESPONSE_BLOCK: Final = _STATUS_200 + _CONTENT_TYPE
OK_BLOCK: Final = encode_field(b"grpc-status", b"0")

PREFIX: Final = Struct(">BI")
"""Before each message: whether it is compressed, and its length."""
PREFIX_BYTES: Final = 5

_MAX_MESSAGE_BYTES: Final = 2048
# Clients take 8 KiB of trailers at least.
_MAX_TRAILERS_BYTES: Final = 8000
_MAX_CACHED_FIELDS: Final = 512
_LAST_STATUS: Final = 16
_ESCAPED: Final = re.compile(rb"[^ -$&-~]")
_OURS: Final = frozenset({b"grpc-status", b"grpc-message"})
_NAME: Final = re.compile(rb"[0-9a-z_.\-]+")
_VALUE: Final = re.compile(rb"(?:[!-~](?:[ -~]*[!-~])?)?")

_OPENING: Final = Struct(f">HBBBI{len(RESPONSE_BLOCK)}sBHBBIBI")
_field_blocks: dict[Field, bytes] = {}


def pack_opening(stream_id: int, message_bytes: int) -> bytes:
    """HEADERS, the head of a DATA frame with a whole message, and the message's prefix."""
    data_bytes = message_bytes + PREFIX_BYTES
    return _OPENING.pack(
        0,
        len(RESPONSE_BLOCK),
        HEADERS,
        END_HEADERS,
        stream_id,
        RESPONSE_BLOCK,
        data_bytes >> 16,
        data_bytes & 0xFFFF,
        DATA,
        0,
        stream_id,
        0,
        message_bytes,
    )


def encode_ok(trailers: Iterable[Field]) -> bytes:
    """The trailers of a call that went well.

    Raises: ValueError: a trailer cannot be sent as it is.
    """
    block = OK_BLOCK
    for field in trailers:
        block += _field_blocks.get(field) or _encode_trailer(field)
    _check_size(block)
    return block


def encode_failure(status: int, message: str, trailers: Iterable[Field] = (), *, opened: bool = False) -> bytes:
    """The trailers of a call that failed.

    Args:
        opened: whether headers were sent before; otherwise these trailers are the whole answer.
    Raises: ValueError: a trailer cannot be sent as it is, or the status is not 0 to 16.
    """
    if not 0 <= status <= _LAST_STATUS:
        raise ValueError(f"the status is {status}; it has to be from 0 to {_LAST_STATUS}")
    block = b"" if opened else RESPONSE_BLOCK
    block += encode_field(b"grpc-status", b"%d" % status)
    if message:
        block += encode_field(b"grpc-message", escape_message(message))
    for field in trailers:
        block += _field_blocks.get(field) or _encode_trailer(field)
    _check_size(block)
    return block


def can_be_sent(field: Field) -> bool:
    """Whether a trailer can be sent as it is."""
    name, value = field
    return bool(_NAME.fullmatch(name)) and name not in _OURS and bool(_VALUE.fullmatch(value))


def escape_message(message: str) -> bytes:
    """A status message percent-encoded; a very long one is cut."""
    text = message.encode("utf-8", "replace")
    if len(text) > _MAX_MESSAGE_BYTES:
        text = text[:_MAX_MESSAGE_BYTES].decode("utf-8", "ignore").encode() + b"..."
    return _ESCAPED.sub(lambda match: b"%%%02X" % match[0][0], text)


def _encode_trailer(field: Field) -> bytes:
    name, value = field
    if not _NAME.fullmatch(name) or name in _OURS:
        raise ValueError(f"the trailer name {name!r} cannot be sent: lower-case letters, digits, '_', '-', '.' can")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the trailer {name!r} cannot be sent: its value is not printable ASCII without spaces around")
    block = encode_fields((field,))
    if len(block) <= 64:
        if len(_field_blocks) >= _MAX_CACHED_FIELDS:
            _field_blocks.clear()
        _field_blocks[field] = block
    return block


def _check_size(block: bytes) -> None:
    if len(block) > _MAX_TRAILERS_BYTES:
        raise ValueError(f"the trailers take {len(block)} bytes; at most {_MAX_TRAILERS_BYTES} can be sent")


def message_bytes(message: Message) -> int:
    """The length in bytes of a message of any kind."""
    return message.nbytes if isinstance(message, memoryview) else len(message)
