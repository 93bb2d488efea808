"""Why a hub did not do what it was asked, for people: what it answered, or what answered in its place, or that nothing did."""

import json
import ssl
from collections.abc import Mapping
from typing import Final

import httpx

from edgewise.core.errors import (
    AlreadyExistsError,
    CancelledError,
    DeadlineExceededError,
    EdgewiseError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)

IS_IT_RIGHT: Final = "is the address right (--hub, EDGEWISE_HUB)?"
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"})
"""What OpenSSL, of one version or another, makes of an answer that is not TLS."""
_BY_CODE: Final[Mapping[str, type[EdgewiseError]]] = {
    kind.code.value: kind
    for kind in (
        InvalidArgumentError,
        FailedPreconditionError,
        OutOfRangeError,
        NotFoundError,
        AlreadyExistsError,
        UnauthenticatedError,
        PermissionDeniedError,
        ResourceExhaustedError,
        UnavailableError,
        DeadlineExceededError,
        CancelledError,
        UnimplementedError,
        InternalError,
    )
}
_BY_STATUS: Final[Mapping[int, type[EdgewiseError]]] = {
    401: UnauthenticatedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: FailedPreconditionError,
    413: ResourceExhaustedError,
    429: ResourceExhaustedError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def refusal(url: str, response: httpx.Response) -> EdgewiseError:
    """What the hub answered, or somebody on the way to it.

    Args:
        response: of status 400 or more, its content read.
    """
    status = response.status_code
    try:
        value = json.loads(response.content)
        message, code = str(value["error"]), str(value["code"])
    except (ValueError, KeyError, TypeError, RecursionError):
        message, code = _unlike_a_hub(url, status), ""
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status) or (InternalError if status >= 500 else InvalidArgumentError)
    if kind is UnauthenticatedError:
        message += " (the token is that of --token-file, EDGEWISE_HUB_TOKEN or the configuration file)"
    return kind(message, retry_after_s=_seconds(response.headers.get("retry-after", "")))


def unreachable(url: str, error: httpx.TransportError) -> UnavailableError:
    """Why there was no answer."""
    cause = _first_cause(error)
    if isinstance(error, httpx.TimeoutException):
        why = "does not answer; is it running, and is the way to it open?"
    elif isinstance(cause, ssl.SSLCertVerificationError):
        why = "has a certificate that is not trusted here; say --ca FILE with who issued it"
    elif isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
        why = "answers, but not in TLS, which https:// asks for; is it one that is reached with http://?"
    elif isinstance(cause, ssl.SSLError):
        why = f"and this command find no way to speak TLS with one another ({cause.reason})"
    elif isinstance(error, httpx.RemoteProtocolError) and url.startswith("http:"):
        why = "ended the connection without an answer in HTTP; is it one that is reached with https://?"
    else:
        why = f"cannot be reached; is it running, and {IS_IT_RIGHT}"
    return UnavailableError(f"the hub {url} {why}")


def _unlike_a_hub(url: str, status: int) -> str:
    if status >= 500:
        return f"what answers at {url} gives HTTP status {status} and no reason: a proxy before a hub that is away, or no hub; {IS_IT_RIGHT}"
    return f"what answers at {url} gives HTTP status {status} and no reason, so it may be no hub of Edgewise; {IS_IT_RIGHT}"


def _first_cause(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() else None
