"""Segments of sites' spools: how far one has come, and its next piece."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Path
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edgewise.core.errors import Code, InvalidArgumentError
from edgewise.hub.api.access import GuardedRoute, needs
from edgewise.hub.api.answers import PROBLEMS, answer
from edgewise.hub.api.hub import TheHub
from edgewise.hub.api.path_names import SITE
from edgewise.hub.api.requests import OffsetRefusal, SegmentRefusal, SegmentState
from edgewise.hub.api.segment_taking import Piece
from edgewise.hub.samples.ingest import NewerSegmentError, SegmentFaultError
from edgewise.hub.samples.segment_files import MAX_SEGMENT_BYTES, OffsetError
from edgewise.hub.store.samples import SegmentDone
from edgewise.protocols.segment_faults import NEWER
from edgewise.spool.segment_names import read_segment_name

MAX_PIECE_BYTES: Final = 1 << 20
_BYTES: Final = "application/octet-stream"
_NAME = Annotated[str, Path(description="The segment's name.", max_length=128, examples=["2-0-w0.5f3a9c01-0000000012"])]
_DIGEST: Final = r"^[0-9a-f]{64}$"

router = APIRouter(route_class=GuardedRoute, tags=["agents"], responses=PROBLEMS)


@router.get(
    "/api/v1/sites/{site}/segments/{name}", response_model=SegmentState, summary="How far a segment of samples has come"
)
@needs(sites=True)
async def get_segment(
    site: SITE,
    name: _NAME,
    hub: TheHub,
    upload_sha256: Annotated[
        str, Header(alias="Upload-SHA256", pattern=r"^([0-9a-f]{64})?$", description="Of the segment that is meant.")
    ] = "",
) -> Response:
    """Its next piece begins at `offset`, unless it is done. With a digest, only a segment of these very bytes is meant."""
    read_segment_name(name)
    offset, done = await hub.segments.state(hub, site, name, upload_sha256)
    return await answer(SegmentState, _state(offset, done))


@router.patch(
    "/api/v1/sites/{site}/segments/{name}",
    response_model=SegmentState,
    summary="The next piece of a segment of samples",
    responses={
        400: {
            "model": SegmentRefusal,
            "description": "With `reason`, the segment itself is at fault; none of it is kept.",
        },
        409: {
            "model": OffsetRefusal,
            "description": "The next piece has to begin at `offset`; without one, the segment stays here until the hub is up to date.",
        },
    },
    openapi_extra={"requestBody": {"required": True, "content": {_BYTES: {}}}},
)
@needs(sites=True, max_body_bytes=MAX_PIECE_BYTES)
async def patch_segment(
    site: SITE,
    name: _NAME,
    request: Request,
    hub: TheHub,
    *,
    upload_offset: Annotated[int, Header(alias="Upload-Offset", ge=0, description="Where this piece begins.")],
    upload_length: Annotated[
        int, Header(alias="Upload-Length", ge=1, le=MAX_SEGMENT_BYTES, description="Of the whole segment, in bytes.")
    ],
    upload_sha256: Annotated[str, Header(alias="Upload-SHA256", pattern=_DIGEST, description="Of the whole segment.")],
) -> Response:
    """With the last one its samples are taken in, all or none, and then it is done. A segment that is sent again changes nothing; an empty
    piece at the end asks once more for what is all here. One that is damaged is refused with 400 and a `reason`, and none of it is kept.
    """
    read_segment_name(name)
    content = await request.body()
    if not content and upload_offset != upload_length:
        raise InvalidArgumentError("the body is empty")
    piece = Piece(site, name, upload_sha256, upload_length, upload_offset, content)
    try:
        here, done = await hub.segments.take(hub, piece)
    except OffsetError as error:
        told = OffsetRefusal(error=str(error), code=Code.FAILED_PRECONDITION.value, offset=error.offset, reason=None)
        return JSONResponse(told.model_dump(exclude_none=True), 409, {"upload-offset": str(error.offset)})
    except SegmentFaultError as error:
        refusal = SegmentRefusal(error=error.message, code=error.code.value, reason=error.fault)
        return JSONResponse(refusal.model_dump(), 400)
    except NewerSegmentError as error:
        waiting = OffsetRefusal(error=error.message, code=error.code.value, offset=None, reason=NEWER)
        return JSONResponse(waiting.model_dump(exclude_none=True), 409)
    return await answer(SegmentState, _state(here, done))


def _state(offset: int, done: SegmentDone | None) -> SegmentState:
    if done is None:
        return SegmentState(offset=offset, done=False, samples=0, doubled=0, refused=0)
    return SegmentState(offset=offset, done=True, samples=done.samples, doubled=done.doubled, refused=done.refused)
