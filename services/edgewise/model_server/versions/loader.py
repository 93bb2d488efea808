"""Loads a version: reads model.toml and the model, warms it up, and checks its golden inputs.

What comes out answers its first request as fast as its last, and answers the known inputs right. Everything that keeps
a version from this is an EdgewiseError in words for the one who made the model.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import EdgewiseError, FailedPreconditionError, InvalidArgumentError
from edgewise.core.releases import GOLDEN_INPUT
from edgewise.core.requests import PredictRequest
from edgewise.core.signatures import check_inputs
from edgewise.core.tensors import DType, Signature, TensorSpec
from edgewise.model_server.backends.port import Arrays
from edgewise.model_server.config.model_config import Golden, ModelConfig, Warmup
from edgewise.model_server.versions.loading import LoadedVersion
from edgewise.protocols.dtypes import dtype_of, numpy_dtype

_log = logging.getLogger(__name__)

WARMUP_REQUESTS = Path("assets.extra", "tf_serving_warmup_requests")

# What a message shows of an answer.
_MAX_SHOWN = 8

Adjust = Callable[[ModelConfig], ModelConfig]


def load_version(name: str, version: int, directory: Path, *, adjust: Adjust | None = None) -> LoadedVersion:
    """Load, warm and check the version in `directory`.

    Args:
        name: of the model, for the log.
        version: its number, for the log.
        directory: the version's files.
        adjust: replaces what model.toml says by what the server was told on its command line.

    Raises:
        EdgewiseError: why the version cannot serve.
    """
    from edgewise.model_server.backends import registry  # noqa: PLC0415
    from edgewise.model_server.config.model_config_file import load_model_config  # noqa: PLC0415
    from edgewise.model_server.images import transforms  # noqa: PLC0415  (loading happens off the path to the first listen)

    config = load_model_config(directory)
    if adjust is not None:
        config = adjust(config)
    model = registry.backend(config.backend).load(directory, config)
    try:
        signatures = dict(model.signatures)
        pipelines = {pipeline.name: pipeline for pipeline in config.pipelines}
        for pipeline in config.pipelines:
            transforms.check_pipeline(pipeline, model.signatures)
            signatures[pipeline.name] = transforms.pipeline_signature(pipeline)
        loaded = LoadedVersion(model, config, signatures, pipelines)
        warm_up(loaded)
        loaded = replace(loaded, replay_s=replay_warmup_requests(loaded, name, directory))
        for golden in config.golden:
            verify(loaded, golden, directory)
    except BaseException:
        model.close()
        raise
    _log.debug("%s version %d is loaded, warm and checked", name, version)
    return loaded


def run(
    loaded: LoadedVersion, signature: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] = ()
) -> Arrays:
    """Compute a signature, pipelines included, in the calling thread.

    Args:
        loaded: the version.
        signature: the name of one of its signatures.
        inputs: all inputs of the signature, which are checked.
        outputs: names of the outputs wanted; empty means all.

    Raises:
        FailedPreconditionError: no such signature.
        InvalidArgumentError: the inputs or the outputs do not fit it.
    """
    found = loaded.signatures.get(signature)
    if found is None:
        raise FailedPreconditionError(f"no signature {signature!r}; there are {_names(loaded.signatures)}")
    check_inputs(found, inputs, dtype_of)
    wanted = tuple(outputs) or tuple(spec.name for spec in found.outputs)
    for name in wanted:
        if found.output(name) is None:
            raise InvalidArgumentError(
                f"no output {name!r} of signature {signature!r}; there are {_names(o.name for o in found.outputs)}"
            )
    pipeline = loaded.pipelines.get(signature)
    if pipeline is None:
        return loaded.model.run(signature, inputs, wanted)
    from edgewise.model_server.images import transforms  # noqa: PLC0415  (as above)

    batch = transforms.decode_images(list(inputs[pipeline.input_name]), pipeline.image)
    scores = loaded.model.run(pipeline.base, {pipeline.image.tensor: batch}, (pipeline.output.tensor,))
    named = transforms.label(scores[pipeline.output.tensor], pipeline.output)
    return {name: named[name] for name in wanted}


# ---- warm-up


def warm_up(loaded: LoadedVersion) -> None:
    """Run every signature on zeros, as `warmup` says, and decode an image where there are image pipelines.

    Raises:
        FailedPreconditionError: the model cannot compute its own signature.
    """
    warmup = loaded.config.warmup
    if not warmup.batch_sizes:
        return
    for signature in loaded.model.signatures.values():
        _warm_signature(loaded, signature, warmup)
    for pipeline in loaded.config.pipelines:
        from edgewise.model_server.images import transforms  # noqa: PLC0415  (as above)

        transforms.warm_up(pipeline.image)
        transforms.label(np.zeros((1, len(pipeline.output.labels)), np.float32), pipeline.output)


def _warm_signature(loaded: LoadedVersion, signature: Signature, warmup: Warmup) -> None:
    outputs = tuple(spec.name for spec in signature.outputs)
    ran: set[tuple[tuple[int, ...], ...]] = set()
    for batch_size in warmup.batch_sizes:
        inputs = {spec.name: _zeros(spec, batch_size) for spec in signature.inputs}
        shapes = tuple(array.shape for array in inputs.values())
        if shapes in ran:
            continue
        ran.add(shapes)
        try:
            for _ in range(warmup.repeats):
                loaded.model.run(signature.name, inputs, outputs)
        except EdgewiseError as error:
            if any(_is_guess(spec) for spec in signature.inputs):
                # Only the graph knows which texts, which free lengths it takes; that is no fault of the version.
                _log.info("signature %r was not warmed up: %s", signature.name, error.message)
                return
            raise FailedPreconditionError(
                f"warm-up of signature {signature.name!r} with shapes {list(map(list, shapes))}: {error.message}"
            ) from error


def _zeros(spec: TensorSpec, batch_size: int) -> NDArray[Any]:
    shape = [max(length, 1) if length >= 0 else 1 for length in spec.shape or ()]
    if shape and spec.batched and spec.shape is not None and spec.shape[0] < 0:
        shape[0] = batch_size
    if spec.dtype is DType.STRING:
        return np.full(shape, b"", np.object_)
    return np.zeros(shape, numpy_dtype(spec.dtype))


def _is_guess(spec: TensorSpec) -> bool:
    """Whether zeros of some shape need not be what the graph takes."""
    if spec.shape is None or spec.dtype is DType.STRING:
        return True
    return any(length < 0 for length in spec.shape[1 if spec.batched else 0 :])


def replay_warmup_requests(loaded: LoadedVersion, name: str, directory: Path) -> float | None:
    """Run the requests that TensorFlow Serving would warm the version up with, if it brings any.

    Returns: the seconds it took; None when there was nothing to run.
    Raises:
        FailedPreconditionError: the file is broken, or a request does not fit the model.
    """
    path = directory / WARMUP_REQUESTS
    replays = loaded.config.warmup_replays
    if not replays or not path.is_file():
        return None
    started_s = time.monotonic()
    from edgewise.protocols.warmup_records import read_warmup_requests  # noqa: PLC0415  (few models bring any)

    for index, request in enumerate(_refusing(read_warmup_requests(path, loaded.signatures, name), path.name)):
        inputs = cast("dict[str, NDArray[Any]]", request.inputs)
        try:
            for _ in range(replays):
                run(loaded, request.signature, inputs, request.outputs)
        except EdgewiseError as error:
            raise FailedPreconditionError(f"{path.name}: request {index}: {error.message}") from error
    return time.monotonic() - started_s


def _refusing(requests: Iterator[PredictRequest], file: str) -> Iterator[PredictRequest]:
    """A broken file is a fault of the version, not of a request."""
    try:
        yield from requests
    except InvalidArgumentError as error:
        raise FailedPreconditionError(f"{file}: {error.message}") from error


# ---- golden inputs


def verify(loaded: LoadedVersion, golden: Golden, directory: Path) -> None:
    """Ask for a known answer.

    Raises:
        FailedPreconditionError: the answer is another one; the message says what was expected and what came.
    """
    what = f"{GOLDEN_INPUT} {golden.file!r}"
    try:
        inputs = _golden_inputs(loaded, golden, directory)
        output = run(loaded, golden.signature, inputs, (golden.output,))[golden.output]
    except EdgewiseError as error:
        raise FailedPreconditionError(f"{what}: {error.message}") from error
    first = output[0] if output.ndim else output
    values = np.asarray(first).ravel()
    if isinstance(golden.expect, str):
        if output.dtype != np.object_:
            raise FailedPreconditionError(f"{what}: output {golden.output!r} is numbers, expected {golden.expect!r}")
        got = values[0].decode(errors="replace") if len(values) else ""
        if got != golden.expect:
            raise FailedPreconditionError(f"{what}: {golden.output!r} is {got!r}, expected {golden.expect!r}")
        return
    if output.dtype == np.object_:
        raise FailedPreconditionError(f"{what}: output {golden.output!r} is text, expected numbers")
    numbers = [float(value) for value in values[: len(golden.expect)]]
    right = len(numbers) == len(golden.expect) and all(
        math.isclose(number, expected, rel_tol=0.0, abs_tol=golden.tolerance)
        for number, expected in zip(numbers, golden.expect, strict=True)
    )
    if not right:
        raise FailedPreconditionError(
            f"{what}: {golden.output!r} begins with {_shown(numbers)}, "
            f"expected {_shown(golden.expect)} within {golden.tolerance:g}"
        )


def _golden_inputs(loaded: LoadedVersion, golden: Golden, directory: Path) -> dict[str, NDArray[Any]]:
    path = next((p for p in (directory / golden.file, directory.parent / golden.file) if p.is_file()), None)
    if path is None:
        raise FailedPreconditionError("there is no such file beside the model")
    pipeline = loaded.pipelines.get(golden.signature)
    if pipeline is not None:
        return {pipeline.input_name: np.array([path.read_bytes()], np.object_)}
    signature = loaded.signatures.get(golden.signature)
    if signature is None:
        raise FailedPreconditionError(f"no signature {golden.signature!r}; there are {_names(loaded.signatures)}")
    if len(signature.inputs) != 1:
        raise FailedPreconditionError(
            f"signature {golden.signature!r} has {len(signature.inputs)} inputs, expected one"
        )
    spec = signature.inputs[0]
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FailedPreconditionError("not an .npy file of numbers") from error
    if spec.shape is not None and spec.batched and array.ndim == len(spec.shape) - 1:
        array = array[np.newaxis]
    if array.dtype.kind in "biuf" and spec.dtype is not DType.STRING:
        array = array.astype(numpy_dtype(spec.dtype))
    elif array.dtype.kind in "SU":
        array = (array if array.dtype.kind == "S" else np.char.encode(array, "utf-8")).astype(np.object_)
    return {spec.name: np.ascontiguousarray(array)}


def _names(names: Any) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _shown(numbers: Sequence[float]) -> str:
    rest = ", …" if len(numbers) > _MAX_SHOWN else ""
    return f"[{', '.join(f'{number:g}' for number in numbers[:_MAX_SHOWN])}{rest}]"
