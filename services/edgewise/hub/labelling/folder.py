"""A folder for each class, as training programs read it; beside the folders `samples.json`, which says where each picture came from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.hub.labelling.entries import Entry, Found
from edgewise.hub.labelling.files import MAX_ENTRIES, SUFFIXES, Pictures, id_in, read_json, suffix_of
from edgewise.hub.labelling.shown import Shown

SAMPLES: Final = "samples.json"
FORMAT: Final = "edgewise-samples/1"
_KEPT: Final = ("source", "site", "model", "captured")


def place(shown: Shown) -> str:
    """Where the picture of a sample with a label goes.

    Raises: FailedPreconditionError: its label is the name of the list beside the folders.
    """
    if shown.label.lower() == SAMPLES:
        raise FailedPreconditionError(
            f"the sample {shown.id} is labelled {shown.label!r}, which is the name of the list beside the folders; give it another label, or "
            "export it in another format"
        )
    return f"{shown.label}/{shown.id}{suffix_of(shown.content_type)}"


def files(samples: Sequence[tuple[str, Shown]], _name: str) -> Mapping[str, bytes]:
    """What lies beside the pictures.

    Args:
        samples: where the picture is, and the sample.
    """
    listed = [{**asdict(shown), "file": file} for file, shown in samples]
    return {SAMPLES: json.dumps({"format": FORMAT, "samples": listed}, indent=1).encode()}


def read(path: Path) -> Found:
    """What a directory says. A picture's folder is its label, whatever `samples.json` says: people move pictures to say what they are.

    Raises: InvalidArgumentError: it is no such directory.
    """
    if not path.is_dir():
        raise InvalidArgumentError(f"{path} is no directory, expected one with a folder for each class")
    found, pictures, known = Found(), Pictures(path), _known(path)
    for folder in pictures.walk(path):
        if folder.name == SAMPLES:
            continue
        if not folder.is_dir():
            found.refuse(str(folder), "lies in no class's folder; the folder that a picture is in says what it is")
            continue
        for file in pictures.walk(folder):
            _add(found, pictures, file, known)
    if not found.entries and not found.refused:
        raise InvalidArgumentError(f"{path} holds no folders with pictures, expected one for each class, such as dog")
    return found


def _add(found: Found, pictures: Pictures, file: Path, known: Mapping[str, Mapping[str, Any]]) -> None:
    if len(found.entries) >= MAX_ENTRIES:
        raise InvalidArgumentError(f"there are more than {MAX_ENTRIES} pictures, the most that is taken at once")
    if file.is_dir():
        found.refuse(str(file), "is a folder in a class's folder; expected pictures alone")
    elif file.suffix.lower() not in SUFFIXES:
        found.refuse(str(file), f"is no picture by its name, expected {', '.join(SUFFIXES)}")
    elif fault := pictures.check(file):
        found.refuse(str(file), fault)
    else:
        # Moved to another folder it is still the same sample.
        about = known.get(file.name, {})
        kept = {name: text for name in _KEPT if isinstance(text := about.get(name), str)}
        sample_id, synthetic = about.get("id"), about.get("synthetic") is True
        exported = label if isinstance(label := about.get("label"), str) else None
        found.add(
            Entry(
                str(file),
                file.parent.name,
                sample_id if isinstance(sample_id, str) and sample_id else id_in(file.name),
                file,
                **kept,
                synthetic=synthetic,
                exported=exported,
            )
        )


def _known(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """What `samples.json` says, by the name of the file."""
    listed = path / SAMPLES
    if not listed.is_file():
        return {}
    value = read_json(listed)
    samples = value.get("samples") if isinstance(value, dict) else None
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(samples, list):
        raise InvalidArgumentError(f'{listed}: expected {{"format": "{FORMAT}", "samples": [...]}}')
    return {
        str(one["file"]).rpartition("/")[2]: one
        for one in samples
        if isinstance(one, dict) and isinstance(one.get("file"), str)
    }
