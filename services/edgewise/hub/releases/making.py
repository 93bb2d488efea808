"""Makes a release out of directories: what its manifest says, and where the bytes of each file are."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.releases import Release, Variant
from edgewise.hub.releases.version_files import version_files
from edgewise.protocols.chunking import release_file
from edgewise.protocols.heldout import FOLDER, MAX_HELDOUT_BYTES, NAME, check_heldout


@dataclass(frozen=True, slots=True)
class MadeRelease:
    """A release with its files.

    Attributes:
        blobs: where the bytes of each are, by SHA-256.
    """

    release: Release
    blobs: Mapping[str, Path]

    @property
    def size_bytes(self) -> int:
        """Of all blobs; one that several files have counts once."""
        sizes = {file.sha256: file.size_bytes for variant in self.release.variants.values() for file in variant.files}
        return sum(sizes.values())


def make_release(
    model: str,
    version: int,
    directories: Mapping[str, Path],
    *,
    created: str,
    notes: str = "",
    lineage: Mapping[str, str] | None = None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> MadeRelease:
    """Read directories and make a release of them.

    Args:
        directories: of the variants, by tier.
        created: when, RFC 3339.
        on_bytes: is told how many more bytes were read.
    Raises:
        NotFoundError, FailedPreconditionError: a directory holds no version, or cannot be read.
        InvalidArgumentError: what is asked for is no release.
    """
    blobs: dict[str, Path] = {}
    variants = {}
    for tier, directory in directories.items():
        try:
            paths = version_files(directory)
            _check_heldout(paths)
            files = tuple(release_file(name, path, on_bytes) for name, path in paths.items())
        except OSError as error:
            raise FailedPreconditionError(f"{error.filename or directory} cannot be read: {error.strerror}") from error
        blobs.update({file.sha256: paths[file.path] for file in files})
        variants[tier] = Variant(files)
    return MadeRelease(Release(model, version, created, variants, notes, lineage or {}), blobs)


def _check_heldout(paths: Mapping[str, Path]) -> None:
    """Refuse held-out examples that no site could ask.

    Raises: InvalidArgumentError: what is wrong with them.
    """
    document = paths.get(f"{FOLDER}/{NAME}")
    if document is not None:
        sizes = {
            name.removeprefix(f"{FOLDER}/"): path.stat().st_size
            for name, path in paths.items()
            if name.startswith(f"{FOLDER}/")
        }
        with document.open("rb") as file:
            check_heldout(file.read(MAX_HELDOUT_BYTES + 1), sizes)


def bytes_to_read(directories: Iterable[Path]) -> int:
    """Of all files that `make_release` would read.

    Raises: as `make_release`.
    """
    return sum(path.stat().st_size for directory in directories for path in version_files(directory).values())
