"""Rollouts: planned, made, steered, followed."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query
from starlette.responses import Response

from edgewise.core.rollout.events import Verb
from edgewise.core.versions import MAX_VERSION
from edgewise.hub.api.access import Calling, GuardedRoute, needs
from edgewise.hub.api.agent_routes import LONGEST_WAIT_S
from edgewise.hub.api.answers import PROBLEMS, answer
from edgewise.hub.api.hub import TheHub
from edgewise.hub.api.path_names import ROLLOUT
from edgewise.hub.api.requests import Reason, RolloutAsked, RolloutMade, RolloutNamed
from edgewise.hub.control.actors import Role
from edgewise.hub.control.plane import MOST_LISTED
from edgewise.hub.control.planning import Plan
from edgewise.hub.control.status import HistoryEntry, RolloutStatus, RolloutSummary

router = APIRouter(route_class=GuardedRoute, tags=["rollouts"], responses=PROBLEMS)


@router.post("/api/v1/rollouts/plan", response_model=Plan, summary="What a rollout would do")
@needs(Role.VIEWER)
async def plan(asked: RolloutAsked, hub: TheHub) -> Response:
    """What each site would fetch, how long it would take, and what would stop it. Nothing is changed."""
    return await answer(Plan, await hub.call(hub.plane.plan, asked.specification, asked.format, hub.clock()))


@router.post("/api/v1/rollouts", response_model=RolloutNamed, status_code=201, summary="Make a rollout")
@needs(Role.OPERATOR)
async def create(asked: RolloutMade, hub: TheHub, caller: Calling) -> Response:
    """With `start` it is started in the same transaction."""
    name = await hub.call(
        hub.plane.create_rollout,
        asked.specification,
        asked.format,
        name=asked.name,
        actor=caller.actor,
        now_s=hub.clock(),
        start=asked.start,
    )
    return await answer(RolloutNamed, RolloutNamed(name=name), status=201)


@router.get("/api/v1/rollouts", response_model=list[RolloutSummary], summary="All rollouts")
@needs(Role.VIEWER)
async def rollouts(hub: TheHub) -> Response:
    """The newest first."""
    return await answer(list[RolloutSummary], await hub.call(hub.plane.rollouts))


@router.get("/api/v1/rollouts/{name}", response_model=RolloutStatus, summary="One rollout")
@needs(Role.VIEWER)
async def rollout(
    name: ROLLOUT,
    hub: TheHub,
    after: Annotated[int | None, Query(ge=0, le=MAX_VERSION, description="A revision: wait for a greater one.")] = None,
    wait_s: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S, description="So long at most.")] = 0.0,
) -> Response:
    """All its waves and sites. With `after` it waits for a change."""
    if after is not None and wait_s > 0.0:
        await hub.changed(name, after, wait_s)
    return await answer(RolloutStatus, await hub.call(hub.plane.rollout, name))


@router.post("/api/v1/rollouts/{name}/{verb}", response_model=RolloutStatus, summary="Steer a rollout")
@needs(Role.OPERATOR)
async def command(
    name: ROLLOUT,
    verb: Annotated[Verb, Path(description="What is asked for.")],
    hub: TheHub,
    caller: Calling,
    asked: Annotated[Reason | None, Body(description="Why; for the history.")] = None,
) -> Response:
    """What is possible depends on its state; `verbs` of the rollout says what is."""
    await hub.call(hub.plane.command, name, verb.value, asked.why if asked else "", caller.actor, hub.clock())
    return await answer(RolloutStatus, await hub.call(hub.plane.rollout, name))


@router.get("/api/v1/rollouts/{name}/history", response_model=list[HistoryEntry], summary="What moved")
@needs(Role.VIEWER)
async def history(
    name: ROLLOUT,
    hub: TheHub,
    after: Annotated[int, Query(ge=0, le=MAX_VERSION, description="Entries with greater numbers.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED, description="So many at most.")] = MOST_LISTED,
) -> Response:
    """The oldest first."""
    return await answer(list[HistoryEntry], await hub.call(hub.plane.history, name, after=after, limit=limit))
