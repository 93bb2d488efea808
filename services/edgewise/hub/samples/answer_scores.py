"""What a model said of each row of a request: its verdict or best label, and its best labels with their probabilities.

A signature that takes images answers `labels` [batch, k], `probabilities` [batch, k] and, where the model has groups, `verdict` [batch]. Of
other answers nothing is known here.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from google.protobuf.message import DecodeError

from edgewise.hub.samples.request_pictures import MAX_PICTURES, binary_tensors, strings_of
from edgewise.wire import inference_pb2, serving_pb2

MOST_SCORES: Final = 5
LABELS: Final = "labels"
PROBABILITIES: Final = "probabilities"
VERDICT: Final = "verdict"
_LONGEST_LABEL: Final = 200
_FLOATS: Final = {"FP32": "f", "FP64": "d"}


@dataclass(frozen=True, slots=True)
class Answered:
    """What was said of one row.

    Attributes:
        prediction: the verdict; the best label where there is none; "" where there is neither.
        scores: the best labels and their probabilities, the best first.
    """

    prediction: str = ""
    scores: tuple[tuple[str, float], ...] = ()


NOTHING: Final = Answered()


def answered_rows(form: str, content: bytes, json_length: int | None) -> list[Answered]:
    """What an answer says of each row; nothing where it cannot be read.

    Args:
        form: of the request, one of `protocols.samples.FORMS`.
        json_length: of a REST answer whose tensors follow in binary.
    """
    if not content:
        return []
    try:
        match form:
            case "tfs-grpc":
                return list(_rows(dict(_tfs_outputs(content))))
            case "oip-grpc":
                return list(_rows(dict(_oip_outputs(content))))
            case _:
                return list(_of_json(content, json_length))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, struct.error, DecodeError):
        return []


def _of_json(content: bytes, json_length: int | None) -> Iterator[Answered]:
    length = len(content) if json_length is None else json_length
    top = json.loads(content[:length])
    if "predictions" in top:
        for row in top["predictions"][:MAX_PICTURES]:
            yield _answered(row) if isinstance(row, dict) else NOTHING
    elif isinstance(top["outputs"], dict):
        yield from _rows(top["outputs"])
    else:
        yield from _rows(dict(_oip_json_outputs(top["outputs"], memoryview(content)[length:])))


def _oip_json_outputs(outputs: Sequence[Mapping[str, Any]], content: memoryview) -> Iterator[tuple[str, list[Any]]]:
    for value in outputs:
        if "data" in value:
            yield value["name"], _by_row(value["data"], value["shape"])
    for value, raw in binary_tensors(outputs, content):
        yield value["name"], _by_row(_unpacked(value["datatype"], raw), value["shape"])


def _tfs_outputs(content: bytes) -> Iterator[tuple[str, list[Any]]]:
    for name, tensor in serving_pb2.PredictResponse.FromString(content).outputs.items():
        values: list[Any] = list(tensor.string_val or tensor.float_val or tensor.double_val)
        if not values and tensor.tensor_content:
            values = _unpacked("FP32", memoryview(tensor.tensor_content))
        yield name, _by_row(values, [dimension.size for dimension in tensor.tensor_shape.dim])


def _oip_outputs(content: bytes) -> Iterator[tuple[str, list[Any]]]:
    answer = inference_pb2.ModelInferResponse.FromString(content)
    raw = iter(answer.raw_output_contents)
    for tensor in answer.outputs:
        found = next(raw, b"")
        values: list[Any] = list(tensor.contents.bytes_contents or tensor.contents.fp32_contents)
        yield tensor.name, _by_row(values or _unpacked(tensor.datatype, memoryview(found)), tensor.shape)


def _unpacked(datatype: str, raw: memoryview) -> list[Any]:
    if datatype == "BYTES":
        return list(strings_of(raw))
    kind = _FLOATS.get(datatype)
    return [] if kind is None else [value for (value,) in struct.iter_unpack(f"<{kind}", raw)]


def _by_row(values: Sequence[Any], shape: Sequence[int]) -> list[Any]:
    """Flat values as a list for each row, or as one value where each row has one."""
    if len(shape) < 2:
        return list(values)
    count = prod(shape[1:])
    return [list(values[place : place + count]) for place in range(0, len(values), count)] if count else []


def _rows(columns: Mapping[str, Any]) -> Iterator[Answered]:
    wanted = {name: columns[name] for name in (LABELS, PROBABILITIES, VERDICT) if isinstance(columns.get(name), list)}
    count = max((len(values) for values in wanted.values()), default=0)
    for row in range(min(count, MAX_PICTURES)):
        yield _answered({name: values[row] for name, values in wanted.items() if row < len(values)})


def _answered(row: Mapping[str, Any]) -> Answered:
    labels, shares = row.get(LABELS, ()), row.get(PROBABILITIES, ())
    scores: list[tuple[str, float]] = []
    if isinstance(labels, list) and isinstance(shares, list):
        scores = [
            (_text(label), float(share)) for label, share in zip(labels, shares, strict=False) if math.isfinite(share)
        ]
    scores.sort(key=lambda score: -score[1])
    verdict = row.get(VERDICT, "")
    prediction = _text(verdict) if isinstance(verdict, str | bytes) and verdict else ""
    return Answered(prediction or (scores[0][0] if scores else ""), tuple(scores[:MOST_SCORES]))


def _text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text[:_LONGEST_LABEL]
