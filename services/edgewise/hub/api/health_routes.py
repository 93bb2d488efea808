"""Whether the hub is there, and how it is."""

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from edgewise.hub.api.access import GuardedRoute, needs
from edgewise.hub.api.answers import PROBLEMS, answer
from edgewise.hub.api.hub import TheHub
from edgewise.hub.api.metrics import CONTENT_TYPE
from edgewise.hub.api.publishing import expiries_s
from edgewise.hub.control.actors import Role
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.control.status import RolloutSummary, SiteStatus

router = APIRouter(route_class=GuardedRoute, tags=["health"], responses=PROBLEMS)


class Live(BaseModel):
    """The hub answers."""

    live: bool = True


@router.get("/healthz", response_model=Live, summary="Whether the hub is there")
@needs(is_open=True)
async def healthz() -> Response:
    """It answers; nothing is looked at."""
    return await answer(Live, Live())


@router.get(
    "/metrics",
    summary="What the hub counts",
    response_class=Response,
    responses={200: {"description": "For Prometheus.", "content": {"text/plain": {}}}},
)
@needs(Role.VIEWER)
async def metrics(hub: TheHub) -> Response:
    """Sites and rollouts by state, requests by route, waiting polls, bytes of blobs."""
    sites, rollouts = await hub.call(_standing, hub.plane)
    versions = await hub.in_files(hub.repository.versions)
    waiting = hub.sites.count + hub.rollouts.count
    expires_s = await hub.in_files(expiries_s, hub.repository)
    content = hub.metrics.exposition(sites, rollouts, waiting=waiting, versions=versions, expires_s=expires_s)
    return Response(content, headers={"content-type": CONTENT_TYPE})


def _standing(plane: ControlPlane) -> tuple[list[SiteStatus], list[RolloutSummary]]:
    return plane.sites(), plane.rollouts()
