"""What the hub asks of a store of blobs.

A blob is the content of one file of a release; its name is the SHA-256 of its bytes. So it never changes, two of the same content are one,
and whoever fetches one can check it.
"""

import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class KeptBlob:
    """A blob that is there.

    Attributes:
        wanted_s: when it came in, or was wanted last; seconds since the epoch by the store's clock.
    """

    sha256: str
    size_bytes: int
    wanted_s: float


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
    def want(self, sha256: str) -> int:
        """Somebody relies on a blob from now on: it is as if it had come in at this moment.

        Returns: how long it is, in bytes.
        Raises: NotFoundError: there is none of this name.
        """

    @abstractmethod
    def kept(self) -> Iterator[KeptBlob]:
        """All blobs, with when they were wanted."""

    @abstractmethod
    def remove(self, sha256: str, wanted_before_s: float) -> bool:
        """Remove a blob that nobody has wanted since. No `want` and no `commit` of this process comes between the look and the deed.

        Args:
            wanted_before_s: one that was wanted at that moment or later stays; seconds since the epoch.
        Returns: whether it was removed.
        Raises: UnavailableError: the store fails.
        """

    @abstractmethod
    def names(self) -> Iterator[str]:
        """Of all blobs."""

    def has(self, sha256: str) -> bool:
        """Whether there is a blob of this name."""
        ...
