"""One call of `predict`, checked before anything is sent."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.client.images import EncodedImage, read_image
from edgewise.core.errors import DeadlineExceededError, InvalidArgumentError
from edgewise.core.requests import ModelSpec

Inputs = NDArray[Any] | Mapping[str, NDArray[Any]] | bytes | bytearray | memoryview | str | PathLike[str]
"""A tensor for the only input, tensors by input name, or an encoded image (its bytes, or the path of its file)."""


@dataclass(frozen=True, slots=True)
class PredictCall:
    """A prediction to ask for.

    Attributes:
        inputs: an image, a tensor without a name, or tensors by name.
        signature: "" means the model's default for what is given.
        deadline_s: `time.monotonic()` by which the answer must be there.
        route: the gateway's route to take; "" leaves it to the gateway.
        source: what the inputs come from; "" says nothing of it.
        idempotent: whether a second attempt may be made when the first one is lost.
    """

    spec: ModelSpec
    inputs: EncodedImage | NDArray[Any] | dict[str, NDArray[Any]]
    signature: str
    outputs: tuple[str, ...]
    started_s: float
    deadline_s: float
    request_id: str
    route: str
    source: str
    idempotent: bool


MAX_TIMEOUT_S = 86_400.0
"""The longest budget that a server takes; whoever asks for more gets this."""


def checked_timeout_s(timeout_s: float) -> float:
    """A budget in seconds, at most a day.

    Raises:
        InvalidArgumentError: it is not more than 0.
    """
    if not timeout_s > 0:
        raise InvalidArgumentError(f"timeout_s is {timeout_s}; it must be more than 0 seconds")
    return min(timeout_s, MAX_TIMEOUT_S)


def model_spec(model: str, version: int | None, label: str | None) -> ModelSpec:
    """Which model is meant.

    Raises:
        InvalidArgumentError: no name, a version below 0, or both a version and a label.
    """
    if not model:
        raise InvalidArgumentError("the model's name is empty")
    if version is not None and label is not None:
        raise InvalidArgumentError("give a version or a label, not both")
    if version is not None and version < 0:
        raise InvalidArgumentError(f"version {version} is negative; versions are 0 or more")
    return ModelSpec(model, version, label)


def remaining_s(deadline_s: float) -> float:
    """Seconds left until the deadline.

    Raises:
        DeadlineExceededError: none are left.
    """
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise DeadlineExceededError("the deadline passed before there was an answer")
    return left_s


def predict_call(
    spec: ModelSpec,
    inputs: Inputs,
    *,
    signature: str | None,
    outputs: Sequence[str],
    timeout_s: float,
    request_id: str | None,
    route: str | None,
    idempotent: bool,
    source: str | None = None,
) -> PredictCall:
    """Check the arguments of `Client.predict`; files are read here.

    Raises:
        InvalidArgumentError: what is wrong, and what would be right.
    """
    budget_s = checked_timeout_s(timeout_s)
    if isinstance(outputs, str):
        raise InvalidArgumentError(f"outputs is the text {outputs!r}; it must be a sequence of names")
    for what, value in (("request_id", request_id), ("route", route), ("source", source)):
        if value is not None and not (value.isascii() and value.isprintable()):
            raise InvalidArgumentError(f"{what} must be printable ASCII")
    started_s = time.monotonic()
    return PredictCall(
        spec=spec,
        inputs=_checked(inputs),
        signature=signature or "",
        outputs=tuple(outputs),
        started_s=started_s,
        deadline_s=started_s + budget_s,
        request_id=request_id or "",
        route=route or "",
        source=source or "",
        idempotent=idempotent,
    )


def _checked(inputs: Inputs) -> EncodedImage | NDArray[Any] | dict[str, NDArray[Any]]:
    if isinstance(inputs, np.ndarray):
        return inputs
    if isinstance(inputs, Mapping):
        for name, array in inputs.items():
            if not isinstance(array, np.ndarray):
                raise InvalidArgumentError(f"input {name!r} is a {type(array).__name__}; give a numpy array")
        if not inputs:
            raise InvalidArgumentError("there are no inputs")
        return dict(inputs)
    if isinstance(inputs, bytes | bytearray | memoryview | str | PathLike):
        return read_image(inputs)
    raise InvalidArgumentError(
        f"inputs is a {type(inputs).__name__}; give a numpy array, a dict of them by input name, "
        "or an image as bytes or as the path of its file"
    )
