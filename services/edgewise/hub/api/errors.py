"""Errors as answers: {"error": "...", "code": "NOT_FOUND"}, whatever went wrong."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match, Route

from edgewise.core.errors import Code, EdgewiseError
from edgewise.protocols.http_status import TFS_STATUS

STATUS: Final = MappingProxyType({**TFS_STATUS, Code.FAILED_PRECONDITION: 409})
_BY_STATUS: Final = MappingProxyType(
    {
        401: Code.UNAUTHENTICATED,
        403: Code.PERMISSION_DENIED,
        404: Code.NOT_FOUND,
        408: Code.DEADLINE_EXCEEDED,
        413: Code.OUT_OF_RANGE,
    }
)
_LONGEST_VALUE: Final = 80
_UNREADABLE: Final = "There was an error parsing the body"
"""What FastAPI says of bytes that are no text, and of nesting without end."""


class TooLargeError(HTTPException):
    """A body that is longer than it may be. An HTTPException, since FastAPI passes no other one on while it reads a body."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(413, f"the body is longer than {most_bytes} bytes, the most that is taken here")


class TooSlowError(HTTPException):
    """A body that does not come."""

    def __init__(self) -> None:
        super().__init__(408, "the body came too slowly, or not at all")


def status_of(error: EdgewiseError) -> int:
    """The HTTP status of an error."""
    return STATUS[error.code]


def error_answer(error: EdgewiseError) -> JSONResponse:
    """An error as it is answered."""
    headers = {}
    if error.code == Code.UNAUTHENTICATED:
        headers["www-authenticate"] = 'Bearer realm="edgewise"'
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    return JSONResponse({"error": error.message, "code": error.code.value}, status_of(error), headers)


def add_error_answers(app: FastAPI) -> None:
    """Have an app answer every error so."""
    app.add_exception_handler(EdgewiseError, _edgewise)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def _edgewise(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EdgewiseError)  # noqa: S101  the handler of this class
    return error_answer(error)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  the handler of this class
    text = "; ".join(_fault(fault) for fault in error.errors()[:3])
    return JSONResponse({"error": text, "code": Code.INVALID_ARGUMENT.value}, 400)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  the handler of this class
    text = error.detail
    if error.status_code == 404:
        text = f"there is no {request.url.path[:200]}; the paths are listed at /docs"
    elif error.status_code == 405:
        allowed = ", ".join(sorted(_methods(request)))
        text = f"{request.method} is not for {request.url.path[:200]}; expected {allowed}"
        return JSONResponse({"error": text, "code": Code.UNIMPLEMENTED.value}, 405, {"allow": allowed})
    elif text == _UNREADABLE:
        text = "the body is not JSON that can be read"
    code = _BY_STATUS.get(error.status_code)
    if code is None:
        code = Code.INVALID_ARGUMENT if error.status_code < 500 else Code.INTERNAL
    return JSONResponse({"error": text, "code": code.value}, error.status_code, error.headers)


def _methods(request: Request) -> set[str]:
    """Of all routes to a path: Starlette's own answer names those of the first one alone."""
    routers: Sequence[APIRouter] = request.app.state.routers
    routes = (route for router in routers for route in router.routes if isinstance(route, Route))
    return {
        method for route in routes if route.matches(request.scope)[0] != Match.NONE for method in route.methods or ()
    }


def _fault(fault: Mapping[str, Any]) -> str:
    """What is wrong in one place."""
    if fault["type"] == "json_invalid":
        return f"the body is not JSON: {fault.get('ctx', {}).get('error', '')} at byte {fault['loc'][-1]}"
    place = ".".join(str(part) for part in fault["loc"]) or "the body"
    expected = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "missing":
        return f"{place}: it is required"
    if fault["type"] == "extra_forbidden":
        return f"{place}: there is no such field"
    found = fault.get("input")
    shown = "" if isinstance(found, dict | list) else f"found {ascii(found)[:_LONGEST_VALUE]}, "
    return f"{place}: {shown}{expected[:1].lower()}{expected[1:]}"
