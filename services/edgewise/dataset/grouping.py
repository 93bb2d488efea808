"""Which pictures have to stay together: those of one source, and those that are nearly the same."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that one split has to take together.

    Attributes:
        key: the same whatever other pictures there are, as long as none of them joins the group.
        members: indices of the pictures.
        sources: that were stated for them.
    """

    key: str
    members: tuple[int, ...]
    sources: tuple[str, ...]


def group(sources: Sequence[Collection[str]], names: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[Group]:
    """Join pictures into groups.

    Args:
        sources: of each picture; none where nobody said, several where it came from several.
        names: of each picture, all different.
        pairs: indices of pictures that belong together.
    Returns: groups by their keys. A group is called after its first source by name, and one without a source after its first
        picture by name.
    """
    parents = list(range(len(sources)))
    first_of: dict[str, int] = {}
    for index, stated in enumerate(sources):
        for source in stated:
            _join(parents, first_of.setdefault(source, index), index)
    for one, other in pairs:
        _join(parents, one, other)
    members: dict[int, list[int]] = {}
    for index in range(len(sources)):
        members.setdefault(_root(parents, index), []).append(index)
    return sorted((_group(each, sources, names) for each in members.values()), key=lambda each: each.key)


def _group(members: list[int], sources: Sequence[Collection[str]], names: Sequence[str]) -> Group:
    stated = sorted({source for index in members for source in sources[index]})
    key = f"source {stated[0]}" if stated else f"picture {min(names[index] for index in members)}"
    return Group(key, tuple(members), tuple(stated))


def _join(parents: list[int], one: int, other: int) -> None:
    one, other = _root(parents, one), _root(parents, other)
    parents[max(one, other)] = min(one, other)


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index
