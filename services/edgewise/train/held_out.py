"""The test split goes along with the versions, so that a rollout's gate `accuracy` can ask old and new version for it at the site."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgewise.model_server.building.version_directory import copy_file
from edgewise.protocols.dataset_manifest import DatasetImage
from edgewise.protocols.heldout import FOLDER, MAX_EXAMPLE_BYTES, NAME, Example, Heldout, heldout_bytes
from edgewise.train.witnesses import sources_text

MOST_EXAMPLES: Final = 400
"""Sites ask two versions for each of them before anybody else may ask the new one."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What of a test split goes along.

    Attributes:
        images: that do.
        tested: how many pictures the split has.
        too_large: how many of those are over 1 MiB.
    """

    images: tuple[DatasetImage, ...]
    tested: int
    too_large: int

    def __str__(self) -> str:
        """For people."""
        large = f"; {self.too_large:,} are over 1 MiB" if self.too_large else ""
        if not self.images:
            return (
                f"none of {self.tested:,} test pictures goes along as a held-out example{large}: "
                "a rollout's gate `accuracy` has nothing to ask"
            )
        return f"{len(self.images):,} of {self.tested:,} test pictures go along as held-out examples, {sources_text(self.images)}{large}"


def held_out(source: Path, images: Sequence[DatasetImage]) -> HeldOut:
    """Choose what goes along.

    Args:
        source: the dataset's directory.
        images: of the test split.
    """
    small = tuple(image for image in images if (source / image.file).stat().st_size <= MAX_EXAMPLE_BYTES)
    return HeldOut(evenly(small, MOST_EXAMPLES), len(images), len(images) - len(small))


def evenly(images: tuple[DatasetImage, ...], most: int) -> tuple[DatasetImage, ...]:
    """At most so many of them, evenly from all of the list, in which a class follows the other."""
    if len(images) <= most:
        return images
    return tuple(images[int(at)] for at in np.linspace(0, len(images) - 1, most))


def add_held_out(staged: Path, source: Path, going: HeldOut, verdict_of: Callable[[str], str]) -> None:
    """Write `heldout/` into the directory of a version, unless nothing goes along.

    Args:
        source: the dataset's directory.
        verdict_of: what the version is to say of a class.
    """
    if not going.images:
        return
    folder = staged / FOLDER
    folder.mkdir()
    examples = []
    # Numbers, since a source's name may tell of a place what the other sites need not know.
    numbers: dict[str, int] = {}
    for number, image in enumerate(going.images, start=1):
        name = f"{number:04}{Path(image.file).suffix}"
        copy_file(source / image.file, folder / name)
        number_of_source = numbers.setdefault(image.source, len(numbers) + 1) if image.source else ""
        examples.append(Example(name, verdict_of(image.label), str(number_of_source)))
    (folder / NAME).write_bytes(heldout_bytes(Heldout(tuple(examples))))
