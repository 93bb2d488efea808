"""Predicted against measured means. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.study.report.index import measured
from edgewise.study.results import CellResult, Prediction, StudyResult


@dataclass(frozen=True, slots=True)
class Miss:
    """One cell, predicted and measured."""

    cell: CellResult
    prediction: Prediction

    @property
    def error_ratio(self) -> float:
        """Of the predicted mean, as a share of the measured one; positive when too much was predicted."""
        return self.prediction.mean_ms / self.cell.mean_ms.value - 1

    @property
    def inside(self) -> bool:
        """Whether the measured mean lies within the predicted bounds."""
        return self.prediction.low_mean_ms <= self.cell.mean_ms.value <= self.prediction.high_mean_ms


def misses(result: StudyResult) -> list[Miss]:
    """Of the cells that were measured and for which a finite mean was predicted."""
    by_name = {predicted.cell.name: predicted for predicted in result.predictions}
    found = []
    for one in result.cells:
        predicted = by_name.get(one.cell.name)
        if predicted is not None and measured(one) and one.mean_ms.value > 0 and math.isfinite(predicted.mean_ms):
            found.append(Miss(one, predicted))
    return found


def mape(found: Sequence[Miss]) -> float:
    """Mean absolute percentage error, as a ratio; nan of nothing."""
    return sum(abs(one.error_ratio) for one in found) / len(found) if found else math.nan
