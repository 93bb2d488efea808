"""Room for what a conversion writes in between: on the disk where the versions go, and said clearly where there is none."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from edgewise.core.errors import FailedPreconditionError

_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_LIBRARIES: Final = ("onnxruntime.", "google.protobuf.", "google._upb.")
"""What writes short files on a full disk without a word, and finds them damaged when it reads them."""


@contextmanager
def scratch_near(out: Path, takes_bytes: int) -> Iterator[Path]:
    """A directory for temporary files, which is gone afterwards. Meanwhile also the libraries' own temporary files are made there.

    Args:
        out: on its disk; need not be there yet, and nothing is made in its name.
        takes_bytes: about as much as will be written.
    Raises: FailedPreconditionError: nothing can be written there, or there is no room.
    """
    place = next(each for each in (out.absolute(), *out.absolute().parents) if each.is_dir())
    try:
        made = tempfile.TemporaryDirectory(prefix=".edgewise-converting-", dir=place)
    except OSError as error:
        raise FailedPreconditionError(f"{out} cannot be written: {error.strerror or error} ({place})") from error
    before = tempfile.tempdir
    try:
        with made as name:
            # The quantizer takes no directory for its own.
            tempfile.tempdir = name
            yield Path(name)
    except Exception as error:
        if not _for_want_of_room(error, place, takes_bytes):
            raise
        raise FailedPreconditionError(
            f"there is no room in {place}: the conversion takes up to {_mb(takes_bytes)} MB there for a while, and {_mb(_free_bytes(place))} MB are "
            "free; nothing was written. Free some room, or name a directory on another disk with --out"
        ) from error
    finally:
        tempfile.tempdir = before


def _for_want_of_room(error: Exception, place: Path, takes_bytes: int) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    return f"{type(error).__module__}.".startswith(_LIBRARIES) and _free_bytes(place) < takes_bytes


def _free_bytes(place: Path) -> int:
    return shutil.disk_usage(place).free


def _mb(count_bytes: int) -> str:
    return f"{count_bytes / 1e6:,.0f}"
