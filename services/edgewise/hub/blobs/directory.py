"""Blobs in a directory.

blobs/incoming/incoming-x7f2q      on its way in; removed at the next start if the process was killed
blobs/sha256/9f/9f86d081884c...    a blob: absent, or whole; its time of change is when it was wanted last
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgewise.core.errors import NotFoundError, UnavailableError
from edgewise.hub.blobs.incoming import IncomingFile, clear_incoming, disk_error
from edgewise.hub.blobs.port import CHUNK_BYTES, BlobStore, BlobUpload, KeptBlob, checked_digest
from edgewise.trust.durable_files import sync_directory

_LOG: Final = logging.getLogger(__name__)


class DirectoryBlobs(BlobStore):
    """A store in a directory, which is made if it is not there.

    Raises: UnavailableError: the directory cannot be made or written to.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming = directory / "incoming"
        self._blobs = directory / "sha256"
        self._lock = threading.Lock()
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            self._blobs.mkdir(exist_ok=True)
            clear_incoming(self._incoming)
        except OSError as error:
            raise UnavailableError(f"blobs cannot be kept in {directory}: {error.strerror}") from error

    @property
    def shown(self) -> str:
        """See `BlobStore`."""
        return str(self._directory)

    def size_bytes(self, sha256: str) -> int:
        """See `BlobStore`."""
        try:
            return self._path(sha256).stat().st_size
        except FileNotFoundError:
            raise NotFoundError(f"there is no blob {sha256}") from None
        except OSError as error:
            raise self._failed(error) from error

    def has(self, sha256: str) -> bool:
        """See `BlobStore`."""
        return self._path(sha256).is_file()

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """See `BlobStore`."""
        try:
            with self._path(sha256).open("rb", buffering=0) as file:
                file.seek(start)
                left = end - start
                while left > 0:
                    content = file.read(min(left, CHUNK_BYTES))
                    if not content:
                        _LOG.error("blob %s ends %d bytes before it should", sha256, left)
                        raise UnavailableError("the blob is damaged on the hub's disk; it has to be uploaded again")
                    left -= len(content)
                    yield content
        except FileNotFoundError:
            raise NotFoundError(f"there is no blob {sha256}") from None
        except OSError as error:
            raise self._failed(error) from error

    def upload(self, sha256: str) -> BlobUpload:
        """See `BlobStore`."""
        return _DirectoryUpload(IncomingFile(self._incoming, checked_digest(sha256)), self._path(sha256), self._lock)

    def want(self, sha256: str) -> int:
        """See `BlobStore`."""
        path = self._path(sha256)
        try:
            with self._lock:
                os.utime(path)
                return path.stat().st_size
        except FileNotFoundError:
            raise NotFoundError(f"there is no blob {sha256}") from None
        except OSError as error:
            raise self._failed(error) from error

    def kept(self) -> Iterator[KeptBlob]:
        """See `BlobStore`."""
        for name in self.names():
            # It may have been removed meanwhile.
            with contextlib.suppress(FileNotFoundError):
                found = self._path(name).stat()
                yield KeptBlob(name, found.st_size, found.st_mtime)

    def remove(self, sha256: str, wanted_before_s: float) -> bool:
        """See `BlobStore`."""
        path = self._path(sha256)
        try:
            with self._lock:
                if path.stat().st_mtime >= wanted_before_s:
                    return False
                path.unlink()
            sync_directory(path.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failed(error) from error
        return True

    def names(self) -> Iterator[str]:
        """See `BlobStore`."""
        for shelf in sorted(self._blobs.iterdir()):
            for path in sorted(shelf.iterdir()):
                yield path.name

    def _path(self, sha256: str) -> Path:
        return self._blobs / checked_digest(sha256)[:2] / sha256

    def _failed(self, error: OSError) -> UnavailableError:
        _LOG.error("blobs in %s: %s", self._directory, error)
        return UnavailableError("the hub cannot read its blobs; its log says why", retry_after_s=60.0)


class _DirectoryUpload(BlobUpload):
    """On its way into the directory."""

    def __init__(self, incoming: IncomingFile, place: Path, lock: threading.Lock) -> None:
        self._file = incoming
        self._lock = lock
        self._place = place

    def write(self, content: bytes) -> None:
        """See `BlobUpload`."""
        self._file.write(content)

    def commit(self) -> bool:
        """See `BlobUpload`."""
        self._file.finish()
        try:
            self._place.parent.mkdir(exist_ok=True)
            # Renamed over one that is there: it may have been damaged, and its bytes are the same otherwise.
            self._file.path.chmod(0o444)
            with self._lock:
                is_new = not self._place.exists()
                self._file.path.replace(self._place)
            for directory in (self._place.parent, self._place.parent.parent):
                sync_directory(directory)
        except OSError as error:
            _LOG.error("blob %s: %s", self._place.name, error)
            raise disk_error(error) from error
        return is_new

    def discard(self) -> None:
        """See `BlobUpload`."""
        self._file.discard()
