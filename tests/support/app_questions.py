"""What apps ask, over REST and over gRPC, and whether the answer is the right one."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgewise.wire import serving_pb2, tensor_pb2

_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked and what is the right answer.

    Attributes:
        model: its name; "pets" asks with photographs, any other with one row of floats.
        photograph: a JPEG file, for pets.
        row: for the others.
        body_bytes: a JSON body is filled up with spaces to this.
        expected: [label, verdict] of the photograph, or the row that comes back.
        versions: those that may answer; empty for any.
    """

    model: str
    expected: list[Any]
    photograph: str = ""
    row: list[float] = field(default_factory=list)
    body_bytes: int = 0
    versions: list[int] = field(default_factory=list)


def alike(answer: list[Any], expected: list[Any]) -> bool:
    """Equal, numbers within the tolerance."""
    return len(answer) == len(expected) and all(
        abs(one - other) <= _TOLERANCE if isinstance(other, float) else one == other
        for one, other in zip(answer, expected, strict=True)
    )


def rest_request(question: Question) -> tuple[bytes, bytes]:
    """Head, with NUMBER where the request's id goes, and body."""
    if question.photograph:
        body, kind = Path(question.photograph).read_bytes(), "image/jpeg"
    else:
        text = json.dumps({"instances": [question.row]})
        body, kind = (text[:-1].ljust(question.body_bytes - 1) + "}").encode(), "application/json"
    head = (
        f"POST /v1/models/{question.model}:predict HTTP/1.1\r\nhost: apps\r\nx-request-id: NUMBER\r\n"
        f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


def grpc_message(question: Question) -> bytes:
    """The same over gRPC; a row is followed by an unknown field that fills it up."""
    request = serving_pb2.PredictRequest()
    request.model_spec.name = question.model
    if question.photograph:
        request.model_spec.signature_name = "image"
        tensor = tensor_pb2.TensorProto(dtype=7, string_val=[Path(question.photograph).read_bytes()])
        tensor.tensor_shape.dim.add(size=1)
        request.inputs["image"].CopyFrom(tensor)
        return request.SerializeToString()
    tensor = tensor_pb2.TensorProto(dtype=1, float_val=question.row)
    tensor.tensor_shape.dim.add(size=1)
    tensor.tensor_shape.dim.add(size=len(question.row))
    request.inputs["x"].CopyFrom(tensor)
    message = request.SerializeToString()
    filler = question.body_bytes - len(message) - 5
    if filler < 128:
        return message
    # Field 999 of wire type 2, which a reader of protobuf skips; the length takes two or three bytes.
    return message + b"\xba\x3e" + _varint(filler) + bytes(filler)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def rest_answer(question: Question, body: bytes) -> list[Any]:
    """What the answer says: [label, verdict], or a row."""
    try:
        (one,) = json.loads(body)["predictions"]
        return [one["labels"][0], one["verdict"]] if question.photograph else one
    except (ValueError, KeyError, TypeError, IndexError):
        return [body[:160].decode(errors="replace")]


def grpc_answer(question: Question, data: bytes) -> list[Any]:
    """The same of a message."""
    outputs = serving_pb2.PredictResponse.FromString(data).outputs
    if question.photograph:
        return [outputs[name].string_val[0].decode() for name in ("labels", "verdict") if outputs[name].string_val]
    return list(outputs["y"].float_val)
