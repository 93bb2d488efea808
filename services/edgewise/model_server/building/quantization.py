"""Quantizes a float32 network to int8 with calibration, and measures how far both agree.

Recipe: weights int8 per channel, activations uint8, ranges as seen in calibration, as QuantizeLinear/DequantizeLinear
pairs, which every ONNX runtime understands and onnxruntime fuses at load. Per-tensor weights lose a third of the
answers, since depthwise filters differ much in size from channel to channel. The caller names what stays in float32:
the first convolutions cost the most accuracy and gain no time in int8, and a softmax with 256 steps would give
hundreds of classes the same probability.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.model_server.building.requirements import import_models_extra
from edgewise.model_server.building.version_directory import Agreement
from edgewise.model_server.config.model_config import LabelOutput
from edgewise.model_server.images.transforms import VERDICT, label, top_k

_BATCH = 8
_CONFIDENT = 0.5
_LEAST_OPSET = 13
"""In which weights can be quantized per channel; older files are converted."""
_LEAST_IR = 8


def run_network(model: bytes | Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a network of one input and one output over many examples.

    Args:
        model: the serialised model or its file.
        inputs: float32[examples, ...].

    Returns: float32[examples, ...].
    """
    import onnxruntime  # noqa: PLC0415  (building only)

    session = onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), providers=["CPUExecutionProvider"]
    )
    source = session.get_inputs()[0]
    rows = source.shape[0] if isinstance(source.shape[0], int) else 0
    found = [session.run(None, {source.name: part})[0] for part in _portions(inputs, rows)]
    return np.concatenate(found)[: len(inputs)]


def _portions(inputs: NDArray[np.float32], rows: int) -> Iterator[NDArray[np.float32]]:
    """Inputs as a network takes them at once: `rows` of them, the last portion filled up; any number where that is 0."""
    size = rows or _BATCH
    for start in range(0, len(inputs), size):
        part = inputs[start : start + size]
        missing = rows - len(part) if rows else 0
        yield np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part


def modernized(model: Any) -> Any:
    """A network as today's tools expect it: what exporters of archived frameworks write has weights among its inputs, and an old opset.

    Args:
        model: an `onnx.ModelProto`, which stays as it is.
    Returns: one that says the same; the very same where there is nothing to do.

    Raises: FailedPreconditionError: the package `onnx` is missing.
    """
    weights = {one.name for one in model.graph.initializer}
    old = any(one.domain in {"", "ai.onnx"} and one.version < _LEAST_OPSET for one in model.opset_import)
    if not old and not any(one.name in weights for one in model.graph.input):
        return model
    found = type(model)()
    found.CopyFrom(model)
    kept = [one for one in model.graph.input if one.name not in weights]
    del found.graph.input[:]
    found.graph.input.extend(kept)
    # The converter wants inputs of their own for weights only where the IR is older.
    found.ir_version = max(found.ir_version, _LEAST_IR)
    if old:
        found = import_models_extra("onnx.version_converter").convert_version(found, _LEAST_OPSET)
    return found


class _Reader:
    """Feeds calibration examples; onnxruntime asks for this method."""

    def __init__(self, source: Any, inputs: NDArray[np.float32]) -> None:
        rows = source.type.tensor_type.shape.dim[0].dim_value
        whole = inputs[: len(inputs) // (rows or _BATCH) * (rows or _BATCH)]
        self._feeds = iter([{source.name: part} for part in _portions(whole, rows)])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)


@contextmanager
def _quiet_log() -> Iterator[None]:
    # The quantizer logs advice about preparation steps that a graph without batch norms does not need.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def quantize(model: Any, calibration: NDArray[np.float32], *, keep_float: Sequence[str]) -> bytes:
    """Quantize a network.

    Args:
        model: an `onnx.ModelProto` of one input, which may come from an archived framework's exporter.
        calibration: float32[examples, ...], real inputs.
        keep_float: names of the nodes that stay in float32.

    Returns: the serialised int8 network, with the same inputs and outputs.

    Raises: FailedPreconditionError: the package `onnx` is missing.
    """
    import_models_extra("onnx")
    from onnxruntime.quantization import (  # noqa: PLC0415  (building only; needs onnx)
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    model = modernized(model)
    with tempfile.TemporaryDirectory(prefix="edgewise-quantize-") as scratch, _quiet_log():
        source, target = Path(scratch) / "float32.onnx", Path(scratch) / "int8.onnx"
        source.write_bytes(model.SerializeToString())
        quantize_static(
            source,
            target,
            _Reader(model.graph.input[0], calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=list(keep_float),
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
        return target.read_bytes()


def measure_agreement(expected: NDArray[np.float32], found: NDArray[np.float32], spec: LabelOutput) -> Agreement:
    """Compare the answers of two networks to the same examples.

    Args:
        expected: float32[examples, classes], probabilities.
        found: float32[examples, classes], probabilities.
        spec: gives the verdicts.
    """
    rows = np.arange(len(expected))
    first, other = expected.argmax(axis=1), found.argmax(axis=1)
    confident = expected.max(axis=1) > _CONFIDENT
    same = first == other
    best, other_best = top_k(expected, 5), top_k(found, 5)
    shared = (best[:, :, None] == other_best[:, None, :]).any(axis=2)
    verdicts = label(expected, spec)[VERDICT] == label(found, spec)[VERDICT]
    return Agreement(
        images=len(expected),
        top1_ratio=float(same.mean()),
        confident_top1_ratio=float(same[confident].mean()) if confident.any() else 1.0,
        top5_overlap_ratio=float(shared.mean()),
        probability_difference=float(np.abs(expected[rows, first] - found[rows, first]).mean()),
        verdict_ratio=float(verdicts.mean()),
    )
