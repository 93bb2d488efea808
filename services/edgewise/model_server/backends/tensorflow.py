"""SavedModels on TensorFlow, with the signatures that they bring.

The one module that imports TensorFlow. A SavedModel is a program: load only those you would run.
"""

import gc
import logging
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import (
    EdgewiseError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from edgewise.core.tensors import DType, Method, Signature, TensorSpec
from edgewise.model_server.backends.binding import Binding, bind
from edgewise.model_server.backends.cores import usable_cores
from edgewise.model_server.backends.failure import one_line
from edgewise.model_server.backends.port import Arrays
from edgewise.model_server.config.model_config import ModelConfig
from edgewise.model_server.config.model_config_file import SAVED_MODEL_FILES

_log = logging.getLogger(__name__)

_SERVE = "serve"
# TensorFlow keeps these for itself; they initialise a model and answer nothing.
_INTERNAL_SIGNATURES = frozenset(("__saved_model_init_op", "__saved_model_train_op"))
_METHODS = {method.value: method for method in Method}


@lru_cache(maxsize=1)
def _tensorflow() -> Any:
    """The package, imported on first use (seconds) and told to be quiet."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf  # noqa: PLC0415  (slow, large and optional)
    except ImportError as error:
        raise FailedPreconditionError(
            "this model needs TensorFlow, which is not installed: pip install 'edgewise[tensorflow]'"
        ) from error
    tf.get_logger().setLevel("ERROR")
    return tf


class TensorflowBackend:
    """Loads SavedModels."""

    def load(self, directory: Path, config: ModelConfig) -> "TensorflowModel":
        """Load the version in `directory`.

        Raises:
            FailedPreconditionError: the files are missing or broken, nothing in them can be served, or TensorFlow is
                not installed.
        """
        path = directory / config.file
        if path.is_file():
            path = path.parent
        shown = "/".join(path.parts[-2:])
        if not any((path / name).is_file() for name in SAVED_MODEL_FILES):
            raise FailedPreconditionError(f"{shown}: no SavedModel; looked for {SAVED_MODEL_FILES[0]}")
        tf = _tensorflow()
        _limit_threads(tf, config.threads or usable_cores())
        try:
            loaded = tf.saved_model.load(str(path), tags=[_SERVE])
            definitions = _signature_definitions(path)
            functions = {name: function for name, function in loaded.signatures.items() if name in definitions}
        except Exception as error:
            _log.warning("%s cannot be loaded: %s", shown, one_line(error))
            raise FailedPreconditionError(
                f"{shown}: TensorFlow cannot load this SavedModel with the tag {_SERVE!r}; the server's log has the reason"
            ) from error
        natives = {}
        for name in functions:
            try:
                natives[name] = _signature(tf, name, definitions[name])
            except FailedPreconditionError as error:
                _log.warning("%s: signature %s is not served: %s", shown, name, error.message)
        if not natives:
            raise FailedPreconditionError(f"{shown}: the SavedModel has no signature that can be served")
        return TensorflowModel(tf, loaded, functions, bind(natives, config.signatures), shown)


def _limit_threads(tf: Any, threads: int) -> None:
    """TensorFlow has one pool of threads in a process: the first model decides."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        _log.debug("TensorFlow runs already; its number of threads stays as it is")


def _signature_definitions(path: Path) -> dict[str, Any]:
    """`SignatureDef` messages by name; TensorFlow's functions do not tell method and tensor names."""
    from tensorflow.python.saved_model.loader_impl import parse_saved_model  # noqa: PLC0415  (as in _tensorflow)

    for graph in parse_saved_model(str(path)).meta_graphs:
        if set(graph.meta_info_def.tags) == {_SERVE}:
            return {name: value for name, value in graph.signature_def.items() if name not in _INTERNAL_SIGNATURES}
    return {}


def _signature(tf: Any, name: str, definition: Any) -> Signature:
    inputs = [_tensor_spec(tf, key, definition.inputs[key]) for key in sorted(definition.inputs)]
    outputs = [_tensor_spec(tf, key, definition.outputs[key]) for key in sorted(definition.outputs)]
    if not outputs:
        raise FailedPreconditionError("it has no outputs")
    # Requests can only be joined when every input counts its examples in dimension 0.
    joinable = bool(inputs) and all(spec.batched for spec in inputs)
    if not joinable:
        inputs = [_unbatched(spec) for spec in inputs]
        outputs = [_unbatched(spec) for spec in outputs]
    method = _METHODS.get(definition.method_name, Method.PREDICT)
    return Signature(name, tuple(inputs), tuple(outputs), method)


def _unbatched(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(spec.name, spec.dtype, spec.shape, batched=False, internal_name=spec.internal_name)


def _tensor_spec(tf: Any, name: str, info: Any) -> TensorSpec:
    try:
        dtype = DType(tf.dtypes.as_dtype(info.dtype).name)
    except (TypeError, ValueError) as error:
        raise FailedPreconditionError(f"tensor {name!r} has an element type that cannot be sent") from error
    if info.WhichOneof("encoding") != "name":
        raise FailedPreconditionError(f"tensor {name!r} is not a plain tensor")
    shape = None if info.tensor_shape.unknown_rank else tuple(int(dim.size) for dim in info.tensor_shape.dim)
    return TensorSpec(name, dtype, shape, batched=shape is not None and shape[:1] == (-1,), internal_name=info.name)


class TensorflowModel:
    """One version of a SavedModel in memory."""

    __slots__ = ("_bindings", "_functions", "_loaded", "_shown", "_tf", "signatures")

    def __init__(
        self, tf: Any, loaded: Any, functions: Mapping[str, Any], bindings: Mapping[str, Binding], shown: str
    ) -> None:
        self._tf = tf
        self._loaded = loaded  # owns the variables that the functions read
        self._functions = functions
        self._bindings = bindings
        self._shown = shown
        self.signatures: Mapping[str, Signature] = {name: binding.signature for name, binding in bindings.items()}

    def run(self, signature: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> Arrays:
        """Compute `outputs` of `signature`; see the port."""
        binding = self._bindings[signature]
        try:
            values = self._values(binding, binding.feed(inputs), outputs)
        except Exception as error:
            raise self._failure(error, binding, inputs) from error
        # A scalar string comes as bytes, which no numpy type carries unchanged but object.
        return {
            name: binding.result(name, np.array(value, np.object_) if isinstance(value, bytes) else value)
            for name, value in values.items()
        }

    def _values(self, binding: Binding, feed: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> dict[str, Any]:
        function, constant = self._functions[binding.native], self._tf.constant
        portions = []
        for part in binding.portions(feed) if binding.rows else [feed]:
            answered = function(**{name: constant(value) for name, value in part.items()})
            portions.append([answered[binding.outputs[name]].numpy() for name in outputs])
        count = max(len(value) for value in feed.values()) if binding.rows else 0
        values = binding.joined(portions, count) if binding.rows else portions[0]
        return dict(zip(outputs, values, strict=True))

    def _failure(self, error: Exception, binding: Binding, inputs: Mapping[str, NDArray[Any]]) -> EdgewiseError:
        signature = binding.signature.name
        errors = self._tf.errors
        _log.info("%s: %s failed: %s", self._shown, signature, one_line(error))
        if isinstance(error, (errors.ResourceExhaustedError, MemoryError)):
            return ResourceExhaustedError("no memory to compute the answer; send less at once", retry_after_s=1.0)
        if isinstance(error, (errors.InvalidArgumentError, errors.OutOfRangeError, ValueError, TypeError)):
            sent = ", ".join(f"{name}: {value.dtype}{list(value.shape)}" for name, value in inputs.items())
            return InvalidArgumentError(
                f"the model cannot compute {signature!r} from these inputs: "
                f"a shape, an index or another value does not suit its graph ({sent})"
            )
        _log.error("%s: %s failed", self._shown, signature, exc_info=error)
        return InternalError("the model failed to compute an answer")

    def close(self) -> None:
        """Free the memory."""
        self._functions = {}
        self._loaded = None
        gc.collect()  # functions and variables refer to each other
