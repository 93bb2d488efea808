"""What a file that somebody hands in says, entry by entry: what is taken, and what is refused and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgewise.core.errors import EdgewiseError
from edgewise.hub.labelling.shown import SAMPLE_ID, label_fault

EXPORTED: Final = "exported_label"
"""Under which name formats remember the label that a sample had when it was exported."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture, or one sample of which the hub has the picture.

    Attributes:
        where: what said it, for messages, such as "labels.csv, line 3".
        label: "" for none.
        sample_id: under which the hub may know it; "" for none.
        picture: its file; None where there is none.
        source, site, model, captured: as they are known; "" for not.
        synthetic: a program made it.
        exported: the label that the sample had when it was exported, "" for none; None where the file does not remember it.
    """

    where: str
    label: str
    sample_id: str = ""
    picture: Path | None = None
    source: str = ""
    site: str = ""
    model: str = ""
    captured: str = ""
    synthetic: bool = False
    exported: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """One entry that is not taken."""

    where: str
    why: str


@dataclass(slots=True)
class Found:
    """All that was read, in the order of the file."""

    entries: list[Entry] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    _by_name: dict[str, Entry] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Take an entry, unless its label or its id is none, or another entry is of the same sample or picture."""
        name = entry.sample_id or str(entry.picture)
        earlier = self._by_name.get(name)
        if entry.label and (fault := label_fault(entry.label)):
            self.refuse(entry.where, fault)
        elif entry.sample_id and not SAMPLE_ID.fullmatch(entry.sample_id):
            self.refuse(
                entry.where, f"found the id {entry.sample_id[:80]!r}, expected one as `edgewise data list` shows them"
            )
        elif earlier is not None:
            said = "the same" if earlier.label == entry.label else f"another label, {earlier.label!r}"
            self.refuse(entry.where, f"names again what {earlier.where} names, with {said}; one of them is enough")
        else:
            self._by_name[name] = entry
            self.entries.append(entry)

    def refuse(self, where: str, why: str) -> None:
        """Do not take an entry."""
        self.refused.append(Refusal(where, why))

    @contextmanager
    def refusing(self, where: str) -> Iterator[None]:
        """Refuse an entry when what is done inside finds a fault in it."""
        try:
            yield
        except EdgewiseError as error:
            self.refuse(where, error.message)
