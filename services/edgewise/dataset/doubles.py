"""Pictures that are there more than once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import InvalidArgumentError
from edgewise.dataset.sources import SourcePicture

MOST_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """A picture that was read and written, and what is known of it.

    Attributes:
        given: as it came in.
        sha256: of the file that was written.
        suffix: of that file.
        bits: what it looks like; see `likeness`.
        mean: red, green and blue in 0..255.
        sources: of all files that are this picture. Without days of cameras until `visits` has named them, where times are known.
        taken: by which cameras and when, of all of these files; see `SourcePicture`.
    """

    given: SourcePicture
    sha256: str
    suffix: str
    bits: NDArray[np.uint64]
    mean: tuple[float, float, float]
    sources: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()


def without_doubles(pictures: Sequence[KeptPicture]) -> list[KeptPicture]:
    """Each picture once, the first of its doubles, with the sources of all of them.

    Raises: InvalidArgumentError: a picture is there with two labels.
    """
    same: dict[str, list[KeptPicture]] = {}
    for picture in pictures:
        same.setdefault(picture.sha256, []).append(picture)
    conflicts = [each for each in same.values() if len({picture.given.label for picture in each}) > 1]
    if conflicts:
        raise InvalidArgumentError(_conflict_text(conflicts))
    return [_joined(each) for each in same.values()]


def _joined(same: Sequence[KeptPicture]) -> KeptPicture:
    first = same[0]
    stated = [picture.given.source for picture in same if picture.given.source]
    given = replace(
        first.given,
        source=first.given.source or min(stated, default=""),
        synthetic=any(picture.given.synthetic for picture in same),
    )
    sources = {picture.given.source for picture in same if picture.given.source and not picture.given.taken}
    taken = {picture.given.taken for picture in same if picture.given.taken}
    return replace(first, given=given, sources=tuple(sorted(sources)), taken=tuple(sorted(taken)))


def _conflict_text(conflicts: Sequence[Sequence[KeptPicture]]) -> str:
    lines = []
    for same in conflicts[:MOST_NAMED]:
        by_label = {picture.given.label: picture.given.path for picture in reversed(same)}
        lines.append("  " + " and ".join(f"{path} ({label})" for label, path in sorted(by_label.items())))
    more = f"\n  and {len(conflicts) - MOST_NAMED} more" if len(conflicts) > MOST_NAMED else ""
    some = "one picture has" if len(conflicts) == 1 else f"{len(conflicts)} pictures have"
    return (
        f"{some} two labels, expected one each; keep the right file and remove the other:\n" + "\n".join(lines) + more
    )
