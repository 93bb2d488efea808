"""Which split each group goes to.

A group's own draw decides first, so that pictures which are added later move no others. Then as few groups as possible are moved to
where a class is missing or its share is far off, those first whose draw was nearest to the border.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import Final

from edgewise.core.errors import FailedPreconditionError
from edgewise.dataset.draws import fraction
from edgewise.protocols.dataset_manifest import SPLITS

SLACK_RATIO: Final = 0.04
"""A class's share of a split may be off by so much of the class, or by one group of it, before a group is moved for it."""
_MISSING_TRAIN: Final = 100.0
_MISSING: Final = 10.0
_LEAST_GAIN: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Divided:
    """Where groups went.

    Attributes:
        splits: 0 train, 1 validation, 2 test, for each group.
        moved: indices of groups that are not where their own draw put them.
    """

    splits: tuple[int, ...]
    moved: frozenset[int]


def divide(
    keys: Sequence[str],
    counts: Sequence[Mapping[str, int]],
    shares: tuple[int, int, int],
    seed: int,
    *,
    titles: Sequence[str] = (),
    kept: Mapping[int, int] = MappingProxyType({}),
    allow_missing: bool = False,
) -> Divided:
    """Give each group to a split.

    Args:
        keys: of the groups, all different.
        counts: pictures of each class in each group.
        shares: percentages of train, validation and test.
        titles: what messages call the groups; their keys where there are none.
        kept: splits of groups that go nowhere else, by their indices.
        allow_missing: let a class be missing from validation or test.
    Raises: FailedPreconditionError: a class would be missing from a split; the message says why and what helps.
    """
    division = _Division(keys, counts, shares, seed, titles=titles or keys, kept=kept)
    division.correct()
    division.check(allow_missing=allow_missing)
    return division.result()


class _Division:
    def __init__(
        self,
        keys: Sequence[str],
        counts: Sequence[Mapping[str, int]],
        shares: tuple[int, int, int],
        seed: int,
        *,
        titles: Sequence[str],
        kept: Mapping[int, int],
    ) -> None:
        self._keys = keys
        self._titles = titles
        self._counts = counts
        self._shares = [share / 100 for share in shares]
        self._wanted = [split for split, share in enumerate(shares) if share]
        ends = list(accumulate(self._shares))
        self._intervals = list(zip([0.0, *ends], ends, strict=False))
        self._draws = [fraction(seed, "split", key) for key in keys]
        self._kept = kept
        self._drawn = [kept.get(index, self._split_of(draw)) for index, draw in enumerate(self._draws)]
        self._splits = list(self._drawn)
        self._holders: dict[str, list[int]] = {}
        self._have: dict[str, list[int]] = {}
        for index, (group, split) in enumerate(zip(counts, self._splits, strict=True)):
            for label, count in group.items():
                self._holders.setdefault(label, []).append(index)
                self._have.setdefault(label, [0, 0, 0])[split] += count
        self._slacks = {
            label: max(SLACK_RATIO * sum(have), sum(have) / len(self._holders[label]))
            for label, have in self._have.items()
        }
        self._costs = {label: self._cost(label, have) for label, have in self._have.items()}

    def correct(self) -> None:
        """Move groups as long as that brings a class nearer to its shares."""
        while self._improve():
            pass

    def check(self, *, allow_missing: bool) -> None:
        """Refuse what no correction could mend."""
        for label, have in sorted(self._have.items()):
            missing = [split for split in self._wanted if not have[split]]
            if allow_missing:
                missing = [split for split in missing if split == 0]
            if missing:
                raise FailedPreconditionError(self._missing_text(label, missing))

    def result(self) -> Divided:
        moved = frozenset(index for index, split in enumerate(self._splits) if split != self._drawn[index])
        return Divided(tuple(self._splits), moved)

    def _split_of(self, draw: float) -> int:
        return next((split for split in self._wanted if draw < self._intervals[split][1]), self._wanted[-1])

    def _cost(self, label: str, have: Sequence[int]) -> float:
        return sum(self._parts(label, have))

    def _parts(self, label: str, have: Sequence[int]) -> list[float]:
        """How far off a class is in each split; what lies within the slack counts for nothing."""
        total = sum(have)
        parts = []
        for split, share in enumerate(self._shares):
            off = max(abs(have[split] - share * total) - self._slacks[label], 0.0) / total
            if share and not have[split]:
                off += _MISSING if split else _MISSING_TRAIN
            parts.append(off)
        return parts

    def _improve(self) -> bool:
        """Make the one move that helps most against the worst that can be helped."""
        faults = [
            (part, label, split)
            for label, cost in self._costs.items()
            if cost
            for split, part in enumerate(self._parts(label, self._have[label]))
            if part
        ]
        for _, label, split in sorted(faults, key=lambda fault: (-fault[0], fault[1], fault[2])):
            found = min(((*self._merit(index, to), index, to) for index, to in self._moves(label, split)), default=None)
            if found is not None and found[0] < -_LEAST_GAIN:
                self._move(found[3], found[4])
                return True
        return False

    def _moves(self, label: str, split: int) -> list[tuple[int, int]]:
        """Groups of a class, and where each could go, to mend the number that a split has of it."""
        have = self._have[label]
        free = [index for index in self._holders[label] if index not in self._kept]
        if have[split] < self._shares[split] * sum(have):
            return [(index, split) for index in free if self._splits[index] != split]
        return [(index, to) for index in free if self._splits[index] == split for to in self._wanted if to != split]

    def _merit(self, index: int, to: int) -> tuple[float, float, str]:
        """What a move changes, rounded so that equals tie; then how far the draw was from there; then the name."""
        change = 0.0
        for label in self._counts[index]:
            change += self._cost(label, self._having(label, index, to)) - self._costs[label]
        low, high = self._intervals[to]
        draw = self._draws[index]
        return round(change, 9), max(low - draw, draw - high, 0.0), self._keys[index]

    def _having(self, label: str, index: int, to: int) -> list[int]:
        have = list(self._have[label])
        have[self._splits[index]] -= self._counts[index][label]
        have[to] += self._counts[index][label]
        return have

    def _move(self, index: int, to: int) -> None:
        for label in self._counts[index]:
            self._have[label] = self._having(label, index, to)
            self._costs[label] = self._cost(label, self._have[label])
        self._splits[index] = to

    def _missing_text(self, label: str, missing: Sequence[int]) -> str:
        holders, total = self._holders[label], sum(self._have[label])
        wanted = " and ".join(", ".join(SPLITS[split] for split in self._wanted).rsplit(", ", 1))
        some = "1 picture" if total == 1 else f"{total} pictures"
        if len(holders) >= len(self._wanted):
            return (
                f"the class {label!r} would be missing from {SPLITS[missing[0]]}: its {some} come with those of other classes, in groups "
                f"that have to stay together (such as {self._titles[holders[0]]}); add pictures of other sources"
            )
        if total < len(self._wanted):
            why = f"has {some}"
        elif len(holders) == 1:
            why = f"has {some}, which have to stay together: one source or nearly the same ({self._titles[holders[0]]})"
        else:
            names = " and ".join(self._titles[index] for index in holders)
            why = f"has {some} in {len(holders)} groups that have to stay together ({names})"
        helps = "add pictures of it from other sources" if total >= len(self._wanted) else "add pictures of it"
        allowed = ", or --allow-missing to have it in train only" if len(self._wanted) > 1 else ""
        return f"the class {label!r} {why}, and {wanted} need one each; {helps}, or leave it out with [labels]{allowed}"
