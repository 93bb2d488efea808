"""Visits: what a camera saw without a pause of an hour. No split may share one with another, whatever the calendar says.

A visit is counted to the day (of UTC) on which it begins, and so is what came after midnight of it. One that lasts longer than a day, of a
camera that sees something every half hour for weeks, would make one group of all that the camera saw. It is cut once around each midnight, from
noon to noon, in the longest pause there is.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from edgewise.dataset.doubles import KeptPicture
from edgewise.protocols.dataset_manifest import Dataset, DatasetImage, camera_and_time_s
from edgewise.protocols.documents import time_text

PAUSE_S: Final = 3600.0
"""What is further apart in time is of two visits."""
_DAY_S: Final = 86400
_MINUTES_FROM_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Visit:
    """Pictures of one camera that stay together.

    Attributes:
        first, end: indices of its first picture and of that after its last.
        day: that it is counted to, in days since the epoch.
    """

    first: int
    end: int
    day: int


@dataclass(frozen=True, slots=True)
class Parting:
    """Two pictures that a camera took one after the other, within an hour, and that are in two splits.

    Attributes:
        one, other: in the order of their times.
        pause_s: between them.
        same_visit: whether they should be together; else a visit of more than a day was cut here, for want of a longer pause.
    """

    camera: str
    one: DatasetImage
    other: DatasetImage
    pause_s: float
    same_visit: bool


def visits(times_s: Sequence[float]) -> list[Visit]:
    """The visits of one camera.

    Args:
        times_s: of its pictures, in seconds since the epoch, the earliest first.
    """
    begins = [0, *(index for index in range(1, len(times_s)) if times_s[index] - times_s[index - 1] >= PAUSE_S)]
    ends = [*begins[1:], len(times_s)]
    return [visit for first, end in zip(begins, ends, strict=True) if end for visit in _cut(times_s, first, end)]


def _cut(times_s: Sequence[float], first: int, end: int) -> Iterator[Visit]:
    """One visit; several where it lasts longer than a day."""
    day = int(times_s[first] // _DAY_S)
    if times_s[end - 1] - times_s[first] > _DAY_S:
        for midnight in range(day + 1, int(times_s[end - 1] // _DAY_S) + 1):
            place = _longest_pause(times_s, first, end, midnight * _DAY_S)
            yield Visit(first, place, day)
            first, day = place, midnight
    yield Visit(first, end, day)


def _longest_pause(times_s: Sequence[float], first: int, end: int, midnight_s: float) -> int:
    """The picture after the longest pause whose middle lies between the noons around midnight; of equal ones, that nearest to midnight."""
    low = max(first + 1, bisect_left(times_s, midnight_s - _DAY_S / 2, first, end))
    high = min(end, bisect_right(times_s, midnight_s + _DAY_S / 2, first, end) + 1)

    def merit(index: int) -> tuple[bool, float, float]:
        off = (times_s[index - 1] + times_s[index]) / 2 - midnight_s
        return -_DAY_S / 2 <= off < _DAY_S / 2, times_s[index] - times_s[index - 1], -abs(off)

    return max(range(low, high), key=merit)


def named(pictures: Sequence[KeptPicture], earlier: Mapping[int, str]) -> list[KeptPicture]:
    """The pictures, with the days of their visits as their sources in place of those of the calendar.

    Args:
        earlier: the sources that an earlier dataset knows pictures by, by their indices. They keep them, and what a visit has beyond them takes
            that of the nearest in time: where days are parted stays as it was, so that no picture changes its split.
    """
    day_of = {
        (camera, at_s): source
        for camera, moments in _by_camera([each.taken for each in pictures]).items()
        for at_s, source in _sources(camera, moments, earlier)
    }
    found = []
    for picture in pictures:
        if not picture.taken:
            found.append(picture)
            continue
        days = {text: day_of[camera_and_time_s(text)] for text in picture.taken}
        source = days.get(picture.given.taken, picture.given.source)
        sources = tuple(sorted({*picture.sources, *days.values()}))
        found.append(replace(picture, given=replace(picture.given, source=source), sources=sources))
    return found


def _sources(
    camera: str, moments: Sequence[tuple[float, int]], earlier: Mapping[int, str]
) -> Iterator[tuple[float, str]]:
    """The source of each moment."""
    times_s = [at_s for at_s, _ in moments]
    for visit in visits(times_s):
        known = [
            (at_s, earlier[index])
            for at_s, index in moments[visit.first : visit.end]
            if earlier.get(index, "").startswith(f"{camera} ")
        ]
        usual = f"{camera} {time_text(visit.day * _DAY_S)[:10]}"
        known_s = [at_s for at_s, _ in known]
        for at_s in times_s[visit.first : visit.end]:
            yield at_s, known[_nearest(known_s, at_s)][1] if known else usual


def _nearest(times_s: Sequence[float], at_s: float) -> int:
    after = bisect_right(times_s, at_s)
    return min(range(max(after - 1, 0), min(after + 1, len(times_s))), key=lambda index: abs(times_s[index] - at_s))


def partings(images: Iterable[DatasetImage]) -> Iterator[Parting]:
    """Where pictures that a camera took within an hour of each other went to two splits."""
    originals = [image for image in images if image.augmented_from is None]
    for camera, moments in sorted(_by_camera([image.taken for image in originals]).items()):
        ends = {visit.end for visit in visits([at_s for at_s, _ in moments])}
        for place, ((one_s, one), (other_s, other)) in enumerate(pairwise(moments), 1):
            if other_s - one_s < PAUSE_S and originals[one].split != originals[other].split:
                yield Parting(camera, originals[one], originals[other], other_s - one_s, place not in ends)


def kept_apart(dataset: Dataset) -> tuple[list[Parting], list[Parting]]:
    """Visits that are in two splits, and cuts of long ones, which had no better place."""
    found = list(partings(dataset.images))
    return [each for each in found if each.same_visit], [each for each in found if not each.same_visit]


def _by_camera(taken: Sequence[Iterable[str]]) -> dict[str, list[tuple[float, int]]]:
    """When each camera took which picture, the earliest first."""
    found: dict[str, list[tuple[float, int]]] = {}
    for index, texts in enumerate(taken):
        for text in texts:
            camera, at_s = camera_and_time_s(text)
            found.setdefault(camera, []).append((at_s, index))
    for moments in found.values():
        moments.sort()
    return found


def duration_text(seconds: float) -> str:
    """In words: "15 s", "31 min"."""
    return f"{seconds:.0f} s" if seconds < _MINUTES_FROM_S else f"{seconds / 60:.0f} min"
