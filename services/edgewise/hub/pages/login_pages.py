"""Logging in and out, and what every page is made of."""

import math
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from edgewise.core.errors import NotFoundError, ResourceExhaustedError, UnauthenticatedError
from edgewise.hub.api.errors import status_of
from edgewise.hub.pages.door import Door, LoginNeededError, local_path, read_form
from edgewise.hub.pages.rendering import ASSETS_PATH, HEADERS, Assets

_ENDED: Final = "The token with which you logged in is not valid any more."


class LoginPages:
    """Logging in and out."""

    def __init__(self, door: Door, assets: Assets) -> None:
        self._door = door
        self._assets = assets

    def add_to(self, router: APIRouter) -> None:
        """Put the pages where they belong."""
        for where, method, page in (
            ("/login", "GET", self.ask),
            ("/login", "POST", self.log_in),
            ("/logout", "POST", self.log_out),
            (f"{ASSETS_PATH}/{{digest}}/{{name}}", "GET", self.asset),
        ):
            router.add_api_route(where, page, methods=[method], include_in_schema=False, response_model=None)

    async def ask(self, request: Request) -> Response:
        """Ask for a token, unless somebody is logged in already."""
        to = local_path(request.query_params.get("to", ""))
        try:
            self._door.visitor(request)
        except LoginNeededError:
            problem = _ENDED if request.query_params.get("why") == "ended" else ""
            return await self._door.page(request, None, "login.html", {"to": to, "problem": problem})
        return RedirectResponse(to, status_code=303, headers=HEADERS)

    async def log_in(self, request: Request) -> Response:
        """Open a session."""
        form = await read_form(request)
        try:
            return await self._door.log_in(request, form)
        except (UnauthenticatedError, ResourceExhaustedError) as error:
            values = {"to": local_path(form.get("to", "")), "problem": error.message}
            answer = await self._door.page(request, None, "login.html", values, status=status_of(error))
            if error.retry_after_s is not None:
                answer.headers["retry-after"] = str(math.ceil(error.retry_after_s))
            return answer

    async def log_out(self, request: Request) -> Response:
        """Close the session."""
        return await self._door.log_out(request)

    async def asset(self, digest: str, name: str) -> Response:
        """A style sheet or the like."""
        found = self._assets.answer(digest, name)
        if found is None:
            raise NotFoundError("There is no such file.")
        return found
