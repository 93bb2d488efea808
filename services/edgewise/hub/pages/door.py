"""Who sees a page and who may send a form; and errors as pages."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from edgewise.core.errors import (
    EdgewiseError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from edgewise.hub.api.bodies import limited
from edgewise.hub.api.errors import status_of
from edgewise.hub.control.actors import Actor, Role
from edgewise.hub.pages.port import Hub
from edgewise.hub.pages.rendering import HEADERS, Renderer
from edgewise.hub.pages.sessions import LIFE_S, Session, Sessions

_LIVE: Final = "x-edgewise-live"
_COOKIE: Final = "edgewise-session"
_MOST_FORM_BYTES: Final = 1 << 20
_MOST_FIELDS: Final = 20
_MOST_DIGITS: Final = 18
_OWN: Final = frozenset({"same-origin", "none"})
_TITLES: Final = {
    403: "That is not allowed",
    404: "There is no such thing",
    409: "That is not possible now",
    429: "Too often",
}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks for a page.

    Attributes:
        name, role: of the token with which he logged in, as they are now.
    """

    name: str
    role: Role
    session: Session

    @property
    def operates(self) -> bool:
        """Whether he may move something."""
        return self.role.includes(Role.OPERATOR)

    @property
    def form_key(self) -> str:
        """What his forms carry."""
        return self.session.form_key


class LoginNeededError(EdgewiseError):
    """Nobody is logged in, or not any more."""


class Door:
    """Lets people in.

    Args:
        sessions: of everybody.
    """

    def __init__(self, hub: Hub, sessions: Sessions, renderer: Renderer) -> None:
        self._hub = hub
        self._sessions = sessions
        self._renderer = renderer

    def visitor(self, request: Request) -> Visitor:
        """Who asks.

        Raises: LoginNeededError: nobody who is logged in.
        """
        session_id = request.cookies.get(_cookie_name(request), "")
        session = self._sessions.found(session_id)
        if session is None:
            raise LoginNeededError("")
        try:
            name, role = self._hub.plane.role_of(session.token)
        except UnauthenticatedError:
            self._sessions.close(session_id)
            raise LoginNeededError("The token with which you logged in is no longer valid.") from None
        return Visitor(name, role, session)

    async def sender(self, request: Request, needed: Role = Role.OPERATOR) -> tuple[Visitor, Mapping[str, str]]:
        """Who sends a form, and the form.

        Raises:
            LoginNeededError: nobody who is logged in.
            PermissionDeniedError: his token does not open that, or the form comes from elsewhere.
        """
        visitor = self.visitor(request)
        form = await read_form(request)
        if not visitor.session.sent(form.get("form_key", "")):
            raise PermissionDeniedError(
                "The form is not one of your session. Go back, load the page again and send it from there."
            )
        if not visitor.role.includes(needed):
            raise PermissionDeniedError(
                f"The token {visitor.name} has the role {visitor.role}; that needs the role {needed}."
            )
        return visitor, form

    def actor(self, visitor: Visitor, request: Request) -> Actor:
        """For the audit log."""
        return Actor(visitor.name, self._hub.address(request))

    async def log_in(self, request: Request, form: Mapping[str, str]) -> Response:
        """Open a session, which is noted in the audit log.

        Raises:
            UnauthenticatedError: no such token.
            PermissionDeniedError: the form comes from elsewhere.
            ResourceExhaustedError: too many were wrong.
        """
        # There is no session yet whose form it could be. A browser says itself where a form comes from.
        if request.headers.get("sec-fetch-site", "none") not in _OWN:
            raise PermissionDeniedError("The form comes from another site. Open this hub's own page to log in.")
        token = form.get("token", "").strip()
        name, _ = self._hub.log_in(token, request)
        await self._note(Actor(name, self._hub.address(request)), "pages.login")
        self._sessions.close(request.cookies.get(_cookie_name(request), ""))
        session_id, _ = self._sessions.opened(token)
        answer = RedirectResponse(local_path(form.get("to", "")), status_code=303, headers=HEADERS)
        answer.set_cookie(
            _cookie_name(request),
            session_id,
            max_age=int(LIFE_S),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    async def log_out(self, request: Request) -> Response:
        """Close the session of a request, which is noted in the audit log.

        Raises:
            LoginNeededError: nobody is logged in.
            PermissionDeniedError: the form comes from elsewhere.
        """
        visitor, _ = await self.sender(request, Role.VIEWER)
        await self._note(self.actor(visitor, request), "pages.logout")
        self._sessions.close(request.cookies.get(_cookie_name(request), ""))
        answer = RedirectResponse("/login", status_code=303, headers=HEADERS)
        answer.delete_cookie(
            _cookie_name(request), secure=request.url.scheme == "https", httponly=True, samesite="strict"
        )
        return answer

    async def page(
        self, request: Request, visitor: Visitor | None, template: str, values: Mapping[str, Any], *, status: int = 200
    ) -> Response:
        """A page for somebody; what his session has to say is said once, and not to a script."""
        told = visitor is not None and request.method == "GET" and not is_live(request)
        notice = visitor.session.take_notice() if visitor and told else ""
        # A page takes milliseconds, which agents that ask at the same moment would wait for.
        given = {**values, "visitor": visitor, "notice": notice}
        return await asyncio.to_thread(self._renderer.page, template, given, status=status)

    def route_class(self) -> type[APIRoute]:
        """Routes whose errors are pages."""
        door = self

        class PageRoute(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handler = super().get_route_handler()

                async def shown(request: Request) -> Response:
                    try:
                        return await handler(limited(request, _MOST_FORM_BYTES))
                    except LoginNeededError as error:
                        return door._to_login(request, error.message)
                    except EdgewiseError as error:
                        return door._problem(request, error.message, status_of(error))
                    except HTTPException as error:
                        return door._problem(request, error.detail, error.status_code)

                return shown

        return PageRoute

    async def _note(self, actor: Actor, action: str) -> None:
        await self._hub.call(self._hub.plane.note, actor, action, actor.name, {})

    def _to_login(self, request: Request, why: str) -> Response:
        if is_live(request):
            return HTMLResponse("", status_code=401, headers=HEADERS)
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if request.method != "GET":
            asked = "/"
        elif _cookie_name(request) not in request.cookies and request.headers.get("sec-fetch-site") == "cross-site":
            # Who follows a link from elsewhere brings no strict cookie along, though he may have one: he asks once more from here.
            return self._renderer.page("onward.html", {"to": local_path(asked)})
        query = urlencode({"to": asked, **({"why": "ended"} if why else {})})
        return RedirectResponse(f"/login?{query}", status_code=303, headers=HEADERS)

    def _problem(self, request: Request, text: str, status: int) -> Response:
        try:
            visitor: Visitor | None = self.visitor(request)
        except LoginNeededError:
            visitor = None
        back = request.url.path if request.method == "POST" else "/"
        values = {"title": _TITLES.get(status, "That did not work"), "problem": text, "back": back, "visitor": visitor}
        return self._renderer.page("problem.html", values, status=status)


def is_live(request: Request) -> bool:
    """Whether a script asks, which keeps a page up to date."""
    return _LIVE in request.headers


def number(request: Request, name: str, otherwise: int) -> int:
    """A whole number of an address; what is none is as if it was not there."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else otherwise


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form.

    Raises: InvalidArgumentError: it is none.
    """
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise InvalidArgumentError("What was sent is not a form of this hub.")
    try:
        fields = parse_qsl(
            (await request.body()).decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise InvalidArgumentError("What was sent is not a form of this hub.") from None
    return {name: value.replace("\r\n", "\n") for name, value in fields}


def local_path(wanted: str) -> str:
    """Where to go after logging in: a page of this hub, and no other place."""
    plain = wanted.startswith("/") and not wanted.startswith("//") and "\\" not in wanted and wanted.isprintable()
    return wanted if plain and not wanted.startswith("/log") else "/"


def _cookie_name(request: Request) -> str:
    """Under https a name that a browser takes from this very host only."""
    return f"__Host-{_COOKIE}" if request.url.scheme == "https" else _COOKIE
