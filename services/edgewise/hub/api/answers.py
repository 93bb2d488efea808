"""Answers in JSON of what the control plane tells."""

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter
from starlette.responses import Response

from edgewise.hub.api.requests import Refusal

_LARGE: Final = 50
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Refusal, "description": text}
    for status, text in {
        400: "Something that was sent is wrong.",
        401: "No token, or an unknown one.",
        403: "The token does not open this.",
        404: "There is no such thing.",
        408: "The body did not come.",
        409: "Not possible in the present state, or there already.",
        413: "The body is too long.",
        429: "Too many wrong credentials.",
        503: "The database or the disk fails; try again.",
    }.items()
}
"""Of every route, for OpenAPI."""


async def answer(kind: Any, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value of a type as JSON.

    Args:
        kind: dataclasses, and lists of them.
    """
    adapter = _adapter(kind)
    # A thousand sites take a while, in which others are to be answered.
    content = await asyncio.to_thread(adapter.dump_json, value) if _is_large(value) else adapter.dump_json(value)
    fields = {"cache-control": "no-store", **(headers or {})}
    return Response(content, status, fields, "application/json")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _is_large(value: Any) -> bool:
    return len(value if isinstance(value, list) else getattr(value, "sites", ())) > _LARGE
