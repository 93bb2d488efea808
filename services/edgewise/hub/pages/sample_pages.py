"""Samples to look at: many at once, and one at a time, to be labelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.hub.api.sample_routes import picture_answer
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.labelling.shown import SAMPLE_ID
from edgewise.hub.pages.door import Door, Visitor
from edgewise.hub.pages.labelling import Keys
from edgewise.hub.pages.port import Hub
from edgewise.hub.pages.rendering import HEADERS, path
from edgewise.hub.pages.sample_filter import ALL, LABEL, LABELLED, UNLABELLED, Wanted, wanted
from edgewise.hub.pages.stated_verdicts import StatedVerdicts
from edgewise.hub.samples.books import LabelCounts
from edgewise.hub.store.samples import PICTURE, TENSOR, KeptSample, SampleFilter

_PAGE: Final = 24
_REASONS: Final = ("all", "sampled", "low-confidence", "disagreement", "drift", "imported")
_LONGEST_CURSOR: Final = 128


@dataclass(frozen=True, slots=True)
class Beside:
    """One sample, what is before and behind it, all labels, and what models say."""

    sample: KeptSample
    newer: str
    older: str
    labels: LabelCounts
    verdicts: frozenset[str]


class SamplePages:
    """Samples."""

    def __init__(self, hub: Hub, door: Door) -> None:
        self._hub = hub
        self._door = door
        self._keys = Keys()
        self._stated = StatedVerdicts(hub)

    def add_to(self, router: APIRouter) -> None:
        """Put the pages where they belong; before that of a sample, since `first` is none."""
        for where, page in (
            ("/samples", self.samples),
            ("/samples/first", self.first),
            ("/samples/{sample}", self.sample),
            ("/samples/{sample}/picture", self.picture),
        ):
            router.add_api_route(where, page, methods=["GET"], include_in_schema=False, response_model=None)

    async def samples(self, request: Request) -> Response:
        """Those that somebody chose, the newest first."""
        visitor = self._door.visitor(request)
        chosen, after = wanted(request.query_params), request.query_params.get("after", "")[:_LONGEST_CURSOR]
        problem, found, older, meant = "", list[KeptSample](), "", None
        books = self._hub.plane.samples
        try:
            asked = chosen.filter()
            found, older = await self._hub.call(books.list, asked, after=after, limit=_PAGE)
            meant = None if chosen.is_all else await self._hub.call(books.counts, asked)
        except InvalidArgumentError as error:
            problem = error.message
        counts = await self._hub.call(books.counts)
        values = {
            "section": "Samples",
            "wanted": chosen,
            "problem": problem,
            "samples": found,
            "after": after,
            "older": older,
            "meant": meant,
            "all": counts,
            "shows": _shows(counts, chosen.show),
            "reasons": [("", "any"), *((one, one) for one in sorted({*_REASONS, chosen.reason} - {""}))],
            "kinds": (("", "any"), (PICTURE, "pictures"), (TENSOR, "numbers")),
            "to_label": replace(chosen, show=UNLABELLED, kind=chosen.kind or PICTURE).link("/samples/first"),
        }
        return await self._door.page(request, visitor, "samples.html", values, status=400 if problem else 200)

    async def first(self, request: Request) -> Response:
        """The newest one of those that somebody chose."""
        visitor = self._door.visitor(request)
        chosen = wanted(request.query_params)
        found, _ = await self._hub.call(self._hub.plane.samples.list, chosen.filter(), limit=1)
        if not found:
            visitor.session.notice = "No sample matches: there is nothing to label."
        to = chosen.link(path("samples", found[0].id)) if found else replace(chosen, show=ALL).link("/samples")
        return RedirectResponse(to, status_code=303, headers=HEADERS)

    async def sample(self, request: Request, sample: str) -> Response:
        """One, large."""
        visitor = self._door.visitor(request)
        chosen = wanted(request.query_params)
        return await self.page(request, visitor, checked(sample), chosen)

    async def page(
        self,
        request: Request,
        visitor: Visitor,
        sample_id: str,
        chosen: Wanted,
        *,
        problem: str = "",
        typed: str = "",
        status: int = 200,
    ) -> Response:
        """The page of one.

        Args:
            problem, typed: with a label that could not be given.
            status: 400 where that is the fault of what was typed.
        """
        found = await self._hub.call(look, self._hub.plane, sample_id, chosen.filter())
        one = found.sample
        verdicts = found.verdicts | await self._stated.all()
        choices = self._keys.choices(found.labels.labels, verdicts, one.prediction, one.scores, one.label)
        values: Mapping[str, Any] = {
            "section": "Samples",
            "wanted": chosen,
            "one": one,
            "newer": found.newer and chosen.link(path("samples", found.newer)),
            "older": found.older and chosen.link(path("samples", found.older)),
            "older_picture": found.older and path("samples", found.older, "picture"),
            "choices": choices,
            "expires_s": self._hub.retention.expires_s(one),
            "undo": bool(visitor.session.labelling.deeds),
            "problem": problem,
            "typed": typed,
            "mistyped": status == HTTPStatus.BAD_REQUEST,
        }
        return await self._door.page(request, visitor, "sample.html", values, status=status)

    async def picture(self, request: Request, sample: str) -> Response:
        """The picture of one, for who is logged in."""
        self._door.visitor(request)
        found = await self._hub.call(self._hub.plane.samples.one, checked(sample))
        return await picture_answer(self._hub, found, request.headers.get("if-none-match"))


def checked(sample: str) -> str:
    """The id of a sample.

    Raises: NotFoundError: it is none.
    """
    if not SAMPLE_ID.fullmatch(sample):
        raise NotFoundError(f"There is no sample {sample[:80]!r}.")
    return sample


def look(plane: ControlPlane, sample_id: str, asked: SampleFilter) -> Beside:
    """A sample among those that somebody chose.

    Raises: NotFoundError: there is no such sample.
    """
    sample = plane.samples.one(sample_id)
    newer, older = plane.samples.beside(asked, sample)
    return Beside(sample, newer, older, plane.samples.counts(), plane.samples.verdicts())


def _shows(counts: LabelCounts, chosen: str) -> Sequence[tuple[str, str]]:
    labels = sorted({*counts.labels, *([chosen.removeprefix(LABEL)] if chosen.startswith(LABEL) else [])})
    return (
        (ALL, "all"),
        (UNLABELLED, "without a label"),
        (LABELLED, "with a label"),
        *((f"{LABEL}{label}", f"{label} ({counts.labels.get(label, 0):,})") for label in labels),
    )
