"""Which samples are kept when a spool has no room for all, what is refused at once, and what is sent first.

A segment is a file of samples of one priority and one level. A sample's level is how many zero bits its random id begins with, so half
of all samples are of level 0, a quarter of level 1, and so on: when the lowest levels are gone, what is left is spread over the whole
time as evenly as all was. Within a level segments go in an order that is drawn from their names, for the same reason; by age, the
beginning of an outage would be thin and its end thick.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple

LEVELS: Final = 8
_BUSY_SEGMENTS: Final = 256
_worth = attrgetter("worth")


class Worth(NamedTuple):
    """How much a segment is worth: what compares lower goes first.

    Attributes:
        priority: of its samples, 0 to 3; -1 of what is damaged.
        level: of its samples, 0 to 7.
        rank: drawn from its name, in [0, 2^32).
        number: lower is older.
    """

    priority: int
    level: int
    rank: int
    number: int


@dataclass(frozen=True, slots=True)
class Held:
    """A segment that may be dropped."""

    name: str
    worth: Worth
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Room:
    """What is to be done for room.

    Attributes:
        dropped: these go, in this order.
        granted_bytes: may be written then; 0 where it was refused.
        floor: what is worth less than this would be dropped at once as things stand; None where there was room for all.
    """

    dropped: tuple[Held, ...]
    granted_bytes: int
    floor: Worth | None


def level_of(sample_id: str) -> int:
    """How many levels go before that of this sample: the leading zero bits of the first byte of its id, 7 at most.

    Args:
        sample_id: hexadecimal digits, drawn evenly.
    Raises: ValueError: it does not begin with two hexadecimal digits.
    """
    return min(8 - int(sample_id[:2], 16).bit_length(), LEVELS - 1)


def worth_of(name: str, priority: int, level: int, number: int) -> Worth:
    """The worth of a segment by its name."""
    return Worth(priority, level, zlib.crc32(name.encode()), number)


def make_room(
    held: Iterable[Held],
    *,
    free_bytes: int,
    free_segments: int,
    needed_bytes: int,
    wanted_bytes: int,
    incoming: Worth | None = None,
) -> Room:
    """Drop what is worth least until there is room, or refuse what comes.

    Args:
        held: all that may be dropped.
        free_bytes, free_segments: below the bound; negative where it is exceeded.
        needed_bytes: what comes has, at least.
        wanted_bytes: what would be good to have, so that not each record asks again; more is dropped for it, but only where
            something has to be dropped anyway.
        incoming: the worth of what comes: only what is worth less is dropped for it. None: the bound is to be kept at any price.
    """
    enough_bytes = max(wanted_bytes, needed_bytes)
    # What was granted last and not used comes back as free: that much is no sign that there is room again.
    if free_bytes >= needed_bytes + 2 * wanted_bytes and free_segments >= 0:
        return Room((), enough_bytes, None)
    there = list(held)
    lowest = min(map(_worth, there), default=None)
    if incoming is not None and lowest is not None and incoming < lowest:
        return Room((), 0, lowest)
    waiting = sorted(there, key=_worth)
    gone = 0
    for each in waiting:
        if (free_bytes >= enough_bytes and free_segments >= 0) or (incoming is not None and each.worth >= incoming):
            break
        free_bytes += each.size_bytes
        free_segments += 1
        gone += 1
    if incoming is not None and (free_bytes < needed_bytes or free_segments < 0):
        # Nothing goes for what cannot be kept after all.
        return Room((), 0, lowest)
    floor = waiting[gone].worth if gone < len(waiting) else None
    return Room(tuple(waiting[:gone]), max(0, min(free_bytes, enough_bytes)), floor)


def sending_key(priority: int, level: int, number: int, name: str) -> tuple[int, int, int, str]:
    """Sorts segments as they are to be sent: highest priority, then highest level, then oldest.

    The highest levels first: they are few, and tell of the whole time before the rest does.
    """
    return (-priority, -level, number, name)


def closing_age_s(age_s: float, segments: int) -> float:
    """The age at which a segment is closed: later where many wait already, so that they become fewer and larger.

    Args:
        age_s: where few wait.
        segments: how many there are.
    """
    return age_s * max(1.0, segments / _BUSY_SEGMENTS)
