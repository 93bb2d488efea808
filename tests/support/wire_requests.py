"""Requests as protobuf messages."""

from typing import Any

import numpy as np

from edgewise.wire import inference_pb2, serving_pb2

HALVES = np.full((1, 8), 0.5, np.float32)


def tfs_request(model: str, *, signature: str = "", **inputs: Any) -> serving_pb2.PredictRequest:
    """A PredictRequest of float32 tensors or of lists of bytes."""
    request = serving_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        tensor = request.inputs[name]
        if isinstance(values, list):
            tensor.dtype = 7
            tensor.tensor_shape.dim.add(size=len(values))
            tensor.string_val.extend(values)
        else:
            tensor.dtype = 1
            for size in values.shape:
                tensor.tensor_shape.dim.add(size=size)
            tensor.tensor_content = values.astype("<f4").tobytes()
    return request


def oip_request(model: str, **inputs: Any) -> inference_pb2.ModelInferRequest:
    """A ModelInferRequest of float32 tensors or of lists of bytes."""
    request = inference_pb2.ModelInferRequest(model_name=model)
    for name, values in inputs.items():
        tensor = request.inputs.add(name=name)
        if isinstance(values, list):
            tensor.datatype = "BYTES"
            tensor.shape.append(len(values))
            tensor.contents.bytes_contents.extend(values)
        else:
            tensor.datatype = "FP32"
            tensor.shape.extend(values.shape)
            tensor.contents.fp32_contents.extend(values.ravel().tolist())
    return request
