"""Who may ask what. A route without a mark cannot be added: nothing is open by being forgotten.

@router.get("/api/v1/sites")
@needs(Role.VIEWER)
async def sites(...): ...
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, TypeAlias, TypeVar

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from edgewise.core.errors import PermissionDeniedError, UnauthenticatedError
from edgewise.hub.api.bodies import limited
from edgewise.hub.api.failed_attempts import FailedAttempts
from edgewise.hub.control.actors import Actor, Role

MAX_BODY_BYTES: Final = 1 << 20
_MARK: Final = "__edgewise_need__"
_ADVICE: Final = "send `Authorization: Bearer TOKEN`"
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Need:
    """What a route asks of who calls it.

    Attributes:
        role: of people; None when a person's token does not open it.
        sites: of any site a token does; of a route with {site} in its path, that site's alone.
        is_open: nobody is asked.
        max_body_bytes: the longest body.
    """

    role: Role | None = None
    sites: bool = False
    is_open: bool = False
    max_body_bytes: int = MAX_BODY_BYTES


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        name: of the token or the site; "" of nobody.
        role: None of a site, and of nobody.
        address: from where.
    """

    name: str
    role: Role | None
    address: str

    @property
    def actor(self) -> Actor:
        """For the audit log."""
        return Actor(self.name, self.address)


class Tokens(Protocol):
    """Whose tokens they are."""

    def role_of(self, token: str) -> tuple[str, Role]:
        """See `ControlPlane.role_of`."""

    def site_of(self, token: str) -> str:
        """See `ControlPlane.site_of`."""


def needs(
    role: Role | None = None, *, sites: bool = False, is_open: bool = False, max_body_bytes: int = MAX_BODY_BYTES
) -> Callable[[_Endpoint], _Endpoint]:
    """Mark an endpoint with what it asks of its caller."""
    need = Need(role, sites, is_open, max_body_bytes)

    def marked(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _MARK, need)
        return endpoint

    return marked


def need_of(endpoint: Callable[..., Any]) -> Need:
    """The mark of an endpoint.

    Raises: LookupError: it has none.
    """
    need: Need | None = getattr(endpoint, _MARK, None)
    if need is None:
        raise LookupError(f"the endpoint {endpoint.__name__} does not say who may call it; mark it with `needs`")
    return need


async def caller_of(request: Request) -> Caller:
    """Who calls; a dependency, async so that no thread is taken for it."""
    caller: Caller = request.state.caller
    return caller


Calling: TypeAlias = Annotated[Caller, Depends(caller_of)]


class Guard:
    """Knows callers by their tokens, and counts wrong ones."""

    def __init__(self, tokens: Tokens, attempts: FailedAttempts) -> None:
        self._tokens = tokens
        self.attempts = attempts

    def check(self, need: Need, request: Request) -> Caller:
        """Let somebody through, or not.

        Raises:
            UnauthenticatedError: nobody's token.
            PermissionDeniedError: somebody's, who may not do that.
            ResourceExhaustedError: too many from this address were wrong.
        """
        address = address_of(request)
        if need.is_open:
            return Caller("", None, address)
        token = _token(request)
        name, role = self._known(token, address)
        if role is None:
            named = request.path_params.get("site")
            if not need.sites:
                raise PermissionDeniedError("a site's token does not open this; it is for people")
            if named is not None and named != name:
                raise PermissionDeniedError(f"the token is that of the site {name}, and opens that site's paths alone")
        elif need.role is None:
            raise PermissionDeniedError("only the site's own token opens this")
        elif not role.includes(need.role):
            raise PermissionDeniedError(f"the token {name} has the role {role}; this needs the role {need.role}")
        return Caller(name, role, address)

    def person(self, token: str, request: Request) -> tuple[str, Role]:
        """Whose token it is.

        Raises:
            UnauthenticatedError: nobody's.
            ResourceExhaustedError: too many from this address were wrong.
        """
        name, role = self._known(token, address_of(request))
        if role is None:
            raise UnauthenticatedError("that is a site's token; people have tokens of their own")
        return name, role

    def _known(self, token: str, address: str) -> tuple[str, Role | None]:
        """The name, and the role of a person."""
        try:
            return self._tokens.role_of(token)
        except UnauthenticatedError as error:
            try:
                return self._tokens.site_of(token), None
            except UnauthenticatedError:
                self.attempts.check(address)
                self.attempts.failed(address)
                raise error from None


class GuardedRoute(APIRoute):
    """A route that looks at the caller before it reads anything else of a request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handler = super().get_route_handler()
        need = need_of(self.endpoint)

        async def guarded(request: Request) -> Response:
            guard: Guard = request.app.state.guard
            request.state.caller = guard.check(need, request)
            return await handler(limited(request, need.max_body_bytes))

        return guarded


def address_of(request: Request) -> str:
    """Where a request came from; "" where that cannot be said."""
    return request.client.host if request.client else ""


def _token(request: Request) -> str:
    field = request.headers.get("authorization")
    if field is None:
        raise UnauthenticatedError(f"a token is needed; {_ADVICE}")
    scheme, _, token = field.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError(f"the Authorization field is not of the Bearer scheme; {_ADVICE}")
    return token.strip()
