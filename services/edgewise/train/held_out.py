"""The test split goes along with the versions, so that a rollout's gate `accuracy` can ask old and new version for it at the site."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edgewise.model_server.building.version_directory import copy_file
from edgewise.protocols.dataset_manifest import DatasetImage
from edgewise.protocols.heldout import FOLDER, MAX_EXAMPLE_BYTES, NAME, Example, Heldout, heldout_bytes

MOST_EXAMPLES: Final = 400
"""Sites ask two versions for each of them before anybody else may ask the new one."""


def add_held_out(staged: Path, source: Path, images: Sequence[DatasetImage], verdict_of: Callable[[str], str]) -> int:
    """Write `heldout/` into the directory of a version.

    Args:
        source: the dataset's directory.
        images: of the test split.
        verdict_of: what the version is to say of a class.
    Returns: how many; pictures of over 1 MiB stay out.
    """
    small = [image for image in images if (source / image.file).stat().st_size <= MAX_EXAMPLE_BYTES][:MOST_EXAMPLES]
    if not small:
        return 0
    folder = staged / FOLDER
    folder.mkdir()
    examples = []
    for number, image in enumerate(small, start=1):
        name = f"{number:04}{Path(image.file).suffix}"
        copy_file(source / image.file, folder / name)
        examples.append(Example(name, verdict_of(image.label)))
    (folder / NAME).write_bytes(heldout_bytes(Heldout(tuple(examples))))
    return len(small)
