"""The directory of a spool: what the rest asks of a file system, and a real one."""

# Thousands of files are looked at at once; a Path for each would take as long as the asking.
# ruff: noqa: PTH104, PTH108, PTH116, PTH123, PTH208

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from edgewise.core.errors import EdgewiseError, FailedPreconditionError
from edgewise.spool.records import count_frames
from edgewise.spool.salvage import Salvage, salvage, salvaged
from edgewise.trust.durable_files import sync_directory

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
UNREADABLE: Final = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN})
"""What a disk says of one file that it has lost, while the others may be well."""
_ASKING_S: Final = 0.002
_MOST_LISTINGS: Final = 5


@dataclass(frozen=True, slots=True)
class FileStatus:
    """A file's size, and when it was last written, in seconds since the epoch."""

    size_bytes: int
    changed_s: float


class SpoolFile(Protocol):
    """A file that grows. Every call raises OSError where the disk refuses."""

    def write(self, parts: Sequence[bytes]) -> None:
        """Add all parts at the end; where it raises, some of them may be there."""

    def cut(self, size_bytes: int) -> None:
        """Have it end there."""

    def sync(self) -> None:
        """Have the disk hold it."""

    def close(self) -> None:
        """Let it go."""


class Lock(Protocol):
    """A lock that is held, until it is released or its process ends, however it ends."""

    def write(self, text: str) -> None:
        """Say something to those who look at who holds it."""

    def release(self) -> None:
        """Let it go."""


class Disk(Protocol):
    """A directory without directories in it. Every call raises OSError where the disk refuses."""

    def names(self) -> list[str]:
        """All files."""

    def status(self, name: str) -> FileStatus:
        """Raises: FileNotFoundError: it is gone."""

    def free_bytes(self) -> int:
        """What this user may still write to the file system."""

    def create(self, name: str) -> SpoolFile:
        """Make a file that is not there."""

    def reopen(self, name: str) -> SpoolFile:
        """Go on with a file."""

    def read(self, name: str, offset: int, count: int) -> bytes:
        """Raises: FileNotFoundError: it is gone."""

    def records(self, name: str) -> int:
        """How many records a whole segment has; those before the first one that is not whole."""

    def salvage(self, name: str) -> Salvage:
        """What is whole in a segment that a dead writer left, by the checksums of its records."""

    def mend(self, name: str, found: Salvage) -> None:
        """Put what is whole in a segment in its place, as a whole, and make it last."""

    def rename(self, old: str, new: str) -> None:
        """At once."""

    def unlink(self, name: str) -> None:
        """Raises: FileNotFoundError: it is gone."""

    def touch(self, name: str, changed_s: float) -> None:
        """Have it look as if it was last written then."""

    def replace(self, name: str, content: bytes) -> None:
        """Put a small file in place of what is there, as a whole, and make it last."""

    def sync_names(self) -> None:
        """Have the disk hold the names."""

    def lock(self, name: str, wait_s: float) -> Lock | None:
        """Take a lock; None where another one holds it for that long."""


class PosixFile:
    """A file that is written at its end."""

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, parts: Sequence[bytes]) -> None:
        """Add all parts at the end."""
        written = os.writev(self._number, parts)
        rest = b"" if written == sum(map(len, parts)) else b"".join(parts)[written:]
        while rest:
            # A full disk takes a part of it, and says so with the next.
            rest = rest[os.write(self._number, rest) :]

    def cut(self, size_bytes: int) -> None:
        """Have it end there."""
        os.ftruncate(self._number, size_bytes)

    def sync(self) -> None:
        """Have the disk hold it; its size is told as well, its times are not."""
        os.fdatasync(self._number)

    def close(self) -> None:
        """Let it go."""
        os.close(self._number)


class PosixLock:
    """A file that this process has locked with flock: it is free the moment the process ends."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._said = ""

    def write(self, text: str) -> None:
        """Say something to those who look at who holds it."""
        if text == self._said:
            # Once in a while a writer says so, also one that has nothing to do.
            return
        content = text.encode()
        os.pwrite(self._number, content, 0)
        os.ftruncate(self._number, len(content))
        self._said = text

    def release(self) -> None:
        """Let it go."""
        os.close(self._number)


class PosixDisk:
    """A directory of a real file system.

    Files are for their owner alone; where the directory is for a group to write, for that group as well: gateway and agent may be
    different users of one group then.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._root = f"{directory}/"
        try:
            shared = os.stat(directory).st_mode & stat.S_IWGRP
        except OSError:
            shared = 0
        self._mode = 0o660 if shared else 0o600

    def names(self) -> list[str]:
        """All files; also those that others rename meanwhile, which one listing may pass over."""
        found: set[str] = set()
        for _ in range(_MOST_LISTINGS):
            before_ns = os.stat(self.directory).st_mtime_ns
            found.update(os.listdir(self.directory))
            if os.stat(self.directory).st_mtime_ns == before_ns:
                break
        return list(found)

    def status(self, name: str) -> FileStatus:
        """A file's size and time."""
        found = os.stat(self._root + name)
        return FileStatus(found.st_size, found.st_mtime)

    def free_bytes(self) -> int:
        """What this user may still write to the file system."""
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize

    def create(self, name: str) -> SpoolFile:
        """Make a file that is not there."""
        return PosixFile(self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND))

    def reopen(self, name: str) -> SpoolFile:
        """Go on with a file."""
        return PosixFile(os.open(self._root + name, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))

    def read(self, name: str, offset: int, count: int) -> bytes:
        """Some bytes of a file; fewer at its end."""
        number = os.open(self._root + name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(number, count, offset)
        finally:
            os.close(number)

    def records(self, name: str) -> int:
        """How many records a segment has, by the lengths that it says."""
        with open(self._root + name, "rb") as file:
            return count_frames(file)

    def salvage(self, name: str) -> Salvage:
        """What is whole in a segment that a dead writer left."""
        with open(self._root + name, "rb") as file:
            return salvage(file)

    def mend(self, name: str, found: Salvage) -> None:
        """Put what is whole in a segment in its place."""
        with open(self._root + name, "rb") as file:
            content = salvaged(file, found)
        self.replace(name, content)

    def rename(self, old: str, new: str) -> None:
        """At once."""
        os.rename(self._root + old, self._root + new)

    def unlink(self, name: str) -> None:
        """Remove a file."""
        os.unlink(self._root + name)

    def touch(self, name: str, changed_s: float) -> None:
        """Have it look as if it was last written then."""
        try:
            os.utime(self._root + name, (changed_s, changed_s))
        except PermissionError:
            # Of another user of the group: "now" is all that may be said of it.
            os.utime(self._root + name)

    def replace(self, name: str, content: bytes) -> None:
        """Put a small file in place of what is there, as a whole, and make it last."""
        beside = f"{name}.new"
        number = self._open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            PosixFile(number).write([content])
            os.fsync(number)
        finally:
            os.close(number)
        self.rename(beside, name)

    def sync_names(self) -> None:
        """Have the disk hold the names."""
        sync_directory(self.directory)

    def lock(self, name: str, wait_s: float) -> PosixLock | None:
        """Take a lock; None where another one holds it for that long."""
        until_s = time.monotonic() + wait_s
        number = self._open(name, os.O_RDWR | os.O_CREAT)
        try:
            while True:
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= until_s:
                        os.close(number)
                        return None
                    time.sleep(_ASKING_S)
                else:
                    return PosixLock(number)
        except OSError:
            os.close(number)
            raise

    def _open(self, name: str, flags: int) -> int:
        number = os.open(self._root + name, flags | os.O_CLOEXEC, self._mode)
        if flags & os.O_CREAT and self._mode == 0o660:
            # Whatever the umask; a file of another user is as it is to be already.
            with contextlib.suppress(PermissionError):
                os.fchmod(number, self._mode)
        return number


def ready_directory(directory: Path) -> PosixDisk:
    """The directory of a spool, made where only it itself is missing.

    Its parents are not made: the volume that is to hold it may not be mounted yet, and the disk below would fill.

    Raises: FailedPreconditionError: it cannot be used; the message says what would be right.
    """
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        os.listdir(directory)
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
            raise OSError(errno.EROFS if read_only else errno.EACCES, "not writable")
    except OSError as error:
        raise unusable(directory, error) from None
    return PosixDisk(directory)


def unusable(directory: Path, error: OSError) -> EdgewiseError:
    """The error for people where a directory cannot be used."""
    match error.errno:
        case errno.ENOENT:
            why = f"{directory.parent} is not there; make it, or mount the volume that has it"
        case errno.ENOTDIR:
            why = "it is no directory; name one"
        case errno.EROFS:
            why = "its file system is read-only; name a directory on one that can be written"
        case errno.EACCES | errno.EPERM:
            why = f"user {os.geteuid()} may not write there; change its owner or its mode"
        case _:
            why = error.strerror or "the disk refuses"
    return FailedPreconditionError(f"the spool {directory} cannot be used: {why}")
