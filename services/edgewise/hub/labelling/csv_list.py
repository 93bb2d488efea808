"""A table: `labels.csv` with one line for each sample, and the pictures in `images`.

Source: RFC 4180 (comma-separated values). Read are semicolons and tabs as well, which spreadsheets write in many countries.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from edgewise.core.errors import InvalidArgumentError
from edgewise.hub.labelling.entries import EXPORTED, Entry, Found
from edgewise.hub.labelling.files import MAX_ENTRIES, Pictures, id_in, listed, read_text, suffix_of
from edgewise.hub.labelling.shown import Shown

LABELS: Final = "labels.csv"
LISTS: Final = (LABELS,)
COLUMNS: Final = (
    *("id", "file", "label", "source", "site", "captured", "model", "version", "prediction", "confidence"),
    *("width", "height", "synthetic", EXPORTED),
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_TRUE: Final = frozenset({"true", "1", "yes"})
_EXPECTED: Final = "expected a first line such as id,label or file,label"


def place(shown: Shown) -> str:
    """Where the picture of a sample goes."""
    return f"images/{shown.id}{suffix_of(shown.content_type)}"


def files(samples: Sequence[tuple[str, Shown]], _name: str) -> Mapping[str, bytes]:
    """What lies beside the pictures.

    Args:
        samples: where the picture is, and the sample.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for file, shown in samples:
        writer.writerow(
            (
                *(shown.id, file, _calm(shown.label), _calm(shown.source), _calm(shown.site), shown.captured),
                *(_calm(shown.model), shown.version or "", _calm(shown.prediction)),
                "" if shown.confidence is None else f"{shown.confidence:.6g}",
                *(shown.width or "", shown.height or "", str(shown.synthetic).lower(), _calm(shown.label)),
            )
        )
    return {LABELS: text.getvalue().encode()}


def read(path: Path) -> Found:
    """What a file says, or the `labels.csv` of a directory.

    Raises: InvalidArgumentError: it is none.
    """
    file = listed(path, LISTS)
    text = read_text(file)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    found, pictures = Found(), Pictures(file.parent)
    try:
        head = [name.strip().lower() for name in next(rows, [])]
        _check_head(file, head)
        for row in rows:
            if any(row):
                _add(found, pictures, head, row, f"{file}, line {rows.line_num}")
    except csv.Error as error:
        raise InvalidArgumentError(f"{file}, line {rows.line_num}: not CSV: {error}") from None
    if not found.entries and not found.refused:
        raise InvalidArgumentError(f"{file} has no lines below its first one")
    return found


def _add(found: Found, pictures: Pictures, head: Sequence[str], row: Sequence[str], where: str) -> None:
    if len(found.entries) >= MAX_ENTRIES:
        raise InvalidArgumentError(f"{where}: more than {MAX_ENTRIES} lines, the most that is taken at once")
    if len(row) != len(head):
        found.refuse(where, f"has {len(row)} column{'s' * (len(row) != 1)}, expected {len(head)} as the first line has")
        return
    said = {name: value.strip() for name, value in zip(head, row, strict=True)}
    name = said.get("file", "")
    sample_id = said.get("id", "") or id_in(name)
    if not sample_id and not name:
        found.refuse(where, "names neither an id nor a file")
        return
    with found.refusing(where):
        # A picture of a sample that the hub knows need not be there.
        picture = pictures.find(name) if sample_id and name else pictures.needed(name) if name else None
        about = {key: _wild(said.get(key, "")) for key in ("source", "site", "model", "captured")}
        synthetic = said.get("synthetic", "").lower() in _TRUE
        exported = _wild(said[EXPORTED]) if EXPORTED in said else None
        label = _wild(said["label"])
        found.add(Entry(where, label, sample_id, picture, **about, synthetic=synthetic, exported=exported))


def _check_head(file: Path, head: Sequence[str]) -> None:
    if "label" not in head or not {"id", "file"} & set(head):
        raise InvalidArgumentError(f"{file}, line 1: found {','.join(head)[:200]!r}, {_EXPECTED}")
    twice = sorted({name for name in head if name and head.count(name) > 1})
    if twice:
        raise InvalidArgumentError(f"{file}, line 1: the column {twice[0]!r} is there twice")


def _delimiter(text: str) -> str:
    head = text.partition("\n")[0]
    return max(",;\t", key=head.count)


def _calm(text: str) -> str:
    """A text that came from anywhere, so that no spreadsheet takes it for a formula. One that looks as if it had been calmed gets one more as well."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def _wild(text: str) -> str:
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text
