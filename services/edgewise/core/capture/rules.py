"""Which answers are worth keeping, as a user says it, and how much each reason counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from edgewise.core.capture.limits import Limit

ALL: Final = "all"
SAMPLED: Final = "sampled"
LOW_CONFIDENCE: Final = "low-confidence"
DISAGREEMENT: Final = "disagreement"
DRIFT: Final = "drift"
RULES: Final = (ALL, SAMPLED, LOW_CONFIDENCE, DISAGREEMENT, DRIFT)

MOST_PRIORITY: Final = 3
_PRIORITIES: Final[Mapping[str, int]] = MappingProxyType(
    {ALL: 0, SAMPLED: 1, LOW_CONFIDENCE: 2, DRIFT: 2, DISAGREEMENT: 3}
)
_TELLING: Final = frozenset({LOW_CONFIDENCE, DISAGREEMENT, DRIFT})
_EACH: Final = Limit(per_second=1.0, per_hour=1800.0)
DEFAULT_LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        ALL: Limit(per_second=10.0, per_hour=36_000.0),
        SAMPLED: _EACH,
        LOW_CONFIDENCE: _EACH,
        DISAGREEMENT: _EACH,
        DRIFT: _EACH,
    }
)


@dataclass(frozen=True, slots=True)
class CaptureRules:
    """What chooses an answer. Each rule chooses by itself.

    Attributes:
        all: every answer.
        sampled: this share of the answers, 0..1; by chance, so that it stands for all of them.
        low_confidence: answers that the site is less sure of than this, 0..1; 0 turns it off.
        disagreement: two sites answered the same request, and differently. None turns it off; else this share of the requests, 0..1,
            is asked of a site of the other tier as well. 0 compares what two sites have answered anyway.
        drift: the population stability index from which on the scores count as drifted, above 0; None turns it off.
        limits: by rule, all of them.
    """

    all: bool = False
    sampled: float = 0.01
    low_confidence: float = 0.5
    disagreement: float | None = 0.0
    drift: float | None = 0.25
    limits: Mapping[str, Limit] = field(default_factory=lambda: DEFAULT_LIMITS)

    def share_of(self, parts: int) -> "CaptureRules":
        """What one of several processes takes of them: limits are for all of them together."""
        return replace(self, limits={rule: limit.share(parts) for rule, limit in self.limits.items()})


def priority_of(reasons: tuple[str, ...]) -> int:
    """How much a sample counts, 0..3: as its best reason, and one more where two reasons say something of the model.

    Args:
        reasons: at least one of `RULES`.
    """
    best = max(_PRIORITIES[reason] for reason in reasons)
    telling = sum(reason in _TELLING for reason in reasons)
    return min(MOST_PRIORITY, best + (telling > 1))
