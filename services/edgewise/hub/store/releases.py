"""Releases that the hub has taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select

from edgewise.hub.store.schema import RELEASES
from edgewise.hub.store.texts import storable


@dataclass(frozen=True, slots=True)
class KnownRelease:
    """One release, without its manifest.

    Attributes:
        created: when it was made, RFC 3339.
        sizes_bytes: by tier.
        added_s: when the hub took it.
    """

    model: str
    version: int
    manifest_sha256: str
    created: str
    notes: str
    lineage: Mapping[str, str]
    sizes_bytes: Mapping[str, int]
    added_s: float
    added_by: str


_COLUMNS: Final = [column for column in RELEASES.c if column.name != "manifest"]


def load_releases(connection: Connection) -> dict[tuple[str, int], KnownRelease]:
    """All, by model and version."""
    rows = connection.execute(select(*_COLUMNS).order_by(RELEASES.c.model, RELEASES.c.version))
    return {(row.model, row.version): _release(row) for row in rows}


def load_manifest(connection: Connection, model: str, version: int) -> bytes:
    """The manifest of one that is there."""
    asked = select(RELEASES.c.manifest).where(RELEASES.c.model == model, RELEASES.c.version == version)
    return bytes(connection.execute(asked).scalar_one())


def insert_release(connection: Connection, release: KnownRelease, manifest: bytes) -> None:
    """A new one."""
    connection.execute(
        insert(RELEASES),
        {
            "model": release.model,
            "version": release.version,
            "manifest_sha256": release.manifest_sha256,
            "manifest": manifest,
            "created": storable(release.created),
            "notes": storable(release.notes),
            "lineage": dict(release.lineage),
            "sizes_bytes": dict(release.sizes_bytes),
            "added_s": release.added_s,
            "added_by": release.added_by,
        },
    )


def _release(row: Row[Any]) -> KnownRelease:
    return KnownRelease(
        row.model,
        row.version,
        row.manifest_sha256,
        row.created,
        row.notes,
        row.lineage,
        row.sizes_bytes,
        row.added_s,
        row.added_by,
    )
