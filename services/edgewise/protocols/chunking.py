"""Cuts files into chunks where their content says so, so that an insertion moves no cut but those beside it.

A chunk ends after a byte where the hash of the last 32 bytes begins with 16 zero bits, at least 16 KiB and at most 256 KiB after the one
before. The hash is a gear hash: the sum over the window of a random number for each byte, the older the byte the further shifted left.
Such a sum over 32 bytes is made of two over 16, those of two over 8 each: five passes over the array instead of a loop over its bytes.

Source: W. Xia et al., "FastCDC", USENIX ATC '16, for the hash and the limits; W. D. Hillis and G. L. Steele, "Data Parallel
Algorithms", CACM 29 (1986), for the doubling.
"""

import hashlib
import mmap
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.releases import Chunk, ReleaseFile

LEAST_BYTES: Final = 16 * 1024
MOST_BYTES: Final = 256 * 1024
_WINDOW: Final = 32
_ZERO_BITS: Final = 16
_AT_ONCE_BYTES: Final = 4 << 20


def _gear() -> NDArray[np.uint32]:
    """A random number for each byte. Part of the format: other numbers cut elsewhere, and nothing would be shared."""
    digests = [hashlib.sha256(b"edgewise gear %d" % byte).digest() for byte in range(256)]
    return np.array([int.from_bytes(digest[:4], "little") for digest in digests], np.uint32)


_GEAR: Final = _gear()


def chunks_of(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> tuple[Chunk, ...]:
    """The chunks of a file, in order; none of an empty one.

    Args:
        on_bytes: is told how many more bytes are done.
    Raises: OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            return ()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = []
            start = 0
            for end in _cuts(content):
                found.append(Chunk(end - start, hashlib.sha256(memoryview(content)[start:end]).hexdigest()))
                on_bytes(end - start)
                start = end
            return tuple(found)


def release_file(name: str, path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> ReleaseFile:
    """A file as a release describes it.

    Args:
        name: in the version's directory.
        on_bytes: as in `chunks_of`.
    Raises: OSError: it cannot be read.
    """
    chunks = chunks_of(path, on_bytes)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ReleaseFile(name, sum(chunk.size_bytes for chunk in chunks), digest, chunks)


def cut_bytes(content: bytes) -> list[int]:
    """Where the chunks of some bytes end."""
    return list(_cuts(content)) if content else []


def _cuts(content: bytes | mmap.mmap) -> Iterator[int]:
    size = len(content)
    start = 0
    for end in chain(_candidates(content), [size]):
        while end - start > MOST_BYTES:
            start += MOST_BYTES
            yield start
        if end - start >= LEAST_BYTES or start < end == size:
            start = end
            yield start


def _candidates(content: bytes | mmap.mmap) -> Iterator[int]:
    """Positions after which the content asks for a cut."""
    size = len(content)
    for begin in range(0, size, _AT_ONCE_BYTES):
        end = min(begin + _AT_ONCE_BYTES, size)
        before = min(begin, _WINDOW - 1)
        # A copy, since a view of a map would keep it from being closed.
        window = np.frombuffer(content[begin - before : end], np.uint8)
        hashes = _hashes(window)[before:]
        for place in np.flatnonzero(hashes >> np.uint32(32 - _ZERO_BITS) == 0):
            yield begin + int(place) + 1


def _hashes(window: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """uint32[n]: the hash of the up to 32 bytes that end at each place of uint8[n]."""
    hashes = _GEAR[window]
    width = 1
    while width < _WINDOW:
        hashes[width:] += hashes[:-width] << np.uint32(width)
        width *= 2
    return hashes
