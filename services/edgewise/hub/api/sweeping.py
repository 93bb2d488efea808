"""Lets samples go whose time is over, and after them the pictures that nothing names any more."""

from typing import Final

from tuf.api.metadata import Targets

from edgewise.core.errors import NotFoundError
from edgewise.hub.api.hub import Hub
from edgewise.hub.api.pruning import named_by_releases
from edgewise.hub.blobs.port import BlobStore
from edgewise.hub.samples.books import SEGMENT_MEMORY_S

AT_ONCE: Final = 500
"""Samples in one transaction, so that nobody waits long for the database."""
GRACE_S: Final = 3600.0
"""A blob that was wanted within this time stays: it may be on its way into a sample or a release at this moment."""
_UNFINISHED_S: Final = 3 * 86400.0


async def sweep(hub: Hub) -> None:
    """Once round; what is left over goes the next time."""
    now_s = hub.clock()
    over_s = hub.retention.unlabelled_before_s(now_s), hub.retention.labelled_before_s(now_s)
    if over_s != (None, None):
        unlabelled_s, labelled_s = over_s
        while (
            await hub.call(
                hub.plane.samples.expire, unlabelled_before_s=unlabelled_s, labelled_before_s=labelled_s, limit=AT_ONCE
            )
            == AT_ONCE
        ):
            continue
    await hub.call(hub.plane.samples.forget_segments, now_s - SEGMENT_MEMORY_S)
    await hub.in_files(hub.segments.files.sweep, now_s - _UNFINISHED_S)
    # Last: a hub of an older backup removes none, and says why.
    await _sweep_blobs(hub, now_s - GRACE_S)


async def _sweep_blobs(hub: Hub, before_s: float) -> None:
    of_releases, version = set[str](), 0
    while True:
        async with hub.publishing:
            # Looked at together with releases that come in: those wait.
            digests, named = await hub.call(hub.plane.samples.leaving, before_s=before_s, limit=AT_ONCE)
            if not digests:
                return
            newest = (await hub.in_files(hub.repository.versions))[Targets.type]
            if newest != version:
                of_releases, version = await named_by_releases(hub), newest
            named |= of_releases
            gone = await hub.in_files(_removed, hub.blobs, [each for each in digests if each not in named], before_s)
        looked_at = [each for each in digests if each in named or each in gone]
        await hub.call(hub.plane.samples.left, looked_at, before_s)
        if len(digests) < AT_ONCE or not looked_at:
            return


def _removed(blobs: BlobStore, digests: list[str], before_s: float) -> set[str]:
    """Those that are not there any more."""
    return {each for each in digests if blobs.remove(each, before_s) or _is_missing(blobs, each)}


def _is_missing(blobs: BlobStore, sha256: str) -> bool:
    try:
        blobs.size_bytes(sha256)
    except NotFoundError:
        return True
    return False
