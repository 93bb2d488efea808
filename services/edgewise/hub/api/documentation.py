"""The API as OpenAPI, and as a page that needs nothing from elsewhere."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from edgewise import __version__
from edgewise.hub.api.access import GuardedRoute, Need, need_of, needs

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code,pre{font-family:ui-monospace,monospace}section{border-top:1px solid;padding:.5rem 0}pre{overflow:auto}h3{margin:.5rem 0}"
)
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"

router = APIRouter(route_class=GuardedRoute)


@router.get("/openapi.json", include_in_schema=False)
@needs(is_open=True)
async def schema(request: Request) -> Response:
    """For programs."""
    return Response(json.dumps(request.app.openapi()), media_type="application/json")


@router.get("/docs", include_in_schema=False)
@needs(is_open=True)
async def page(request: Request) -> Response:
    """For people."""
    return HTMLResponse("".join(_page(request.app.openapi())), headers={"content-security-policy": _POLICY})


def describe(app: FastAPI, routers: tuple[APIRouter, ...]) -> None:
    """Have OpenAPI say who may call what."""
    marked = {
        (route.path, method.lower()): need_of(route.endpoint)
        for each in routers
        for route in each.routes
        if isinstance(route, GuardedRoute)
        for method in route.methods or ()
    }
    make = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            value = make()
            value.setdefault("components", {})["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of a person, or of a site."}
            }
            for path, operations in value["paths"].items():
                for method, operation in operations.items():
                    _mark(operation, marked[path.replace("{path}", "{path:path}"), method])
            app.openapi_schema = value
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way


def _mark(operation: dict[str, Any], need: Need) -> None:
    operation["responses"].pop("422", None)
    operation["security"] = [] if need.is_open else [{"token": []}]
    operation["x-edgewise-opened-by"] = who_may(need)


def who_may(need: Need) -> str:
    """For people."""
    if need.is_open:
        return "everybody"
    roles = f"the role {need.role}" if need.role is not None else ""
    return " or ".join(filter(None, (roles, "the site's own token" if need.sites else "")))


def _page(value: Mapping[str, Any]) -> Iterator[str]:
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Edgewise hub: API</title><style>{_STYLE}</style>'
    yield f'<main><h1>The API of this hub</h1><p>Version {escape(__version__)}. <a href="/openapi.json">openapi.json</a> for programs. '
    yield "Send <code>Authorization: Bearer TOKEN</code>; errors are <code>{&quot;error&quot;: ..., &quot;code&quot;: ...}</code>.</p>"
    for path, operations in value["paths"].items():
        for method, operation in operations.items():
            yield from _operation(path, method, operation)
    yield "</main></html>"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section><h3><code>{method.upper()} {escape(path)}</code></h3>"
    yield f"<p>{escape(operation.get('summary', ''))}. {escape(operation.get('description', ''))} "
    yield f"<em>For {escape(operation['x-edgewise-opened-by'])}.</em></p>"
    if operation.get("parameters"):
        yield "<ul>"
        for one in operation["parameters"]:
            yield f"<li><code>{escape(one['name'])}</code> ({escape(one['in'])}): {escape(one.get('description', ''))}</li>"
        yield "</ul>"
    yield "</section>"
