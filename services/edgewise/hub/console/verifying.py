"""Checks a release at a hub as a site would: the chain of signatures, the manifest, and every byte of every file."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgewise.core.errors import FailedPreconditionError, NotFoundError
from edgewise.core.releases import Release
from edgewise.hub.console.client import HubClient
from edgewise.hub.console.trusted_hub import TrustedHub
from edgewise.trust.offline import OfflineTrust


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found.

    Attributes:
        root_version, targets_version: of the metadata that vouch for it.
        size_bytes: of all its blobs.
        faults: what is wrong, for people; none when the release is whole.
    """

    release: Release
    root_version: int
    targets_version: int
    blobs: int
    size_bytes: int
    faults: tuple[str, ...]


def verify(
    client: HubClient,
    trust: OfflineTrust,
    model: str,
    version: int,
    *,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Check a release.

    Args:
        trust: whose first root is believed.
        on_bytes: is told how many more bytes were checked.
    Raises:
        PermissionDeniedError, FailedPreconditionError: the metadata does not hold.
        NotFoundError: there is no such release.
    """
    with tempfile.TemporaryDirectory() as directory:
        hub = TrustedHub(client, trust.root_files()[0], Path(directory))
        release, _ = hub.release(model, version)
        faults = []
        if hub.root_version() < trust.root().version:
            faults.append(
                f"the hub gives out version {hub.root_version()} of the root, and {trust.root().version} was made here: "
                "hand the newest roots in"
            )
        sizes = blob_sizes(release, None)
        for sha256, size_bytes in sizes.items():
            try:
                for piece in checked_blob(client, sha256, size_bytes):
                    on_bytes(len(piece))
            except (NotFoundError, FailedPreconditionError) as error:
                faults.append(error.message)
        return Verified(
            release, hub.root_version(), hub.targets().version, len(sizes), sum(sizes.values()), tuple(faults)
        )


def blob_sizes(release: Release, tier: str | None) -> dict[str, int]:
    """The blobs of a release, or of its variant for one tier: sizes by SHA-256, in the order of the digests."""
    variants = release.variants.values() if tier is None else (release.variant(tier),)
    return dict(sorted((file.sha256, file.size_bytes) for variant in variants for file in variant.files))


def checked_blob(client: HubClient, sha256: str, size_bytes: int) -> Iterator[bytes]:
    """The bytes of a blob, piece by piece; whoever has taken the last one knows that they are right.

    Raises:
        NotFoundError: the hub does not have it.
        FailedPreconditionError: it has other bytes under its name.
    """
    digest = hashlib.sha256()
    count = 0
    try:
        for piece in client.stream(f"/blobs/sha256/{sha256}"):
            count += len(piece)
            if count > size_bytes:
                break
            digest.update(piece)
            yield piece
    except NotFoundError:
        raise NotFoundError(f"the hub does not have the blob {sha256}") from None
    if count != size_bytes or digest.hexdigest() != sha256:
        raise FailedPreconditionError(f"the hub has other bytes under the name of the blob {sha256} than were signed")
