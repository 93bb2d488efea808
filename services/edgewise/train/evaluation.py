"""How right a network is on pictures whose class is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Of one class.

    Attributes:
        precision: of those called so, the share that is so; None when none was called so.
        recall: of those that are so, the share called so; None when none is so.
        support: how many are so.
    """

    name: str
    precision: float | None
    recall: float | None
    support: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """A picture that was called something else.

    Attributes:
        row: of the split.
        sure: the probability of the class that it was called.
    """

    row: int
    actual: str
    called: str
    sure: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network says of a split.

    Attributes:
        confusion: counts[actual][called].
        loss: mean negative logarithm of the right class's probability.
        mistakes: the surest first.
    """

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    loss: float
    mistakes: tuple[Mistake, ...]

    @property
    def images(self) -> int:
        """How many pictures there were."""
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> float:
        """The share that was called right."""
        right = sum(row[at] for at, row in enumerate(self.confusion))
        return right / self.images if self.images else 0.0

    @property
    def scores(self) -> tuple[ClassScore, ...]:
        """Class by class."""
        found = []
        for at, name in enumerate(self.classes):
            right, support = self.confusion[at][at], sum(self.confusion[at])
            called = sum(row[at] for row in self.confusion)
            found.append(
                ClassScore(name, right / called if called else None, right / support if support else None, support)
            )
        return tuple(found)

    def shown(self) -> dict[str, Any]:
        """For run.json."""
        return {
            "images": self.images,
            "accuracy": self.accuracy,
            "loss": self.loss,
            "confusion": [list(row) for row in self.confusion],
            "classes": {
                one.name: {"precision": one.precision, "recall": one.recall, "support": one.support}
                for one in self.scores
            },
        }


def evaluate(probabilities: NDArray[np.float32], actual: NDArray[np.int64], classes: Sequence[str]) -> Evaluation:
    """Compare what was said with what is.

    Args:
        probabilities: float32[images, classes].
        actual: int64[images], indices of classes.
    """
    called = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (actual, called), 1)
    rows = np.arange(len(actual))
    right = np.clip(probabilities[rows, actual].astype(np.float64), 1e-7, 1.0)
    wrong = sorted(np.flatnonzero(called != actual).tolist(), key=lambda row: -float(probabilities[row, called[row]]))
    return Evaluation(
        classes=tuple(classes),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        loss=float(-np.log(right).mean()) if len(actual) else 0.0,
        mistakes=tuple(
            Mistake(row, classes[int(actual[row])], classes[int(called[row])], float(probabilities[row, called[row]]))
            for row in wrong
        ),
    )
