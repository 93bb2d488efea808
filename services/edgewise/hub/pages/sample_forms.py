"""What labels a sample, and what takes that back: forms, which a script may send as well."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, PermissionDeniedError
from edgewise.hub.control.actors import Actor
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.pages.door import Door, Visitor, is_live
from edgewise.hub.pages.labelling import Deed
from edgewise.hub.pages.port import Hub
from edgewise.hub.pages.rendering import HEADERS, path
from edgewise.hub.pages.sample_filter import wanted
from edgewise.hub.pages.sample_pages import SamplePages, checked
from edgewise.hub.samples.books import checked_label
from edgewise.hub.store.samples import KeptSample, SampleFilter

_LONGEST_TYPED: Final = 100


class SampleForms:
    """Everything that is sent."""

    def __init__(self, hub: Hub, door: Door, pages: SamplePages) -> None:
        self._hub = hub
        self._door = door
        self._pages = pages

    def add_to(self, router: APIRouter) -> None:
        """Put the forms where they belong; looked at instead of sent, each is the page that it belongs to."""
        for where, method, page in (
            ("/samples/undo", "POST", self.undo),
            ("/samples/undo", "GET", self.to_list),
            ("/samples/{sample}/label", "POST", self.label),
            ("/samples/{sample}/label", "GET", self.to_sample),
            ("/samples/{sample}/delete", "GET", self.ask_to_delete),
            ("/samples/{sample}/delete", "POST", self.delete),
        ):
            router.add_api_route(where, page, methods=[method], include_in_schema=False, response_model=None)

    async def label(self, request: Request, sample: str) -> Response:
        """Label a sample, and go on to the next one. An empty label takes the one that is there back, and stays.

        Where the form says which label its page showed, one that somebody else gave since is not written over: the sample is shown as it is now,
        and the label that was sent stands where labels are typed.
        """
        visitor, form = await self._door.sender(request)
        chosen, sample_id = wanted(request.query_params), checked(sample)
        label = form.get("label", "").strip()
        actor = self._door.actor(visitor, request)
        try:
            if not label and "take_back" not in form:
                raise InvalidArgumentError("Type the new label first.")
            checked_label(label)
            asked = chosen.filter()
            before, older = await self._hub.call(
                _label, self._hub.plane, sample_id, (form.get("seen"), label), actor, asked
            )
        except InvalidArgumentError as error:
            if is_live(request):
                raise
            typed = label[:_LONGEST_TYPED]
            return await self._pages.page(
                request, visitor, sample_id, chosen, problem=error.message, typed=typed, status=400
            )
        except FailedPreconditionError as error:
            return await self._pages.page(
                request, visitor, sample_id, chosen, problem=error.message, typed=label, status=409
            )
        if before != label:
            visitor.session.labelling.deeds.append(Deed(sample_id, before, label))
        said = f"Labelled {label}." if label else "The label was taken back."
        if label and not older:
            said += " That was the last one."
        to = path("samples", older if label and older else sample_id)
        return _onward(request, visitor, chosen.link(to), said)

    async def undo(self, request: Request) -> Response:
        """Take back what this session did last, and go to that sample."""
        visitor, _ = await self._door.sender(request)
        chosen, deeds = wanted(request.query_params), visitor.session.labelling.deeds
        if not deeds:
            raise FailedPreconditionError("There is nothing left that you could take back.")
        # It is tried once: what cannot be taken back would stand before what can.
        deed = deeds.pop()
        await self._hub.call(_take_back, self._hub.plane, deed, self._door.actor(visitor, request))
        said = (
            f"Taken back: it is labelled {deed.before} again." if deed.before else "Taken back: it has no label again."
        )
        return _onward(request, visitor, chosen.link(path("samples", deed.sample)), said)

    async def ask_to_delete(self, request: Request, sample: str) -> Response:
        """Say what would go, and ask whether it should."""
        visitor = self._door.visitor(request)
        if not visitor.operates:
            raise PermissionDeniedError(f"Your token has the role {visitor.role}; deleting needs the role operator.")
        one = await self._hub.call(self._hub.plane.samples.one, checked(sample))
        return await self._question(request, visitor, one)

    async def delete(self, request: Request, sample: str) -> Response:
        """Let a sample go, if it is labelled as it was when that was asked, and go on to the next one."""
        visitor, form = await self._door.sender(request)
        chosen, books = wanted(request.query_params), self._hub.plane.samples
        one = await self._hub.call(books.one, checked(sample))
        if form.get("seen") != one.label:
            problem = "It has been labelled in the meantime. Look again before you decide."
            return await self._question(request, visitor, one, problem=problem, status=409)
        _, older = await self._hub.call(books.beside, chosen.filter(), one)
        await self._hub.call(books.delete, one.id, self._door.actor(visitor, request))
        visitor.session.notice = f"The sample {one.id[:8]} was deleted."
        to = chosen.link(path("samples", older) if older else "/samples")
        return RedirectResponse(to, status_code=303, headers=HEADERS)

    async def _question(
        self, request: Request, visitor: Visitor, one: KeptSample, *, problem: str = "", status: int = 200
    ) -> Response:
        values = {"section": "Samples", "wanted": wanted(request.query_params), "one": one, "problem": problem}
        return await self._door.page(request, visitor, "delete_sample.html", values, status=status)

    async def to_list(self, request: Request) -> Response:
        """Who comes back to a form that was sent."""
        return RedirectResponse(wanted(request.query_params).link("/samples"), status_code=303, headers=HEADERS)

    async def to_sample(self, request: Request, sample: str) -> Response:
        """Who comes back to a form that was sent."""
        to = wanted(request.query_params).link(path("samples", sample))
        return RedirectResponse(to, status_code=303, headers=HEADERS)


def _onward(request: Request, visitor: Visitor, to: str, said: str) -> Response:
    """Where to go on, for a browser or for a script."""
    if is_live(request):
        return JSONResponse({"to": to, "said": said}, headers=HEADERS)
    visitor.session.notice = said
    return RedirectResponse(to, status_code=303, headers=HEADERS)


def _label(
    plane: ControlPlane, sample_id: str, labels: tuple[str | None, str], actor: Actor, asked: SampleFilter
) -> tuple[str, str]:
    """Label a sample.

    Args:
        labels: the one that the page showed, None where it did not say, and the new one.
    Returns: the label that was there, and the next sample.
    Raises: FailedPreconditionError: it has neither of the two now.
    """
    seen, label = labels
    sample = plane.samples.one(sample_id)
    if seen is not None and sample.label not in {seen, label}:
        sent = (
            f"Your label {label} was not given: give it again if theirs is wrong."
            if label
            else "Send it again if that is wrong."
        )
        raise FailedPreconditionError(
            f"Somebody else was there since this page was loaded: the sample is {_labelled(sample.label)} now, and nothing was changed. {sent}"
        )
    plane.samples.label({sample_id: label}, actor)
    return sample.label, plane.samples.beside(asked, sample)[1]


def _take_back(plane: ControlPlane, deed: Deed, actor: Actor) -> None:
    try:
        now = plane.samples.one(deed.sample).label
    except NotFoundError:
        raise NotFoundError("The sample that you labelled last has gone; there is nothing to take back.") from None
    if now != deed.after:
        raise FailedPreconditionError(
            f"Somebody else was there since: the sample is {_labelled(now)} now, and stays so."
        )
    plane.samples.label({deed.sample: deed.before}, actor)


def _labelled(label: str) -> str:
    return f"labelled {label}" if label else "without a label"
