"""TensorFlow Serving's gRPC messages: bytes to core types and back. No sockets here.

Source: TensorFlow Serving, `apis/` and `servables/tensorflow/predict_util.cc`, `get_model_metadata_impl.cc`,
`model_servers/model_service_impl.cc`.
"""

from collections.abc import Iterable
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from google.protobuf.message import DecodeError

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.requests import DEFAULT_SIGNATURE, ModelSpec, PredictRequest, PredictResponse
from edgewise.core.tensors import Signature, Tensor, TensorSpec
from edgewise.core.versions import ServerConfig, VersionState, VersionStatus
from edgewise.protocols.grpc_status import STATUS
from edgewise.protocols.tensor_proto import DTYPE_TO_ENUM, decode_tensor, serialize_tensor
from edgewise.protocols.wire_format import length_delimited, varint
from edgewise.wire import serving_pb2 as pb
from edgewise.wire import signature_def_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

SIGNATURE_DEF: Final = "signature_def"
SIGNATURE_DEF_MAP_URL: Final = "type.googleapis.com/tensorflow.serving.SignatureDefMap"

_STATES: Final = MappingProxyType(
    {
        VersionState.START: pb.ModelVersionStatus.START,
        VersionState.LOADING: pb.ModelVersionStatus.LOADING,
        VersionState.AVAILABLE: pb.ModelVersionStatus.AVAILABLE,
        VersionState.UNLOADING: pb.ModelVersionStatus.UNLOADING,
        VersionState.END: pb.ModelVersionStatus.END,
    }
)

_Message = TypeVar("_Message", bound="Message")


def parse_message(message_type: type[_Message], data: bytes) -> _Message:
    """A message of that type.

    Raises:
        InvalidArgumentError: the bytes are none.
    """
    try:
        return message_type.FromString(data)
    except DecodeError:
        raise InvalidArgumentError(f"The request is not a serialized {message_type.__name__}") from None


def read_model_spec(message: Any) -> tuple[ModelSpec, str]:
    """Which model and which signature a request is for.

    Args:
        message: a message with a field `model_spec`.

    Returns: the model, and the signature's name.

    Raises:
        InvalidArgumentError: there is no model_spec, or it has no name.
    """
    if not message.HasField("model_spec"):
        raise InvalidArgumentError("Missing ModelSpec")
    spec: pb.ModelSpec = message.model_spec
    if not spec.name:
        raise InvalidArgumentError("ModelSpec has no name specified.")
    version = label = None
    if spec.HasField("version"):
        version = spec.version.value
    elif spec.HasField("version_label"):
        label = spec.version_label
    return ModelSpec(spec.name, version, label), spec.signature_name or DEFAULT_SIGNATURE


def decode_predict(data: bytes) -> PredictRequest:
    """A PredictRequest from its bytes.

    Raises:
        InvalidArgumentError: it is malformed, names no model, or a tensor is.
    """
    return read_predict(parse_message(pb.PredictRequest, data))


def read_predict(message: pb.PredictRequest) -> PredictRequest:
    """A PredictRequest from its message; as `decode_predict`."""
    model, signature = read_model_spec(message)
    inputs: dict[str, Tensor] = {name: decode_tensor(proto, name) for name, proto in message.inputs.items()}
    return PredictRequest(model, inputs, signature, tuple(message.output_filter))


def encode_predict_response(response: PredictResponse) -> bytes:
    """The bytes of a PredictResponse; values lie in the typed fields, and model_spec says which version ran."""
    parts: list[bytes] = []
    for name, value in response.outputs.items():
        key = length_delimited(1, name.encode())
        tensor = serialize_tensor(value)  # type: ignore[arg-type]  # numpy carries tensors
        size = varint(len(tensor))
        parts += (b"\x0a", varint(len(key) + 1 + len(size) + len(tensor)), key, b"\x12", size, tensor)
    parts.append(_serialized_spec(2, response.model, response.version, response.signature))
    return b"".join(parts)


def encode_predict_request(request: PredictRequest) -> bytes:
    """The bytes of a PredictRequest, as a client sends them."""
    message = pb.PredictRequest(output_filter=request.outputs)
    _write_model_spec(message.model_spec, request.model, request.signature)
    for name, value in request.inputs.items():
        message.inputs[name].MergeFromString(serialize_tensor(value))  # type: ignore[arg-type]  # numpy carries tensors
    return message.SerializeToString()


def decode_predict_response(data: bytes) -> PredictResponse:
    """A PredictResponse from its bytes, as a client reads it.

    Raises:
        InvalidArgumentError: the bytes are none, or a tensor is malformed.
    """
    message = parse_message(pb.PredictResponse, data)
    return PredictResponse(
        model=message.model_spec.name,
        version=message.model_spec.version.value,
        signature=message.model_spec.signature_name,
        outputs={name: decode_tensor(proto, name) for name, proto in message.outputs.items()},
    )


def decode_get_model_metadata(data: bytes) -> ModelSpec:
    """Whose metadata is asked for.

    Raises:
        InvalidArgumentError: no model, no metadata field, or one other than `signature_def`.
    """
    message = parse_message(pb.GetModelMetadataRequest, data)
    model, _ = read_model_spec(message)
    if not message.metadata_field:
        raise InvalidArgumentError("GetModelMetadataRequest must specify at least one metadata_field")
    for name in message.metadata_field:
        if name != SIGNATURE_DEF:
            raise InvalidArgumentError(f"Metadata field {name[:64]} is not supported; expected {SIGNATURE_DEF}")
    return model


def encode_model_metadata(model: str, version: int, signatures: Iterable[Signature]) -> bytes:
    """The bytes of a GetModelMetadataResponse with the signatures of a version."""
    signature_map = pb.SignatureDefMap()
    for signature in signatures:
        definition = signature_map.signature_def[signature.name]
        definition.method_name = signature.method
        for spec in signature.inputs:
            _write_tensor_info(definition.inputs[spec.name], spec)
        for spec in signature.outputs:
            _write_tensor_info(definition.outputs[spec.name], spec)
    message = pb.GetModelMetadataResponse()
    message.model_spec.name = model
    message.model_spec.version.value = version
    packed = message.metadata[SIGNATURE_DEF]
    packed.type_url = SIGNATURE_DEF_MAP_URL
    packed.value = signature_map.SerializeToString()
    return message.SerializeToString()


def decode_get_model_status(data: bytes) -> ModelSpec:
    """Whose status is asked for.

    Raises:
        InvalidArgumentError: the request is malformed or names no model.
    """
    return read_model_spec(parse_message(pb.GetModelStatusRequest, data))[0]


def encode_model_status(statuses: Iterable[VersionStatus]) -> bytes:
    """The bytes of a GetModelStatusResponse."""
    message = pb.GetModelStatusResponse()
    for status in statuses:
        entry = message.model_version_status.add(version=status.version, state=_STATES[status.state])
        entry.status.error_code = STATUS[status.error_code] if status.error_code else 0  # type: ignore[assignment]
        entry.status.error_message = status.error_message
    return message.SerializeToString()


def decode_reload_config(data: bytes) -> ServerConfig:
    """The config that replaces the one in force; `metric_names` are not read, for the answer tells no counters.

    Raises:
        InvalidArgumentError: the request is malformed, or holds anything but a list of models.
    """
    # Imported here since few servers are ever reconfigured.
    from edgewise.protocols.server_config import read_model_server_config  # noqa: PLC0415

    message = parse_message(pb.ReloadConfigRequest, data)
    if message.config.WhichOneof("config") != "model_config_list":
        raise InvalidArgumentError(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    return read_model_server_config(message.config)


def encode_reload_config_response() -> bytes:
    """The bytes of a ReloadConfigResponse: the config is in force."""
    message = pb.ReloadConfigResponse()
    # Set though it is empty: clients look whether the status is there.
    message.status.SetInParent()
    return message.SerializeToString()


def _write_model_spec(message: pb.ModelSpec, model: ModelSpec, signature: str) -> None:
    message.name = model.name
    message.signature_name = signature
    if model.version is not None:
        message.version.value = model.version
    elif model.label is not None:
        message.version_label = model.label


def _write_tensor_info(info: signature_def_pb2.TensorInfo, spec: TensorSpec) -> None:
    info.name = spec.internal_name or f"{spec.name}:0"
    info.dtype = DTYPE_TO_ENUM[spec.dtype]
    if spec.shape is None:
        info.tensor_shape.unknown_rank = True
        return
    info.tensor_shape.SetInParent()
    for length in spec.shape:
        info.tensor_shape.dim.add(size=length)


@lru_cache(maxsize=1024)
def _serialized_spec(field: int, model: str, version: int, signature: str) -> bytes:
    """A ModelSpec as the field of that number."""
    spec = pb.ModelSpec(name=model, signature_name=signature)
    spec.version.value = version
    return length_delimited(field, spec.SerializeToString())
