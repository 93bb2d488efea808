"""What the hub asks of a store of blobs.

A blob is the content of one file of a release; its name is the SHA-256 of its bytes. So it never changes, two of the same content are one,
and whoever fetches one can check it.
"""

import re
from abc import abstractmethod
from collections.abc import Iterator
from typing import Final, Protocol

from edgewise.core.errors import InvalidArgumentError

CHUNK_BYTES: Final = 1 << 18
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def checked_digest(text: str) -> str:
    """A name of a blob.

    Raises: InvalidArgumentError: it is none.
    """
    if not _DIGEST.fullmatch(text):
        raise InvalidArgumentError(
            f"found {text[:80]!r}, expected the SHA-256 of a blob, 64 hexadecimal digits in lower case"
        )
    return text


class BlobUpload(Protocol):
    """A blob on its way in. Whatever ends it but `commit` leaves nothing."""

    @abstractmethod
    def write(self, content: bytes) -> None:
        """Take the next bytes.

        Raises: UnavailableError: there is no room.
        """

    @abstractmethod
    def commit(self) -> bool:
        """Let the blob appear, whole and lasting.

        Returns: whether it is new; False when it has been there.
        Raises:
            InvalidArgumentError: the bytes are not those that the name promises.
            UnavailableError: the store cannot keep it.
        """

    @abstractmethod
    def discard(self) -> None:
        """Forget what came. After `commit` nothing happens."""


class BlobStore(Protocol):
    """Blobs by name. Every method blocks and may be called from any thread."""

    @property
    @abstractmethod
    def shown(self) -> str:
        """Where it is, for people."""

    @abstractmethod
    def size_bytes(self, sha256: str) -> int:
        """How long a blob is.

        Raises: NotFoundError: there is none of this name.
        """

    @abstractmethod
    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to and without `end`, which lie within the blob, in pieces of at most `CHUNK_BYTES`.

        Raises:
            NotFoundError: there is no such blob.
            UnavailableError: the store fails, or the blob turned out shorter.
        """

    @abstractmethod
    def upload(self, sha256: str) -> BlobUpload:
        """Begin to bring a blob in.

        Raises: UnavailableError: the store cannot be written to.
        """

    @abstractmethod
    def names(self) -> Iterator[str]:
        """Of all blobs."""

    def has(self, sha256: str) -> bool:
        """Whether there is a blob of this name."""
        ...
