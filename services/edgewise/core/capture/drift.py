"""Whether the confidence of a model's answers is still distributed as it was.

The first answers are the reference. The last ones are held against it by the population stability index over ten classes of
confidence, PSI = sum (q_i - p_i) ln(q_i / p_i), where p_i and q_i are the shares of class i (N. Siddiqi, Credit Risk Scorecards, 2006,
which takes 0.25 for a shift that matters). While nothing drifts, PSI / (1/N + 1/M) is about chi-squared with 9 degrees of freedom
for N answers of reference and M recent ones (B. Yurdakul and J. Naranjo, Statistical properties of the population stability index,
Journal of Risk Model Validation 14(4), 2020): with 1000 and 200, a look passes 0.25 by chance once in 260 000.

Memory is the counts and one byte for each recent answer.
"""

from math import log
from typing import Final

CLASSES: Final = 10
REFERENCE_ANSWERS: Final = 1000
RECENT_ANSWERS: Final = 200
LOOK_ANSWERS: Final = 20
"""The index is looked at each time so many answers came."""
ADOPT_ANSWERS: Final = 5000
"""Scores that have differed from the reference for so many answers are what is usual now: a new reference is learned."""
# Added to each count, so that an empty class has a logarithm.
_EMPTY: Final = 0.5


class DriftDetector:
    """The scores of one version of a model at one site.

    Args:
        threshold: the index above which they have drifted. They have come back once it is under half of that.

    Attributes:
        drifting: as of the last look.
        index: the population stability index then; 0 before the first one.
    """

    __slots__ = (
        "_came",
        "_drifted",
        "_grown",
        "_learned",
        "_recent",
        "_recent_counts",
        "_reference",
        "_threshold",
        "drifting",
        "index",
    )

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._learn()

    def _learn(self) -> None:
        """Begin with a new reference."""
        self.drifting = False
        self.index = 0.0
        self._reference = [0] * CLASSES
        self._learned = 0
        # A ring of the recent answers' classes, and how many came since the reference was whole.
        self._recent = bytearray(RECENT_ANSWERS)
        self._recent_counts = [0] * CLASSES
        self._came = 0
        # While drifting: for how many answers, and the classes that have become more frequent.
        self._drifted = 0
        self._grown = [False] * CLASSES

    def observe(self, confidence: float) -> bool:
        """Take in one answer's confidence, 0..1.

        Returns: whether the scores have drifted, and towards this one.
        """
        found = min(CLASSES - 1, max(0, int(confidence * CLASSES)))
        if self._learned < REFERENCE_ANSWERS:
            self._reference[found] += 1
            self._learned += 1
            return False
        place = self._came % RECENT_ANSWERS
        if self._came >= RECENT_ANSWERS:
            self._recent_counts[self._recent[place]] -= 1
        self._recent[place] = found
        self._recent_counts[found] += 1
        self._came += 1
        if self._came >= RECENT_ANSWERS and self._came % LOOK_ANSWERS == 0:
            self._look()
        return self.drifting and self._grown[found]

    def _look(self) -> None:
        before_all = REFERENCE_ANSWERS + _EMPTY * CLASSES
        now_all = RECENT_ANSWERS + _EMPTY * CLASSES
        index = 0.0
        for place in range(CLASSES):
            before = (self._reference[place] + _EMPTY) / before_all
            now = (self._recent_counts[place] + _EMPTY) / now_all
            index += (now - before) * log(now / before)
            self._grown[place] = now > before
        self.index = index
        self.drifting = index > (self._threshold / 2 if self.drifting else self._threshold)
        self._drifted = self._drifted + LOOK_ANSWERS if self.drifting else 0
        if self._drifted >= ADOPT_ANSWERS:
            self._learn()
