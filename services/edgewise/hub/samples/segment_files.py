"""Segments on their way in, in a directory; whoever was killed goes on where the file ends.

segments/SITE/2-0-w0.5f3a9c01-0000000012.9f86d081884c....part

What is in a file is always the beginning of its segment, since nothing is written but what follows on it; whether it is the segment its digest
says in the end.
"""

import contextlib
import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import BinaryIO, Final

from edgewise.core.errors import UnavailableError
from edgewise.hub.blobs.incoming import disk_error
from edgewise.spool.records import MAX_RECORD_BYTES

MAX_SEGMENT_BYTES: Final = MAX_RECORD_BYTES + (16 << 20)
MOST_UNDER_WAY: Final = 4
"""Of one site. It sends one after the other, so more are such as it has given up."""
RESERVE_BYTES: Final = 256 << 20
"""Of the disk stay free of what sites send, and of pictures that people bring."""
_RETRY_S: Final = 300.0
_SUFFIX: Final = ".part"
_log = logging.getLogger(__name__)


class OffsetError(Exception):
    """The piece does not follow on what is here.

    Attributes:
        offset: where the next piece is to begin.
    """

    def __init__(self, offset: int) -> None:
        super().__init__(f"the next piece has to begin at byte {offset}")
        self.offset = offset


class SegmentFiles:
    """Segments that come in. Of one site one call at a time; any thread.

    Args:
        directory: made when the first piece comes.
        reserve_bytes: of the disk stay free.
    """

    def __init__(self, directory: Path, *, reserve_bytes: int = RESERVE_BYTES) -> None:
        self._directory = directory
        self._reserve_bytes = reserve_bytes

    def offset(self, site: str, name: str, sha256: str = "") -> int:
        """How much of a segment is here.

        Args:
            sha256: of the whole segment; "" for whichever is here under that name.
        """
        paths = (
            [self._path(site, name, sha256)] if sha256 else list((self._directory / site).glob(f"{name}.*{_SUFFIX}"))
        )
        with contextlib.suppress(FileNotFoundError):
            return max((path.stat().st_size for path in paths), default=0)
        return 0

    def append(self, site: str, name: str, sha256: str, piece: bytes, *, offset: int, length: int) -> int:
        """Take the next piece.

        Args:
            offset: where it begins.
            length: of the whole segment, in bytes.
        Returns: how much is here now.
        Raises:
            OffsetError: it does not follow on what is here.
            UnavailableError: the disk is full or fails.
        """
        path = self._path(site, name, sha256)
        here = self.offset(site, name, sha256)
        if here > length:
            self.remove(site, name, sha256)
            here = 0
        if offset != here or here + len(piece) > length:
            raise OffsetError(here)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not here:
                self._make_room(site)
            if piece:
                self.check_room(len(piece))
                with path.open("ab") as file:
                    file.write(piece)
            return path.stat().st_size if path.exists() else 0
        except OSError as error:
            _log.error("segment %s of %s: %s", name, site, error)
            raise disk_error(error) from error

    def open(self, site: str, name: str, sha256: str) -> BinaryIO:
        """A segment that is all here, at its start.

        Raises: OffsetError: its bytes are not those of its digest; they are thrown away, and it has to be sent anew.
        """
        file = self._path(site, name, sha256).open("rb")
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            file.close()
            self.remove(site, name, sha256)
            raise OffsetError(0)
        file.seek(0)
        return file

    def remove(self, site: str, name: str, sha256: str) -> None:
        """It has arrived, or is wanted no more."""
        self._path(site, name, sha256).unlink(missing_ok=True)

    def check_room(self, count: int) -> None:
        """Before so many bytes of samples are written to the hub's disk, be it pieces or pictures: its database has to have room, whatever
        sites and people send.

        Raises: UnavailableError: less than the reserve would be left, or the disk fails.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            free_bytes = shutil.disk_usage(self._directory).free
        except OSError as error:
            _log.error("segments in %s: %s", self._directory, error)
            raise disk_error(error) from error
        if free_bytes < self._reserve_bytes + count:
            raise UnavailableError("the hub's disk has no room for samples now", retry_after_s=_RETRY_S)

    def sweep(self, before_s: float) -> int:
        """Remove what nobody has added to since then.

        Returns: how many files.
        """
        count = 0
        for path in self._directory.glob(f"*/*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before_s:
                    path.unlink()
                    count += 1
        return count

    def _make_room(self, site: str) -> None:
        """Before another segment begins."""
        paths = sorted((self._directory / site).glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
        for path in paths[: max(0, len(paths) - MOST_UNDER_WAY + 1)]:
            path.unlink(missing_ok=True)

    def _path(self, site: str, name: str, sha256: str) -> Path:
        if os.sep in site or site.startswith("."):
            raise ValueError(site)
        return self._directory / site / f"{name}.{sha256}{_SUFFIX}"
