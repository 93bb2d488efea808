"""The formats by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.hub.labelling import coco, csv_list, folder, label_studio
from edgewise.hub.labelling.entries import Found
from edgewise.hub.labelling.shown import Shown


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        place: where the picture of a sample goes, below the directory of an export; FailedPreconditionError where it cannot.
        files: what lies beside the pictures: of (where the picture is, the sample) and the name of the whole.
        read: what is said by a file or a directory that was handed in.
        needs_label: a sample without a label has no place in it.
    """

    place: Callable[[Shown], str]
    files: Callable[[Sequence[tuple[str, Shown]], str], Mapping[str, bytes]]
    read: Callable[[Path], Found]
    needs_label: bool = False


FORMATS: Final[Mapping[str, Format]] = {
    "folder": Format(folder.place, folder.files, folder.read, needs_label=True),
    "csv": Format(csv_list.place, csv_list.files, csv_list.read),
    "coco": Format(coco.place, coco.files, coco.read),
    "label-studio": Format(label_studio.place, label_studio.files, label_studio.read),
}
