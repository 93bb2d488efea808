"""The list of sites, and each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.control.status import SiteStatus
from edgewise.hub.pages import site_view
from edgewise.hub.pages.door import Door, number
from edgewise.hub.pages.looking_back import Part, TookPart
from edgewise.hub.pages.port import Hub
from edgewise.hub.pages.signs import LinkState

_PAGE: Final = 100
_ALL: Final = "all"
_SHOWS: Final = (
    (_ALL, "all"),
    ("online", "online"),
    ("offline", "offline"),
    ("never", "never seen"),
    ("concerns", "to be seen to"),
)
_LINKS: Final = {"online": LinkState.ONLINE, "offline": LinkState.OFFLINE, "never": LinkState.NEVER}


@dataclass(frozen=True, slots=True)
class SiteRow:
    """One site of the list."""

    status: SiteStatus
    link: LinkState
    concerns: tuple[str, ...]

    def is_shown(self, show: str) -> bool:
        """Whether it is one of those that somebody asked for."""
        if show == "concerns":
            return bool(self.concerns)
        return show not in _LINKS or self.link == _LINKS[show]


class SitePages:
    """Sites."""

    def __init__(self, hub: Hub, door: Door) -> None:
        self._hub = hub
        self._door = door
        self._took_part = TookPart()

    def add_to(self, router: APIRouter) -> None:
        """Put the pages where they belong."""
        for where, page in (("/sites", self.sites), ("/sites/{name}", self.site)):
            router.add_api_route(where, page, methods=["GET"], include_in_schema=False, response_model=None)

    async def sites(self, request: Request) -> Response:
        """Every site, or those that a selector means."""
        visitor = self._door.visitor(request)
        selector, show = request.query_params.get("selector", "").strip(), request.query_params.get("show", _ALL)
        problem, rows = "", list[SiteRow]()
        try:
            rows = _rows(await self._hub.call(self._hub.plane.sites, selector), show, self._hub.clock())
        except InvalidArgumentError as error:
            problem = error.message
        pages = max(1, -(-len(rows) // _PAGE))
        page = min(max(number(request, "page", 1), 1), pages)

        def link_to(other: int) -> str:
            return f"/sites?{urlencode({'selector': selector, 'show': show, 'page': other})}"

        values = {
            "section": "Sites",
            "selector": selector,
            "show": show,
            "shows": _SHOWS,
            "problem": problem,
            "sites": rows[(page - 1) * _PAGE : page * _PAGE],
            "total": len(rows),
            "page": page,
            "pages": pages,
            "link_to": link_to,
        }
        return await self._door.page(request, visitor, "sites.html", values, status=400 if problem else 200)

    async def site(self, request: Request, name: str) -> Response:
        """One site."""
        visitor = self._door.visitor(request)
        site, parts = await self._hub.call(self._site_and_parts, name)
        values = {
            "section": "Sites",
            "site": site,
            "link": site_view.link(site),
            "concerns": site_view.concerns(site, self._hub.clock()),
            "models": site_view.models(site),
            "latencies": site_view.latencies(site),
            "parts": parts,
        }
        return await self._door.page(request, visitor, "site.html", values)

    def _site_and_parts(self, name: str) -> tuple[SiteStatus, list[Part]]:
        return self._hub.plane.site(name), self._took_part.of(self._hub.plane, name)


def _rows(sites: Sequence[SiteStatus], show: str, now_s: float) -> list[SiteRow]:
    rows = [SiteRow(site, site_view.link(site), site_view.concerns(site, now_s)) for site in sites]
    return [row for row in rows if row.is_shown(show)]
