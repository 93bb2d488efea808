"""Takes the pictures out of a request, whichever protocol it was asked in.

Nothing is trusted: sites send what apps sent. JSON is not read into objects, which would take many times its length; the values {"b64": "..."}
are looked for, in the order in which they stand, which is that of the rows.
"""

import base64
import binascii
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.message import DecodeError

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.samples.pictures import Picture, read_picture
from edgewise.protocols.samples import Sample
from edgewise.wire import inference_pb2, serving_pb2, tensor_pb2

MAX_PICTURES: Final = 256
"""Of one request; those after them are not looked for."""
_MAX_HEADER_BYTES: Final = 1 << 20
_BASE64: Final = re.compile(rb'\{\s*"b64"\s*:\s*"([A-Za-z0-9+/=_\\-]*)"\s*\}')
_LENGTH: Final = struct.Struct("<I")
_BYTES: Final = "BYTES"
Buffer = bytes | memoryview


def pictures_of(sample: Sample) -> list[tuple[int, Picture]]:
    """The pictures of a request, each with the row in which it stands; none where it has none, or cannot be read."""
    found: list[tuple[int, Picture]] = []
    try:
        for row, content in enumerate(_FORMS[sample.form](sample)):
            if row >= MAX_PICTURES:
                break
            try:
                found.append((row, read_picture(content)))
            except InvalidArgumentError:
                # A tensor of texts, or a picture that no site would have read.
                continue
    except (ValueError, DecodeError, KeyError, TypeError, AttributeError, RecursionError):
        # What came before is good; the rest is no request of its kind.
        pass
    return found


def strings_of(content: Buffer) -> Iterator[bytes]:
    """The elements of a BYTES tensor in binary: each with its length before it.

    Raises: ValueError: it is none.
    """
    view = memoryview(content)
    place = 0
    while place < len(view):
        if place + _LENGTH.size > len(view):
            raise ValueError("it is cut off")
        (length,) = _LENGTH.unpack_from(view, place)
        place += _LENGTH.size
        if length > len(view) - place:
            raise ValueError("it is cut off")
        yield bytes(view[place : place + length])
        place += length


def binary_tensors(values: Any, content: memoryview) -> Iterator[tuple[Mapping[str, Any], memoryview]]:
    """Descriptions of tensors that follow the JSON in binary, and the bytes of each.

    Raises: ValueError, TypeError, KeyError: they are none.
    """
    place = 0
    for value in values:
        size = value.get("parameters", {}).get("binary_data_size")
        if size is None:
            continue
        if type(size) is not int or not 0 <= size <= len(content) - place:
            raise ValueError("it is longer than what came")
        yield value, content[place : place + size]
        place += size


def _image(sample: Sample) -> Iterator[bytes]:
    yield sample.request


def _json(sample: Sample) -> Iterator[bytes]:
    return _base64_of(sample.request)


def _oip_rest(sample: Sample) -> Iterator[bytes]:
    length = sample.inference_header_length
    if length is None:
        yield from _base64_of(sample.request)
        return
    content = memoryview(sample.request)[length:]
    if not length:
        yield sample.request
        return
    if length > min(_MAX_HEADER_BYTES, len(sample.request)):
        raise ValueError("the header is too long")
    header = sample.request[:length]
    yield from _base64_of(header)
    for value, raw in binary_tensors(json.loads(header)["inputs"], content):
        if value["datatype"] == _BYTES:
            yield from strings_of(raw)


def _tfs_grpc(sample: Sample) -> Iterator[bytes]:
    request = serving_pb2.PredictRequest.FromString(sample.request)
    for name in sorted(request.inputs):
        tensor: tensor_pb2.TensorProto = request.inputs[name]
        yield from tensor.string_val


def _oip_grpc(sample: Sample) -> Iterator[bytes]:
    request = inference_pb2.ModelInferRequest.FromString(sample.request)
    raw = iter(request.raw_input_contents)
    for tensor in request.inputs:
        content = next(raw, b"")
        if tensor.datatype != _BYTES:
            continue
        yield from tensor.contents.bytes_contents or strings_of(content)


def _base64_of(content: Buffer) -> Iterator[bytes]:
    for match in _BASE64.finditer(content):
        try:
            yield base64.b64decode(match[1].replace(b"\\/", b"/"), validate=True)
        except binascii.Error:
            # It keeps its row.
            yield b""


_FORMS: Final[Mapping[str, Callable[[Sample], Iterator[bytes]]]] = MappingProxyType(
    {"rest-image": _image, "tfs-rest": _json, "oip-rest": _oip_rest, "tfs-grpc": _tfs_grpc, "oip-grpc": _oip_grpc}
)
