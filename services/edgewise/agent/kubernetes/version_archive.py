"""A version's directory as a tar archive that is never written down: the same files are the same bytes everywhere.

Pods fetch a version as one file with one SHA-256. Packing it would hold every version twice on the agent's volume, so only the headers
are made, and what lies between them is read from the files when somebody asks for it.
"""

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.agent.fetching.digests import files_below
from edgewise.agent.fetching.disk import disk_errors
from edgewise.core.errors import FailedPreconditionError, NotFoundError

READ_BYTES: Final = 1 << 18
_BLOCK_BYTES: Final = 512
_END: Final = bytes(2 * _BLOCK_BYTES)
_FILE_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Section:
    """Consecutive bytes of an archive.

    Attributes:
        start, end: where they lie, in bytes.
        content: they themselves, or the file that holds them from its first byte on.
    """

    start: int
    end: int
    content: bytes | Path


@dataclass(frozen=True, slots=True)
class VersionArchive:
    """An archive of a version's files.

    Attributes:
        sections: all of it, in order.
        tag: another one when a file was written to since, or exchanged.
    """

    sections: tuple[Section, ...]
    tag: str

    @property
    def size_bytes(self) -> int:
        """Of the archive."""
        return self.sections[-1].end

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to and without `end`, in pieces of at most READ_BYTES.

        Raises:
            FailedPreconditionError: a file has become shorter.
            EdgewiseError: the disk refuses.
        """
        for section in self.sections:
            first, last = max(start, section.start), min(end, section.end)
            if first >= last:
                continue
            if isinstance(section.content, bytes):
                yield section.content[first - section.start : last - section.start]
            else:
                yield from _read(section.content, first - section.start, last - first)

    def sha256(self) -> str:
        """Of all of it; reads every file.

        Raises: EdgewiseError: as `read`.
        """
        digest = hashlib.sha256()
        for piece in self.read(0, self.size_bytes):
            digest.update(piece)
        return digest.hexdigest()


def archive_of(directory: Path) -> VersionArchive:
    """The archive of a version's directory.

    Raises:
        NotFoundError: there is no such directory.
        EdgewiseError: it holds what no version does, or the disk refuses.
    """
    if not directory.is_dir():
        raise NotFoundError(f"there is no version in {directory}")
    sections: list[Section] = []
    tag = hashlib.sha256()
    at = 0
    with disk_errors(directory):
        for name in files_below(directory):
            path = directory / name
            status = path.stat()
            tag.update(f"{name}\0{status.st_size} {status.st_mtime_ns} {status.st_ino}\n".encode())
            parts: list[tuple[bytes | Path, int]] = [(header := _header(name, status.st_size), len(header))]
            if status.st_size:
                parts.append((path, status.st_size))
            if padding := -status.st_size % _BLOCK_BYTES:
                parts.append((bytes(padding), padding))
            for content, size_bytes in parts:
                sections.append(Section(at, at + size_bytes, content))
                at += size_bytes
    if not sections:
        raise NotFoundError(f"there are no files in {directory}")
    sections.append(Section(at, at + len(_END), _END))
    return VersionArchive(tuple(sections), tag.hexdigest()[:32])


def _header(name: str, size_bytes: int) -> bytes:
    """Owner, mode and times say nothing of a version, so they are the same for all."""
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    info.mode = _FILE_MODE
    # Names that are too long for the old header get a second one.
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _read(path: Path, start: int, size_bytes: int) -> Iterator[bytes]:
    with disk_errors(path), path.open("rb", buffering=0) as file:
        file.seek(start)
        while size_bytes:
            piece = file.read(min(READ_BYTES, size_bytes))
            if not piece:
                raise FailedPreconditionError(f"{path} has become shorter while it was read")
            size_bytes -= len(piece)
            yield piece
