"""What a sentence of the report is."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a sentence is about."""

    WHERE = "where to run"
    NETWORK = "by network"
    GATEWAY = "gateway"
    AVAILABILITY = "availability"
    ACCURACY = "accuracy"
    PRICE = "price"
    PREDICTION = "prediction"
    MLPERF = "MLPerf"
    CAUTION = "caution"


class Strength(StrEnum):
    """How far the numbers bear a sentence out."""

    SHOWN = "shown"
    PARTLY = "partly shown"
    NOT_SHOWN = "no difference shown"
    COMPUTED = "computed"
    MEASURED = "measured"
    CAUTION = "caution"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """One finding.

    Attributes:
        lead: a sentence or two, or what the points are about.
        headline: whether it belongs to what is read first.
        points: parts of one sentence, each of which can be read by itself with the lead.
    """

    kind: Kind
    strength: Strength
    lead: str
    headline: bool = True
    points: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it, as running text."""
        return f"{self.lead}: {'; '.join(self.points)}." if self.points else self.lead
