"""Telling archives from models, and unpacking them."""

import gzip
import zlib
from enum import Enum
from pathlib import Path
from typing import BinaryIO, cast

from edgewise.agent.fetching.tree import FREE_RATIO_BYTES, MAX_RATIO, Tree
from edgewise.core.errors import EdgewiseError, FailedPreconditionError

_EXPECTED = "expected .tar, .tar.gz or .zip"
_TAR_MAGIC_AT = 257
_REFUSED = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
}
# Whoever lets an archive say how much is read at once lets it say how much memory is used.
_MAX_READ_BYTES = 4 << 20


class Packing(Enum):
    """How files are packed into one."""

    TAR = ".tar"
    TAR_GZ = ".tar.gz"
    ZIP = ".zip"


def packing_of(path: Path, shown: str) -> Packing | None:
    """Look at a file's first bytes.

    Args:
        shown: what to call it in a message.

    Returns: None when it is no archive.
    Raises:
        FailedPreconditionError: an archive of a kind that is not unpacked.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"\x1f\x8b"):
        return Packing.TAR_GZ
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Packing.ZIP
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return Packing.TAR
    for magic, name in _REFUSED.items():
        if head.startswith(magic):
            raise FailedPreconditionError(f"{shown} is packed with {name}; {_EXPECTED}")
    return None


def max_unpacked_bytes(packed_bytes: int, max_bytes: int) -> int:
    """How much an archive may unpack to."""
    return min(max_bytes, max(FREE_RATIO_BYTES, MAX_RATIO * packed_bytes))


def unpack(path: Path, packing: Packing, tree: Tree, shown: str) -> None:
    """Unpack an archive.

    Args:
        path: the archive.
        tree: where its files go.
        shown: what to call it in a message.

    Raises:
        FailedPreconditionError: it is truncated, damaged, too large, or holds what a model version does not.
        OSError: the disk refuses.
    """
    from edgewise.agent.fetching.tar_archives import unpack_tar  # noqa: PLC0415  (a single file needs neither)
    from edgewise.agent.fetching.zip_archives import unpack_zip  # noqa: PLC0415  (as above)

    try:
        with path.open("rb") as file:
            match packing:
                case Packing.ZIP:
                    unpack_zip(cast("BinaryIO", BoundedReads(file)), tree, shown)
                case Packing.TAR:
                    unpack_tar(BoundedReads(file), tree, shown)
                case Packing.TAR_GZ:
                    with gzip.GzipFile(fileobj=file) as unzipped:
                        unpack_tar(BoundedReads(cast("BinaryIO", unzipped)), tree, shown)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise broken(shown, truncated=isinstance(error, EOFError)) from error
    except (EdgewiseError, OSError):
        raise
    except Exception as error:
        # tarfile and zipfile raise a dozen kinds, ValueError, struct.error and RecursionError among them.
        raise broken(shown, truncated=False) from error


def broken(shown: str, *, truncated: bool) -> FailedPreconditionError:
    """The error for an archive that cannot be read to its end."""
    if truncated:
        return FailedPreconditionError(
            f"{shown} ends before its own end: it was truncated, when it was packed or copied"
        )
    return FailedPreconditionError(f"{shown} is damaged: it cannot be unpacked; {_EXPECTED}, whole")


class BoundedReads:
    """A file of which nobody can read more at once than fits in a small memory.

    Attributes:
        last_read: what the last read gave: the end of a tar archive looks like the end of the file otherwise.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.last_read = b""

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes.

        Raises:
            ValueError: more than fits.
        """
        if size > _MAX_READ_BYTES:
            raise ValueError("the archive asks for more memory than it gets")
        self.last_read = self._file.read(_MAX_READ_BYTES if size < 0 else size)
        return self.last_read

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place.

        Raises:
            ValueError: there is no such place. The disk would say the same with an OSError, as if it were at fault.
        """
        if whence == 0 and offset < 0:
            raise ValueError("the archive names a place before its beginning")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._file.tell()

    def seekable(self) -> bool:
        """What zipfile asks."""
        return True
