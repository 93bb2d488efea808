"""ONNX models on ONNX Runtime's CPU provider."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as status

from edgewise.core.errors import (
    EdgewiseError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from edgewise.core.requests import DEFAULT_SIGNATURE
from edgewise.core.tensors import DType, Signature, TensorSpec
from edgewise.model_server.backends import onnx_constants
from edgewise.model_server.backends.binding import Binding, bind
from edgewise.model_server.backends.cores import usable_cores
from edgewise.model_server.backends.failure import one_line
from edgewise.model_server.backends.memory import return_free_memory
from edgewise.model_server.backends.port import Arrays
from edgewise.model_server.config.model_config import ModelConfig
from edgewise.model_server.config.model_config_file import find_onnx_file

_log = logging.getLogger(__name__)

# What goes wrong is logged here once, with the model's name; the runtime's own lines would repeat it.
_FATAL_ONLY = 4
# Threads of one run wait for each other in a loop for so long before they sleep. Longer gains nothing on free cores and
# takes them from the event loop and other processes when they are not free; not at all costs a third of the speed.
_SPIN_US = 20

_DTYPES = {
    "tensor(bool)": DType.BOOL,
    "tensor(uint8)": DType.UINT8,
    "tensor(uint16)": DType.UINT16,
    "tensor(uint32)": DType.UINT32,
    "tensor(uint64)": DType.UINT64,
    "tensor(int8)": DType.INT8,
    "tensor(int16)": DType.INT16,
    "tensor(int32)": DType.INT32,
    "tensor(int64)": DType.INT64,
    "tensor(float16)": DType.FLOAT16,
    "tensor(float)": DType.FLOAT32,
    "tensor(double)": DType.FLOAT64,
    "tensor(string)": DType.STRING,
}
# Names that exporters make up for a dimension they know nothing of; two of them may mean the same length.
_UNNAMED = re.compile(r"|\?|unk__\d+|.*_dim_\d+")
_OUT_OF_MEMORY = re.compile(r"allocate memory|bad.alloc", re.IGNORECASE)

onnxruntime.set_default_logger_severity(_FATAL_ONLY)
onnxruntime.disable_telemetry_events()


class OnnxBackend:
    """Loads ONNX files."""

    def load(self, directory: Path, config: ModelConfig) -> "OnnxModel":
        """Load the version in `directory`.

        Raises:
            FailedPreconditionError: the file is missing, broken, or uses what the runtime does not have.
        """
        path = directory / (config.file or find_onnx_file(directory))
        shown = "/".join(path.parts[-3:])
        if not path.is_file():
            raise FailedPreconditionError(f"{shown}: no such file")
        try:
            session = _session(str(path), config)
            if session.get_overridable_initializers() and path.stat().st_size <= onnx_constants.MAX_BYTES:
                constant = onnx_constants.constant_weights(path.read_bytes())
                session = session if constant is None else _session(constant, config)
        except Exception as error:
            _log.warning("%s cannot be loaded: %s", shown, one_line(error))
            raise FailedPreconditionError(f"{shown}: {_load_problem(error)}") from error
        finally:
            return_free_memory()
        return OnnxModel(
            session,
            bind({DEFAULT_SIGNATURE: _signature(session, shown)}, config.signatures, base=DEFAULT_SIGNATURE),
            shown,
        )


def _session(model: str | bytes, config: ModelConfig) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, _session_options(config), providers=["CPUExecutionProvider"])


def _session_options(config: ModelConfig) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    # With an explicit number the runtime does not bind threads to cores, which fails on those this process may not use.
    options.intra_op_num_threads = config.threads or usable_cores()
    options.inter_op_num_threads = 1
    # A plan of the memory per input shape costs an eighth more of it and was no faster; shapes vary with every batch.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _load_problem(error: Exception) -> str:
    if isinstance(error, status.InvalidProtobuf):
        return "the file is truncated or not ONNX"
    if isinstance(error, status.NotImplemented):
        return "the model uses an operator or type that this version of ONNX Runtime does not have"
    if isinstance(error, status.InvalidGraph):
        return "the model's graph is invalid"
    if "external data" in str(error).lower():
        return "the model's external data is missing, or not inside its directory"
    return "ONNX Runtime cannot load the model; the server's log has the reason"


def _signature(session: onnxruntime.InferenceSession, shown: str) -> Signature:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    for argument in inputs:
        if argument.type not in _DTYPES:
            raise FailedPreconditionError(
                f"{shown}: input {argument.name!r} is a {argument.type}, which cannot be sent"
            )
    outputs = [argument for argument in outputs if argument.type in _DTYPES]
    if not outputs:
        raise FailedPreconditionError(f"{shown}: none of the outputs is a tensor that can be sent")
    lengths = {argument.shape[0] if argument.shape else 1 for argument in inputs}
    names = {length for length in lengths if isinstance(length, str) and not _UNNAMED.fullmatch(length)}
    # Inputs whose first lengths bear different names cannot both count the examples.
    dynamic = bool(inputs) and len(names) <= 1 and not any(isinstance(length, int) for length in lengths)

    def spec(argument: Any) -> TensorSpec:
        shape = tuple(length if isinstance(length, int) and length >= 0 else -1 for length in argument.shape)
        first = argument.shape[0] if shape else 1
        # An output whose first length has a name of its own counts something else, detections for instance.
        counts = not isinstance(first, int) and (first is None or first in names or bool(_UNNAMED.fullmatch(first)))
        return TensorSpec(argument.name, _DTYPES[argument.type], shape, dynamic and counts, argument.name)

    return Signature(DEFAULT_SIGNATURE, tuple(map(spec, inputs)), tuple(map(spec, outputs)))


class OnnxModel:
    """One version of an ONNX model in memory."""

    __slots__ = ("_bindings", "_session", "_shown", "_strings", "signatures")

    def __init__(self, session: onnxruntime.InferenceSession, bindings: Mapping[str, Binding], shown: str) -> None:
        self._session: Any = session
        self._bindings = bindings
        self._shown = shown
        self.signatures: Mapping[str, Signature] = {name: binding.signature for name, binding in bindings.items()}
        # One graph stands under all signatures, so strings occur in all of them or in none.
        self._strings = any(
            spec.dtype is DType.STRING
            for signature in self.signatures.values()
            for spec in (*signature.inputs, *signature.outputs)
        )

    def run(self, signature: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> Arrays:
        """Compute `outputs` of `signature`; see the port."""
        binding = self._bindings[signature]
        if binding.direct and not self._strings:
            try:
                return dict(zip(outputs, self._session.run(outputs, inputs), strict=True))
            except Exception as error:
                raise self._failure(error, binding, inputs) from error
        feed = binding.feed(inputs)
        if self._strings:
            feed = {name: _decoded(name, value) for name, value in feed.items()}
        try:
            values = self._values([binding.outputs[name] for name in outputs], feed, binding)
        except Exception as error:
            raise self._failure(error, binding, inputs) from error
        if self._strings:
            values = [_encoded(value) for value in values]
        return {name: binding.result(name, value) for name, value in zip(outputs, values, strict=True)}

    def _values(self, outputs: list[str], feed: Mapping[str, NDArray[Any]], binding: Binding) -> list[NDArray[Any]]:
        if not binding.rows:
            return list(self._session.run(outputs, feed))
        count = max(len(value) for value in feed.values())
        return binding.joined([self._session.run(outputs, part) for part in binding.portions(feed)], count)

    def _failure(self, error: Exception, binding: Binding, inputs: Mapping[str, NDArray[Any]]) -> EdgewiseError:
        signature = binding.signature
        _log.info("%s: %s failed: %s", self._shown, signature.name, one_line(error))
        if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
            return ResourceExhaustedError("no memory to compute the answer; send less at once", retry_after_s=1.0)
        # Where all lengths but the batch's are fixed and were checked, a shape that fails inside is not the client's.
        open_shapes = any(spec.shape is None or -1 in spec.shape[spec.batched :] for spec in signature.inputs)
        if isinstance(error, status.InvalidArgument) or (open_shapes and isinstance(error, status.Fail)):
            sent = ", ".join(f"{name}: {value.dtype}{list(value.shape)}" for name, value in inputs.items())
            return InvalidArgumentError(
                f"the model cannot compute {signature.name!r} from these inputs: "
                f"a shape, an index or another value does not suit its graph ({sent})"
            )
        _log.error("%s: %s failed", self._shown, signature.name, exc_info=error)
        return InternalError("the model failed to compute an answer")

    def close(self) -> None:
        """Free the memory."""
        self._session = None
        return_free_memory()


def _decoded(name: str, value: NDArray[Any]) -> NDArray[Any]:
    """STRING values as ONNX Runtime takes them."""
    if value.dtype != np.object_:
        return value
    texts = np.empty(value.shape, np.object_)
    try:
        texts.reshape(-1)[:] = [text.decode() for text in value.reshape(-1)]
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"input {name!r}: strings must be UTF-8 for this model") from error
    return texts


def _encoded(value: NDArray[Any]) -> NDArray[Any]:
    """STRING values as everyone else here has them."""
    if value.dtype != np.object_:
        return value
    texts = np.empty(value.shape, np.object_)
    texts.reshape(-1)[:] = [text.encode() for text in value.reshape(-1)]
    return texts
