"""The Open Inference Protocol over gRPC: bytes to core types and back. No sockets here.

A request may say `signature_name` in its parameters to be answered by another signature than the default one, and
`timeout` in microseconds, as Triton's clients do.

Source: Open Inference Protocol, `specification/protocol/inference_grpc.md`; Triton, "Extensions".
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from edgewise.core.errors import InvalidArgumentError, UnimplementedError
from edgewise.core.requests import DEFAULT_SIGNATURE, ModelSpec, PredictRequest, PredictResponse
from edgewise.core.tensors import DType, Signature, Tensor, TensorSpec
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.dtypes import NUMPY, dtype_of
from edgewise.protocols.oip_dtypes import DTYPE_TO_OIP, OIP_TO_DTYPE, decode_bytes_tensor, encode_bytes_tensor
from edgewise.protocols.shapes import element_count
from edgewise.protocols.wire_format import buffer_of, length_delimited, packed_varints, text, varint
from edgewise.wire import inference_pb2 as pb

SERVER_NAME: Final = "edgewise"

_LITTLE_ENDIAN: Final = {dtype: numpy_dtype.newbyteorder("<") for dtype, numpy_dtype in NUMPY.items()}
_CONTENTS: Final = MappingProxyType(
    {
        DType.BOOL: "bool_contents",
        DType.INT8: "int_contents",
        DType.INT16: "int_contents",
        DType.INT32: "int_contents",
        DType.INT64: "int64_contents",
        DType.UINT8: "uint_contents",
        DType.UINT16: "uint_contents",
        DType.UINT32: "uint_contents",
        DType.UINT64: "uint64_contents",
        DType.FLOAT32: "fp32_contents",
        DType.FLOAT64: "fp64_contents",
        DType.STRING: "bytes_contents",
    }
)
_LIMITS: Final = MappingProxyType(
    {
        DType.INT8: (-(2**7), 2**7 - 1),
        DType.INT16: (-(2**15), 2**15 - 1),
        DType.UINT8: (0, 2**8 - 1),
        DType.UINT16: (0, 2**16 - 1),
    }
)
_UNSUPPORTED: Final = ("classification", "shared_memory_region")


def decode_infer(data: bytes) -> PredictRequest:
    """A ModelInferRequest from its bytes.

    Numeric inputs given raw are views of the message's bytes, and read-only.

    Raises:
        InvalidArgumentError: it is malformed, names no model, or an input does not hold what its shape announces.
        UnimplementedError: it asks for shared memory or for Triton's classification.
    """
    try:
        message = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        raise InvalidArgumentError("The request is not a serialized ModelInferRequest") from None
    return read_infer(message)


def read_infer(message: pb.ModelInferRequest) -> PredictRequest:
    """A ModelInferRequest from its message; as `decode_infer`."""
    inputs = message.inputs
    raw = message.raw_input_contents
    if raw and len(raw) != len(inputs):
        raise InvalidArgumentError(
            f"raw_input_contents has {len(raw)} entries for {len(inputs)} inputs; expected one for each, or none at all"
        )
    values: dict[str, Tensor] = {}
    for index, tensor in enumerate(inputs):
        name = tensor.name
        if name in values:
            raise InvalidArgumentError(f'input "{name[:64]}" is given twice; expected each input once')
        values[name] = _decode_input(tensor, name, raw[index] if raw else None)
    signature, timeout_s = DEFAULT_SIGNATURE, None
    if message.parameters:
        signature, timeout_s = _read_parameters(message.parameters)
    return PredictRequest(
        read_model_spec(message.model_name, message.model_version),
        values,
        signature,
        tuple([_output_name(output) for output in message.outputs]),
        timeout_s,
        message.id or None,
    )


def read_model_spec(name: str, version: str) -> ModelSpec:
    """Which model is meant.

    Args:
        name: of the model.
        version: a whole number, or empty for the latest one.

    Raises:
        InvalidArgumentError: no name, or a version that is no number.
    """
    if not name:
        raise InvalidArgumentError("The request names no model; expected a model name")
    if not version:
        return ModelSpec(name)
    # int() takes signs, spaces, underscores and other scripts' digits, which no version has; 19 digits hold them all.
    if not (version.isascii() and version.isdigit() and len(version) <= 19 and int(version) <= MAX_VERSION):
        raise InvalidArgumentError(f'version "{version[:64]}" is not a version; expected a whole number, or nothing')
    return ModelSpec(name, int(version))


def encode_infer_response(response: PredictResponse, request_id: str | None = None) -> bytes:
    """The bytes of a ModelInferResponse, with the values in raw_output_contents.

    Args:
        response: what the model answered.
        request_id: the request's id, which comes back.
    """
    parts: list[bytes | memoryview] = [_serialized_model(response.model, response.version)]
    if request_id:
        parts.append(text(3, request_id))
    raws: list[bytes | memoryview] = []
    for name, value in response.outputs.items():
        array: NDArray[Any] = value  # type: ignore[assignment]  # numpy carries tensors
        dtype = dtype_of(array)
        parts.append(_serialized_tensor(5, name, dtype, array.shape))
        raw = _raw(array, dtype)
        raws += (b"\x32", varint(len(raw)), raw)
    return b"".join(parts + raws)


def encode_infer_request(request: PredictRequest) -> bytes:
    """The bytes of a ModelInferRequest, as a client sends them, with the values in raw_input_contents.

    Raises:
        InvalidArgumentError: the model is named by a label, which this protocol does not have.
    """
    if request.model.label is not None:
        raise InvalidArgumentError("The Open Inference Protocol has no version labels; expected a version or nothing")
    message = pb.ModelInferRequest(model_name=request.model.name, id=request.request_id or "")
    if request.model.version is not None:
        message.model_version = str(request.model.version)
    if request.signature != DEFAULT_SIGNATURE:
        message.parameters["signature_name"].string_param = request.signature
    for name in request.outputs:
        message.outputs.add(name=name)
    parts: list[bytes | memoryview] = [message.SerializeToString()]
    raws: list[bytes | memoryview] = []
    for name, value in request.inputs.items():
        array: NDArray[Any] = value  # type: ignore[assignment]  # numpy carries tensors
        dtype = dtype_of(array)
        parts.append(_serialized_tensor(5, name, dtype, array.shape))
        raw = _raw(array, dtype)
        raws += (b"\x3a", varint(len(raw)), raw)
    return b"".join(parts + raws)


def decode_infer_response(data: bytes) -> PredictResponse:
    """A ModelInferResponse from its bytes, as a client reads it; it does not say which signature answered.

    Raises:
        InvalidArgumentError: it is malformed, or an output does not hold what its shape announces.
    """
    try:
        message = pb.ModelInferResponse.FromString(data)
    except DecodeError:
        raise InvalidArgumentError("The response is not a serialized ModelInferResponse") from None
    raw = message.raw_output_contents
    if raw and len(raw) != len(message.outputs):
        raise InvalidArgumentError(f"raw_output_contents has {len(raw)} entries for {len(message.outputs)} outputs")
    version = read_model_spec(message.model_name, message.model_version).version
    outputs: dict[str, Tensor] = {
        tensor.name: _decode_input(tensor, tensor.name, raw[index] if raw else None)
        for index, tensor in enumerate(message.outputs)
    }
    return PredictResponse(model=message.model_name, version=version or 0, signature="", outputs=outputs)


def decode_model_reference(message_type: Any, data: bytes) -> ModelSpec:
    """The model in a ModelReadyRequest, ModelMetadataRequest, ModelConfigRequest or ModelStatisticsRequest.

    Args:
        message_type: the class of the message, from `edgewise.wire.inference_pb2`.
        data: its bytes.

    Raises:
        InvalidArgumentError: the bytes are none, no model is named, or the version is no number.
    """
    try:
        message = message_type.FromString(data)
    except DecodeError:
        raise InvalidArgumentError(f"The request is not a serialized {message_type.__name__}") from None
    return read_model_spec(message.name, message.version)


def encode_server_live(*, live: bool) -> bytes:
    """The bytes of a ServerLiveResponse."""
    return pb.ServerLiveResponse(live=live).SerializeToString()


def encode_server_ready(*, ready: bool) -> bytes:
    """The bytes of a ServerReadyResponse."""
    return pb.ServerReadyResponse(ready=ready).SerializeToString()


def encode_model_ready(*, ready: bool) -> bytes:
    """The bytes of a ModelReadyResponse."""
    return pb.ModelReadyResponse(ready=ready).SerializeToString()


def encode_server_metadata(version: str, extensions: Iterable[str] = ()) -> bytes:
    """The bytes of a ServerMetadataResponse.

    Args:
        version: of this server.
        extensions: what it does beyond the protocol.
    """
    return pb.ServerMetadataResponse(name=SERVER_NAME, version=version, extensions=list(extensions)).SerializeToString()


def encode_model_metadata(model: str, versions: Iterable[int], platform: str, signature: Signature) -> bytes:
    """The bytes of a ModelMetadataResponse; the protocol knows one signature, so the default one is told.

    Args:
        model: its name.
        versions: those that answer.
        platform: what runs it, `onnxruntime_onnx` for instance.
        signature: whose inputs and outputs are told.
    """
    message = pb.ModelMetadataResponse(name=model, versions=[str(version) for version in versions], platform=platform)
    for spec in signature.inputs:
        message.inputs.add(name=spec.name, datatype=DTYPE_TO_OIP[spec.dtype], shape=metadata_shape(spec))
    for spec in signature.outputs:
        message.outputs.add(name=spec.name, datatype=DTYPE_TO_OIP[spec.dtype], shape=metadata_shape(spec))
    return message.SerializeToString()


def metadata_shape(spec: TensorSpec) -> list[int]:
    """The shape as metadata tells it; an unknown rank is told as one dimension of any length."""
    return [-1] if spec.shape is None else list(spec.shape)


def _decode_input(
    tensor: pb.ModelInferRequest.InferInputTensor | pb.ModelInferResponse.InferOutputTensor,
    name: str,
    raw: bytes | None,
) -> NDArray[Any]:
    label = f'tensor "{name[:64]}"'
    dtype = OIP_TO_DTYPE.get(tensor.datatype)
    if dtype is None:
        raise InvalidArgumentError(
            f"{label} has datatype {tensor.datatype[:64]!r}; expected one of {', '.join(OIP_TO_DTYPE)}"
        )
    if tensor.parameters:
        _refuse_unsupported(tensor.parameters, label)
    shape = tuple(tensor.shape)
    count = element_count(shape, label)
    if raw is None:
        return _from_contents(tensor.contents, dtype, count, label).reshape(shape)
    if tensor.HasField("contents"):
        raise InvalidArgumentError(f"{label} has contents beside raw_input_contents; expected one of the two")
    return _from_raw(raw, dtype, count, label).reshape(shape)


def _from_raw(raw: bytes, dtype: DType, count: int, label: str) -> NDArray[Any]:
    """Values in binary: little-endian, row-major, BYTES with lengths."""
    if dtype is DType.STRING:
        return decode_bytes_tensor(raw, count)
    numpy_dtype = _LITTLE_ENDIAN[dtype]
    if len(raw) != count * numpy_dtype.itemsize:
        raise InvalidArgumentError(
            f"{label} has {len(raw)} bytes; its shape asks for {count} elements of {DTYPE_TO_OIP[dtype]}, "
            f"{count * numpy_dtype.itemsize} bytes"
        )
    if not raw:
        return np.empty(0, numpy_dtype)
    if dtype is DType.BOOL:
        # Any byte but 0 is true; numpy would keep the byte, and two truths would compare unequal.
        return np.not_equal(np.frombuffer(raw, np.uint8), 0)
    values: NDArray[Any] = np.frombuffer(raw, numpy_dtype)
    return values


def _from_contents(contents: pb.InferTensorContents, dtype: DType, count: int, label: str) -> NDArray[Any]:
    """Values as numbers in the field that belongs to the type."""
    field = _CONTENTS.get(dtype)
    if field is None:
        raise InvalidArgumentError(f"{label} has datatype FP16, which has no contents; expected raw_input_contents")
    repeated = getattr(contents, field)
    if len(repeated) != count:
        raise InvalidArgumentError(f"{label} has {len(repeated)} values in {field}; its shape asks for {count}")
    if dtype is DType.STRING:
        strings = np.empty(count, np.object_)
        strings[:] = repeated[:]
        return strings
    values: NDArray[Any] = np.asarray(repeated)
    limits = _LIMITS.get(dtype)
    if limits is not None and count and (values.min() < limits[0] or values.max() > limits[1]):
        raise InvalidArgumentError(
            f"{label} has values outside {DTYPE_TO_OIP[dtype]}; expected {limits[0]} to {limits[1]}"
        )
    return values.astype(NUMPY[dtype], copy=False)


def _read_parameters(parameters: Mapping[str, pb.InferParameter]) -> tuple[str, float | None]:
    """The signature asked for, and the time left in seconds."""
    signature = DEFAULT_SIGNATURE
    timeout_s: float | None = None
    if "signature_name" in parameters:
        signature = parameters["signature_name"].string_param
        if not signature:
            raise InvalidArgumentError("parameter signature_name is not a name; expected a non-empty string_param")
    if "timeout" in parameters:
        value = parameters["timeout"]
        timeout_us = value.uint64_param or value.int64_param
        if timeout_us < 0:
            raise InvalidArgumentError(f"parameter timeout is {timeout_us}; expected microseconds, 0 or more")
        timeout_s = timeout_us / 1e6 if timeout_us else None
    _refuse_unsupported(parameters, "the request")
    return signature, timeout_s


def _output_name(output: pb.ModelInferRequest.InferRequestedOutputTensor) -> str:
    if output.parameters:
        _refuse_unsupported(output.parameters, f'output "{output.name[:64]}"')
    return output.name


def _refuse_unsupported(parameters: Mapping[str, pb.InferParameter], label: str) -> None:
    """Refuse what would change the answer and is not done here; other parameters are hints."""
    for name in _UNSUPPORTED:
        if name in parameters:
            raise UnimplementedError(
                f"{label} has the parameter {name}, which this server does not offer; leave it out"
            )


def _raw(array: NDArray[Any], dtype: DType) -> bytes | memoryview:
    if dtype is DType.STRING:
        return encode_bytes_tensor(array)
    return buffer_of(np.asarray(array, _LITTLE_ENDIAN[dtype]))


@lru_cache(maxsize=1024)
def _serialized_model(model: str, version: int) -> bytes:
    """The fields model_name and model_version of a ModelInferResponse."""
    return text(1, model) + text(2, str(version))


@lru_cache(maxsize=1024)
def _serialized_tensor(field: int, name: str, dtype: DType, shape: tuple[int, ...]) -> bytes:
    """Name, datatype and shape of an input or output."""
    dims = length_delimited(3, packed_varints(shape)) if shape else b""
    return length_delimited(field, text(1, name) + text(2, DTYPE_TO_OIP[dtype]) + dims)
