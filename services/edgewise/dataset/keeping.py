"""The splits of an earlier dataset, kept: what was in its test stays out of train, so that two models can be compared."""

from collections.abc import Iterator, Mapping, Sequence

from edgewise.core.errors import FailedPreconditionError
from edgewise.dataset.doubles import KeptPicture
from edgewise.dataset.grouping import Group
from edgewise.protocols.dataset_manifest import SPLITS, Dataset


def kept_splits(earlier: Dataset, groups: Sequence[Group], pictures: Sequence[KeptPicture]) -> dict[int, int]:
    """Where groups have to go.

    Args:
        groups: of the new dataset.
        pictures: that the groups' members are indices of.
    Returns: indices of splits by indices of groups; those that the earlier dataset knows nothing of are left out.
    Raises: FailedPreconditionError: pictures of two of its splits have to stay together now.
    """
    known: dict[tuple[str, str], str] = {}
    for image in earlier.images:
        if image.augmented_from is None:
            known[("sha256", image.sha256)] = known[("origin", image.origin)] = image.split
            if image.source:
                known[("source", image.source)] = image.split
    found: dict[int, int] = {}
    for index, each in enumerate(groups):
        splits = dict(_known(each, pictures, known))
        if len(splits) > 1:
            parts = " and ".join(f"{name} ({split})" for split, name in sorted(splits.items()))
            raise FailedPreconditionError(
                f"{parts} were in two splits of {earlier.name!r}, and have to stay together now: something that came since is of the "
                "source of one and nearly the same as the other, or of both; leave it out, or build without --keep"
            )
        found.update((index, SPLITS.index(split)) for split in splits)
    return found


def _known(
    group: Group, pictures: Sequence[KeptPicture], known: Mapping[tuple[str, str], str]
) -> Iterator[tuple[str, str]]:
    """The splits that a group was in, and by what that is known."""
    for source in group.sources:
        if ("source", source) in known:
            yield known["source", source], f"the source {source!r}"
    for index in group.members:
        picture = pictures[index]
        for key in (("sha256", picture.sha256), ("origin", picture.given.origin)):
            if key in known:
                yield known[key], str(picture.given.path)
