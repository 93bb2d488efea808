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
    CAUTION = "caution"


class Strength(StrEnum):
    """How far the numbers bear a sentence out."""

    SHOWN = "shown"
    PARTLY = "partly shown"
    NOT_SHOWN = "no difference shown"
    COMPUTED = "computed"
    CAUTION = "caution"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """One finding.

    Attributes:
        text: a sentence or two.
        headline: whether it belongs to what is read first.
    """

    kind: Kind
    strength: Strength
    text: str
    headline: bool = True
