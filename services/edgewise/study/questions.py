"""What is asked, as bytes on the wire: photographs or numbers, in each of the protocols.

rest-json      TensorFlow Serving: {"signature_name": "image", "instances": [{"b64": ...}]}, or rows of numbers
rest-image     the photograph itself
rest-binary    Open Inference Protocol over HTTP, tensors in binary behind the JSON
tfs-grpc       tensorflow.serving.PredictRequest
oip-grpc       inference.ModelInferRequest
"""

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import orjson
from numpy.typing import NDArray

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.requests import DEFAULT_SIGNATURE, ModelSpec, PredictRequest
from edgewise.core.tensors import DType, Signature, TensorSpec
from edgewise.protocols import oip_grpc, tensor_json, tfs_grpc
from edgewise.protocols.dtypes import NUMPY, dtype_of
from edgewise.protocols.grpc_services import INFERENCE_SERVICE, PREDICTION_SERVICE
from edgewise.protocols.oip_binary import encode_binary_tensor
from edgewise.protocols.oip_dtypes import DTYPE_TO_OIP
from edgewise.study import photographs, scenario
from edgewise.study.cells import PROTOCOLS, Cell
from edgewise.study.engine.job import Asking, Question
from edgewise.study.signatures import asked_signature, takes_images

PREDICT: Final = f"/{PREDICTION_SERVICE}/Predict"
INFER: Final = f"/{INFERENCE_SERVICE}/ModelInfer"

_LENGTH_HEADER: Final = "inference-header-content-length"
_JSON: Final = "application/json"
_BINARY: Final = "application/octet-stream"
_JPEG: Final = "image/jpeg"
_MAX_TENSOR_BYTES: Final = 64 << 20
"""Of all questions that are tensors, together."""

Arrays = dict[str, NDArray[Any]]


def make(asked: scenario.Scenario, cell: Cell, described: Mapping[str, Any] | bytes | None = None) -> Asking:
    """How a cell's questions are asked.

    Args:
        described: what the target's server says of the model, at one of `signatures.metadata_paths`; not needed for pets and
            the zoo.
    Returns: without host and port, for which `dataclasses.replace` is there.
    Raises: InvalidArgumentError: the model cannot be asked in this protocol, or what is to be asked cannot be read.
    """
    model = next((one for one in asked.models if one.name == cell.model), None)
    if model is None:
        raise InvalidArgumentError(f"the scenario has no model {cell.model!r}")
    signature = asked_signature(model, described)
    # What a network with constant weights says is neither right nor wrong.
    return _asking(asked.inputs, asked.seed, model.served_as, cell.protocol, signature, labelled=model.kind != "zoo")


@lru_cache(maxsize=16)
def _asking(
    inputs: scenario.Inputs, seed: int, served_as: str, protocol: str, signature: Signature, *, labelled: bool
) -> Asking:
    """The runs of one cell after another ask the same; scaling and encoding it each time would take longer than a run."""
    if protocol not in PROTOCOLS:
        raise InvalidArgumentError(f"there is no protocol {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    if takes_images(signature):
        shown = photographs.load(inputs, seed)
        labels = [(one.label if labelled else "", one.name) for one in shown]
        if protocol == "rest-image":
            return _http(served_as, [one.content for one in shown], labels, _JPEG)
        rows = [{signature.inputs[0].name: _text(one.content)} for one in shown]
    elif protocol == "rest-image":
        raise InvalidArgumentError(
            f"the model {served_as!r} takes no photographs, so it cannot answer rest-image; expected one of "
            f"{', '.join(one for one in PROTOCOLS if one != 'rest-image')}"
        )
    else:
        rows = _numbers(signature, inputs.limit, seed)
        labels = [("", f"numbers {place}") for place in range(len(rows))]
    if protocol == "rest-json":
        return _http(served_as, [_json_body(row, signature) for row in rows], labels, _JSON)
    if protocol == "rest-binary":
        return _binary(served_as, rows, labels, signature)
    requests = [PredictRequest(ModelSpec(served_as), dict(row), signature.name) for row in rows]
    if protocol == "tfs-grpc":
        return _grpc(PREDICT, [tfs_grpc.encode_predict_request(one) for one in requests], labels)
    return _grpc(INFER, [oip_grpc.encode_infer_request(one) for one in requests], labels)


def _http(served_as: str, bodies: list[bytes], labels: list[tuple[str, str]], content_type: str) -> Asking:
    path = f"/v1/models/{quote(served_as, safe='')}:predict"
    return Asking("http", "", 0, path, _questions(bodies, labels), content_type=content_type)


def _grpc(method: str, messages: list[bytes], labels: list[tuple[str, str]]) -> Asking:
    return Asking("grpc", "", 0, method, _questions(messages, labels))


def _binary(served_as: str, rows: list[Arrays], labels: list[tuple[str, str]], signature: Signature) -> Asking:
    """One header for all questions tells how long the JSON is, so those with shorter numbers in it end in spaces."""
    parts = [_binary_parts(row, signature) for row in rows]
    length = max(len(text) for text, _ in parts)
    return Asking(
        "http",
        "",
        0,
        f"/v2/models/{quote(served_as, safe='')}/infer",
        _questions([text.ljust(length) + raw for text, raw in parts], labels),
        headers=((_LENGTH_HEADER, str(length)),),
        content_type=_BINARY,
    )


def _questions(bodies: list[bytes], labels: list[tuple[str, str]]) -> tuple[Question, ...]:
    return tuple(Question(body, label, source) for body, (label, source) in zip(bodies, labels, strict=True))


def _text(content: bytes) -> NDArray[Any]:
    array = np.empty(1, np.object_)
    array[0] = content
    return array


def _json_body(row: Arrays, signature: Signature) -> bytes:
    """One instance; an input alone goes without its name."""
    values = {
        name: orjson.dumps({"b64": base64.b64encode(array[0]).decode()})
        if dtype_of(array) is DType.STRING
        else tensor_json.numeric_json(array[0])
        for name, array in row.items()
    }
    if len(values) == 1:
        instance = next(iter(values.values()))
    else:
        instance = b"{" + b",".join(orjson.dumps(name) + b":" + text for name, text in values.items()) + b"}"
    named = b"" if signature.name == DEFAULT_SIGNATURE else b'"signature_name":' + orjson.dumps(signature.name) + b","
    return b"{" + named + b'"instances":[' + instance + b"]}"


def _binary_parts(row: Arrays, signature: Signature) -> tuple[bytes, bytes]:
    inputs, raws = [], []
    for name, array in row.items():
        dtype = dtype_of(array)
        raw = bytes(encode_binary_tensor(array, dtype))
        raws.append(raw)
        said = {"name": name, "datatype": DTYPE_TO_OIP[dtype], "shape": list(array.shape)}
        inputs.append({**said, "parameters": {"binary_data_size": len(raw)}})
    parameters: dict[str, Any] = {"binary_data_output": True}
    if signature.name != DEFAULT_SIGNATURE:
        parameters["signature_name"] = signature.name
    return orjson.dumps({"inputs": inputs, "parameters": parameters}), b"".join(raws)


def _numbers(signature: Signature, limit: int, seed: int) -> list[Arrays]:
    """Rows of seeded numbers, as many as fit in memory."""
    shapes = {spec.name: _shape(spec) for spec in signature.inputs}
    row_bytes = sum(int(np.prod(shapes[spec.name])) * NUMPY[spec.dtype].itemsize for spec in signature.inputs)
    if row_bytes > _MAX_TENSOR_BYTES:
        raise InvalidArgumentError(
            f"one question to the signature {signature.name!r} takes {row_bytes:,} bytes; expected {_MAX_TENSOR_BYTES:,} at most"
        )
    count = max(1, min(limit, _MAX_TENSOR_BYTES // max(1, row_bytes)))
    generator = np.random.Generator(np.random.PCG64(seed))
    return [{spec.name: _drawn(generator, spec, shapes[spec.name]) for spec in signature.inputs} for _ in range(count)]


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    """Of one example."""
    if spec.shape is None or not spec.shape or -1 in spec.shape[1:] or not spec.batched:
        shown = "any rank" if spec.shape is None else list(spec.shape)
        raise InvalidArgumentError(
            f"the input {spec.name!r} has the shape {shown}; expected a batch of any length first, and fixed lengths behind it"
        )
    return (1, *spec.shape[1:])


def _drawn(generator: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    dtype = NUMPY[spec.dtype]
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return generator.random(shape) < 0.5
    # Small enough for every whole type, and not below zero for those without a sign.
    return generator.integers(0, 100, shape).astype(dtype)
