"""What operators signed becomes what sites follow: looked at as a whole first, so that nothing is half accepted."""

import hashlib
from collections.abc import Mapping
from typing import Final

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from edgewise.core.releases import Release
from edgewise.hub.api.hub import Hub
from edgewise.hub.api.requests import MetadataTaken
from edgewise.hub.blobs.port import BlobStore
from edgewise.hub.control.actors import HUB, Actor
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.control.status import BundleSigned
from edgewise.hub.trust.repository import Repository
from edgewise.protocols.documents import time_text
from edgewise.protocols.release_manifest import decode_release
from edgewise.protocols.trusted_documents import decode_policy
from edgewise.trust.tuf_files import POLICY, release_of

_MOST_NAMED: Final = 5


async def accept_targets(hub: Hub, content: bytes, actor: Actor) -> MetadataTaken:
    """Let a signed targets.json be in force, with the releases that it adds.

    Raises:
        FailedPreconditionError: blobs are missing, or what `Repository.accept_targets` says.
        AlreadyExistsError: it changes a release.
    """
    async with hub.publishing:
        added = await hub.in_files(hub.repository.examine_targets, content)
        releases = {path: decode_release(manifest) for path, manifest in added.items()}
        await hub.in_files(_check_blobs, hub.blobs, releases)
        await hub.call(_check_known, hub.plane, releases, added)
        await hub.in_files(hub.repository.accept_targets, content)
        versions = await hub.in_files(hub.repository.versions)
        noted = {"version": str(versions["targets"]), "releases": ", ".join(each.name for each in releases.values())}
        await hub.call(hub.plane.note, actor, "metadata.targets", "targets.json", noted)
        await _take_unknown(hub, actor)
        names = [release.name for release in releases.values()]
        return MetadataTaken(versions=versions, releases=names, remark="")


async def accept_root(hub: Hub, content: bytes, actor: Actor) -> MetadataTaken:
    """Let a root follow on the present one.

    Raises: as `Repository.accept_root`.
    """
    async with hub.publishing:
        remark = await hub.in_files(hub.repository.accept_root, content)
        versions = await hub.in_files(hub.repository.versions)
        await hub.call(hub.plane.note, actor, "metadata.root", "root.json", {"version": str(versions["root"])})
        return MetadataTaken(versions=versions, remark=remark)


async def sign_bundle(hub: Hub, site: str | None, valid_for_s: float, actor: Actor) -> BundleSigned:
    """Sign what is carried to a site without a link.

    Raises:
        NotFoundError: there is no such site.
        FailedPreconditionError: what operators signed expires before that.
    """
    until_s = hub.clock() + valid_for_s
    desired = None if site is None else (await hub.call(hub.plane.carried, site, until_s)).decode()
    async with hub.publishing:
        timestamp = await hub.in_files(hub.repository.carried, until_s)
    until = time_text(until_s)
    # Before it is given out: nobody has one that the log does not know.
    await hub.call(hub.plane.note, actor, "bundle.sign", site or "any site", {"until": until})
    return BundleSigned(until=until, timestamp=timestamp.decode(), desired=desired)


async def catch_up(hub: Hub) -> None:
    """Take what is signed and the control plane does not know: the hub was killed in between, or its database is an older one."""
    async with hub.publishing:
        await _take_unknown(hub, HUB)


async def _take_unknown(hub: Hub, actor: Actor) -> None:
    """Let the control plane know every signed release, and the policy in force."""
    known = {(release.model, release.version) for release in await hub.call(hub.plane.releases)}
    manifests = await hub.in_files(_unknown_manifests, hub.repository, known)
    for manifest in manifests:
        release = decode_release(manifest)
        await hub.call(hub.plane.add_release, release, hashlib.sha256(manifest).hexdigest(), actor)
    floors = decode_policy(await hub.in_files(hub.repository.content, POLICY))
    await hub.call(hub.plane.set_floors, floors)


def expiries_s(repository: Repository) -> dict[str, float]:
    """When what only offline keys can sign anew expires, by role; seconds since the epoch."""
    return {signed.type: signed.expires.timestamp() for signed in (repository.root(), repository.targets())}


def _check_blobs(blobs: BlobStore, releases: Mapping[str, Release]) -> None:
    """Refuse releases whose files no site could fetch.

    Raises: FailedPreconditionError: blobs are missing; it says which.
    """
    wrong = []
    for release in releases.values():
        for variant in release.variants.values():
            for file in variant.files:
                try:
                    size_bytes = blobs.size_bytes(file.sha256)
                except NotFoundError:
                    wrong.append(f"{release.name}: {file.path} ({file.sha256}) is not here")
                    continue
                if size_bytes != file.size_bytes:
                    wrong.append(f"{release.name}: {file.path} has {size_bytes} bytes here, not {file.size_bytes}")
    if wrong:
        more = f", and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
        raise FailedPreconditionError(f"put the blobs here first: {'; '.join(wrong[:_MOST_NAMED])}{more}")


def _check_known(plane: ControlPlane, releases: Mapping[str, Release], manifests: Mapping[str, bytes]) -> None:
    """Refuse, before anything is accepted, what the control plane would refuse afterwards.

    Raises: AlreadyExistsError: it knows another release of that name.
    """
    for path, release in releases.items():
        try:
            known = plane.release(release.model, release.version)
        except NotFoundError:
            continue
        if known.manifest_sha256 != hashlib.sha256(manifests[path]).hexdigest():
            raise AlreadyExistsError(
                f"the hub knows another release {release.name}; releases never change: give it the next version"
            )


def _unknown_manifests(repository: Repository, known: set[tuple[str, int]]) -> list[bytes]:
    paths = [path for path in repository.targets().targets if (named := release_of(path)) and named not in known]
    return [repository.content(path) for path in paths]
