"""What a source of model versions is: it says which files there are, and gives the bytes of each from any place on.

A source does not retry; `transfer` does. So a try that may succeed later ends in a `TransferError`, and one that cannot in
another `EdgewiseError`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from edgewise.core.errors import UnavailableError


class TransferError(UnavailableError):
    """A try failed and another may not: a cut, a stall, a server that is busy."""


class Kind(StrEnum):
    """What the digest of a version is taken of."""

    FILE = "file"
    """The bytes of one file, which may be an archive."""
    DIRECTORY = "directory"
    """The list of files with their digests; see `digests`."""
    MANIFEST = "manifest"
    """A registry's manifest, which holds the digests of all layers."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file that a source offers.

    Attributes:
        name: its path in the version, as the source says it: not checked yet.
        locator: where the source finds it.
        size_bytes: None when it is known only once it is opened.
        sha256: which its bytes must have, hexadecimal; "" when that is not known.
        unpack: whether it is an archive whose files belong in its place.
    """

    name: str
    locator: str = ""
    size_bytes: int | None = None
    sha256: str = ""
    unpack: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source has under its URI.

    Attributes:
        digest: of the whole, where the source knows it before anything is fetched; "" where it does not.
    """

    kind: Kind
    pieces: tuple[Piece, ...]
    digest: str = ""


@dataclass(slots=True)
class Body:
    """The bytes of a piece.

    Attributes:
        start_bytes: the place of the first of them; 0 when the source began anew in spite of what was asked.
        total_bytes: how long the piece is, its beginning included; None when nobody says.
        chunks: may raise `TransferError`.
        close: lets go of the connection.
    """

    start_bytes: int
    total_bytes: int | None
    chunks: Iterator[bytes | memoryview]
    close: Callable[[], None] = field(default=lambda: None)


class Source(Protocol):
    """Where versions come from."""

    def offer(self) -> Offer:
        """Find what there is.

        Raises:
            TransferError: trying again may help.
            EdgewiseError: it does not.
        """
        ...

    def open(self, piece: Piece, start_bytes: int) -> Body:
        """Begin to read a piece.

        Args:
            start_bytes: how much of it is here already. The source begins there only if the piece is still the same.

        Raises:
            TransferError: trying again may help.
            EdgewiseError: it does not.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long a source may keep silent.

    Attributes:
        connect_s: until a connection, TLS included, is there.
        stall_s: between two pieces of an answer.
    """

    connect_s: float = 10.0
    stall_s: float = 30.0
