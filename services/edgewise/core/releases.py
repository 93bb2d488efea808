"""A release: one model version, immutable, and all that a site has to know to fetch it and to trust what it fetched.

A release holds a variant for each tier that needs one of its own (float32 for the cloud, int8 for the edge), behind the same signature. A
variant is files; a file is chunks, so that a site which has most of them in the version that it runs fetches the rest alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from edgewise.core.errors import InvalidArgumentError, NotFoundError

EVERY_TIER: Final = "any"
TIERS: Final = ("cloud", "edge")
GOLDEN_INPUT: Final = "golden input"
"""So begins the reason for which a version that is wrong about a golden input is not loaded: an agent tells it from all others by that."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file.

    Attributes:
        size_bytes: at least 1.
        sha256: of its bytes, 64 hexadecimal digits.
    """

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One file of a variant.

    Attributes:
        path: relative to the version's directory, parts with / between them.
        sha256: of all its bytes, which is also the name under which the hub gives it out.
        chunks: all of it, in order.
    """

    path: str
    size_bytes: int
    sha256: str
    chunks: tuple[Chunk, ...]

    def __post_init__(self) -> None:
        if sum(chunk.size_bytes for chunk in self.chunks) != self.size_bytes:
            raise InvalidArgumentError(f"{self.path}: its chunks are not {self.size_bytes} bytes together")


@dataclass(frozen=True, slots=True)
class Variant:
    """The files for one tier."""

    files: tuple[ReleaseFile, ...]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Release:
    """One model version.

    Attributes:
        created: when, RFC 3339; for people.
        variants: by tier; EVERY_TIER where there is one for all.
        lineage: where it comes from, such as the digest of its training data; names and values of the user's choice.
    """

    model: str
    version: int
    created: str
    variants: Mapping[str, Variant]
    notes: str = ""
    lineage: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.variants:
            raise InvalidArgumentError(f"release {self.name} has no files")
        if EVERY_TIER in self.variants and len(self.variants) > 1:
            raise InvalidArgumentError(f"release {self.name} has a variant for every tier and others beside it")

    @property
    def name(self) -> str:
        """As people write it: pets/2."""
        return f"{self.model}/{self.version}"

    def variant(self, tier: str) -> Variant:
        """What a site of a tier runs.

        Raises: NotFoundError: there is none for it.
        """
        found = self.variants.get(EVERY_TIER) or self.variants.get(tier)
        if found is None:
            raise NotFoundError(
                f"release {self.name} has no variant for the tier {tier}; it has {', '.join(self.variants)}"
            )
        return found


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file that a site does not have.

    Attributes:
        chunks: which of the file's chunks they are, by number: from `first` up to and without `last`.
    """

    start: int
    end: int
    first: int
    last: int


def missing_pieces(file: ReleaseFile, known: Iterable[str], *, gap_bytes: int = 0) -> list[Piece]:
    """What to ask for of a file.

    Args:
        known: digests of chunks that are there already.
        gap_bytes: known chunks of up to so many bytes between two missing ones are asked for with them, since a request costs something too.
    Returns: pieces in the file's order, none of them touching the next.
    """
    there = set(known)
    pieces: list[Piece] = []
    start = 0
    for number, chunk in enumerate(file.chunks):
        end = start + chunk.size_bytes
        if chunk.sha256 not in there:
            if pieces and start - pieces[-1].end <= gap_bytes:
                pieces[-1] = Piece(pieces[-1].start, end, pieces[-1].first, number + 1)
            else:
                pieces.append(Piece(start, end, number, number + 1))
        start = end
    return pieces


def unknown_release(model: str, version: int, known: Iterable[tuple[str, int]]) -> NotFoundError:
    """The error for a release that is not there; it says which are.

    Args:
        known: model and version of each that is.
    """
    versions = sorted(other for name, other in known if name == model)
    there = f"of {model} there are {', '.join(map(str, versions))}" if versions else "none of that model is"
    return NotFoundError(f"there is no release {model}/{version}; {there}")
