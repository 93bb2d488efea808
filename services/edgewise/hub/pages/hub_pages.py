"""What concerns the hub as a whole: how things stand, the releases, the audit log."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.control.status import AuditEntry, ReleaseStatus, RolloutSummary, SiteStatus
from edgewise.hub.pages import rollout_view
from edgewise.hub.pages.door import Door, number
from edgewise.hub.pages.overview import answering, overview
from edgewise.hub.pages.port import Hub

_LATELY: Final = 8
_PAGE: Final = 100
_UPLOADS: Final = ("blob.put",)
"""One for each file of a release: where people look for what people did, hundreds of them are in the way."""


class HubPages:
    """Overview, releases, audit log."""

    def __init__(self, hub: Hub, door: Door) -> None:
        self._hub = hub
        self._door = door

    def add_to(self, router: APIRouter) -> None:
        """Put the pages where they belong."""
        for where, page in (("/", self.overview), ("/releases", self.releases), ("/audit", self.audit)):
            router.add_api_route(where, page, methods=["GET"], include_in_schema=False, response_model=None)

    async def overview(self, request: Request) -> Response:
        """How things stand."""
        visitor = self._door.visitor(request)
        sites, rollouts, audit = await self._hub.call(_standing, self._hub.plane)
        values = {
            "section": "Overview",
            "shown": overview(sites, rollouts, self._hub.clock()),
            "parts": rollout_view.parts,
            "audit": audit,
        }
        return await self._door.page(request, visitor, "overview.html", values)

    async def releases(self, request: Request) -> Response:
        """Every release."""
        visitor = self._door.visitor(request)
        found, sites = await self._hub.call(_releases, self._hub.plane)
        counts = {(model, version): count for model, versions in answering(sites) for version, count in versions}
        ordered = sorted(found, key=lambda one: (one.model, -one.version))
        rows = [(release, counts.get((release.model, release.version), 0)) for release in ordered]
        return await self._door.page(request, visitor, "releases.html", {"section": "Releases", "releases": rows})

    async def audit(self, request: Request) -> Response:
        """Who asked for what."""
        visitor = self._door.visitor(request)
        before = number(request, "before", 0) or None
        uploads = number(request, "uploads", 0) > 0
        without = () if uploads else _UPLOADS
        entries = await self._hub.call(self._hub.plane.audit, before, _PAGE + 1, without=without)

        def link_to(*, older: int = 0, uploads: bool = uploads) -> str:
            asked = {**({"before": older} if older else {}), **({"uploads": 1} if uploads else {})}
            return f"/audit?{urlencode(asked)}" if asked else "/audit"

        values = {
            "section": "Audit",
            "entries": entries[:_PAGE],
            "before": before,
            "uploads": uploads,
            "link_to": link_to,
            "older": entries[_PAGE - 1].number if len(entries) > _PAGE else 0,
        }
        return await self._door.page(request, visitor, "audit.html", values)


def _standing(plane: ControlPlane) -> tuple[Sequence[SiteStatus], Sequence[RolloutSummary], Sequence[AuditEntry]]:
    return plane.sites(), plane.rollouts(), plane.audit(None, _LATELY, without=_UPLOADS)


def _releases(plane: ControlPlane) -> tuple[Sequence[ReleaseStatus], Sequence[SiteStatus]]:
    return plane.releases(), plane.sites()
