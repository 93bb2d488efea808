"""Which store of blobs a URL names."""

from pathlib import Path

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.blobs.directory import DirectoryBlobs
from edgewise.hub.blobs.port import BlobStore


def opened_blobs(url: str, state: Path) -> BlobStore:
    """The store.

    Args:
        url: a directory, file:///DIRECTORY, or s3://BUCKET/PREFIX; "" for the one in the hub's own directory.
        state: the hub's own directory.
    Raises:
        InvalidArgumentError: the URL names no store.
        UnavailableError: it cannot be used.
    """
    kind, separator, rest = url.partition("://")
    if not url:
        return DirectoryBlobs(state / "blobs")
    if not separator:
        return DirectoryBlobs(Path(url))
    if kind == "file" and rest.startswith("/"):
        return DirectoryBlobs(Path(rest))
    if kind == "s3":
        # Imported here: who keeps blobs in a directory need not have the package.
        from edgewise.hub.blobs.object_store import s3_blobs  # noqa: PLC0415

        return s3_blobs(url, state / "blobs" / "incoming")
    raise InvalidArgumentError(f"--blobs {url}: expected a directory, file:///DIRECTORY or s3://BUCKET/PREFIX")
