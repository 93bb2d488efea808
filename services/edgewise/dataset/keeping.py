"""The splits of an earlier dataset, kept: what was in its test stays out of train, so that two models can be compared."""

from collections.abc import Iterator, Sequence
from typing import Final

from edgewise.core.errors import FailedPreconditionError
from edgewise.dataset.doubles import KeptPicture
from edgewise.dataset.grouping import Group
from edgewise.dataset.sources import FILE, SourcePicture
from edgewise.protocols.dataset_manifest import SPLITS, Dataset

_NOWHERE: Final[frozenset[str]] = frozenset()


def kept_splits(earlier: Dataset, groups: Sequence[Group], pictures: Sequence[KeptPicture]) -> dict[int, int]:
    """Where groups have to go.

    Args:
        groups: of the new dataset.
        pictures: that the groups' members are indices of.
    Returns: indices of splits by indices of groups; those that the earlier dataset knows nothing of are left out.
    Raises: FailedPreconditionError: pictures of two of its splits have to stay together now.
    """
    known = _Earlier(earlier, frozenset(picture.sha256 for picture in pictures))
    found: dict[int, int] = {}
    for index, each in enumerate(groups):
        splits = dict(known.splits_of(each, pictures))
        if len(splits) > 1:
            parts = " and ".join(f"{name} ({split})" for split, name in sorted(splits.items()))
            raise FailedPreconditionError(
                f"{parts} were in two splits of {earlier.name!r}, and have to stay together now: something that came since is of the "
                "source of one and nearly the same as the other, or of both; leave it out, or build without --keep"
            )
        found.update((index, SPLITS.index(split)) for split in splits)
    return found


def kept_sources(earlier: Dataset, pictures: Sequence[KeptPicture]) -> dict[int, str]:
    """The sources that an earlier dataset knows pictures by.

    Returns: by indices of the pictures; those that it does not know, or knows no source of, are left out.
    """
    known = _Earlier(earlier, frozenset(picture.sha256 for picture in pictures))
    found = ((index, known.source_of(picture)) for index, picture in enumerate(pictures))
    return {index: source for index, source in found if source}


class _Earlier:
    """What an earlier dataset knows of pictures.

    Args:
        present: digests of the new dataset's pictures. What is among them needs not be found by its origin too, which may be that of
            another picture by now.
    """

    def __init__(self, earlier: Dataset, present: frozenset[str]) -> None:
        self._digests: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        self._origins: dict[str, frozenset[str]] = {}
        self._stated: dict[str, str] = {}
        for image in earlier.images:
            if image.augmented_from is not None:
                continue
            self._digests[image.sha256] = image.split
            self._stated[image.sha256] = image.source
            if image.source:
                self._sources[image.source] = image.split
            if image.sha256 not in present:
                self._origins[image.origin] = self._origins.get(image.origin, _NOWHERE) | {image.split}
                self._stated[image.origin] = image.source

    def splits_of(self, group: Group, pictures: Sequence[KeptPicture]) -> Iterator[tuple[str, str]]:
        """The splits that a group was in, and by what that is known."""
        for source in group.sources:
            if source in self._sources:
                yield self._sources[source], f"the source {source!r}"
        for index in group.members:
            split = self._split_of(pictures[index])
            if split is not None:
                yield split, str(pictures[index].given.path)

    def source_of(self, picture: KeptPicture) -> str:
        """By which a picture went; "" where it is new, or went by none."""
        return self._stated.get(picture.sha256) or self._stated.get(picture.given.origin, "")

    def _split_of(self, picture: KeptPicture) -> str | None:
        """By its digest; where that is new, as of another size, by its origin, unless that has been in two splits."""
        if picture.sha256 in self._digests:
            return self._digests[picture.sha256]
        splits = next((self._origins[name] for name in _names(picture.given) if name in self._origins), _NOWHERE)
        return next(iter(splits)) if len(splits) == 1 else None


def _names(given: SourcePicture) -> Iterator[str]:
    """What its origin may have been: with as much of its PATH as told that from the other PATHs then, the longest first."""
    yield given.origin
    if given.origin.startswith(FILE):
        for at in range(len(given.below) + 1):
            yield FILE + "/".join((*given.below[at:], given.name))
