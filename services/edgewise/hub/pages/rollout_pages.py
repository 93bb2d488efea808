"""The list of rollouts, and each of them, live."""

from functools import lru_cache
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from edgewise.core.rollout.events import Verb
from edgewise.core.rollout.specification import Specification
from edgewise.hub.control.status import HistoryEntry, RolloutStatus
from edgewise.hub.pages import rollout_view
from edgewise.hub.pages.door import Door, is_live, number
from edgewise.hub.pages.looking_back import LatestMoves
from edgewise.hub.pages.port import Hub
from edgewise.hub.pages.rendering import path
from edgewise.hub.pages.signs import VERB_WORDS
from edgewise.protocols.rollout_specification import read_specification

_PAGE: Final = 50
_MOVES: Final = 25
_PAGE_OF_MOVES: Final = 500
_WAIT_S: Final = 10
"""A live page is answered after so long at most: what it says of when sites were heard of is no older."""


class RolloutPages:
    """Rollouts."""

    def __init__(self, hub: Hub, door: Door) -> None:
        self._hub = hub
        self._door = door
        self._moves = LatestMoves(_MOVES)

    def add_to(self, router: APIRouter) -> None:
        """Put the pages where they belong."""
        for where, page in (
            ("/rollouts", self.rollouts),
            ("/rollouts/{name}", self.rollout),
            ("/rollouts/{name}/history", self.history),
        ):
            router.add_api_route(where, page, methods=["GET"], include_in_schema=False, response_model=None)

    async def rollouts(self, request: Request) -> Response:
        """Every rollout, the newest first."""
        visitor = self._door.visitor(request)
        found = await self._hub.call(self._hub.plane.rollouts)
        pages = max(1, -(-len(found) // _PAGE))
        page = min(max(number(request, "page", 1), 1), pages)
        values = {
            "section": "Rollouts",
            "rollouts": found[(page - 1) * _PAGE : page * _PAGE],
            "total": len(found),
            "page": page,
            "pages": pages,
            "link_to": lambda other: f"/rollouts?page={other}",
        }
        return await self._door.page(request, visitor, "rollouts.html", values)

    async def rollout(self, request: Request, name: str) -> Response:
        """One rollout. A script asks with the revision that it has, and is answered when there is another, or after a while."""
        visitor = self._door.visitor(request)
        if is_live(request):
            wait_s = min(number(request, "wait_s", 0), _WAIT_S)
            await self._hub.changed(name, number(request, "after", 0), wait_s)
            # Waiting takes long enough for a token to be revoked.
            visitor = self._door.visitor(request)
        rollout, moves = await self._hub.call(self._rollout_and_moves, name)
        asked = {name: number(request, name, 0) for name in ("wave", "page") if name in request.query_params}
        values = {
            "section": "Rollouts",
            "rollout": rollout,
            "waves": rollout_view.waves(
                rollout, specification_of(rollout), wanted=asked.get("wave"), page=asked.get("page", 1)
            ),
            "parts": rollout_view.parts(rollout_view.all_states(rollout)),
            "needs_person": rollout_view.needs_person(rollout),
            "said": rollout_view.spoken(rollout),
            "verbs": [verb for verb in Verb if verb in rollout.verbs],
            "words": VERB_WORDS,
            "history": moves,
            "live": f"{path('rollouts', name)}?{urlencode({**asked, 'after': rollout.revision, 'wait_s': _WAIT_S})}",
        }
        return await self._door.page(request, visitor, "rollout.html", values)

    def _rollout_and_moves(self, name: str) -> tuple[RolloutStatus, list[HistoryEntry]]:
        return self._hub.plane.rollout(name), self._moves.of(self._hub.plane, name)

    async def history(self, request: Request, name: str) -> Response:
        """Everything that moved in a rollout."""
        visitor = self._door.visitor(request)
        after = number(request, "after", 0)
        found = await self._hub.call(self._hub.plane.history, name, after=after, limit=_PAGE_OF_MOVES + 1)
        shown = found[:_PAGE_OF_MOVES]
        values = {
            "section": "Rollouts",
            "name": name,
            "history": shown,
            "after": after,
            "next": shown[-1].number if len(found) > len(shown) else 0,
        }
        return await self._door.page(request, visitor, "history.html", values)


def specification_of(rollout: RolloutStatus) -> Specification:
    """What was asked for."""
    return _specification(rollout.specification, rollout.form)


@lru_cache(maxsize=64)
def _specification(text: str, form: str) -> Specification:
    return read_specification(text, form)
