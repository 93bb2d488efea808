"""Releases, as people look at them."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from edgewise.core.versions import MAX_VERSION
from edgewise.hub.api.access import GuardedRoute, needs
from edgewise.hub.api.answers import PROBLEMS, answer
from edgewise.hub.api.hub import TheHub
from edgewise.hub.api.path_names import MODEL
from edgewise.hub.control.actors import Role
from edgewise.hub.control.status import ReleaseStatus

router = APIRouter(route_class=GuardedRoute, tags=["releases"], responses=PROBLEMS)


@router.get("/api/v1/releases", response_model=list[ReleaseStatus], summary="All releases")
@needs(Role.VIEWER)
async def releases(hub: TheHub) -> Response:
    """By model and version. A release is made by bringing its blobs, its manifest as a target file, and a signed targets.json."""
    return await answer(list[ReleaseStatus], await hub.call(hub.plane.releases))


@router.get("/api/v1/releases/{model}/{version}", response_model=ReleaseStatus, summary="One release")
@needs(Role.VIEWER)
async def release(
    model: MODEL, version: Annotated[int, Path(description="Of the model.", ge=1, le=MAX_VERSION)], hub: TheHub
) -> Response:
    """Its manifest is the target file releases/MODEL/VERSION.json."""
    return await answer(ReleaseStatus, await hub.call(hub.plane.release, model, version))
