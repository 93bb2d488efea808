"""What pictures there are, and what is known of each: folders, exports of samples, and lists.

pictures/cat/one.jpg              a folder of a class each, with folders below it or without
export/samples.json               an export of `edgewise data export`, which knows sources, days and what is synthetic
list.txt                          a line each: "where/one.jpg cat", as training lists are written
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.core.toml_table import hint
from edgewise.dataset.settings import BuildSettings
from edgewise.protocols.dataset_manifest import CLASS_EXPECTED, MANIFEST, SPLITS, is_class_name, taken_text
from edgewise.protocols.documents import Document, check_format, read_document

FILE: Final = "file:"
"""How the origin of a picture begins that is known by its name alone."""
SAMPLES: Final = "samples.json"
SAMPLES_FORMAT: Final = "edgewise-samples/1"
PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
MAX_PICTURES: Final = 1_000_000
_MAX_SAMPLES_BYTES: Final = 1 << 30
_MAX_LIST_BYTES: Final = 256 << 20
_SPLIT_NAMES: Final = frozenset((*SPLITS, "val", "valid"))
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}")


@dataclass(frozen=True, slots=True)
class SourcePicture:
    """A picture as it was given.

    Attributes:
        path: of the file.
        name: below what was given, parts with / between them.
        label: its class.
        source: what it must not be parted from; "" where nobody said.
        origin: "sample:<id>" or "file:<name>"; where several PATHs were given, <name> begins with what tells this one from the others.
        synthetic: drawn by a program.
        taken: the camera and when it took this, as the manifest has it; "" where the time is not known.
        below: the parts of the absolute name of the directory that `name` begins at.
    """

    path: Path
    name: str
    label: str
    source: str
    origin: str
    synthetic: bool = False
    taken: str = ""
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to build of.

    Attributes:
        pictures: in an order that does not depend on the disk.
        passed_over: how many are none that can be trained on, by why.
    """

    pictures: list[SourcePicture]
    passed_over: dict[str, int] = field(default_factory=dict)


def find(paths: Iterable[Path], settings: BuildSettings) -> Found:
    """Find all pictures.

    Args:
        paths: directories with a folder for each class, exports, lists.
    Raises:
        NotFoundError: a path leads nowhere, or there is no picture.
        InvalidArgumentError: an export or a list says what cannot be; a label is none of the classes.
        FailedPreconditionError: a directory cannot be read, or is laid out otherwise.
    """
    found = Found([])
    paths = list(paths)
    tails = _tails({_root_parts(path) for path in paths})
    for path in paths:
        root = _root_parts(path)
        for picture in _of_path(path, found):
            read = _read_as(_placed_below(picture, root, tails[root]), settings)
            if not read.label:
                _pass_over(found, "left out by [labels]")
            elif len(found.pictures) == MAX_PICTURES:
                raise FailedPreconditionError(f"there are more than {MAX_PICTURES:,} pictures, which is the most")
            else:
                found.pictures.append(read)
    found.pictures.sort(key=lambda picture: (picture.origin, picture.label, str(picture.path)))
    return found


def _root_parts(path: Path) -> tuple[str, ...]:
    """Of the directory that names begin at; a list's names begin beside it."""
    # Links keep their names: one that points elsewhere by now is still the same PATH.
    parts = Path(os.path.normpath(path.absolute())).parts[1:]
    return parts[:-1] if path.is_file() else parts


def _tails(roots: Collection[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """As many of the last parts of each root as tell it from the others; none where there is one alone."""
    if len(roots) == 1:
        return dict.fromkeys(roots, ())
    found = {}
    for root in roots:
        others = [other for other in roots if other != root]
        count = 1
        while count < len(root) and any(other[-count:] == root[-count:] for other in others):
            count += 1
        found[root] = root[-count:]
    return found


def _placed_below(picture: SourcePicture, root: tuple[str, ...], tail: tuple[str, ...]) -> SourcePicture:
    if not picture.origin.startswith(FILE) or picture.name.startswith("/"):
        return picture
    return replace(picture, origin=FILE + "/".join((*tail, picture.name)), below=root)


def _of_path(path: Path, found: Found) -> Iterator[SourcePicture]:
    if path.is_dir():
        if (path / MANIFEST).exists():
            raise FailedPreconditionError(
                f"{path} is a dataset already; name the pictures that it was built of, since its copies would be doubles"
            )
        return _of_export(path, found) if (path / SAMPLES).exists() else _of_folder(path)
    if path.is_file():
        return _of_list(path)
    what = "is neither a directory nor a file" if path.exists() else "is not there"
    raise NotFoundError(f"{path} {what}; expected a directory with a folder for each class, an export or a list")


def _of_folder(root: Path) -> Iterator[SourcePicture]:
    folders = []
    for entry in _entries(root):
        if entry.is_dir():
            folders.append(entry)
        elif entry.suffix.lower() in PICTURE_SUFFIXES:
            raise FailedPreconditionError(f"{entry} lies in no class's folder; expected {root.name}/CLASS/{entry.name}")
    if not folders:
        raise FailedPreconditionError(f"{root} holds no folders; expected one for each class, or {SAMPLES}")
    names = [folder.name for folder in folders]
    if set(names) <= _SPLIT_NAMES:
        raise FailedPreconditionError(
            f"{root} holds {', '.join(names)}, which are splits and no classes; name {' '.join(map(str, folders))} "
            "to have them split anew, by source"
        )
    for folder in folders:
        paths = list(_files_below(folder))
        if not paths:
            raise FailedPreconditionError(
                f"{folder} is empty; expected pictures of the class {folder.name!r}, or no folder"
            )
        for path in paths:
            name = path.relative_to(root).as_posix()
            yield SourcePicture(path, name, folder.name, "", FILE + name)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise FailedPreconditionError(f"{directory} cannot be read: {error.strerror}") from None


def _files_below(folder: Path) -> Iterator[Path]:
    """All files, hidden ones left out; links to directories are not followed, since they can go round."""

    def refuse(error: OSError) -> None:
        raise FailedPreconditionError(f"{error.filename} cannot be read: {error.strerror}")

    for directory, below, names in os.walk(folder, onerror=refuse):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(directory, name)


def _of_export(root: Path, found: Found) -> Iterator[SourcePicture]:
    """A picture's folder is its label, whatever the list says: people move pictures to say what they are."""
    samples = _samples(root / SAMPLES)
    for picture in _of_folder(root):
        sample = samples.pop(picture.path.name, None)
        if sample is None:
            yield picture
            continue
        identity = sample.text("id", "", longest=64)
        yield replace(
            picture,
            source=_source(sample),
            origin=f"sample:{identity}" if identity else picture.origin,
            synthetic=sample.flag("synthetic", default=False),
            taken=_taken(sample),
        )
    for _ in samples:
        _pass_over(found, f"listed in {SAMPLES} and not there")


def _samples(path: Path) -> dict[str, Document]:
    """What is known of each picture, by the name of its file, which it keeps in another folder."""
    top = read_document(_content(path, _MAX_SAMPLES_BYTES), str(path), max_bytes=_MAX_SAMPLES_BYTES)
    check_format(top, SAMPLES_FORMAT)
    samples: dict[str, Document] = {}
    for sample in top.tables("samples", ()):
        name = sample.text("file").rpartition("/")[2]
        if name in samples:
            raise sample.error("file", f"two are called {name!r}; expected names that differ")
        samples[name] = sample
    return samples


def _source(sample: Document) -> str:
    """Camera and day: what one camera saw on one day is much alike. `visits` moves what came after midnight of a visit."""
    place = _place(sample)
    day = _DAY.match(sample.text("captured", ""))
    return f"{place} {day[0]}" if place and day else place


def _place(sample: Document) -> str:
    return "/".join(part for part in (sample.text("site", ""), sample.text("source", "")) if part)


def _taken(sample: Document) -> str:
    place, captured = _place(sample), sample.text("captured", "")
    # A day alone is no time: it would be midnight's.
    if not place or not _TIME.match(captured):
        return ""
    try:
        moment = datetime.fromisoformat(captured)
    except ValueError:
        return ""
    return taken_text(place, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _of_list(path: Path) -> Iterator[SourcePicture]:
    try:
        text = _content(path, _MAX_LIST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is no list: not UTF-8 (byte {error.start})") from None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip().rsplit("\t" if "\t" in line else None, 1)
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise InvalidArgumentError(f"{path}, line {number}: found {line[:80]!r}, expected a file and its class")
        name, label = words[0].strip(), words[1].strip()
        # A name that is absolute stays as it is.
        there = path.parent / name
        if not there.exists():
            raise InvalidArgumentError(f"{path}, line {number}: there is no file {name[:200]!r} beside the list")
        yield SourcePicture(there, name, label, "", FILE + name)


def _content(path: Path, max_bytes: int) -> bytes:
    if not path.is_file():
        raise InvalidArgumentError(f"{path} is no regular file")
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise FailedPreconditionError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > max_bytes:
        raise InvalidArgumentError(f"{path} has more than {max_bytes} bytes, which is the most")
    return content


def _read_as(picture: SourcePicture, settings: BuildSettings) -> SourcePicture:
    """The picture with the class and the source that the settings make of what was given.

    Raises: InvalidArgumentError: no class is called so, or it is none of those that are wanted.
    """
    label = settings.labels.get(picture.label, picture.label)
    known = settings.classes
    if known and label.isdecimal() and label not in known and int(label) < len(known):
        label = known[int(label)]
    if label and known and label not in known:
        raise InvalidArgumentError(
            f"{picture.path} has the label {label!r}, which is none of the classes{hint(label, known)}; expected "
            f"{', '.join(known[:10])}, or an entry for it in [labels]"
        )
    if label and not is_class_name(label):
        raise InvalidArgumentError(f"{picture.path} has the label {label[:80]!r}, expected {CLASS_EXPECTED}")
    source = picture.source
    if not source and settings.source_pattern is not None:
        match = settings.source_pattern.search(picture.name)
        source = (match.group(1 if match.re.groups else 0) or "") if match else ""
    return replace(picture, label=label, source=source)


def _pass_over(found: Found, why: str) -> None:
    found.passed_over[why] = found.passed_over.get(why, 0) + 1
