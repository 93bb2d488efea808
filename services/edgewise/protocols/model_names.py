"""Which model a serialized request is for, and whether it names a version, without decoding it.

Both protocols have the model in the first field of their requests, and serializers write fields in the order of their
numbers, so the answer is nearly always in the first bytes. Where it is not, fields are stepped over; tensors are never
looked into.

Source: protobuf.dev, "Encoding"; `tensorflow_serving/apis/{predict,inference}.proto`, `grpc_service.proto` of the Open
Inference Protocol.
"""

from collections.abc import Callable, Iterator
from typing import Final

Message = bytes | bytearray | memoryview
FindModel = Callable[[Message], str]
NamesVersion = Callable[[Message], bool]

_MAX_NAME_BYTES: Final = 512
# Fields before the one that is looked for; no serializer writes that many.
_MAX_FIELDS: Final = 256
_MAX_CACHED: Final = 1024
_MAX_CACHED_BYTES: Final = 127
_FIRST: Final = 1 << 3 | 2
_VERSION: Final = 2
_LABEL: Final = 4
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

_specs: dict[bytes, str] = {}
_names: dict[bytes, str] = {}


def model_in_spec(message: Message) -> str:
    """The name in the `model_spec` of a request of TensorFlow Serving; "" where there is none."""
    if len(message) > 1 and message[0] == _FIRST and message[1] <= _MAX_CACHED_BYTES:
        spec = bytes(message[2 : 2 + message[1]])
        name = _specs.get(spec)
        if name is None:
            name = _decode(_first_field(spec))
            _keep(_specs, spec, name)
        return name
    return _decode(_first_field(_first_field(message)))


def model_in_tasks(message: Message) -> str:
    """The name in the first task of a MultiInferenceRequest; "" where there is none."""
    return _decode(_first_field(_first_field(_first_field(message))))


def model_in_name(message: Message) -> str:
    """The name in a request of the Open Inference Protocol; "" where there is none."""
    if len(message) > 1 and message[0] == _FIRST and message[1] <= _MAX_CACHED_BYTES:
        raw = bytes(message[2 : 2 + message[1]])
        name = _names.get(raw)
        if name is None:
            name = _decode(raw)
            _keep(_names, raw, name)
        return name
    return _decode(_first_field(message))


def no_model(message: Message) -> str:
    """For requests about the server."""
    del message
    return ""


def version_in_spec(message: Message) -> bool:
    """Whether a request of TensorFlow Serving names a version or a label."""
    return any(number in (_VERSION, _LABEL) for number, _ in _fields(_first_field(message)))


def version_in_tasks(message: Message) -> bool:
    """Whether the first task of a MultiInferenceRequest names a version or a label."""
    return version_in_spec(_first_field(message))


def version_of_name(message: Message) -> bool:
    """Whether a request of the Open Inference Protocol names a version."""
    return any(number == _VERSION and len(value) > 0 for number, value in _fields(message))


def _keep(cache: dict[bytes, str], raw: bytes, name: str) -> None:
    if len(cache) >= _MAX_CACHED:
        cache.clear()
    cache[raw] = name


def _decode(raw: Message) -> str:
    if len(raw) > _MAX_NAME_BYTES:
        return ""
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError:
        return ""


def _first_field(message: Message) -> Message:
    """The contents of the first field with number 1, where that has a length; b"" where there is none."""
    return next((value for number, value in _fields(message) if number == 1), b"")


def _fields(message: Message) -> Iterator[tuple[int, Message]]:
    """Number and contents of the fields that have a length, as far as the message is one."""
    at = 0
    end = len(message)
    try:
        for _ in range(_MAX_FIELDS):
            if at >= end:
                return
            tag, at = _varint(message, at)
            kind = tag & 7
            if kind == _LENGTH:
                size, at = _varint(message, at)
                yield tag >> 3, message[at : at + size]
                at += size
            elif kind == _VARINT:
                _, at = _varint(message, at)
            elif kind == _FIXED64:
                at += 8
            elif kind == _FIXED32:
                at += 4
            else:
                return
    except IndexError:
        return


def _varint(message: Message, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        octet = message[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise IndexError("a varint of more than ten bytes")
