"""Which key gives which label, the same for everybody; and what one session did, so that it can be taken back."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

KEYS: Final = 9
_MOST_DEEDS: Final = 200


@dataclass(frozen=True, slots=True)
class Deed:
    """A sample was labelled."""

    sample: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One label that can be given.

    Attributes:
        key: "1" to "9"; "" for none.
        score: what the model gave it; None for nothing.
        is_current: the sample has it.
    """

    label: str
    key: str
    score: float | None
    is_current: bool


class Keys:
    """Which key gives which label. A key keeps its label, from one picture to the next and from one log-in to the next, or fingers that know it
    would give the wrong one. Only a label that no sample has any more, and that no model gives as its verdict, makes room for another one.

    What a network that names a thousand things saw has no key: it is another label with each picture.
    """

    def __init__(self) -> None:
        self._slots: list[str] = []

    def choices(
        self,
        used: Mapping[str, int],
        verdicts: Collection[str],
        prediction: str,
        scores: Sequence[tuple[str, float]],
        current: str,
    ) -> list[Choice]:
        """What can be given to a sample: labels with keys, in their order, and then those without.

        Args:
            used: how many samples have each label.
            verdicts: what models say.
            prediction: what the model said of this one; "" for nothing.
            scores: what the model gave this one, the best first.
            current: the label that it has; "" for none.
        """
        self._give(used, verdicts)
        by_label = dict(scores)
        without = [*_most_used(used), *sorted(verdicts), prediction, *by_label]
        rest = [label for label in dict.fromkeys(without) if label and label not in self._slots]
        with_keys = [(str(place), label) for place, label in enumerate(self._slots, 1)]
        return [
            Choice(label, key, by_label.get(label), is_current=label == current)
            for key, label in [*with_keys, *(("", label) for label in rest)]
        ]

    def _give(self, used: Mapping[str, int], verdicts: Collection[str]) -> None:
        wanted = [label for label in (*sorted(verdicts), *_most_used(used)) if label]
        free = [place for place, label in enumerate(self._slots) if label not in wanted]
        for label in dict.fromkeys(wanted):
            if label in self._slots:
                continue
            if len(self._slots) < KEYS:
                self._slots.append(label)
            elif free:
                self._slots[free.pop(0)] = label


def _most_used(used: Mapping[str, int]) -> list[str]:
    return sorted((label for label, count in used.items() if count), key=lambda label: (-used[label], label))


@dataclass(slots=True)
class Labelling:
    """Of one session.

    Attributes:
        deeds: the last one at the end.
    """

    deeds: deque[Deed] = field(default_factory=lambda: deque(maxlen=_MOST_DEEDS))
