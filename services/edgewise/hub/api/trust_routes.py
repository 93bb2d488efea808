"""TUF metadata and target files, out and in."""

from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from edgewise.hub.api.access import Calling, GuardedRoute, needs
from edgewise.hub.api.answers import PROBLEMS, answer
from edgewise.hub.api.bodies import whole_body
from edgewise.hub.api.hub import TheHub
from edgewise.hub.api.publishing import accept_root, accept_targets, sign_bundle
from edgewise.hub.api.requests import BundleAsked, MetadataTaken, TargetTaken
from edgewise.hub.control.actors import Role
from edgewise.hub.control.status import BundleSigned
from edgewise.trust.tuf_files import MAX_ROOT_BYTES, MAX_TARGET_BYTES, MAX_TARGETS_BYTES

_JSON: Final = "application/json"
_FILE: Final = {"description": "The file.", "content": {_JSON: {}}}
_BODY: Final = {"requestBody": {"required": True, "content": {_JSON: {}}}}
_PATH = Annotated[str, Path(description="Of a target, such as releases/pets/2.json.", max_length=1100)]

router = APIRouter(route_class=GuardedRoute, tags=["trust"], responses=PROBLEMS)


@router.get("/tuf/metadata/{file}", summary="A metadata file", response_class=Response, responses={200: _FILE})
@needs(Role.VIEWER, sites=True)
async def metadata(
    file: Annotated[str, Path(description="timestamp.json, or 1.root.json and the like.", max_length=256)], hub: TheHub
) -> Response:
    """As TUF clients ask for it."""
    content = await hub.in_files(hub.repository.read, file)
    return Response(content, headers={"cache-control": "no-cache, private"}, media_type=_JSON)


@router.get("/tuf/targets/{path:path}", summary="A target file", response_class=Response, responses={200: _FILE})
@needs(Role.VIEWER, sites=True)
async def target(path: _PATH, hub: TheHub) -> Response:
    """Under the name of consistent snapshots: the digest before the file's own name."""
    content = await hub.in_files(hub.repository.target, path)
    return Response(content, headers={"cache-control": "private, max-age=31536000, immutable"}, media_type=_JSON)


@router.put(
    "/api/v1/targets/{path:path}",
    response_model=TargetTaken,
    summary="Bring the content of a target file in",
    openapi_extra=_BODY,
)
@needs(Role.OPERATOR, max_body_bytes=MAX_TARGET_BYTES)
async def put_target(path: _PATH, request: Request, hub: TheHub, caller: Calling) -> Response:
    """Before the metadata that names it. Sites do not see it until then."""
    content = await whole_body(request)
    sha256 = await hub.in_files(hub.repository.put_target, path, content)
    await hub.call(hub.plane.note, caller.actor, "target.put", path, {"sha256": sha256})
    return await answer(TargetTaken, TargetTaken(sha256=sha256))


@router.post(
    "/api/v1/metadata/targets",
    response_model=MetadataTaken,
    summary="Let a targets.json be in force",
    openapi_extra=_BODY,
)
@needs(Role.OPERATOR, max_body_bytes=MAX_TARGETS_BYTES)
async def post_targets(request: Request, hub: TheHub, caller: Calling) -> Response:
    """Signed offline. Every file of the releases that it adds has to be here, as blobs."""
    content = await whole_body(request)
    return await answer(MetadataTaken, await accept_targets(hub, content, caller.actor))


@router.post(
    "/api/v1/metadata/root", response_model=MetadataTaken, summary="Let a new root be in force", openapi_extra=_BODY
)
@needs(Role.ADMIN, max_body_bytes=MAX_ROOT_BYTES)
async def post_root(request: Request, hub: TheHub, caller: Calling) -> Response:
    """The next version, signed with the keys of the present one and its own."""
    content = await whole_body(request)
    return await answer(MetadataTaken, await accept_root(hub, content, caller.actor))


@router.post("/api/v1/bundles", response_model=BundleSigned, summary="Sign what a bundle carries")
@needs(Role.OPERATOR)
async def post_bundle(asked: BundleAsked, hub: TheHub, caller: Calling) -> Response:
    """A timestamp that holds for longer than a day, and a desired state that holds for as long. The audit log says who asked."""
    return await answer(BundleSigned, await sign_bundle(hub, asked.site, asked.valid_for_s, caller.actor))
