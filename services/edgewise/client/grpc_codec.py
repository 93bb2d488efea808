"""Calls to gRPC messages and messages to results: bytes in, bytes out, no sockets.

The service is TensorFlow Serving's: unlike the Open Inference Protocol's it carries labels and signatures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from edgewise.client.call import PredictCall
from edgewise.client.images import EncodedImage
from edgewise.client.prediction import ModelMetadata
from edgewise.core.errors import Code, EdgewiseError, InternalError, InvalidArgumentError
from edgewise.core.requests import DEFAULT_SIGNATURE, ModelSpec, PredictRequest
from edgewise.core.tensors import DType, Method, Signature, TensorSpec
from edgewise.core.versions import VersionState, VersionStatus
from edgewise.protocols import tfs_grpc
from edgewise.protocols.grpc_services import INFERENCE_SERVICE, MODEL_SERVICE, PREDICTION_SERVICE
from edgewise.protocols.grpc_status import CODES
from edgewise.protocols.tensor_proto import ENUM_TO_DTYPE
from edgewise.wire import serving_pb2, signature_def_pb2

PREDICT: Final = f"/{PREDICTION_SERVICE}/Predict"
METADATA: Final = f"/{PREDICTION_SERVICE}/GetModelMetadata"
STATUS: Final = f"/{MODEL_SERVICE}/GetModelStatus"
READY: Final = f"/{INFERENCE_SERVICE}/ServerReady"
IMAGE_SIGNATURE: Final = "image"

_STATES: Final = {
    serving_pb2.ModelVersionStatus.START: VersionState.START,
    serving_pb2.ModelVersionStatus.LOADING: VersionState.LOADING,
    serving_pb2.ModelVersionStatus.AVAILABLE: VersionState.AVAILABLE,
    serving_pb2.ModelVersionStatus.UNLOADING: VersionState.UNLOADING,
    serving_pb2.ModelVersionStatus.END: VersionState.END,
}


@dataclass(frozen=True, slots=True)
class GrpcRequest:
    """One unary call.

    Attributes:
        method: the full name, with slashes.
        metadata: names in lower case.
        deadline_s: `time.monotonic()` by which the answer must be there.
    """

    method: str
    message: bytes
    metadata: tuple[tuple[str, str], ...]
    deadline_s: float


@dataclass(frozen=True, slots=True)
class GrpcResponse:
    """One answer; `metadata` holds the initial metadata and the trailers."""

    message: bytes
    metadata: Mapping[str, str]


def predict_message(call: PredictCall, inputs: Mapping[str, NDArray[Any]], *, signature: str) -> bytes:
    """A PredictRequest.

    Args:
        call: what is asked.
        inputs: by name.
        signature: "" means the default one.

    Raises:
        InvalidArgumentError: an array that the protocol cannot carry.
    """
    request = PredictRequest(call.spec, dict(inputs), signature or DEFAULT_SIGNATURE, call.outputs)
    return tfs_grpc.encode_predict_request(request)


def read_predict(message: bytes) -> tuple[Mapping[str, NDArray[Any]], int | None]:
    """The outputs of a PredictResponse, and the version that ran; None when it does not say.

    Raises:
        InternalError: the message is not one.
    """
    try:
        response = tfs_grpc.decode_predict_response(message)
    except InvalidArgumentError:
        raise _unreadable() from None
    outputs: Any = response.outputs  # numpy carries tensors
    return outputs, response.version or None


def image_tensor(image: EncodedImage) -> NDArray[Any]:
    """A STRING tensor of one element."""
    array = np.empty(1, np.object_)
    array[0] = image.content
    return array


def image_signature(metadata: ModelMetadata, asked: str) -> Signature:
    """The signature that takes encoded images: the one asked for, else `image`, else the only one of that shape.

    Raises:
        InvalidArgumentError: none does, or several do.
    """
    if asked:
        found = metadata.signatures.get(asked)
        if found is None:
            raise InvalidArgumentError(
                f"the model {metadata.model} has no signature {asked!r}; it has {', '.join(metadata.signatures)}"
            )
        return found
    fitting = [one for one in metadata.signatures.values() if [spec.dtype for spec in one.inputs] == [DType.STRING]]
    named = [one for one in fitting if one.name == IMAGE_SIGNATURE]
    if not fitting:
        raise InvalidArgumentError(
            f"the model {metadata.model} has no signature that takes encoded images; give it tensors"
        )
    if len(named or fitting) != 1:
        raise InvalidArgumentError(
            f"several signatures of the model {metadata.model} take encoded images; "
            f"name one of {', '.join(one.name for one in fitting)} with signature="
        )
    return (named or fitting)[0]


def metadata_message(spec: ModelSpec) -> bytes:
    """A GetModelMetadataRequest for the signatures."""
    request = serving_pb2.GetModelMetadataRequest(model_spec=_model_spec(spec), metadata_field=["signature_def"])
    return request.SerializeToString()


def read_metadata(message: bytes, model: str) -> ModelMetadata:
    """The signatures of a model.

    Raises:
        InternalError: the message is not a GetModelMetadataResponse with signatures.
    """
    try:
        response = serving_pb2.GetModelMetadataResponse.FromString(message)
        # The type URL names TensorFlow's package, the class is ours: the bytes are read, not unpacked by name.
        packed = response.metadata["signature_def"].value
        definitions = serving_pb2.SignatureDefMap.FromString(packed).signature_def
        signatures = {
            name: Signature(
                name,
                _specs(definition.inputs),
                _specs(definition.outputs),
                Method(definition.method_name or Method.PREDICT),
            )
            for name, definition in definitions.items()
        }
    except (DecodeError, KeyError, ValueError):
        raise _unreadable() from None
    return ModelMetadata(model, response.model_spec.version.value, signatures)


def status_message(spec: ModelSpec) -> bytes:
    """A GetModelStatusRequest."""
    return serving_pb2.GetModelStatusRequest(model_spec=_model_spec(spec)).SerializeToString()


def read_status(message: bytes) -> tuple[VersionStatus, ...]:
    """The states of a model's versions.

    Raises:
        InternalError: the message is not a GetModelStatusResponse.
    """
    try:
        response = serving_pb2.GetModelStatusResponse.FromString(message)
    except DecodeError:
        raise _unreadable() from None
    return tuple(
        VersionStatus(
            one.version,
            _STATES.get(one.state, VersionState.START),
            CODES.get(int(one.status.error_code), Code.INTERNAL) if one.status.error_code else None,
            one.status.error_message,
        )
        for one in response.model_version_status
    )


def read_ready(message: bytes) -> bool:
    """What a ServerReadyResponse says: field 1, a bool that is left out when it is false."""
    return message == b"\x08\x01"


def _model_spec(spec: ModelSpec) -> serving_pb2.ModelSpec:
    proto = serving_pb2.ModelSpec(name=spec.name)
    if spec.version is not None:
        proto.version.value = spec.version
    elif spec.label is not None:
        proto.version_label = spec.label
    return proto


def _specs(tensors: Mapping[str, signature_def_pb2.TensorInfo]) -> tuple[TensorSpec, ...]:
    specs = []
    for name, info in tensors.items():
        said = info.tensor_shape
        shape = None if said.unknown_rank else tuple(one.size for one in said.dim)
        batched = shape is None or shape[:1] == (-1,)
        specs.append(TensorSpec(name, ENUM_TO_DTYPE[info.dtype], shape, batched, info.name))
    return tuple(specs)


def _unreadable() -> EdgewiseError:
    return InternalError("the server's answer is not one of this protocol; is this the URL of a model server?")
