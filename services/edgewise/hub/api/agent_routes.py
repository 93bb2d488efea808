"""What agents ask: to join, what to do; and what they tell."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from edgewise.core.errors import PermissionDeniedError
from edgewise.hub.api.access import Calling, GuardedRoute, needs
from edgewise.hub.api.answers import PROBLEMS, answer
from edgewise.hub.api.bodies import whole_body
from edgewise.hub.api.hub import Hub, TheHub
from edgewise.hub.api.path_names import SITE
from edgewise.hub.api.ranges import etag_matches
from edgewise.hub.api.requests import Enrolled, Enrolling, ReportTaken
from edgewise.hub.control.actors import Role
from edgewise.protocols.site_report import MAX_REPORT_BYTES

LONGEST_WAIT_S: Final = 300.0
_MAX_ENROLLING_BYTES: Final = 65536
_ENVELOPE: Final = "application/vnd.dsse.envelope.v1+json"
_MAX_ENVELOPE_BYTES: Final = 2 * MAX_REPORT_BYTES + 65536

router = APIRouter(route_class=GuardedRoute, tags=["agents"], responses=PROBLEMS)


@router.post("/api/v1/enroll", response_model=Enrolled, summary="A site joins")
@needs(is_open=True, max_body_bytes=_MAX_ENROLLING_BYTES)
async def enroll(asked: Enrolling, hub: TheHub, caller: Calling) -> Response:
    """The token of an enrolment opens this, once. The site's key signs its reports from then on."""
    hub.guard.attempts.check(caller.address)
    try:
        site, token = await hub.call(
            hub.plane.enroll, asked.token, asked.public_key, asked.tier, asked.labels, address=caller.address
        )
    except PermissionDeniedError:
        hub.guard.attempts.failed(caller.address)
        raise
    return await answer(Enrolled, Enrolled(site=site, site_token=token))


@router.get(
    "/api/v1/sites/{site}/desired",
    summary="What a site is to have",
    response_class=Response,
    responses={
        200: {"description": "A DSSE envelope of the desired state.", "content": {_ENVELOPE: {}}},
        304: {"description": "Nothing new came within `wait_s`."},
    },
)
@needs(Role.VIEWER, sites=True)
async def desired(
    site: SITE,
    request: Request,
    hub: TheHub,
    caller: Calling,
    *,
    wait_s: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S, description="Wait so long for another one.")] = 0.0,
    if_none_match: Annotated[str | None, Header(description="The ETag of the one that is known.")] = None,
) -> Response:
    """Signed by the hub's key for desired states. With `If-None-Match` it waits for another one than that."""
    is_site = caller.role is None
    etag, envelope = await _desired(hub, site, is_site=is_site)
    if wait_s > 0.0 and etag_matches(if_none_match, etag):
        until_s = asyncio.get_running_loop().time() + wait_s
        async with hub.sites.watching(site, request) as watch:
            while True:
                watch.clear()
                etag, envelope = await _desired(hub, site, is_site=is_site)
                if not etag_matches(if_none_match, etag) or not await watch.changed(until_s):
                    break
    fields = {"etag": etag, "cache-control": "no-cache, private"}
    if etag_matches(if_none_match, etag):
        return Response(status_code=304, headers=fields)
    return Response(envelope, headers=fields, media_type=_ENVELOPE)


@router.post(
    "/api/v1/sites/{site}/reports",
    response_model=ReportTaken,
    summary="A site says where it is",
    openapi_extra={"requestBody": {"required": True, "content": {_ENVELOPE: {}}}},
)
@needs(sites=True, max_body_bytes=_MAX_ENVELOPE_BYTES)
async def report(site: SITE, request: Request, hub: TheHub) -> Response:
    """A DSSE envelope, signed with the site's key. One that came before changes nothing."""
    content = await whole_body(request)
    sequence = await hub.reports.report(site, content)
    hub.metrics.reports.inc()
    return await answer(ReportTaken, ReportTaken(sequence=sequence))


async def _desired(hub: Hub, site: str, *, is_site: bool) -> tuple[str, bytes]:
    """The ETag, and the envelope."""
    found = hub.plane.kept(site, hub.clock(), asking=is_site)
    if found is None:
        found = await hub.call(hub.plane.desired, site, hub.clock(), asking=is_site)
    digest, envelope = found
    return f'"{digest}"', envelope
