"""The app: all routes, what is around them, and the pages that somebody puts beside them."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, FastAPI

from edgewise import __version__
from edgewise.hub.api import (
    administration_routes,
    agent_routes,
    blob_routes,
    documentation,
    health_routes,
    release_routes,
    rollout_routes,
    sample_routes,
    segment_routes,
    site_routes,
    trust_routes,
)
from edgewise.hub.api.errors import add_error_answers
from edgewise.hub.api.hub import Hub
from edgewise.hub.api.observing import observe

API_ROUTERS: Final[tuple[APIRouter, ...]] = (
    health_routes.router,
    agent_routes.router,
    trust_routes.router,
    blob_routes.router,
    release_routes.router,
    site_routes.router,
    rollout_routes.router,
    sample_routes.router,
    segment_routes.router,
    administration_routes.router,
    documentation.router,
)
_DESCRIPTION: Final = (
    "Releases, sites and rollouts. Send `Authorization: Bearer TOKEN`; tokens of people have the role viewer, operator or admin, each of which "
    'may do what the one before it may. Errors are `{"error": "...", "code": "NOT_FOUND"}`.'
)


def create_app(hub: Hub, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The app of a hub.

    Args:
        routers: what is beside the API, such as pages for people; they look after who may see them by themselves.
    """
    app = FastAPI(
        title="Edgewise hub",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.hub = hub
    app.state.guard = hub.guard
    app.state.routers = (*API_ROUTERS, *routers)
    for router in app.state.routers:
        app.include_router(router)
    add_error_answers(app)
    observe(app, hub.metrics)
    documentation.describe(app, API_ROUTERS)
    return app
