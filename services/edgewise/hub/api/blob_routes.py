"""Blobs in and out."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from edgewise.core.errors import Code
from edgewise.hub.api.access import Calling, GuardedRoute, needs
from edgewise.hub.api.answers import PROBLEMS, answer
from edgewise.hub.api.hub import Hub, TheHub
from edgewise.hub.api.pruning import prune
from edgewise.hub.api.ranges import ByteRange, UnsatisfiableRangeError, etag_matches, requested_range
from edgewise.hub.api.requests import Done, PruneAsked
from edgewise.hub.blobs.port import checked_digest
from edgewise.hub.control.actors import Role
from edgewise.hub.control.status import Pruned

MAX_BLOB_BYTES: Final = 1 << 40
_WRITE_BYTES: Final = 1 << 18
_BYTES: Final = "application/octet-stream"
_DIGEST = Annotated[str, Path(description="SHA-256 of the blob, 64 hexadecimal digits.", max_length=80)]

router = APIRouter(route_class=GuardedRoute, tags=["blobs"], responses=PROBLEMS)


@router.get(
    "/blobs/sha256/{sha256}",
    summary="A blob, or a part of it",
    response_class=Response,
    responses={
        200: {"description": "All of it.", "content": {_BYTES: {}}},
        206: {"description": "The part that `Range` asks for.", "content": {_BYTES: {}}},
        304: {"description": "`If-None-Match` names it."},
        416: {"description": "There is no such part."},
    },
)
@needs(Role.VIEWER, sites=True)
async def get_blob(sha256: _DIGEST, request: Request, hub: TheHub, caller: Calling) -> Response:
    """Its ETag is its digest and strong, so `If-Range` works, and an answer may be kept for good. Where an operator asks with HEAD, a release
    may come that relies on the answer: the blob is not pruned for as long as if it had come in now.
    """
    brings = request.method == "HEAD" and caller.role is not None and caller.role.includes(Role.OPERATOR)
    size_of = hub.blobs.want if brings else hub.blobs.size_bytes
    size_bytes = await hub.in_files(size_of, checked_digest(sha256))
    etag = f'"{sha256}"'
    fields = {"etag": etag, "accept-ranges": "bytes", "cache-control": "private, max-age=31536000, immutable"}
    asked = request.headers
    if etag_matches(asked.get("if-none-match"), etag):
        return Response(status_code=304, headers=fields)
    try:
        part = requested_range(asked.get("range"), asked.get("if-range"), etag=etag, size_bytes=size_bytes)
    except UnsatisfiableRangeError:
        return _unsatisfiable(size_bytes)
    fields["content-length"] = str(part.end - part.start)
    if part.is_part:
        fields["content-range"] = f"bytes {part.start}-{part.end - 1}/{size_bytes}"
    if request.method == "HEAD":
        return Response(status_code=206 if part.is_part else 200, headers=fields, media_type=_BYTES)
    return _streamed(hub, sha256, part, fields)


router.add_api_route(
    "/blobs/sha256/{sha256}",
    get_blob,
    methods=["HEAD"],
    summary="Whether there is a blob, and how long it is",
    response_class=Response,
    responses={200: {"description": "It is there."}, 304: {"description": "`If-None-Match` names it."}},
)


@router.put(
    "/blobs/sha256/{sha256}",
    summary="Bring a blob in",
    response_model=Done,
    status_code=201,
    responses={200: {"model": Done, "description": "It has been there."}, 201: {"description": "It is new."}},
    openapi_extra={"requestBody": {"required": True, "content": {_BYTES: {}}}},
)
@needs(Role.OPERATOR, max_body_bytes=MAX_BLOB_BYTES)
async def put_blob(sha256: _DIGEST, request: Request, hub: TheHub, caller: Calling) -> Response:
    """Checked against its name while it comes; whole, or not there at all."""
    upload = await hub.in_files(hub.blobs.upload, checked_digest(sha256))
    try:
        waiting = bytearray()
        count = 0
        async for piece in request.stream():
            waiting += piece
            count += len(piece)
            if len(waiting) >= _WRITE_BYTES:
                await hub.in_files(upload.write, bytes(waiting))
                waiting.clear()
        await hub.in_files(upload.write, bytes(waiting))
        is_new = await hub.in_files(upload.commit)
    finally:
        await hub.in_files(upload.discard)
    hub.metrics.taken_bytes.inc(count)
    if is_new:
        await hub.call(hub.plane.note, caller.actor, "blob.put", sha256, {"bytes": str(count)})
    return await answer(Done, Done(), status=201 if is_new else 200)


@router.post("/api/v1/blobs/prune", response_model=Pruned, summary="Remove blobs that no release and no sample names")
@needs(Role.ADMIN)
async def post_prune(asked: PruneAsked, hub: TheHub, caller: Calling) -> Response:
    """A hundred at most; `more` says whether to ask again."""
    pruned = await prune(hub, asked.unwanted_for_s, after=asked.after, dry_run=asked.dry_run, actor=caller.actor)
    return await answer(Pruned, pruned)


def _streamed(hub: Hub, sha256: str, part: ByteRange, fields: dict[str, str]) -> Response:
    async def content() -> AsyncIterator[bytes]:
        async for piece in hub.pieces(hub.blobs.read(sha256, part.start, part.end)):
            hub.metrics.blob_bytes.inc(len(piece))
            yield piece

    return StreamingResponse(content(), 206 if part.is_part else 200, fields, _BYTES)


def _unsatisfiable(size_bytes: int) -> Response:
    text = f"the blob has {size_bytes} bytes; there is no such part of it"
    return JSONResponse(
        {"error": text, "code": Code.OUT_OF_RANGE.value}, 416, {"content-range": f"bytes */{size_bytes}"}
    )
