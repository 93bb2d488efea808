"""Calls to HTTP requests and HTTP answers to results: bytes in, bytes out, no sockets.

Tensors travel as the Open Inference Protocol's binary extension, both ways. A label has no place in that protocol's
paths: such a call is TensorFlow Serving JSON. An image is the body itself.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

import numpy as np
import orjson
from numpy.typing import NDArray

from edgewise.client.answer_headers import error_of
from edgewise.client.call import PredictCall
from edgewise.client.images import EncodedImage
from edgewise.client.json_values import dumps, from_json, holds_text, to_json
from edgewise.client.prediction import ModelMetadata
from edgewise.core.errors import Code, EdgewiseError, InternalError, InvalidArgumentError
from edgewise.core.requests import DEFAULT_SIGNATURE, ModelSpec
from edgewise.core.tensors import DType, Signature
from edgewise.core.versions import VersionState, VersionStatus
from edgewise.protocols.dtypes import NUMPY, dtype_of
from edgewise.protocols.oip_dtypes import (
    DTYPE_TO_OIP,
    OIP_TO_DTYPE,
    decode_bytes_tensor,
    encode_bytes_tensor,
)
from edgewise.protocols.tfs_rest_status import decode_signatures

Arrays = dict[str, NDArray[Any]]
Header = tuple[str, str]

JSON_HEADER: Final = ("content-type", "application/json")
LENGTH_HEADER: Final = "inference-header-content-length"
MESSAGE_CHARACTERS: Final = 500

_CODES: Final = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.ALREADY_EXISTS,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    500: Code.INTERNAL,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class RestRequest:
    """One HTTP request.

    Attributes:
        target: path, percent-encoded.
        deadline_s: `time.monotonic()` by which the answer must be there.
        idempotent: whether it may be sent a second time.
    """

    method: Literal["GET", "POST"]
    target: str
    headers: tuple[Header, ...]
    body: bytes
    deadline_s: float
    idempotent: bool = True


@dataclass(frozen=True, slots=True)
class RestResponse:
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def error_from(response: RestResponse) -> EdgewiseError:
    """The error that an answer of 400 or more stands for; its message is the server's own, cut to 500 characters."""
    code = _CODES.get(response.status, Code.INVALID_ARGUMENT if response.status < 500 else Code.INTERNAL)
    message = ""
    try:
        document = _json(response.body)
    except EdgewiseError:
        if response.headers.get("content-type", "").startswith("text/plain"):
            message = response.body[: 4 * MESSAGE_CHARACTERS].decode(errors="replace").strip()
    else:
        said = document.get("error") if isinstance(document, dict) else None
        message = said if isinstance(said, str) else ""
    message = message[:MESSAGE_CHARACTERS] or f"the server answered with HTTP status {response.status}"
    return error_of(code, message, response.headers.get("retry-after", ""))


def needs_json(call: PredictCall) -> bool:
    """Whether tensors have to travel as TensorFlow Serving JSON."""
    return call.spec.label is not None


def infer_request(call: PredictCall, inputs: Mapping[str, NDArray[Any]], headers: tuple[Header, ...]) -> RestRequest:
    """Tensors by the Open Inference Protocol's binary extension.

    Raises:
        InvalidArgumentError: an array that the protocol cannot carry.
    """
    tensors: list[dict[str, Any]] = []
    parts: list[bytes | memoryview] = [b""]
    for name, array in inputs.items():
        dtype = dtype_of(array)
        raw = encode_bytes_tensor(array) if dtype is DType.STRING else _little_endian(array)
        parts.append(raw)
        tensors.append(
            {
                "name": name,
                "datatype": DTYPE_TO_OIP[dtype],
                "shape": array.shape,
                "parameters": {"binary_data_size": len(raw)},
            }
        )
    document: dict[str, Any] = {"inputs": tensors}
    parameters: dict[str, Any] = {}
    if call.signature not in {"", DEFAULT_SIGNATURE}:
        parameters["signature_name"] = call.signature
    if call.request_id:
        document["id"] = call.request_id
    if call.outputs:
        document["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in call.outputs]
    else:
        parameters["binary_data_output"] = True
    if parameters:
        document["parameters"] = parameters
    parts[0] = orjson.dumps(document)
    version = "" if call.spec.version is None else f"/versions/{call.spec.version}"
    return RestRequest(
        "POST",
        f"/v2/models/{quote(call.spec.name, safe='')}{version}/infer",
        (*headers, ("content-type", "application/octet-stream"), (LENGTH_HEADER, str(len(parts[0])))),
        b"".join(parts),
        call.deadline_s,
        call.idempotent,
    )


def read_infer(response: RestResponse) -> tuple[Arrays, int | None]:
    """The outputs of an Open Inference Protocol answer, binary or JSON, and the version that it names.

    Raises:
        InternalError: the answer is not one of that protocol.
    """
    body = memoryview(response.body)
    text = response.headers.get(LENGTH_HEADER, "")
    json_bytes = int(text) if text.isascii() and text.isdigit() else len(body)
    document = _json(bytes(body[:json_bytes]))
    offset, outputs = json_bytes, {}
    try:
        for tensor in document["outputs"]:
            dtype = OIP_TO_DTYPE[tensor["datatype"]]
            shape = tuple(int(size) for size in tensor["shape"])
            size = tensor.get("parameters", {}).get("binary_data_size")
            if size is None:
                array = from_json(tensor["data"], dtype).reshape(shape)
            else:
                raw = body[offset : offset + size]
                offset += size
                array = _from_binary(raw, dtype, shape)
            outputs[tensor["name"]] = array
        version = document.get("model_version")
        return outputs, int(version) if version and str(version).isdigit() else None
    except (KeyError, TypeError, ValueError, AttributeError, InvalidArgumentError):
        raise _unreadable() from None


def predict_request(call: PredictCall, inputs: Mapping[str, NDArray[Any]], headers: tuple[Header, ...]) -> RestRequest:
    """Tensors as TensorFlow Serving JSON, each input as a whole.

    Raises:
        InvalidArgumentError: an array that JSON cannot carry.
    """
    document: dict[str, Any] = {"inputs": {name: to_json(array) for name, array in inputs.items()}}
    return _predict_json(call, headers, document)


def read_predict(response: RestResponse, signature: Signature) -> Arrays:
    """The outputs of TensorFlow Serving JSON, typed as the signature says.

    Raises:
        InternalError: the answer does not fit the signature.
    """
    document = _json(response.body)
    try:
        outputs = document["outputs"]
        if len(signature.outputs) == 1 or not isinstance(outputs, dict):
            (spec,) = signature.outputs
            return {spec.name: from_json(outputs, spec.dtype)}
        by_name = {spec.name: spec.dtype for spec in signature.outputs}
        return {name: from_json(values, by_name[name]) for name, values in outputs.items()}
    except (KeyError, TypeError, ValueError, InvalidArgumentError):
        raise _unreadable() from None


def image_request(call: PredictCall, image: EncodedImage, headers: tuple[Header, ...]) -> RestRequest:
    """An image as it is; with a signature named, as TensorFlow Serving JSON."""
    if not call.signature:
        return _predict(call, headers, ("content-type", image.media_type), image.content)
    document = {"instances": [{"b64": base64.b64encode(image.content).decode()}]}
    return _predict_json(call, headers, document)


def read_image(response: RestResponse, wanted: tuple[str, ...]) -> Arrays:
    """The outputs of an image's answer; text becomes object arrays of bytes, numbers float32.

    Args:
        response: to a request with an image.
        wanted: names of outputs to keep; empty means all.

    Raises:
        InternalError: the answer is not `{"predictions": [{NAME: ...}]}`.
    """
    document = _json(response.body)
    try:
        rows = document["predictions"]
        names = wanted or tuple(rows[0])
        outputs = {}
        for name in names:
            values = [row[name] for row in rows]
            outputs[name] = from_json(values, DType.STRING if holds_text(values) else DType.FLOAT32)
    except (KeyError, TypeError, ValueError, IndexError, InvalidArgumentError):
        raise _unreadable() from None
    return outputs


def metadata_request(spec: ModelSpec, headers: tuple[Header, ...], deadline_s: float) -> RestRequest:
    """Ask for the signatures of a model."""
    return RestRequest("GET", f"{_model_path(spec)}/metadata", headers, b"", deadline_s)


def read_metadata(response: RestResponse, model: str) -> ModelMetadata:
    """The signatures of a model.

    Raises:
        InternalError: the answer is not TensorFlow Serving's.
    """
    document = _json(response.body)
    try:
        return ModelMetadata(model, int(document["model_spec"]["version"]), decode_signatures(document))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _unreadable() from None


def status_request(spec: ModelSpec, headers: tuple[Header, ...], deadline_s: float) -> RestRequest:
    """Ask for the states of a model's versions."""
    return RestRequest("GET", _model_path(spec), headers, b"", deadline_s)


def read_status(response: RestResponse) -> tuple[VersionStatus, ...]:
    """The states of a model's versions.

    Raises:
        InternalError: the answer is not TensorFlow Serving's.
    """
    document = _json(response.body)
    try:
        return tuple(
            VersionStatus(int(one["version"]), VersionState(one["state"]), *_failure(one.get("status", {})))
            for one in document["model_version_status"]
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _unreadable() from None


def ready_request(headers: tuple[Header, ...], deadline_s: float) -> RestRequest:
    """Ask whether the server is ready."""
    return RestRequest("GET", "/v2/health/ready", headers, b"", deadline_s)


def _failure(status: Mapping[str, Any]) -> tuple[Code | None, str]:
    code = status.get("error_code", "OK")
    return (None if code == "OK" else Code(code)), str(status.get("error_message", ""))


def _model_path(spec: ModelSpec) -> str:
    path = f"/v1/models/{quote(spec.name, safe='')}"
    if spec.version is not None:
        return f"{path}/versions/{spec.version}"
    return path if spec.label is None else f"{path}/labels/{quote(spec.label, safe='')}"


def _predict(call: PredictCall, headers: tuple[Header, ...], content_type: Header, body: bytes) -> RestRequest:
    target = f"{_model_path(call.spec)}:predict"
    return RestRequest("POST", target, (*headers, content_type), body, call.deadline_s, call.idempotent)


def _predict_json(call: PredictCall, headers: tuple[Header, ...], document: dict[str, Any]) -> RestRequest:
    if call.signature:
        document["signature_name"] = call.signature
    return _predict(call, headers, JSON_HEADER, dumps(document))


def _little_endian(array: NDArray[Any]) -> memoryview:
    ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return ordered.reshape(-1).view(np.uint8).data


def _from_binary(raw: memoryview, dtype: DType, shape: tuple[int, ...]) -> NDArray[Any]:
    if dtype is DType.STRING:
        return decode_bytes_tensor(raw, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return np.frombuffer(raw, NUMPY[dtype].newbyteorder("<")).reshape(shape).astype(NUMPY[dtype], copy=True)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body)  # NaN and Infinity
    except (ValueError, RecursionError):
        raise _unreadable() from None


def _unreadable() -> InternalError:
    return InternalError("the server's answer is not one of this protocol; is this the URL of a model server?")
