"""Weights that are inputs as well, as files have them that old exporters wrote, made what they are meant as: constants.

Up to IR version 3, ONNX wanted every initializer among the graph's inputs; CNTK's and MXNet's exporters keep to that. ONNX Runtime then
takes each for something that a request may replace, and neither folds nor packs it. No request can send one here, since they are not in the
signature.

Field numbers are those of onnx/onnx.proto: ModelProto.graph 7; GraphProto.initializer 5, input 11; TensorProto.name 8, data_location 14;
ValueInfoProto.name 1. The package `onnx` is not needed to serve.
"""

from collections.abc import Iterator
from typing import Final

_GRAPH: Final = 7
_INITIALIZER: Final = 5
_INPUT: Final = 11
_TENSOR_NAME: Final = 8
_DATA_LOCATION: Final = 14
_VALUE_NAME: Final = 1
_MOST_BITS: Final = 63

MAX_BYTES: Final = 1 << 30
"""Of a file that is rewritten in memory; a larger one is served as it is."""


def constant_weights(model: bytes) -> bytes | None:
    """Take the initializers out of a model's inputs.

    Args:
        model: a serialized ModelProto.
    Returns: the same model without them; None where nothing is to be taken out, where weights lie in other files, which are found beside the
        model's own file only, and where it is no such message.
    """
    try:
        return _rewritten(memoryview(model))
    except (ValueError, IndexError):
        return None


def _rewritten(model: memoryview) -> bytes | None:
    parts: list[memoryview | bytes] = []
    changed = False
    for number, whole, value in _fields(model):
        if number != _GRAPH:
            parts.append(whole)
            continue
        graph = _graph(value)
        if graph is None:
            return None
        changed = True
        parts += [bytes((_GRAPH << 3 | 2,)), _varint(len(graph)), graph]
    return b"".join(parts) if changed else None


def _graph(graph: memoryview) -> bytes | None:
    """The graph without those inputs; None where it stays as it is."""
    names = set()
    for number, _, value in _fields(graph):
        if number == _INITIALIZER:
            tensor = {field: content for field, _, content in _fields(value)}
            if bytes(tensor.get(_DATA_LOCATION, b"\0")) != b"\0":
                return None
            names.add(bytes(tensor.get(_TENSOR_NAME, b"")))
    kept = [
        whole
        for number, whole, value in _fields(graph)
        if number != _INPUT
        or next((bytes(content) for field, _, content in _fields(value) if field == _VALUE_NAME), b"") not in names
    ]
    found = b"".join(kept)
    return found if len(found) < len(graph) else None


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """The fields of a message: number, the field as it is, its content.

    Raises: ValueError, IndexError: it is no message.
    """
    at = 0
    while at < len(message):
        begin = at
        tag, at = _read_varint(message, at)
        content = at
        match tag & 7:
            case 0:
                _, at = _read_varint(message, at)
            case 1:
                at += 8
            case 2:
                size, content = _read_varint(message, at)
                at = content + size
            case 5:
                at += 4
            case _:
                raise ValueError("a group, or no message")
        if at > len(message):
            raise ValueError("the message is cut off")
        yield tag >> 3, message[begin:at], message[content:at]


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > _MOST_BITS:
            raise ValueError("no number")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
