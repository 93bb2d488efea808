"""Removes blobs that no release and no sample names: what an upload left that nobody finished, and files of what was never released."""

from collections.abc import Iterator
from typing import Final

from tuf.api.metadata import Targets

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.releases import Release
from edgewise.hub.api.hub import Hub
from edgewise.hub.blobs.port import BlobStore, KeptBlob
from edgewise.hub.control.actors import Actor
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.control.status import Pruned, PrunedBlob
from edgewise.hub.trust.repository import Repository
from edgewise.protocols.release_manifest import decode_release
from edgewise.trust.tuf_files import release_of

MOST_AT_ONCE: Final = 100
"""So many are removed while releases that come in wait."""

_LOOKED_UP: Final = 500


async def prune(hub: Hub, unwanted_for_s: float, *, after: str, dry_run: bool, actor: Actor) -> Pruned:
    """Remove blobs, `MOST_AT_ONCE` at most.

    Meanwhile no release comes in. One that comes in afterwards and relies on a blob that is gone is refused before anything is accepted, and
    whoever asked for a blob to bring one within `unwanted_for_s` finds it.

    Args:
        unwanted_for_s: only such as nobody has wanted for so long.
        after: only such with greater names.
        dry_run: remove none.
    Raises: FailedPreconditionError: sites know releases that this hub does not.
    """
    wanted_before_s = hub.clock() - unwanted_for_s
    async with hub.publishing:
        named = await named_by_releases(hub)
        found = await _of_no_sample(hub, await hub.in_files(_unnamed, hub.blobs, named, after, wanted_before_s))
        first, upto = found[:MOST_AT_ONCE], ""
        if len(found) > MOST_AT_ONCE:
            upto = first[-1].sha256
        if first and not dry_run:
            size_bytes = sum(blob.size_bytes for blob in first)
            # Before it is done: should the hub be killed, the log knows why blobs are gone.
            await hub.call(
                hub.plane.note,
                actor,
                "blob.prune",
                f"{len(first)} blobs",
                {"bytes": str(size_bytes), "from": first[0].sha256},
            )
            first = await hub.in_files(_removed, hub.blobs, first, wanted_before_s)
    return Pruned(tuple(PrunedBlob(blob.sha256, blob.size_bytes) for blob in first), upto)


async def named_by_releases(hub: Hub) -> set[str]:
    """Names of all blobs of releases; `hub.publishing` is held, so that no release comes in meanwhile.

    Raises: FailedPreconditionError: sites know releases that this hub does not.
    """
    await _check_newest(hub)
    signed, named = await hub.in_files(_signed_names, hub.repository)
    return named | await hub.call(_known_names, hub.plane, signed)


async def _of_no_sample(hub: Hub, found: list[KeptBlob]) -> list[KeptBlob]:
    """Those that no sample names: one more than are removed at once, if there are so many."""
    left: list[KeptBlob] = []
    for place in range(0, len(found), _LOOKED_UP):
        some = found[place : place + _LOOKED_UP]
        named = await hub.call(hub.plane.samples.named, [blob.sha256 for blob in some])
        left += [blob for blob in some if blob.sha256 not in named]
        if len(left) > MOST_AT_ONCE:
            break
    return left


async def _check_newest(hub: Hub) -> None:
    """A hub of an older backup takes the files of newer releases for nobody's."""
    seen = await hub.call(hub.plane.trusted_versions)
    here = (await hub.in_files(hub.repository.versions))[Targets.type]
    if seen.get(Targets.type, 0) > here:
        raise FailedPreconditionError(
            f"sites have seen version {seen[Targets.type]} of targets.json, and this hub has version {here}: hand in the newest first "
            "(edgewise hub trust hand-in), or files of releases that it names would be lost"
        )


def _signed_names(repository: Repository) -> tuple[set[tuple[str, int]], set[str]]:
    """The releases that targets.json names, and the names of their blobs."""
    releases: set[tuple[str, int]] = set()
    names: set[str] = set()
    for path in repository.targets().targets:
        release = release_of(path)
        if release is not None:
            releases.add(release)
            names.update(_names(decode_release(repository.content(path))))
    return releases, names


def _known_names(plane: ControlPlane, signed: set[tuple[str, int]]) -> set[str]:
    """Of the blobs of releases that the control plane knows, and that a targets.json has dropped: sites may have orders for them."""
    known = {(release.model, release.version) for release in plane.releases()}
    return {name for dropped in known - signed for name in _names(plane.manifest(*dropped))}


def _names(release: Release) -> Iterator[str]:
    for variant in release.variants.values():
        for file in variant.files:
            yield file.sha256


def _unnamed(blobs: BlobStore, named: set[str], after: str, wanted_before_s: float) -> list[KeptBlob]:
    found = (blob for blob in blobs.kept() if blob.wanted_s < wanted_before_s and blob.sha256 > after)
    return sorted((blob for blob in found if blob.sha256 not in named), key=lambda blob: blob.sha256)


def _removed(blobs: BlobStore, found: list[KeptBlob], wanted_before_s: float) -> list[KeptBlob]:
    return [blob for blob in found if blobs.remove(blob.sha256, wanted_before_s)]
