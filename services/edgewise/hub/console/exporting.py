"""Writes a release with all that vouches for it into one file, for a site that never has a link."""

import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from edgewise.core.errors import FailedPreconditionError
from edgewise.hub.console.client import HubClient
from edgewise.hub.console.trusted_hub import TrustedHub
from edgewise.hub.console.verifying import blob_sizes, checked_blob
from edgewise.hub.control.status import BundleSigned
from edgewise.protocols.bundles import BLOBS, DESIRED, INDEX, METADATA, TARGETS, BundleIndex, encode_index
from edgewise.trust.durable_files import sync_directory
from edgewise.trust.tuf_files import DESIRED_KEYS, POLICY, release_path, stored_path

VALID_FOR_S: Final = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        size_bytes: of the file.
        until: when its signatures expire, RFC 3339, UTC.
    """

    size_bytes: int
    blobs: int
    until: str


def export(
    client: HubClient,
    root: bytes,
    releases: Sequence[tuple[str, int]],
    out: Path,
    *,
    tier: str | None = None,
    site: str | None = None,
    valid_for_s: float = VALID_FOR_S,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Exported:
    """Write a bundle: whole, or not at all.

    Args:
        root: the first one, which is trusted.
        releases: model and version of each.
        tier: whose variants alone go in; None for all.
        site: whose desired state goes in.
        valid_for_s: for so long the site may install what is in it.
        on_bytes: is told how many more bytes of blobs are in it.
    Raises:
        NotFoundError: there is no such release, variant or site.
        PermissionDeniedError, FailedPreconditionError: what the hub gives out does not hold, what operators signed expires before the bundle
            would, or the file cannot be written.
    """
    beside = out.with_name(f".{out.name}.new")
    try:
        with tempfile.TemporaryDirectory() as directory, beside.open("wb") as file:
            signed = client.sign_bundle(site, valid_for_s)
            # Its chain of signatures is looked at as the site will look at it.
            hub = TrustedHub(client, root, Path(directory), timestamp=signed.timestamp.encode())
            sizes: dict[str, int] = {}
            for model, version in releases:
                sizes.update(blob_sizes(hub.release(model, version)[0], tier))
            _write(file, _documents(hub, signed, releases, tier, site), client, dict(sorted(sizes.items())), on_bytes)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(out)
        sync_directory(out.parent)
        return Exported(out.stat().st_size, len(sizes), signed.until)
    except OSError as error:
        raise FailedPreconditionError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def _documents(
    hub: TrustedHub, signed: BundleSigned, releases: Sequence[tuple[str, int]], tier: str | None, site: str | None
) -> dict[str, bytes]:
    """All that is not a blob, by name, in the order in which it is written."""
    names = tuple(sorted(f"{model}/{version}" for model, version in releases))
    found = {INDEX: encode_index(BundleIndex(names, tier or "", site or ""))}
    found |= {f"{METADATA}{name}": content for name, content in sorted(hub.metadata().items())}
    targets = hub.targets().targets
    wanted = [DESIRED_KEYS, POLICY, *(release_path(model, version) for model, version in releases)]
    for path in sorted(path for path in set(wanted) if path in targets):
        found[f"{TARGETS}{stored_path(targets[path])}"] = hub.target(path)
    if signed.desired is not None:
        found[DESIRED] = signed.desired.encode()
    return found


def _write(
    file: IO[bytes],
    documents: dict[str, bytes],
    client: HubClient,
    sizes: dict[str, int],
    on_bytes: Callable[[int], None],
) -> None:
    with tarfile.open(mode="w|", fileobj=file, format=tarfile.PAX_FORMAT) as archive:
        for name, content in documents.items():
            archive.addfile(_member(name, len(content)), io.BytesIO(content))
        for sha256, size_bytes in sizes.items():
            pieces = _Pieces(checked_blob(client, sha256, size_bytes), on_bytes)
            archive.addfile(_member(f"{BLOBS}{sha256}", size_bytes), cast("IO[bytes]", pieces))
            # The digest is known only once the last piece was asked for.
            pieces.finish()


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    """The same for the same content, whoever writes it and when."""
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    member.mode = 0o644
    return member


class _Pieces:
    """Pieces as tarfile reads them."""

    def __init__(self, pieces: Iterator[bytes], on_bytes: Callable[[int], None]) -> None:
        self._pieces = pieces
        self._on_bytes = on_bytes
        self._held = b""

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        parts = [self._held]
        count = len(self._held)
        while count < size and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            count += len(piece)
            self._on_bytes(len(piece))
        whole = b"".join(parts)
        self._held = whole[size:]
        return whole[:size]

    def finish(self) -> None:
        """Take the end, where what is wrong with them is said."""
        for _ in self._pieces:
            pass
