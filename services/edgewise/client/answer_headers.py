"""What requests and answers say beside the tensors: the same names as HTTP headers and as gRPC metadata."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from edgewise.client.call import PredictCall
from edgewise.client.prediction import Prediction
from edgewise.core.errors import Code, EdgewiseError, InternalError

# One for each code: those of `core.errors`, whatever else of theirs another room derives.
_ERRORS = {
    error.code: error for error in EdgewiseError.__subclasses__() if error.__module__ == EdgewiseError.__module__
}


def request_headers(call: PredictCall) -> list[tuple[str, str]]:
    """The headers of a prediction, without its deadline."""
    headers = []
    if call.request_id:
        headers.append(("x-request-id", call.request_id))
    if call.route:
        headers.append(("x-edgewise-route", call.route))
    if call.source:
        headers.append(("x-edgewise-source", call.source))
    if not call.idempotent:
        headers.append(("x-edgewise-idempotent", "false"))
    return headers


def prediction(
    call: PredictCall,
    outputs: Mapping[str, NDArray[Any]],
    headers: Mapping[str, str],
    *,
    version: int | None,
    latency_s: float,
) -> Prediction:
    """An answer, put together from its tensors and its headers.

    Args:
        call: what was asked.
        outputs: by name.
        headers: names in lower case.
        version: as the message says, for servers that send no headers of ours.
        latency_s: seconds from the call to the answer.
    """
    said = _whole(headers.get("x-edgewise-model-version", ""))
    return Prediction(
        outputs=outputs,
        model=call.spec.name,
        version=version if said is None else said,
        site=headers.get("x-edgewise-site", ""),
        tier=headers.get("x-edgewise-tier", ""),
        confidence=_number(headers.get("x-edgewise-confidence", "")),
        attempts=_whole(headers.get("x-edgewise-attempts", "")) or 1,
        degraded=headers.get("x-edgewise-degraded", ""),
        latency_s=latency_s,
        request_id=headers.get("x-request-id", call.request_id),
    )


def error_of(code: Code, message: str, retry_after: str = "") -> EdgewiseError:
    """The error of the tree that stands for a code.

    Args:
        code: what went wrong, in any protocol.
        message: what the server said.
        retry_after: the header's value; anything but a number of seconds counts as absent.
    """
    return _ERRORS.get(code, InternalError)(message, retry_after_s=_number(retry_after))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
