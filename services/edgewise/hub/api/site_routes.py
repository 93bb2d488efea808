"""Sites, as people look at them, let them in and let them go."""

import base64
import hashlib
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from edgewise.hub.api.access import Calling, GuardedRoute, needs
from edgewise.hub.api.answers import PROBLEMS, answer
from edgewise.hub.api.hub import TheHub
from edgewise.hub.api.path_names import SITE
from edgewise.hub.api.requests import Done, EnrollmentAsked, EnrollmentMade, LabelsChanged
from edgewise.hub.control.actors import Role
from edgewise.hub.control.status import SiteStatus
from edgewise.protocols.documents import document_bytes

router = APIRouter(route_class=GuardedRoute, tags=["sites"], responses=PROBLEMS)


@router.get("/api/v1/sites", response_model=list[SiteStatus], summary="Sites")
@needs(Role.VIEWER)
async def sites(
    hub: TheHub,
    selector: Annotated[
        str, Query(description="Which are meant, by their labels.", max_length=4096, examples=["tier=edge,region!=eu"])
    ] = "",
) -> Response:
    """Those that a selector means, by name."""
    return await answer(list[SiteStatus], await hub.call(hub.plane.sites, selector))


@router.get("/api/v1/sites/{site}", response_model=SiteStatus, summary="One site")
@needs(Role.VIEWER)
async def one_site(site: SITE, hub: TheHub) -> Response:
    """What it said last, what it is told, and how far it is in each rollout."""
    return await answer(SiteStatus, await hub.call(hub.plane.site, site))


@router.patch("/api/v1/sites/{site}", response_model=SiteStatus, summary="Set labels, take labels away")
@needs(Role.OPERATOR)
async def label(site: SITE, asked: LabelsChanged, hub: TheHub, caller: Calling) -> Response:
    """Rollouts that there are already keep their sites."""
    await hub.call(hub.plane.label_site, site, asked.labels, asked.remove, caller.actor)
    return await answer(SiteStatus, await hub.call(hub.plane.site, site))


@router.post("/api/v1/sites/{site}/retire", response_model=Done, summary="Let a site go for good")
@needs(Role.ADMIN)
async def retire(site: SITE, hub: TheHub, caller: Calling) -> Response:
    """Its token opens nothing any more, and no rollout waits for it."""
    await hub.call(hub.plane.retire_site, site, caller.actor)
    return await answer(Done, Done())


@router.post("/api/v1/enrollments", response_model=EnrollmentMade, status_code=201, summary="Let a site join, once")
@needs(Role.ADMIN)
async def enrollment(asked: EnrollmentAsked, request: Request, hub: TheHub, caller: Calling) -> Response:
    """For a site that is there already, it replaces that site's key."""
    root = await hub.in_files(hub.repository.read, "1.root.json")
    token = await hub.call(
        hub.plane.create_enrollment,
        asked.site,
        asked.tier,
        asked.labels,
        actor=caller.actor,
        expires_s=asked.expires_s,
    )
    url = hub.url or str(request.base_url).rstrip("/")
    word = enrollment_word(url, asked.site, token, hashlib.sha256(root).hexdigest())
    return await answer(EnrollmentMade, EnrollmentMade(enrollment=word), status=201)


def enrollment_word(url: str, site: str, token: str, root_sha256: str) -> str:
    """The one word that a person takes to a site; `edgewise agent enroll` reads it.

    Args:
        url: of the hub, as the site reaches it.
        root_sha256: of 1.root.json.
    """
    value = {"hub": url, "site": site, "token": token, "root_sha256": root_sha256}
    return "ew1." + base64.urlsafe_b64encode(document_bytes(value)).decode().rstrip("=")
