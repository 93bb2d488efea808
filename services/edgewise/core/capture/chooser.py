"""Which of a model's answers are kept: the rules, their limits, and what they remember of the scores.

Given the same answers, times and draws it chooses the same ones. Nothing in it grows with the number of answers.
"""

from typing import Final

from edgewise.core.capture.drift import DriftDetector
from edgewise.core.capture.limits import RateLimit
from edgewise.core.capture.rules import ALL, DISAGREEMENT, DRIFT, LOW_CONFIDENCE, RULES, SAMPLED, CaptureRules

MAX_DETECTORS: Final = 16
"""Versions at sites whose scores are watched at once; the one that was watched first leaves."""
NOTHING: Final[tuple[str, ...]] = ()

Origin = tuple[str, int]
"""Whose scores they are: the site, and the version of the model; 0 where it is not known."""


class Chooser:
    """One model's.

    Args:
        rules: in force.
        now_s: on any clock that runs on.

    Attributes:
        chosen: answers by the rule that chose them; one that several rules chose is counted at each.
        limited: answers that a rule would have chosen, had its limit not been reached.
        compares: answers of two sites to the same request are compared.
        asks: the share of the requests that is asked of a second site for that.
    """

    __slots__ = (
        "_all",
        "_detectors",
        "_drift",
        "_limits",
        "_low_confidence",
        "_sampled",
        "asks",
        "chosen",
        "compares",
        "limited",
    )

    def __init__(self, rules: CaptureRules, now_s: float) -> None:
        self._all = rules.all
        self._sampled = rules.sampled
        self._low_confidence = rules.low_confidence
        self._drift = rules.drift
        self._limits = {rule: RateLimit(rules.limits[rule], now_s) for rule in RULES}
        self._detectors: dict[Origin, DriftDetector] = {}
        self.compares = rules.disagreement is not None
        self.asks: float = rules.disagreement or 0.0
        self.chosen = dict.fromkeys(RULES, 0)
        self.limited = dict.fromkeys(RULES, 0)

    def choose(self, confidence: float | None, origin: Origin, now_s: float, draw: float) -> tuple[str, ...]:
        """Whether an answer is kept, and why.

        Args:
            confidence: what the site said of it, 0..1; None when nothing, which leaves it to chance.
            draw: uniform in [0, 1).
        Returns: the rules that chose it; `NOTHING` for most.
        """
        reasons = NOTHING
        if self._all and self.take(ALL, now_s):
            reasons = (ALL,)
        if draw < self._sampled and self.take(SAMPLED, now_s):
            reasons = (*reasons, SAMPLED)
        if confidence is not None:
            if confidence < self._low_confidence and self.take(LOW_CONFIDENCE, now_s):
                reasons = (*reasons, LOW_CONFIDENCE)
            if self._drift is not None and self._observe(confidence, origin) and self.take(DRIFT, now_s):
                reasons = (*reasons, DRIFT)
        return reasons

    def disagreed(self, reasons: tuple[str, ...], now_s: float) -> tuple[str, ...]:
        """The reasons for keeping an answer, now that another site has answered otherwise."""
        return (*reasons, DISAGREEMENT) if self.take(DISAGREEMENT, now_s) else reasons

    def take(self, rule: str, now_s: float) -> bool:
        """Whether a rule may choose one more; counts it either way."""
        counts = self.chosen if self._limits[rule].take(now_s) else self.limited
        counts[rule] += 1
        return counts is self.chosen

    def drifting(self) -> dict[Origin, float]:
        """The index of drift of what is drifting."""
        return {origin: found.index for origin, found in self._detectors.items() if found.drifting}

    def _observe(self, confidence: float, origin: Origin) -> bool:
        found = self._detectors.get(origin)
        if found is None:
            if len(self._detectors) >= MAX_DETECTORS:
                del self._detectors[next(iter(self._detectors))]
            found = self._detectors[origin] = DriftDetector(self._drift or 0.0)
        return found.observe(confidence)
