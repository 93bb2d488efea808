"""The columns of a recording in memory that two processes share: the engine fills them, who asked reads them.

One row a request and nothing beside it: 37 bytes, whatever becomes of the request.
"""

import mmap
import os
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgewise.study.engine.job import OTHER_ANSWER

PENDING: Final = 255
"""The state of a request that has not ended."""

_Kind = Literal["q", "i", "h", "H", "B"]
_LAYOUT: Final[tuple[tuple[str, _Kind, int], ...]] = (
    ("due_ns", "q", 0),
    ("sent_ns", "q", -1),
    ("ended_ns", "q", -1),
    ("version", "i", 0),
    ("code", "h", -1),
    ("question", "H", 0),
    ("answer", "H", OTHER_ANSWER),
    ("state", "B", PENDING),
    ("site", "B", 0),
    ("attempts", "B", 0),
)
"""Name, type, and what is in it before the run. Wide ones first, so that each is aligned."""
_COUNTERS: Final = 8
_COUNTERS_BYTES: Final = _COUNTERS * 8

ROW_BYTES: Final = sum(np.dtype(kind).itemsize for _, kind, _ in _LAYOUT)


class Columns:
    """The arrays, by the names of `Recording`, and a few counters.

    Args:
        fd: of memory as `create` makes it; closed by whoever opened it.
        requests: rows.

    Attributes:
        arrays: by name; they keep the memory as long as one of them lives.
        views: the same memory, by name. Their items are Python's own numbers, at a third of what numpy's scalars cost.
        counters: int64 [8]: requests that were due so far, ended, failed; a heartbeat; the start, by the monotonic clock, 0 before it is known.
    """

    def __init__(self, fd: int, requests: int) -> None:
        memory = mmap.mmap(fd, size_bytes(requests))
        self.counters: NDArray[np.int64] = np.frombuffer(memory, np.int64, _COUNTERS)
        self.arrays: dict[str, NDArray[Any]] = {}
        self.views: dict[str, memoryview[int]] = {}
        offset = _COUNTERS_BYTES
        for name, kind, _ in _LAYOUT:
            size = requests * np.dtype(kind).itemsize
            self.arrays[name] = np.frombuffer(memory, kind, requests, offset)
            self.views[name] = memoryview(memory)[offset : offset + size].cast(kind)
            offset += size

    def clear(self) -> None:
        """As before a run."""
        self.counters[:] = 0
        for name, _, empty in _LAYOUT:
            self.arrays[name][:] = empty


def size_bytes(requests: int) -> int:
    """Of the memory for so many rows."""
    return _COUNTERS_BYTES + requests * ROW_BYTES


def create(requests: int) -> int:
    """Memory for so many rows that has no name; its file descriptor.

    Raises: OSError: the system gives none.
    """
    fd = os.memfd_create("edgewise-recording", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size_bytes(requests))
    except BaseException:
        os.close(fd)
        raise
    return fd
