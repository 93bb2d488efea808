"""What moves a rollout: planning and starting one, and each verb, which asks before it does anything."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from edgewise.core.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from edgewise.core.rollout.events import Verb
from edgewise.core.wording import counted
from edgewise.hub.control.actors import Role
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.control.planning import Plan
from edgewise.hub.control.status import RolloutStatus
from edgewise.hub.pages import rollout_view
from edgewise.hub.pages.door import Door, Visitor
from edgewise.hub.pages.first_draft import KEYS, first_draft
from edgewise.hub.pages.port import Hub
from edgewise.hub.pages.rendering import HEADERS, path
from edgewise.hub.pages.signs import VERB_WORDS

_FORMS: Final = ("yaml", "toml")
_LONGEST_WHY: Final = 500
_MOST_ROWS: Final = 200
_LEAST_LINES: Final = 14
_MOST_LINES: Final = 32
_NEEDS_REASON: Final = frozenset({Verb.PROMOTE, Verb.ABORT, Verb.UNDO})


class RolloutForms:
    """Everything that is sent."""

    def __init__(self, hub: Hub, door: Door) -> None:
        self._hub = hub
        self._door = door

    def add_to(self, router: APIRouter) -> None:
        """Put the pages where they belong; before that of a rollout, since `new` is none."""
        pages: list[tuple[str, str, Callable[..., Awaitable[Response]]]] = [
            ("/rollouts/new", "GET", self.new),
            ("/rollouts/new", "POST", self.create),
        ]
        for verb in Verb:
            where = f"/rollouts/{{name}}/{verb.value}"
            pages += [(where, "GET", self._asking(verb)), (where, "POST", self._moving(verb))]
        for where, method, page in pages:
            router.add_api_route(where, page, methods=[method], include_in_schema=False, response_model=None)

    async def new(self, request: Request) -> Response:
        """Where a specification is put."""
        visitor = self._door.visitor(request)
        if not visitor.operates:
            raise PermissionDeniedError(_not_yours(visitor))
        draft = await self._hub.call(_draft, self._hub.plane)
        return await self._new_page(request, visitor, {"text": draft}, nothing=not draft)

    async def create(self, request: Request) -> Response:
        """Show what a specification would do, or make a rollout of it."""
        visitor, form = await self._door.sender(request)
        now_s = self._hub.clock()
        text, kind = form.get("text", ""), form.get("form", "")
        try:
            if kind not in _FORMS:
                raise InvalidArgumentError("Choose in what the specification is written: YAML or TOML.")
            plan = await self._hub.call(self._hub.plane.plan, text, kind, now_s)
        except (InvalidArgumentError, NotFoundError, FailedPreconditionError) as error:
            return await self._new_page(request, visitor, form, problem=error.message, status=400)
        if form.get("do") not in {"start", "create"}:
            return await self._new_page(request, visitor, form, plan=plan)
        try:
            name = await self._create(request, visitor, form, now_s)
        except (InvalidArgumentError, AlreadyExistsError, NotFoundError, FailedPreconditionError) as error:
            return await self._new_page(request, visitor, form, problem=error.message, plan=plan, status=409)
        started = form.get("do") == "start"
        visitor.session.notice = (
            f"{name} {'was started' if started else 'was created; nothing moves before it is started'}."
        )
        return RedirectResponse(path("rollouts", name), status_code=303, headers=HEADERS)

    def _asking(self, verb: Verb) -> Callable[[Request, str], Awaitable[Response]]:
        async def ask(request: Request, name: str) -> Response:
            return await self._ask(request, name, verb)

        return ask

    def _moving(self, verb: Verb) -> Callable[[Request, str], Awaitable[Response]]:
        async def move(request: Request, name: str) -> Response:
            return await self._move(request, name, verb)

        return move

    async def _ask(self, request: Request, name: str, verb: Verb) -> Response:
        """Say what would happen, and ask whether it should."""
        visitor = self._door.visitor(request)
        if not visitor.operates:
            raise PermissionDeniedError(_not_yours(visitor))
        rollout = await self._hub.call(self._hub.plane.rollout, name)
        if verb not in rollout.verbs:
            raise FailedPreconditionError(_impossible(rollout, verb))
        return await self._question(request, visitor, rollout, verb)

    async def _move(self, request: Request, name: str, verb: Verb) -> Response:
        """Do it, if what was asked about is still so."""
        visitor, form = await self._door.sender(request)
        rollout = await self._hub.call(self._hub.plane.rollout, name)
        why = form.get("why", "").strip()[:_LONGEST_WHY]
        if verb not in rollout.verbs:
            raise FailedPreconditionError(_impossible(rollout, verb))
        if form.get("seen") != _seen(rollout):
            problem = "It has moved on in the meantime. Look again before you decide."
            return await self._question(request, visitor, rollout, verb, problem=problem, why=why, status=409)
        if verb in _NEEDS_REASON and not why:
            problem = "Say why; it is kept in the audit log."
            return await self._question(request, visitor, rollout, verb, problem=problem, status=400)
        actor = self._door.actor(visitor, request)
        await self._hub.call(self._hub.plane.command, name, verb.value, why, actor, self._hub.clock())
        visitor.session.notice = f"{name} {VERB_WORDS[verb].done}."
        return RedirectResponse(path("rollouts", name), status_code=303, headers=HEADERS)

    async def _create(self, request: Request, visitor: Visitor, form: Mapping[str, str], now_s: float) -> str:
        plane, actor = self._hub.plane, self._door.actor(visitor, request)
        name = await self._hub.call(
            plane.create_rollout,
            form.get("text", ""),
            form.get("form", ""),
            name=form.get("name", "").strip() or None,
            actor=actor,
            now_s=now_s,
        )
        if form.get("do") == "start":
            why = form.get("why", "").strip()[:_LONGEST_WHY]
            await self._hub.call(plane.command, name, Verb.START.value, why, actor, now_s)
        return name

    async def _new_page(
        self,
        request: Request,
        visitor: Visitor,
        form: Mapping[str, str],
        *,
        problem: str = "",
        plan: Plan | None = None,
        nothing: bool = False,
        status: int = 200,
    ) -> Response:
        text = form.get("text", "")
        sites = sum(len(wave.sites) for wave in plan.waves) if plan else 0
        values: dict[str, Any] = {
            "section": "Rollouts",
            "text": text,
            "form": form.get("form") if form.get("form") in _FORMS else _FORMS[0],
            "name": form.get("name", ""),
            "why": form.get("why", ""),
            "rows": min(max(text.count("\n") + 2, _LEAST_LINES), _MOST_LINES),
            "problem": problem,
            "plan": plan,
            "sites": counted(sites, "site"),
            "stops": bool(plan and any(one.stops for one in plan.problems)),
            "most": _MOST_ROWS,
            "nothing": nothing,
            "keys": KEYS,
        }
        return await self._door.page(request, visitor, "new_rollout.html", values, status=status)

    async def _question(
        self,
        request: Request,
        visitor: Visitor,
        rollout: RolloutStatus,
        verb: Verb,
        *,
        problem: str = "",
        why: str = "",
        status: int = 200,
    ) -> Response:
        wave = rollout_view.current_wave(rollout)
        values = {
            "section": "Rollouts",
            "name": rollout.name,
            "state": rollout.state,
            "wave": wave,
            "counted": rollout_view.counted_states(rollout),
            "verb": verb.value,
            "words": VERB_WORDS[verb],
            "problem": problem,
            "why": why,
            "reason": verb in _NEEDS_REASON,
            "seen": _seen(rollout),
        }
        return await self._door.page(request, visitor, "confirm.html", values, status=status)


def _draft(plane: ControlPlane) -> str:
    return first_draft(plane.releases(), plane.sites())


def _seen(rollout: RolloutStatus) -> str:
    """What a person decides about: a verb that is sent after this has changed was meant for something else."""
    wave = rollout_view.current_wave(rollout)
    return f"{rollout.state}/{wave.number if wave else 'end'}"


def _impossible(rollout: RolloutStatus, verb: Verb) -> str:
    possible = " or ".join(rollout.verbs)
    return f"{rollout.name} is {rollout.state} and cannot {verb.value}; " + (
        f"it can {possible}." if possible else "it has ended."
    )


def _not_yours(visitor: Visitor) -> str:
    return f"The token {visitor.name} has the role {visitor.role}; rollouts are moved with the role {Role.OPERATOR} or {Role.ADMIN}."
