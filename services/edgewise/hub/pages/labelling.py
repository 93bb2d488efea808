"""What one session remembers of its labelling: which key gives which label, and what was done, so that it can be taken back."""

from collections import deque
from collections.abc import Iterable, Sequence
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


@dataclass(slots=True)
class Labelling:
    """Of one session.

    Attributes:
        slots: the label of each key.
        deeds: the last one at the end.
    """

    slots: list[str] = field(default_factory=list)
    deeds: deque[Deed] = field(default_factory=lambda: deque(maxlen=_MOST_DEEDS))

    def choices(
        self, known: Iterable[str], scores: Sequence[tuple[str, float]], prediction: str, current: str
    ) -> list[Choice]:
        """What can be given to a sample, in the order of the keys.

        Args:
            known: labels that samples have.
            scores: what the model gave this one.
            prediction: what the model said it is; "" for nothing.
            current: the label that it has; "" for none.
        """
        known = set(known)
        predicted = sorted({*(label for label, _ in scores), prediction} - {""})
        self._give_keys(known, predicted)
        by_label = dict(scores)
        rest = sorted({*known, *predicted} - set(self.slots))
        return [
            Choice(
                label,
                str(place) if place <= KEYS else "",
                by_label.get(label),
                is_current=bool(label) and label == current,
            )
            for place, label in [*enumerate(self.slots, 1), *((KEYS + 1, label) for label in rest)]
        ]

    def _give_keys(self, known: set[str], predicted: Sequence[str]) -> None:
        """A key keeps its label from one sample to the next, or fingers that know it would give the wrong one. Only a label that nobody has
        given so far makes room for one that somebody has.
        """
        for label in sorted(known - set(self.slots)):
            if len(self.slots) < KEYS:
                self.slots.append(label)
                continue
            free = [place for place, other in enumerate(self.slots) if other not in known]
            if free:
                self.slots[free[-1]] = label
        for label in predicted:
            if label not in self.slots and len(self.slots) < KEYS:
                self.slots.append(label)
