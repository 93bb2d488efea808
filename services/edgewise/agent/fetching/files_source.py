"""Files and directories of this machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edgewise.agent.fetching.digests import CHUNK_BYTES, files_below
from edgewise.agent.fetching.disk import disk_error, disk_errors
from edgewise.agent.fetching.port import Body, Kind, Offer, Piece
from edgewise.core.errors import FailedPreconditionError, NotFoundError


class FilesSource:
    """A path.

    Args:
        path: a file, or the directory of a version.
        target: where the version goes, which must not be part of what is copied.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self._path = path
        self._target = target

    def offer(self) -> Offer:
        """See `Source`."""
        path = self._path
        with disk_errors(path):
            if path.is_dir():
                top, target = path.resolve(), self._target.resolve()
                if top == target or top in target.parents:
                    raise FailedPreconditionError(f"{self._target} lies in {path}, which would be copied into itself")
                names = files_below(path)
                if not names:
                    raise FailedPreconditionError(f"the directory {path} holds no file; expected a model version")
                sizes = [(name, (path / name).stat().st_size) for name in names]
                return Offer(Kind.DIRECTORY, tuple(Piece(name, name, size) for name, size in sizes))
            if path.is_file():
                return Offer(Kind.FILE, (Piece(path.name, "", path.stat().st_size),))
            if path.exists():
                raise FailedPreconditionError(f"{path} is neither a file nor a directory")
        raise NotFoundError(f"there is no {path}; is the volume mounted that holds it?")

    def open(self, piece: Piece, start_bytes: int) -> Body:
        """See `Source`."""
        path = self._path / piece.locator if piece.locator else self._path
        with disk_errors(path):
            file = path.open("rb", buffering=0)
            file.seek(start_bytes)
            return Body(start_bytes, os.fstat(file.fileno()).st_size, _chunks(file, path), file.close)

    def close(self) -> None:
        """See `Source`."""


def _chunks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise disk_error(error, path) from error
