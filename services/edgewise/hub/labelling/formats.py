"""The formats by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.labelling import coco, csv_list, folder, label_studio
from edgewise.hub.labelling.entries import Found
from edgewise.hub.labelling.shown import Shown


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        place: where the picture of a sample goes, below the directory of an export; FailedPreconditionError where it cannot.
        lists: the names of files that say what lies beside them; the first is the one that an export has.
        files: what lies beside the pictures: of (where the picture is, the sample) and the name of the whole.
        reads: what is said by a file or a directory that was handed in.
        needs_label: a sample without a label has no place in it.
    """

    name: str
    lists: tuple[str, ...]
    place: Callable[[Shown], str]
    files: Callable[[Sequence[tuple[str, Shown]], str], Mapping[str, bytes]]
    reads: Callable[[Path], Found]
    needs_label: bool = False

    def read(self, path: Path) -> Found:
        """What is said by a file or a directory that was handed in.

        Raises: InvalidArgumentError: it is none of this format; where its names tell another one, the message says which.
        """
        _check_format(self, path)
        return self.reads(path)


_ALL: Final = (
    Format("folder", (folder.SAMPLES,), folder.place, folder.files, folder.read, needs_label=True),
    Format("csv", csv_list.LISTS, csv_list.place, csv_list.files, csv_list.read),
    Format("coco", coco.LISTS, coco.place, coco.files, coco.read),
    Format("label-studio", label_studio.LISTS, label_studio.place, label_studio.files, label_studio.read),
)
FORMATS: Final[Mapping[str, Format]] = {form.name: form for form in _ALL}


def _check_format(form: Format, path: Path) -> None:
    """Refuse what another format wrote: read as folders, its `images` would be a class.

    Raises: InvalidArgumentError
    """
    if path.is_file():
        # Files may have any name, but folders are no file.
        if form.name != "folder":
            return
        there = {path.name}
    else:
        if any((path / name).is_file() for name in form.lists):
            return
        there = {other.lists[0] for other in _ALL if (path / other.lists[0]).is_file()}
    for other in _ALL:
        if other is not form and other.lists[0] in there:
            what = str(path) if path.is_file() else f"{path} holds {other.lists[0]}, which"
            apart = "; if its folders are classes nonetheless, put that file elsewhere" if form.name == "folder" else ""
            raise InvalidArgumentError(f"{what} is read with --format {other.name}, not {form.name}{apart}")
