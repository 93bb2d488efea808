"""Brings what a file says to a hub: labels to samples that it has, pictures that it has not. What is not taken is told, each with why."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgewise.core.errors import InvalidArgumentError, NotFoundError, OutOfRangeError
from edgewise.hub.console.client import HubClient
from edgewise.hub.labelling.entries import Entry, Found, Refusal
from edgewise.hub.labelling.files import read_picture

AT_ONCE: Final = 1000
_ITS_FAULT: Final = (InvalidArgumentError, OutOfRangeError)
"""What a hub says of one picture; anything else is of the hub, and of all that would follow."""


@dataclass(slots=True)
class Taken:
    """What became of the entries so far.

    Attributes:
        labelled: samples that the hub had and that have another label now.
        unchanged: had that label before.
        pictures: are new to the hub.
        there: pictures that the hub had.
        unlabelled: entries that say no label of a sample that the hub has; nothing was to be done.
    """

    labelled: int = 0
    unchanged: int = 0
    pictures: int = 0
    there: int = 0
    unlabelled: int = 0
    refused: list[Refusal] = field(default_factory=list)

    @property
    def text(self) -> str:
        """For people."""
        said = (
            (self.pictures, "new pictures"),
            (self.there, "pictures that were there"),
            (self.labelled, "samples labelled"),
            (self.unchanged, "had that label"),
            (self.unlabelled, "without a label passed over"),
            (len(self.refused), "refused"),
        )
        return ", ".join(f"{count:,} {what}" for count, what in said if count) or "nothing to do"


def bring_in(
    client: HubClient,
    found: Found,
    taken: Taken,
    *,
    source: str = "",
    synthetic: bool = False,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> None:
    """Bring entries to a hub: those with an id that it knows are labelled there; pictures of all others are sent.

    Args:
        taken: is kept up to date, so that who called can tell what was done when the hub is lost in the middle.
        source: of pictures whose entry says none.
        synthetic: all pictures were made by a program, whatever their entries say.
        on_bytes: is told how many more bytes of pictures were sent.
    Raises: EdgewiseError: the hub cannot be reached, or does not let this token do that.
    """
    taken.refused += found.refused
    unknown = _label_known(client, [entry for entry in found.entries if entry.sample_id], taken)
    for entry in found.entries:
        if not entry.sample_id or entry.sample_id in unknown:
            on_bytes(_send(client, entry, taken, source=source, synthetic=synthetic))


def label_all(client: HubClient, labels: Mapping[str, str]) -> tuple[int, set[str]]:
    """Label samples, however many; "" takes a label back. Those that the hub does not know do not keep the others from it.

    Returns: how many have another label now, and those that the hub does not know.
    """
    changed, unknown = 0, set[str]()
    ids = list(labels)
    left = [ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)]
    while left:
        some = left.pop()
        try:
            changed += client.label_samples({one: labels[one] for one in some})
        except NotFoundError:
            # The hub labels all or none. Halves find those that it does not know in few questions, where they are few.
            half = len(some) // 2
            if half:
                left += [some[:half], some[half:]]
            else:
                unknown.add(some[0])
    return changed, unknown


def _label_known(client: HubClient, entries: Sequence[Entry], taken: Taken) -> set[str]:
    """Returns: the ids of those that the hub does not know."""
    unknown: set[str] = set()
    for start in range(0, len(entries), AT_ONCE):
        some = entries[start : start + AT_ONCE]
        labels = {entry.sample_id: entry.label for entry in some if entry.label}
        changed, missing = label_all(client, labels)
        unknown |= missing
        taken.labelled += changed
        taken.unchanged += len(labels) - len(missing) - changed
    for entry in entries:
        if not entry.label and _is_known(client, entry):
            taken.unlabelled += 1
        elif not entry.label:
            unknown.add(entry.sample_id)
    return unknown


def _is_known(client: HubClient, entry: Entry) -> bool:
    """Whether there is nothing to do for an entry without a label."""
    if entry.picture is None:
        return True
    try:
        client.sample(entry.sample_id)
    except NotFoundError:
        return False
    return True


def _send(client: HubClient, entry: Entry, taken: Taken, *, source: str, synthetic: bool) -> int:
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
        _, is_new = client.add_picture(content, kind, about)
    except _ITS_FAULT as error:
        taken.refused.append(Refusal(entry.where, error.message))
        return 0
    taken.pictures += is_new
    taken.there += not is_new
    return len(content)
