"""Brings what a file says to a hub: labels to samples that it has, pictures that it has not. What is not taken is told, each with why."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgewise.core.errors import InvalidArgumentError, NotFoundError, OutOfRangeError
from edgewise.core.wording import counted
from edgewise.hub.console.client import HubClient
from edgewise.hub.labelling.entries import Entry, Found, Refusal
from edgewise.hub.labelling.files import read_picture
from edgewise.hub.labelling.shown import KeptLabel

AT_ONCE: Final = 1000
_ITS_FAULT: Final = (InvalidArgumentError, OutOfRangeError)
"""What a hub says of one picture; anything else is of the hub, and of all that would follow."""

_BODY: Final = "the body: "
"""Before what a hub says of the picture itself."""


@dataclass(slots=True)
class Taken:
    """What became of the entries so far.

    Attributes:
        labelled: samples that the hub had and that have another label now.
        unchanged: had that label before.
        kept: have another label than the file says, which is the one that they had when it was exported: nothing was to be done.
        pictures: are new to the hub.
        bare: those of them without a label.
        there: pictures that the hub had.
        unlabelled: entries that say no label of a sample that the hub has; nothing was to be done.
        conflicts: were not labelled, since somebody gave another label meanwhile.
    """

    labelled: int = 0
    unchanged: int = 0
    kept: int = 0
    pictures: int = 0
    bare: int = 0
    there: int = 0
    unlabelled: int = 0
    refused: list[Refusal] = field(default_factory=list)
    conflicts: list[Refusal] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether all was taken."""
        return not self.refused and not self.conflicts

    @property
    def text(self) -> str:
        """For people."""
        bare = f" ({self.bare:,} without a label)" if self.bare else ""
        said = (
            (self.pictures, counted(self.pictures, "new picture") + bare),
            (self.there, counted(self.there, "picture that was there", "pictures that were there")),
            (self.labelled, counted(self.labelled, "sample labelled", "samples labelled")),
            (self.unchanged, f"{self.unchanged:,} had that label"),
            (self.kept, f"{self.kept:,} labelled otherwise since the export and left so"),
            (self.unlabelled, f"{self.unlabelled:,} without a label passed over"),
            (len(self.refused), f"{len(self.refused):,} refused"),
            (len(self.conflicts), f"{len(self.conflicts):,} labelled otherwise by others and left so"),
        )
        return ", ".join(text for count, text in said if count) or "nothing to do"


def bring_in(
    client: HubClient,
    found: Found,
    taken: Taken,
    *,
    source: str = "",
    synthetic: bool = False,
    force: bool = False,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> None:
    """Bring entries to a hub: those with an id that it knows are labelled there; pictures of all others are sent.

    A label that somebody gave is not written over, unless the file remembers that it was there when the sample was exported.

    Args:
        taken: is kept up to date, so that who called can tell what was done when the hub is lost in the middle.
        source: of pictures whose entry says none.
        synthetic: all pictures were made by a program, whatever their entries say.
        force: labels are written over, whoever gave them.
        on_bytes: is told how many more bytes of pictures were sent.
    Raises: EdgewiseError: the hub cannot be reached, or does not let this token do that.
    """
    taken.refused += found.refused
    unknown = _label_known(client, [entry for entry in found.entries if entry.sample_id], taken, force=force)
    for entry in found.entries:
        if not entry.sample_id or entry.sample_id in unknown:
            on_bytes(_send(client, entry, taken, source=source, synthetic=synthetic, force=force))


@dataclass(slots=True)
class Labelled:
    """What became of labels.

    Attributes:
        changed: so many samples have another label now.
        unknown: the hub does not know them.
        kept: were left as they are.
    """

    changed: int = 0
    unknown: set[str] = field(default_factory=set)
    kept: list[KeptLabel] = field(default_factory=list)


def label_all(client: HubClient, labels: Mapping[str, str], seen: Mapping[str, str]) -> Labelled:
    """Label samples, however many; "" takes a label back. Those that the hub does not know do not keep the others from it.

    Args:
        seen: the label that a sample is thought to have: one that has neither that nor the new one is left as it is.
    """
    done = Labelled()
    ids = list(labels)
    left = [ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)]
    while left:
        some = left.pop()
        try:
            taken = client.label_samples(
                {one: labels[one] for one in some}, {one: seen[one] for one in some if one in seen}
            )
            done.changed += taken.changed
            done.kept += taken.kept
        except NotFoundError:
            # The hub labels all or none. Halves find those that it does not know in few questions, where they are few.
            half = len(some) // 2
            if half:
                left += [some[:half], some[half:]]
            else:
                done.unknown.add(some[0])
    return done


def _label_known(client: HubClient, entries: Sequence[Entry], taken: Taken, *, force: bool) -> set[str]:
    """Returns: the ids of those that the hub does not know."""
    unknown: set[str] = set()
    for start in range(0, len(entries), AT_ONCE):
        some = {entry.sample_id: entry for entry in entries[start : start + AT_ONCE] if entry.label}
        labels = {name: entry.label for name, entry in some.items()}
        # What is not remembered is thought to be without a label: none that is there is written over.
        seen = {} if force else {name: entry.exported or "" for name, entry in some.items()}
        done = label_all(client, labels, seen)
        unknown |= done.unknown
        taken.labelled += done.changed
        taken.unchanged += len(labels) - len(done.unknown) - len(done.kept) - done.changed
        _tell_kept(((some[one.id], one) for one in done.kept), taken)
    for entry in entries:
        if not entry.label and _is_known(client, entry):
            taken.unlabelled += 1
        elif not entry.label:
            unknown.add(entry.sample_id)
    return unknown


def _tell_kept(kept: Iterable[tuple[Entry, KeptLabel]], taken: Taken) -> None:
    for entry, one in kept:
        if entry.label == entry.exported:
            taken.kept += 1
        else:
            why = f"the sample {one.id} {one.text}, and here it is {entry.label}; --force writes over that"
            taken.conflicts.append(Refusal(entry.where, why))


def _is_known(client: HubClient, entry: Entry) -> bool:
    """Whether there is nothing to do for an entry without a label."""
    if entry.picture is None:
        return True
    try:
        client.sample(entry.sample_id)
    except NotFoundError:
        return False
    return True


def _send(client: HubClient, entry: Entry, taken: Taken, *, source: str, synthetic: bool, force: bool) -> int:
    """Returns: how many bytes were sent."""
    if entry.picture is None:
        why = f"the hub knows no sample {entry.sample_id}, and its picture is not here"
        taken.refused.append(Refusal(entry.where, why))
        return 0
    about = {
        "label": entry.label,
        "source": entry.source or source,
        "site": entry.site,
        "model": entry.model,
        "captured": entry.captured,
        "synthetic": "true" if synthetic or entry.synthetic else "",
    }
    try:
        content, kind = read_picture(entry.picture)
        # What the file remembers is of another sample, or of another hub's.
        shown, is_new = client.add_picture(content, kind, about, seen=None if force else "")
    except _ITS_FAULT as error:
        taken.refused.append(Refusal(entry.where, _of_picture(error.message, entry)))
        return 0
    taken.pictures += is_new
    taken.bare += is_new and not entry.label
    taken.there += not is_new
    if entry.label and shown.label != entry.label:
        _tell_kept([(entry, KeptLabel(shown.id, shown.label, shown.labelled_by, shown.labelled_at))], taken)
    return len(content)


def _of_picture(message: str, entry: Entry) -> str:
    """What is wrong with an entry's picture, with the name of its file unless that is where the entry is."""
    if message.startswith(_BODY):
        message = f"{entry.picture}: {message.removeprefix(_BODY)}"
    return message.removeprefix(f"{entry.where}: ").removeprefix(f"{entry.where} ")
