"""Blobs in an object store that speaks S3's protocol, over the package obstore.

Endpoint, region and credentials come from the environment as for every S3 client: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, a web identity or the machine's role. A blob is spooled to the hub's disk and checked there before
it is sent, so what appears in the store is right, and whole: an object appears with the end of its upload.

PREFIX/sha256/9f/9f86d081884c...    a blob
PREFIX/wanted/9f/9f86d081884c...    empty; its time is when the blob was wanted last, where that was after it came in
"""

import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import obstore
from obstore.store import ObjectStore, S3Store

from edgewise.core.errors import EdgewiseError, InvalidArgumentError, NotFoundError, UnavailableError
from edgewise.hub.blobs.incoming import IncomingFile, clear_incoming
from edgewise.hub.blobs.port import CHUNK_BYTES, BlobStore, BlobUpload, KeptBlob, checked_digest

_LOG: Final = logging.getLogger(__name__)
_URL: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9!_.*'()/-]*))?")
# Fewer requests than chunks: a store bills and delays each.
_FETCH_BYTES: Final = 16 * CHUNK_BYTES


def s3_blobs(url: str, spool: Path) -> "ObjectStoreBlobs":
    """The store that a URL names.

    Args:
        url: s3://BUCKET or s3://BUCKET/PREFIX.
        spool: a directory for what comes in.
    Raises: InvalidArgumentError: it is no such URL, or the environment holds values that cannot be used.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidArgumentError(f"found {url!r}, expected s3://BUCKET or s3://BUCKET/PREFIX")
    # Servers of one's own have no regions, but signatures do.
    has_region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, Any] = {} if has_region else {"region": "us-east-1"}
    try:
        store = S3Store(found[1], client_options={"allow_http": True}, virtual_hosted_style_request=False, **options)
    except Exception as error:
        # What obstore raises here says which variable cannot be used; all of its errors derive from Exception only.
        raise InvalidArgumentError(f"the AWS_ variables cannot be used for {url}: {_first_line(error)}") from error
    return ObjectStoreBlobs(store, (found[2] or "").strip("/"), spool=spool, shown=url)


class ObjectStoreBlobs(BlobStore):
    """A store below a prefix.

    Args:
        store: of obstore.
        prefix: of all names; "" for none.
        spool: a directory for what comes in; made if it is not there.
        shown: where it is, for people.
    """

    def __init__(self, store: ObjectStore, prefix: str, *, spool: Path, shown: str) -> None:
        self._store = store
        self._prefix = f"{prefix}/sha256/" if prefix else "sha256/"
        # No object's time can be set, and one of 5 GiB cannot be copied onto itself in one request.
        self._wanted = f"{prefix}/wanted/" if prefix else "wanted/"
        self._lock = threading.Lock()
        self._arriving: Counter[str] = Counter()
        self._spool = spool
        self._shown = shown
        try:
            spool.mkdir(parents=True, exist_ok=True)
            clear_incoming(spool)
        except OSError as error:
            raise UnavailableError(f"blobs cannot be spooled in {spool}: {error.strerror}") from error

    @property
    def shown(self) -> str:
        """See `BlobStore`."""
        return self._shown

    def size_bytes(self, sha256: str) -> int:
        """See `BlobStore`."""
        key = self._key(sha256)
        try:
            return int(obstore.head(self._store, key)["size"])
        except Exception as error:
            raise self._explained(error, sha256) from error

    def has(self, sha256: str) -> bool:
        """See `BlobStore`."""
        try:
            self.size_bytes(sha256)
        except NotFoundError:
            return False
        return True

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """See `BlobStore`."""
        key = self._key(sha256)
        while start < end:
            upto = min(start + _FETCH_BYTES, end)
            try:
                content = memoryview(obstore.get_range(self._store, key, start=start, end=upto))
            except Exception as error:
                raise self._explained(error, sha256) from error
            if len(content) != upto - start:
                raise UnavailableError("the blob is damaged in the hub's store; it has to be uploaded again")
            for place in range(0, len(content), CHUNK_BYTES):
                yield bytes(content[place : place + CHUNK_BYTES])
            start = upto

    def upload(self, sha256: str) -> BlobUpload:
        """See `BlobStore`."""
        return _ObjectUpload(self, IncomingFile(self._spool, checked_digest(sha256)))

    def want(self, sha256: str) -> int:
        """See `BlobStore`."""
        with self._lock:
            size_bytes = self.size_bytes(sha256)
            try:
                obstore.put(self._store, self._wanted_key(sha256), b"")
            except Exception as error:
                raise self._explained(error, sha256) from error
        return size_bytes

    def kept(self) -> Iterator[KeptBlob]:
        """See `BlobStore`."""
        wanted_s = {name: at_s for name, _, at_s in self._listed(self._wanted)}
        for name, size_bytes, at_s in self._listed(self._prefix):
            yield KeptBlob(name, size_bytes, max(at_s, wanted_s.get(name, 0.0)))

    def remove(self, sha256: str, wanted_before_s: float) -> bool:
        """See `BlobStore`."""
        blob, wanted = self._key(sha256), self._wanted_key(sha256)
        with self._lock:
            if self._arriving[sha256]:
                return False
            times_s = [self._changed_s(blob), self._changed_s(wanted)]
            if times_s[0] is None or max(at_s for at_s in times_s if at_s is not None) >= wanted_before_s:
                return False
            try:
                for key in (blob, wanted):
                    obstore.delete(self._store, key)
            except Exception as error:
                raise self._explained(error, sha256) from error
        return True

    def names(self) -> Iterator[str]:
        """See `BlobStore`."""
        for name, _, _ in self._listed(self._prefix):
            yield name

    def put(self, sha256: str, path: Path) -> None:
        """Send a checked file.

        Raises: UnavailableError: the store does not take it.
        """
        key = self._key(sha256)
        # It may take minutes: nobody waits for it but who would remove it.
        with self._lock:
            self._arriving[sha256] += 1
        try:
            obstore.put(self._store, key, path)
        except Exception as error:
            raise self._explained(error, sha256) from error
        finally:
            with self._lock:
                self._arriving[sha256] -= 1
                self._arriving += Counter()

    def _listed(self, prefix: str) -> Iterator[tuple[str, int, float]]:
        """Names, sizes and times of change of the objects below a prefix."""
        try:
            for found in obstore.list(self._store, prefix.rstrip("/")):
                for meta in found:
                    name = str(meta["path"]).rpartition("/")[2]
                    yield name, int(meta["size"]), meta["last_modified"].timestamp()
        except Exception as error:
            raise self._explained(error, "") from error

    def _changed_s(self, key: str) -> float | None:
        """When an object was written, seconds since the epoch; None when there is none."""
        try:
            return float(obstore.head(self._store, key)["last_modified"].timestamp())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._explained(error, key) from error

    def _wanted_key(self, sha256: str) -> str:
        return f"{self._wanted}{checked_digest(sha256)[:2]}/{sha256}"

    def _key(self, sha256: str) -> str:
        return f"{self._prefix}{checked_digest(sha256)[:2]}/{sha256}"

    def _explained(self, error: Exception, sha256: str) -> EdgewiseError:
        if isinstance(error, FileNotFoundError):
            return NotFoundError(f"there is no blob {sha256}")
        _LOG.error("blobs in %s: %s", self._shown, _first_line(error))
        return UnavailableError("the hub's store of blobs does not answer; its log says why", retry_after_s=10.0)


class _ObjectUpload(BlobUpload):
    """On its way into the store."""

    def __init__(self, store: ObjectStoreBlobs, incoming: IncomingFile) -> None:
        self._store = store
        self._file = incoming

    def write(self, content: bytes) -> None:
        """See `BlobUpload`."""
        self._file.write(content)

    def commit(self) -> bool:
        """See `BlobUpload`."""
        self._file.finish()
        is_new = not self._store.has(self._file.sha256)
        self._store.put(self._file.sha256, self._file.path)
        self._file.discard()
        return is_new

    def discard(self) -> None:
        """See `BlobUpload`."""
        self._file.discard()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
