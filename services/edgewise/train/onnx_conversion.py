"""From a Keras network to an ONNX graph, by tf2onnx, and to one that quantizes well."""

import gc
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from edgewise.model_server.building.quantization import quantize
from edgewise.model_server.building.requirements import import_models_extra
from edgewise.train.keras_runtime import tensorflow, tf2onnx
from edgewise.train.networks import INPUT, LOGITS, OUTPUT, Network

_OPSET: Final = 17
"""As all networks here: old enough for every onnxruntime that the server runs on. tf2onnx 1.17 knows up to 18."""

_COLLECT_EVERY_S: Final = 1.0


def convert(network: Network) -> Any:
    """The network as an `onnx.ModelProto`.

    Returns: a model from `image`: float32[batch, 3, px, px] to `probabilities`: float32[batch, classes].

    Raises: FailedPreconditionError: tf2onnx or onnx is missing.
    """
    import_models_extra("onnx")
    tf = tensorflow()
    shape = (None, network.size_px, network.size_px, 3)
    converter = tf2onnx().convert
    with _copies_let_go():
        model, _ = converter.from_keras(
            network.model,
            input_signature=[tf.TensorSpec(shape, tf.float32, name=INPUT)],
            opset=_OPSET,
            # The order that processors like; the transposes that this takes are gone after conversion.
            inputs_as_nchw=[INPUT],
        )
    model = _merged(model)
    model.graph.name = network.kind.name.replace("-", "_")
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    import_models_extra("onnx.checker").check_model(model, full_check=True)
    return model


@contextmanager
def _copies_let_go() -> Iterator[None]:
    """Collect garbage again and again: each of tf2onnx's passes copies the whole graph into rings of references, few objects with many bytes,
    which the collector is in no hurry to look for. Without this AlexNet takes 12 GB, with it 5.
    """
    ended = threading.Event()

    def collect() -> None:
        while not ended.wait(_COLLECT_EVERY_S):
            gc.collect()

    beside = threading.Thread(target=collect, name="edgewise-onnx-garbage", daemon=True)
    beside.start()
    try:
        yield
    finally:
        ended.set()
        beside.join()


def _merged(model: Any) -> Any:
    """Merge what is left of batch normalisations, behind depthwise convolutions, into the convolutions, as onnxruntime does at load: the
    quantizer would otherwise quantize each multiplication and each addition by itself.
    """
    import onnxruntime  # noqa: PLC0415  (building only)

    with tempfile.TemporaryDirectory(prefix="edgewise-onnx-") as scratch:
        options = onnxruntime.SessionOptions()
        # Of the basic ones all are in plain ONNX, which every runtime understands.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(scratch) / "merged.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        onnx = import_models_extra("onnx")
        found = onnx.load(options.optimized_model_filepath)
    known = [one for one in found.opset_import if not one.domain]
    del found.opset_import[:]
    found.opset_import.extend(known)
    return found


def quantized(model: Any, calibration: Any, network: Network) -> bytes:
    """The network in int8; its first convolutions and its head stay in float32.

    Args:
        model: as `convert` gave it.
        calibration: float32[pictures, 3, px, px], of the training split.
    """
    return quantize(model, calibration, keep_float=_sensitive(model, network))


def _sensitive(model: Any, network: Network) -> list[str]:
    kept = (*network.kind.sensitive, LOGITS, OUTPUT)
    return [
        node.name
        for node in model.graph.node
        if any(f"/{word}" in f"/{name}" for word in kept for name in (node.name, *node.output))
    ]
