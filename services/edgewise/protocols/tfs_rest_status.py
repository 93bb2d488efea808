"""TensorFlow Serving's REST answers about models: the status of versions, and the signatures of one.

They are indented as TensorFlow Serving's are, since people read them in a terminal.

Source: TensorFlow Serving, `model_servers/http_rest_api_util.cc`; `apis/get_model_status.proto`,
`apis/get_model_metadata.proto`.
"""

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from edgewise.core.tensors import DType, Method, Signature, TensorSpec
from edgewise.core.versions import VersionStatus

_DTYPE_NAMES: Final = MappingProxyType(
    {
        DType.BOOL: "DT_BOOL",
        DType.UINT8: "DT_UINT8",
        DType.UINT16: "DT_UINT16",
        DType.UINT32: "DT_UINT32",
        DType.UINT64: "DT_UINT64",
        DType.INT8: "DT_INT8",
        DType.INT16: "DT_INT16",
        DType.INT32: "DT_INT32",
        DType.INT64: "DT_INT64",
        DType.FLOAT16: "DT_HALF",
        DType.FLOAT32: "DT_FLOAT",
        DType.FLOAT64: "DT_DOUBLE",
        DType.STRING: "DT_STRING",
    }
)
_DTYPES: Final = MappingProxyType({name: dtype for dtype, name in _DTYPE_NAMES.items()})


def encode_model_status(statuses: Iterable[VersionStatus]) -> bytes:
    """The body that tells the state of a model's versions, in the order given."""
    return _indented(
        {
            "model_version_status": [
                {
                    "version": str(status.version),
                    "state": str(status.state),
                    "status": {
                        "error_code": "OK" if status.error_code is None else str(status.error_code),
                        "error_message": status.error_message,
                    },
                }
                for status in statuses
            ]
        }
    )


def encode_model_metadata(model: str, version: int, signatures: Iterable[Signature]) -> bytes:
    """The body that tells a version's signatures."""
    return _indented(
        {
            "model_spec": {"name": model, "signature_name": "", "version": str(version)},
            "metadata": {
                "signature_def": {
                    "signature_def": {
                        signature.name: {
                            "inputs": {spec.name: _tensor_info(spec) for spec in signature.inputs},
                            "outputs": {spec.name: _tensor_info(spec) for spec in signature.outputs},
                            "method_name": str(signature.method),
                        }
                        for signature in signatures
                    }
                }
            },
        }
    )


def decode_signatures(document: Any) -> dict[str, Signature]:
    """The signatures in a server's answer about a model, by name.

    Args:
        document: what the answer's JSON holds.
    Raises: KeyError, TypeError, ValueError, AttributeError: it is no such answer.
    """
    definitions = document["metadata"]["signature_def"]["signature_def"]
    return {
        name: Signature(
            name,
            _specs(definition.get("inputs", {})),
            _specs(definition.get("outputs", {})),
            Method(definition.get("method_name") or Method.PREDICT),
        )
        for name, definition in definitions.items()
    }


def _specs(tensors: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    specs = []
    for name, info in tensors.items():
        said = info.get("tensor_shape", {})
        shape = None if said.get("unknown_rank") else tuple(int(one["size"]) for one in said.get("dim", []))
        batched = shape is None or shape[:1] == (-1,)
        specs.append(TensorSpec(name, _DTYPES[info["dtype"]], shape, batched, info.get("name", "")))
    return tuple(specs)


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    return {
        "dtype": _DTYPE_NAMES[spec.dtype],
        "tensor_shape": {
            "dim": [{"size": str(length), "name": ""} for length in spec.shape or ()],
            "unknown_rank": spec.shape is None,
        },
        "name": spec.internal_name or f"{spec.name}:0",
    }


def _indented(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"
