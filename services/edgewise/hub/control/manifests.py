"""Releases that the hub has taken: their manifests are in the store, and the last ones that were asked for in memory."""

import functools
from typing import Final

from edgewise.core.errors import AlreadyExistsError, NotFoundError
from edgewise.core.releases import Release
from edgewise.hub.control.actors import Actor
from edgewise.hub.control.books import Books
from edgewise.hub.control.status import ReleaseStatus
from edgewise.hub.store.releases import KnownRelease, insert_release, load_manifest
from edgewise.protocols.release_manifest import decode_release, encode_release

_IN_MEMORY: Final = 8


class Manifests:
    """Releases, by model and version."""

    def __init__(self, books: Books) -> None:
        self._books = books
        # A release never changes, so what was read stays true.
        self.of = functools.lru_cache(_IN_MEMORY)(self._load)

    def add(self, release: Release, manifest_sha256: str, actor: Actor) -> None:
        """See `ControlPlane.add_release`."""
        key = (release.model, release.version)
        known = self._books.known.releases.get(key)
        if known is not None:
            if known.manifest_sha256 == manifest_sha256:
                return
            raise AlreadyExistsError(
                f"there is a release {release.name} already, and it is another one; a release never changes: "
                "give the new one a version of its own"
            )
        now_s = self._books.clock()
        added = KnownRelease(
            release.model,
            release.version,
            manifest_sha256,
            release.created,
            release.notes,
            release.lineage,
            {tier: variant.size_bytes for tier, variant in release.variants.items()},
            now_s,
            actor.name,
        )
        content = encode_release(release)
        with self._books.change(now_s) as change:
            change.also(lambda connection: insert_release(connection, added, content))
            change.audit(actor, "release.add", release.name, manifest_sha256=manifest_sha256)
            change.then(lambda: self._books.known.releases.update({key: added}))

    def all(self) -> list[ReleaseStatus]:
        """See `ControlPlane.releases`."""
        return [_status(release) for _, release in sorted(self._books.known.releases.items())]

    def status(self, model: str, version: int) -> ReleaseStatus:
        """See `ControlPlane.release`."""
        known = self._books.known.releases.get((model, version))
        if known is None:
            raise NotFoundError(f"there is no release {model[:100]}/{version}")
        return _status(known)

    def _load(self, model: str, version: int) -> Release:
        """One that is there."""
        with self._books.reading() as connection:
            return decode_release(load_manifest(connection, model, version))


def _status(release: KnownRelease) -> ReleaseStatus:
    return ReleaseStatus(
        release.model,
        release.version,
        release.created,
        release.notes,
        release.lineage,
        release.manifest_sha256,
        release.sizes_bytes,
        release.added_s,
        release.added_by,
    )
