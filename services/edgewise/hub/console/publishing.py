"""Brings a release to a hub: its blobs, its manifest, and the signature of the operator that makes it one.

Each step can be done again: a blob that is there is not sent again, a manifest that was signed is not signed again. So a command that was
cut short is given once more.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuf.api.metadata import Snapshot, Targets, Timestamp

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError, PermissionDeniedError
from edgewise.core.releases import Release
from edgewise.hub.console.client import HubClient
from edgewise.hub.console.trusted_hub import METADATA_PATH
from edgewise.hub.releases.making import MadeRelease
from edgewise.protocols.release_manifest import decode_release, encode_release
from edgewise.trust.offline import OfflineTrust
from edgewise.trust.tuf_files import (
    MAX_ROOT_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_TARGETS_BYTES,
    MAX_TIMESTAMP_BYTES,
    read,
    release_of,
    release_path,
)

_PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Published:
    """What was done.

    Attributes:
        sent_bytes, there_bytes: of blobs that were sent, and of those that the hub had.
        targets_version: of the targets.json that names the release.
        was_there: the release had been signed before.
    """

    release: Release
    sent_bytes: int
    there_bytes: int
    targets_version: int
    was_there: bool


def publish(
    client: HubClient, trust: OfflineTrust, made: MadeRelease, *, on_bytes: Callable[[int], None] = lambda _: None
) -> Published:
    """Bring a release to a hub.

    Args:
        trust: the operator's keys.
        on_bytes: is told how many more bytes of blobs are there.
    Raises:
        AlreadyExistsError: this release was made before, of other files.
        FailedPreconditionError: the keys are not those of this hub, or another directory has signed since.
    """
    release, was_there = _as_signed(trust, made.release)
    there = hub_targets(client)
    _check_same_line(trust, there)
    sent_bytes = there_bytes = 0
    for sha256, path in sorted(made.blobs.items()):
        size_bytes = path.stat().st_size
        if client.has_blob(sha256):
            there_bytes += size_bytes
            on_bytes(size_bytes)
        else:
            client.put_blob(sha256, size_bytes, _pieces(path, on_bytes))
            sent_bytes += size_bytes
    if not was_there:
        # Signed only now, so that nothing is signed whose files did not reach the hub.
        trust.add_targets({release_path(release.model, release.version): encode_release(release)})
    try:
        hand_in(client, trust, there)
    except PermissionDeniedError as error:
        raise _without_root(client, trust) or error from None
    return Published(release, sent_bytes, there_bytes, trust.targets().version, was_there)


def _as_signed(trust: OfflineTrust, release: Release) -> tuple[Release, bool]:
    """The release as it was signed before, if it was."""
    path = release_path(release.model, release.version)
    if path not in trust.targets().targets:
        return release, False
    signed = decode_release(trust.content(path))
    others = _differences(signed, release)
    if others:
        raise AlreadyExistsError(
            f"{release.name} was released before, with other {' and '.join(others)}; releases never change: "
            f"release this as {release.model}/{_next_version(trust, release.model)}"
            + ("" if "files" in others else f", or leave it: {release.name} has these very files")
        )
    return signed, True


def _differences(signed: Release, release: Release) -> list[str]:
    """What of a release is not as it was signed; when it was made does not count."""
    names = {"files": "variants", "notes": "notes", "lineage": "lineage"}
    return [name for name, field in names.items() if getattr(signed, field) != getattr(release, field)]


def _next_version(trust: OfflineTrust, model: str) -> int:
    """The first one after all that were released."""
    found = filter(None, map(release_of, trust.targets().targets))
    return max(version for name, version in found if name == model) + 1


def hub_targets(client: HubClient) -> bytes:
    """The targets.json that is in force at the hub. It is compared only; what counts is what is signed here."""
    content = client.read(f"{METADATA_PATH}timestamp.json", max_bytes=MAX_TIMESTAMP_BYTES)
    timestamp = read(content, Timestamp, what="the hub's timestamp.json", max_bytes=MAX_TIMESTAMP_BYTES).signed
    content = client.read(
        f"{METADATA_PATH}{timestamp.snapshot_meta.version}.snapshot.json", max_bytes=MAX_SNAPSHOT_BYTES
    )
    snapshot = read(content, Snapshot, what="the hub's snapshot.json", max_bytes=MAX_SNAPSHOT_BYTES).signed
    version = snapshot.meta["targets.json"].version
    return client.read(f"{METADATA_PATH}{version}.targets.json", max_bytes=MAX_TARGETS_BYTES)


def _check_same_line(trust: OfflineTrust, there: bytes) -> None:
    """Refuse to sign on top of something else than the hub has."""
    theirs = read(there, Targets, what="the hub's targets.json", max_bytes=MAX_TARGETS_BYTES).signed
    ours = trust.targets()
    if theirs.version > ours.version:
        raise FailedPreconditionError(
            f"the hub has version {theirs.version} of targets.json, and {trust.directory} has version {ours.version}: "
            "sign with the directory that signed last, or with a copy of it"
        )
    if theirs.version == ours.version and there != trust.targets_file():
        raise FailedPreconditionError(
            f"version {ours.version} of targets.json is another one at the hub than in {trust.directory}: "
            "this hub follows other keys, or another directory has signed since"
        )


def hand_in(client: HubClient, trust: OfflineTrust, there: bytes) -> None:
    """Hand in the targets that were signed here and the hub does not have, by this command or by one that was cut short."""
    if there != trust.targets_file():
        send_contents(client, trust, there)
        client.post_targets(trust.targets_file())


def _without_root(client: HubClient, trust: OfflineTrust) -> FailedPreconditionError | None:
    """Why a hub refuses what was signed with a key that it cannot know yet; None when it knows the newest root."""
    version = trust.root().version
    try:
        client.read(f"{METADATA_PATH}{version}.root.json", max_bytes=MAX_ROOT_BYTES)
    except NotFoundError:
        return FailedPreconditionError(
            f"the hub does not have version {version} of the root, so it may not know the key that signed this: it is signed, and is handed in, "
            f"with the root, by `edgewise hub trust hand-in {trust.directory}`, with an admin's token"
        )
    return None


def send_contents(client: HubClient, trust: OfflineTrust, there: bytes) -> None:
    """Send the contents of targets that the hub does not have, before the targets.json that names them."""
    theirs = read(there, Targets, what="the hub's targets.json", max_bytes=MAX_TARGETS_BYTES).signed.targets
    for path, target in trust.targets().targets.items():
        if theirs.get(path) != target:
            client.put_target(path, trust.content(path))


def _pieces(path: Path, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
            on_bytes(len(piece))
