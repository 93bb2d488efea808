"""What a browser is shown where there is no page."""

from typing import Final

from fastapi import APIRouter
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from edgewise.core.errors import NotFoundError
from edgewise.hub.pages.door import Door

_API: Final = "/api"
_LONGEST_PATH: Final = 200


def add_missing_page(router: APIRouter, door: Door) -> None:
    """Put it behind all other pages: it takes what none of them takes, of browsers, outside of the API."""
    page_route = door.route_class()

    class MissingRoute(page_route):  # type: ignore[misc, valid-type]  # a class of this door, made when it was
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            return super().matches(scope) if _wants_page(scope) else (Match.NONE, {})

    router.add_api_route(
        "/{path:path}",
        _missing,
        methods=["GET"],
        include_in_schema=False,
        response_model=None,
        route_class_override=MissingRoute,
    )


async def _missing(request: Request) -> Response:
    raise NotFoundError(f"There is no page {request.url.path[:_LONGEST_PATH]} on this hub.")


def _wants_page(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    path: str = scope["path"]
    below_api = path == _API or path.startswith(f"{_API}/")
    return not below_api and "text/html" in Headers(scope=scope).get("accept", "")
