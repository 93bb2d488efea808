"""Tokens of people, and what was done with them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from edgewise.core.versions import MAX_VERSION
from edgewise.hub.api.access import Calling, GuardedRoute, needs
from edgewise.hub.api.answers import PROBLEMS, answer
from edgewise.hub.api.hub import TheHub
from edgewise.hub.api.requests import Done, TokenAsked, TokenMade
from edgewise.hub.control.actors import Role
from edgewise.hub.control.plane import MOST_LISTED
from edgewise.hub.control.status import AuditEntry, TokenStatus

router = APIRouter(route_class=GuardedRoute, tags=["administration"], responses=PROBLEMS)


@router.get("/api/v1/tokens", response_model=list[TokenStatus], summary="Tokens of people")
@needs(Role.ADMIN)
async def tokens(hub: TheHub) -> Response:
    """Without their secrets, which nobody knows."""
    return await answer(list[TokenStatus], await hub.call(hub.plane.tokens))


@router.post("/api/v1/tokens", response_model=TokenMade, status_code=201, summary="Make a token")
@needs(Role.ADMIN)
async def create_token(asked: TokenAsked, hub: TheHub, caller: Calling) -> Response:
    """The secret is told this once."""
    token = await hub.call(
        hub.plane.create_token, asked.name, asked.role, actor=caller.actor, expires_s=asked.expires_s
    )
    return await answer(TokenMade, TokenMade(name=asked.name, token=token), status=201)


@router.delete("/api/v1/tokens/{name}", response_model=Done, summary="Have a token open nothing any more")
@needs(Role.ADMIN)
async def revoke_token(
    name: Annotated[str, Path(description="Of the token.", max_length=256)], hub: TheHub, caller: Calling
) -> Response:
    """At once."""
    await hub.call(hub.plane.revoke_token, name, caller.actor)
    return await answer(Done, Done())


@router.get("/api/v1/audit", response_model=list[AuditEntry], summary="Who asked for what")
@needs(Role.VIEWER)
async def audit(
    hub: TheHub,
    before: Annotated[int | None, Query(ge=1, le=MAX_VERSION, description="Entries with smaller numbers.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED, description="So many at most.")] = 100,
) -> Response:
    """The newest first."""
    return await answer(list[AuditEntry], await hub.call(hub.plane.audit, before, limit))
