"""One file of a release while it is put together: chunks in any order, each checked before it is written to its place.

What a killed process left is looked through by the digests of the chunks, so there is no list of what is there that could be wrong, and
nothing has to be fsynced before the file is whole.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.releases import Chunk, Piece, ReleaseFile, missing_pieces
from edgewise.trust.durable_files import sync_directory

MAX_CHUNK_BYTES: Final = 64 << 20
_READ_BYTES: Final = 1 << 20


class WrongContentError(FailedPreconditionError):
    """Bytes that are not what the release says."""


class PartialFile:
    """A file `HEX.part` that becomes `HEX` when it is whole.

    Args:
        directory: where both are.

    Attributes:
        there_bytes: how much of it is there, checked.
        whole: where it is when it is whole.

    Raises:
        OSError: the disk refuses.
        FailedPreconditionError: the release has chunks that are too large to be held in memory.
    """

    def __init__(self, directory: Path, file: ReleaseFile) -> None:
        if any(chunk.size_bytes > MAX_CHUNK_BYTES for chunk in file.chunks):
            raise FailedPreconditionError(f"{file.path} has chunks of more than {MAX_CHUNK_BYTES} bytes")
        self.file = file
        self.whole = directory / file.sha256
        self._path = directory / f"{file.sha256}.part"
        self._starts = [0, *accumulate(chunk.size_bytes for chunk in file.chunks)]
        self._number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        self._there: set[int] = set()
        self._numbers: dict[str, list[int]] = {}
        for number, chunk in enumerate(file.chunks):
            self._numbers.setdefault(chunk.sha256, []).append(number)
        self.there_bytes = 0
        try:
            self._find()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def missing(self) -> list[Piece]:
        """What is still to be fetched."""
        return missing_pieces(self.file, {self.file.chunks[number].sha256 for number in self._there})

    def lacks(self) -> Iterator[tuple[int, Chunk]]:
        """Chunks that are not there, with their numbers."""
        for number, chunk in enumerate(self.file.chunks):
            if number not in self._there:
                yield number, chunk

    def put(self, number: int, content: bytes) -> None:
        """Write a chunk to all its places.

        Raises:
            WrongContentError: it is another one; nothing is written.
            OSError: the disk refuses.
        """
        chunk = self.file.chunks[number]
        if len(content) != chunk.size_bytes or hashlib.sha256(content).hexdigest() != chunk.sha256:
            raise WrongContentError(f"{self.file.path}: what came is not what was signed")
        for each in self._numbers[chunk.sha256]:
            if each not in self._there:
                _write_at(self._number, content, self._starts[each])
                self._note(each)

    def finish(self) -> None:
        """Have the whole file be there under its own name, and last.

        Raises:
            WrongContentError: it is not what its digest says; it is thrown away.
            OSError: the disk refuses.
        """
        os.ftruncate(self._number, self.file.size_bytes)
        if digest_at(self._number) != self.file.sha256:
            self.throw_away()
            raise WrongContentError(
                f"{self.file.path}: its chunks are right and all of it is not: the release is wrong"
            )
        os.fchmod(self._number, 0o444)
        os.fsync(self._number)
        self._path.replace(self.whole)
        sync_directory(self.whole.parent)

    def throw_away(self) -> None:
        """Begin anew."""
        self._there.clear()
        self.there_bytes = 0
        os.ftruncate(self._number, 0)

    def close(self) -> None:
        """What is there stays there."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1

    def _find(self) -> None:
        size_bytes = os.fstat(self._number).st_size
        for number, chunk in enumerate(self.file.chunks):
            start = self._starts[number]
            if number in self._there or start + chunk.size_bytes > size_bytes:
                continue
            content = read_at(self._number, start, chunk.size_bytes)
            if hashlib.sha256(content).hexdigest() == chunk.sha256:
                self._note(number)
                # To its other places as well, where it may not have come to.
                self.put(number, content)

    def _note(self, number: int) -> None:
        self._there.add(number)
        self.there_bytes += self.file.chunks[number].size_bytes


class KnownChunks:
    """Chunks that lie in files of versions that are on this disk.

    Args:
        files: with the release's word of what they hold.
    """

    def __init__(self, files: Iterable[tuple[Path, ReleaseFile]]) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        for path, file in files:
            start = 0
            for chunk in file.chunks:
                self._places.setdefault(chunk.sha256, (path, start))
                start += chunk.size_bytes

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._places

    def read(self, chunk: Chunk) -> bytes | None:
        """A chunk's bytes, unchecked; None when they are not there any more."""
        place = self._places.get(chunk.sha256)
        if place is None:
            return None
        with contextlib.suppress(OSError):
            number = os.open(place[0], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                return read_at(number, place[1], chunk.size_bytes)
            finally:
                os.close(number)
        return None

    def forget(self, chunk: Chunk) -> None:
        """It is not what it should be."""
        self._places.pop(chunk.sha256, None)


def read_at(number: int, start: int, size_bytes: int) -> bytes:
    """Bytes of an open file; fewer at its end."""
    parts = []
    while size_bytes > 0 and (part := os.pread(number, min(size_bytes, _READ_BYTES), start)):
        parts.append(part)
        start += len(part)
        size_bytes -= len(part)
    return b"".join(parts)


def digest_at(number: int) -> str:
    """The SHA-256 of an open file, hexadecimal."""
    digest = hashlib.sha256()
    start = 0
    while part := os.pread(number, _READ_BYTES, start):
        digest.update(part)
        start += len(part)
    return digest.hexdigest()


def _write_at(number: int, content: bytes, start: int) -> None:
    view = memoryview(content)
    while view:
        count = os.pwrite(number, view, start)
        view = view[count:]
        start += count
