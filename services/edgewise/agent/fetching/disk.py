"""The disk's own troubles in words, and how much room it has."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from edgewise.agent.fetching.progress import shown_bytes
from edgewise.core.errors import EdgewiseError, PermissionDeniedError, ResourceExhaustedError, UnavailableError


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses below `path` into an error for people.

    Raises:
        ResourceExhaustedError, PermissionDeniedError, UnavailableError: in place of `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error


def disk_error(error: OSError, path: Path) -> EdgewiseError:
    """The error for people that an `OSError` stands for."""
    where = error.filename if isinstance(error.filename, str) else str(path)
    match error.errno:
        case errno.ENOSPC:
            return ResourceExhaustedError(
                f"there is no room left on the disk that holds {path} (no space or no inodes)"
            )
        case errno.EDQUOT | errno.EFBIG:
            return ResourceExhaustedError(f"{where} cannot grow: the quota or the limit of file sizes is reached")
        case errno.EROFS:
            return PermissionDeniedError(f"{where} lies on a read-only file system; mount a volume that can be written")
        case errno.EACCES | errno.EPERM:
            return PermissionDeniedError(
                f"no permission for {where} as user {os.geteuid()}, group {os.getegid()}; "
                "change its owner, or the pod's fsGroup, or the user"
            )
        case _:
            return UnavailableError(f"{where}: {error.strerror or 'it cannot be read or written'}")


def check_room(directory: Path, needed_bytes: int) -> None:
    """Refuse before the first byte what would not fit.

    Raises:
        ResourceExhaustedError: the disk has less room than that.
    """
    status = os.statvfs(directory)
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < needed_bytes:
        raise ResourceExhaustedError(
            f"the disk that holds {directory} has {shown_bytes(free_bytes)} free, and {shown_bytes(needed_bytes)} are needed"
        )
