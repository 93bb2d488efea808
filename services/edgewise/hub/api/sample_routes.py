"""Samples, as people and programs look at them, label them and bring them."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Annotated, Final, Literal, ParamSpec, Protocol, TypeVar

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.core.versions import MAX_VERSION
from edgewise.hub.api.access import Calling, GuardedRoute, needs
from edgewise.hub.api.answers import PROBLEMS, answer
from edgewise.hub.api.bodies import whole_body
from edgewise.hub.api.hub import Hub, TheHub
from edgewise.hub.api.ranges import etag_matches
from edgewise.hub.api.requests import Done, LabelAsked, LabelLeft, LabelsAsked, LabelsTaken
from edgewise.hub.blobs.port import BlobStore
from edgewise.hub.control.actors import Role
from edgewise.hub.samples.books import MOST_LISTED, LabelCounts, checked_label
from edgewise.hub.samples.pictures import CONTENT_TYPES, MAX_PICTURE_BYTES, keep, read_whole_picture
from edgewise.hub.samples.shown import Shown, ShownPage, shown
from edgewise.hub.store.samples import PICTURE, KeptSample, SampleFilter
from edgewise.hub.store.texts import storable
from edgewise.protocols.documents import time_s, time_text

_SAMPLE = Annotated[
    str, Path(description="The sample's name.", pattern=r"^[0-9a-f]{32}(-[0-9]{1,4})?$", examples=["0" * 32])
]
_MOMENT: Final = "2026-11-23T10:00:00Z"
_SEALED: Final = "sandbox; default-src 'none'; frame-ancestors 'none'"
"""A picture that is opened by itself runs nothing, whatever is in it."""
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")

router = APIRouter(route_class=GuardedRoute, tags=["samples"], responses=PROBLEMS)


def _asked(
    *,
    site: Annotated[str | None, Query(max_length=256, description="Where it was captured.")] = None,
    model: Annotated[str | None, Query(max_length=256, description="That answered.")] = None,
    version: Annotated[int | None, Query(ge=0, le=MAX_VERSION, description="Of the model.")] = None,
    label: Annotated[str | None, Query(max_length=256, description="That it has.")] = None,
    labelled: Annotated[Literal["yes", "no"] | None, Query(description="Whether it has a label.")] = None,
    reason: Annotated[
        str | None, Query(max_length=64, description="Why it was captured.", examples=["sampled"])
    ] = None,
    source: Annotated[str | None, Query(max_length=256, description="The camera, the door.")] = None,
    since: Annotated[str, Query(max_length=40, description="Captured then or later.", examples=[_MOMENT])] = "",
    until: Annotated[str, Query(max_length=40, description="Captured before.", examples=[_MOMENT])] = "",
    kind: Annotated[Literal["picture", "tensor"] | None, Query(description="What it is.")] = None,
    id_start: Annotated[
        str | None, Query(pattern="^[0-9a-f]{6,32}$", description="How its name begins.", examples=["0" * 6])
    ] = None,
) -> SampleFilter:
    texts = {"site": site, "model": model, "label": label, "reason": reason, "source": source}
    return SampleFilter(
        version=version,
        is_labelled=None if labelled is None else labelled == "yes",
        since_s=time_s(since) if since else None,
        until_s=time_s(until) if until else None,
        kind=kind,
        id_start=id_start,
        **{name: text if text is None else storable(text) for name, text in texts.items()},
    )


Meant = Annotated[SampleFilter, Depends(_asked)]
"""All that every parameter that is given fits."""


@router.get("/api/v1/samples", response_model=ShownPage, summary="Samples, the newest first")
@needs(Role.VIEWER)
async def samples(
    hub: TheHub,
    meant: Meant,
    *,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED, description="So many at most.")] = 100,
    after: Annotated[str, Query(max_length=128, description="What came with the page before.", examples=[""])] = "",
) -> Response:
    """All that every parameter that is given fits, by when they were captured."""
    found, more = await hub.call(hub.plane.samples.list, meant, after=after, limit=limit)
    return await answer(ShownPage, ShownPage(tuple(shown(each, hub.retention) for each in found), more))


@router.get("/api/v1/samples/{sample}", response_model=Shown, summary="One sample")
@needs(Role.VIEWER)
async def one_sample(sample: _SAMPLE, hub: TheHub) -> Response:
    """All that is known of it but its picture."""
    return await _shown(hub, sample)


@router.get(
    "/api/v1/samples/{sample}/picture",
    summary="The picture of a sample",
    response_class=Response,
    responses={
        200: {"description": "Of a tensor, the request.", "content": {kind: {} for kind in CONTENT_TYPES.values()}},
        304: {"description": "`If-None-Match` names it."},
    },
)
@needs(Role.VIEWER)
async def picture(sample: _SAMPLE, request: Request, hub: TheHub) -> Response:
    """As it was captured, its own place, time and camera still in it."""
    found = await hub.call(hub.plane.samples.one, sample)
    return await picture_answer(hub, found, request.headers.get("if-none-match"))


@router.put("/api/v1/samples/{sample}/label", response_model=Shown, summary="Label a sample")
@needs(Role.OPERATOR)
async def put_label(sample: _SAMPLE, asked: LabelAsked, hub: TheHub, caller: Calling) -> Response:
    """An empty label takes it back. With `seen`, a label that somebody else gave since is not written over: 409."""
    seen = {} if asked.seen is None else {sample: asked.seen}
    done = await hub.call(hub.plane.samples.label_unless_changed, {sample: asked.label}, seen, caller.actor)
    if done.kept:
        one = _left(done.kept[0])
        now = f"labelled {one.label} by {one.labelled_by} since {one.labelled_at}" if one.label else "without a label"
        raise FailedPreconditionError(f"the sample is {now}, not as it was seen; nothing was changed")
    return await _shown(hub, sample)


@router.delete("/api/v1/samples/{sample}", response_model=Done, summary="Let a sample go")
@needs(Role.OPERATOR)
async def delete_sample(sample: _SAMPLE, hub: TheHub, caller: Calling) -> Response:
    """Nobody is told of it from then on. The bytes of its picture leave the store within two hours, unless something else names them."""
    await hub.call(hub.plane.samples.delete, sample, caller.actor)
    return await answer(Done, Done())


@router.get("/api/v1/labels", response_model=LabelCounts, summary="Labels, and how many samples have them")
@needs(Role.VIEWER)
async def labels(hub: TheHub, meant: Meant) -> Response:
    """Of all that every parameter that is given fits. `more`: there are more than the 100,000 that were counted."""
    return await answer(LabelCounts, await hub.call(hub.plane.samples.counts, meant))


@router.post("/api/v1/labels", response_model=LabelsTaken, summary="Label samples")
@needs(Role.OPERATOR)
async def post_labels(asked: LabelsAsked, hub: TheHub, caller: Calling) -> Response:
    """All of them or none, but for those whose label is not as `seen` says; an empty label takes one back."""
    done = await hub.call(hub.plane.samples.label_unless_changed, asked.labels, asked.seen, caller.actor)
    return await answer(LabelsTaken, LabelsTaken(changed=done.changed, kept=[_left(one) for one in done.kept]))


@router.post(
    "/api/v1/samples",
    response_model=Shown,
    status_code=201,
    summary="Bring a picture",
    responses={200: {"model": Shown, "description": "It has been there."}, 201: {"description": "It is new."}},
    openapi_extra={"requestBody": {"required": True, "content": {kind: {} for kind in CONTENT_TYPES.values()}}},
)
@needs(Role.OPERATOR, max_body_bytes=MAX_PICTURE_BYTES)
async def post_sample(
    request: Request,
    hub: TheHub,
    caller: Calling,
    *,
    label: Annotated[str, Query(max_length=64, description="What it shows.")] = "",
    source: Annotated[str, Query(max_length=256, description="The camera; a dataset keeps a source together.")] = "",
    model: Annotated[str, Query(max_length=128, description="For which it is meant.")] = "",
    site: Annotated[str, Query(max_length=63, description="Where it was taken.")] = "",
    captured: Annotated[str, Query(max_length=40, description="When; now where it is not given.", examples=[""])] = "",
    synthetic: Annotated[bool, Query(description="It was made, not seen.")] = False,
    seen: Annotated[str | None, Query(max_length=64, description="The label that it may have, if it is there.")] = None,
) -> Response:
    """The same picture of the same source is kept once. A label that is given is set; with `seen`, only where it has that one: the answer says which it has."""
    now_s = hub.clock()
    captured_s = time_s(captured) if captured else now_s
    checked_label(label)
    try:
        found = read_whole_picture(await whole_body(request))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"the body: {error.message}") from None
    await hub.in_files(hub.segments.files.check_room, len(found.content))
    sample = KeptSample(
        id=uuid.uuid4().hex,
        site=storable(site),
        source=storable(source),
        captured_s=captured_s,
        received_s=now_s,
        model=storable(model),
        version=0,
        kind=PICTURE,
        content_type=found.content_type,
        blob_sha256=await hub.in_files(keep, hub.blobs.upload, found.content),
        size_bytes=len(found.content),
        reasons=("imported",),
        width=found.width,
        height=found.height,
        label=label,
        synthetic=synthetic,
    )
    kept, is_new = await hub.call(hub.plane.samples.bring, sample, caller.actor, seen=seen)
    return await answer(Shown, shown(kept, hub.retention), status=201 if is_new else 200)


class Pictures(Protocol):
    """Where pictures are."""

    @property
    def blobs(self) -> BlobStore:
        """The store."""

    async def in_files(
        self, function: Callable[_Arguments, _Answer], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Answer:
        """See `Hub`."""

    def pieces(self, source: Iterator[bytes]) -> AsyncIterator[bytes]:
        """See `Hub`."""


async def picture_answer(hub: Pictures, sample: KeptSample, if_none_match: str | None) -> Response:
    """The bytes of a sample, so that a browser shows a picture and runs nothing.

    Raises: NotFoundError: they are not here.
    """
    etag = f'"{sample.blob_sha256}"'
    fields: Mapping[str, str] = {
        "etag": etag,
        "cache-control": "private, no-cache",
        "content-security-policy": _SEALED,
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }
    if etag_matches(if_none_match, etag):
        return Response(status_code=304, headers=fields)
    try:
        size_bytes = await hub.in_files(hub.blobs.size_bytes, sample.blob_sha256)
    except NotFoundError:
        raise NotFoundError(
            f"the picture of {sample.id} is not among the hub's blobs; a hub that was restored has those that its backup holds (--with-blobs)"
        ) from None
    fields = {**fields, "content-length": str(size_bytes)}
    if sample.kind != PICTURE:
        fields = {**fields, "content-disposition": f'attachment; filename="{sample.id}"'}
    content = hub.pieces(hub.blobs.read(sample.blob_sha256, 0, size_bytes))
    return StreamingResponse(content, 200, fields, sample.content_type)


def _left(sample: KeptSample) -> LabelLeft:
    labelled_at = "" if sample.labelled_at_s is None else time_text(sample.labelled_at_s)
    return LabelLeft(id=sample.id, label=sample.label, labelled_by=sample.labelled_by, labelled_at=labelled_at)


async def _shown(hub: Hub, sample: str) -> Response:
    return await answer(Shown, shown(await hub.call(hub.plane.samples.one, sample), hub.retention))
