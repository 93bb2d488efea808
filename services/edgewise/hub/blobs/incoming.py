"""A blob on its way in: a file of no name that is hashed while it is written."""

import contextlib
import errno
import hashlib
import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from edgewise.core.errors import EdgewiseError, InvalidArgumentError, UnavailableError

PREFIX: Final = "incoming-"


class IncomingFile:
    """What has come of a blob so far.

    Args:
        directory: where the file is written; on the same file system as its place if it is to be moved there.
        sha256: what its bytes have to have.

    Attributes:
        path: of the file.
        size_bytes: written so far.

    Raises: UnavailableError: the disk refuses.
    """

    def __init__(self, directory: Path, sha256: str) -> None:
        self.sha256 = sha256
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        try:
            # Its end is told by `close`, not by a block: it lives from one request's chunk to the next.
            self._file = NamedTemporaryFile(dir=directory, prefix=PREFIX, delete=False)  # noqa: SIM115
        except OSError as error:
            raise disk_error(error) from error
        self.path = Path(self._file.name)

    def write(self, content: bytes) -> None:
        """Take the next bytes.

        Raises: UnavailableError: the disk is full or fails.
        """
        try:
            self._file.write(content)
        except OSError as error:
            raise disk_error(error) from error
        self._hash.update(content)
        self.size_bytes += len(content)

    def finish(self) -> None:
        """Check what came, and make it last.

        Raises:
            InvalidArgumentError: it is not what the name promises.
            UnavailableError: the disk is full or fails.
        """
        found = self._hash.hexdigest()
        if found != self.sha256:
            raise InvalidArgumentError(
                f"the blob has {self.size_bytes} bytes with the SHA-256 {found}, expected {self.sha256}; nothing was kept"
            )
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise disk_error(error) from error

    def discard(self) -> None:
        """Remove the file, if it is still there."""
        # What was buffered may have found no room: it is not wanted any more.
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


def clear_incoming(directory: Path) -> None:
    """Remove what a process left that was killed while blobs came in.

    Raises: OSError: the disk refuses.
    """
    for path in directory.glob(f"{PREFIX}*"):
        path.unlink(missing_ok=True)


def disk_error(error: OSError) -> EdgewiseError:
    """What a client reads in place of an error of the disk."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UnavailableError("the hub's disk is full; nothing was kept", retry_after_s=60.0)
    return UnavailableError("the hub's disk fails; its log says how", retry_after_s=60.0)
