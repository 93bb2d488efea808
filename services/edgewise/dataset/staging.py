"""A directory that is there whole or not at all: made beside its place under a hidden name, and renamed once at the end."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError
from edgewise.trust.durable_files import sync_directory

_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


@contextmanager
def staged(out: Path, what: str) -> Iterator[Path]:
    """Make a directory.

    Args:
        out: where it is to be; not there yet, or empty.
        what: it is, for messages: "dataset".
    Yields: where to write. When the block ends without an error, that becomes `out`; otherwise it goes.
    Raises:
        AlreadyExistsError: something is there.
        FailedPreconditionError: it cannot be written, the disk is full, or another process makes it at this moment.
    """
    check_free(out)
    stage = out.parent / f".{out.name}.building"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stage.mkdir(exist_ok=True)
        holder = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
    except (FileExistsError, NotADirectoryError):
        raise FailedPreconditionError(f"{out} cannot be written: {out.parent} is no directory") from None
    except OSError as error:
        raise FailedPreconditionError(f"{out} cannot be written: {error.strerror}") from None
    try:
        _hold(holder, stage, out)
        try:
            _empty(stage)
            yield stage
            sync_directory(stage)
            stage.rename(out)
        except OSError as error:
            raise _explained(error, out, what) from None
        finally:
            # After the rename there is nothing here to remove.
            shutil.rmtree(stage, ignore_errors=True)
        sync_directory(out.parent)
    finally:
        os.close(holder)


def check_free(out: Path) -> None:
    """See that nothing is where a directory is to be made.

    Raises: AlreadyExistsError: something is.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise AlreadyExistsError(f"{out} is there already; name another directory, or remove it first")


def _hold(holder: int, stage: Path, out: Path) -> None:
    """Be the only one that writes there; what a killed process left is nobody's."""
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.fstat(holder).st_ino == stage.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        raise FailedPreconditionError(
            f"another process makes {out} at this moment; wait for it, or name another directory"
        )


def _empty(stage: Path) -> None:
    for entry in stage.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _explained(error: OSError, out: Path, what: str) -> FailedPreconditionError:
    if error.errno not in _FULL:
        return FailedPreconditionError(f"{out} cannot be written: {error.strerror}; nothing of it is left")
    return FailedPreconditionError(
        f"the disk is full: there is no room for the {what} {out}; nothing of it is left. Free some room, or name a directory on another disk"
    )
