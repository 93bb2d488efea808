"""Accuracy and agreement of what two targets answer. Pure."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from edgewise.study.report.index import Index, measured
from edgewise.study.results import CellResult, Estimate

Z_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of one target's variant of a model.

    Attributes:
        right, inputs: of distinct labelled inputs, where what was said of each is known; else of answers.
        by_input: whether it is inputs that were counted. Answers repeat inputs, so an interval over answers is too narrow.
    """

    target: str
    right: int
    inputs: int
    by_input: bool

    @property
    def estimate(self) -> Estimate:
        """With Wilson's interval."""
        return wilson(self.right, self.inputs)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two targets asked the same inputs.

    Attributes:
        same, inputs: inputs of which both said the same, of those that both were asked.
        only_first, only_second, labelled: labelled inputs that only one of the two answered rightly.
    """

    first: str
    second: str
    same: int
    inputs: int
    only_first: int
    only_second: int
    labelled: int

    @property
    def p_value(self) -> float:
        """That two equally accurate targets differ so much: McNemar's exact test, two-sided.

        Source: McNemar, Psychometrika 12 (1947); the exact form is a sign test over the discordant pairs.
        """
        discordant = self.only_first + self.only_second
        fewer = min(self.only_first, self.only_second)
        tail: float = sum(math.comb(discordant, k) for k in range(fewer + 1)) / 2.0**discordant
        return min(1.0, 2 * tail)


def wilson(part: int, whole: int) -> Estimate:
    """A share with its 95 % interval; nan of nothing.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if not whole:
        return Estimate(math.nan, math.nan, math.nan)
    share, square = part / whole, Z_95**2
    centre = (share + square / (2 * whole)) / (1 + square / whole)
    half = Z_95 / (1 + square / whole) * math.sqrt(share * (1 - share) / whole + square / (4 * whole**2))
    return Estimate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def models(index: Index) -> list[str]:
    """In the order in which they were measured."""
    return list(dict.fromkeys(found.cell.model for found in index.result.cells))


def accuracies(index: Index, model: str) -> list[Accuracy]:
    """Of every target of a model of which something was labelled."""
    made = []
    for target in index.targets:
        cells = list(_cells(index, model, target))
        said = _verdicts(cells)
        labels = {source: label for source, (label, _) in said.items() if label}
        if labels:
            right = sum(said[source][1] == label for source, label in labels.items())
            made.append(Accuracy(target, right, len(labels), by_input=True))
            continue
        runs = [run for found in cells for run in found.runs if not run.void]
        labelled = sum(run.labelled for run in runs)
        if labelled:
            made.append(Accuracy(target, sum(run.right for run in runs), labelled, by_input=False))
    return made


def agreement(index: Index, model: str, first: str, second: str) -> Agreement | None:
    """Of two targets, over the inputs that both were asked; None where there is none."""
    one, other = (_verdicts(_cells(index, model, target)) for target in (first, second))
    both = [source for source in one if source in other]
    if not both:
        return None
    labelled = [source for source in both if one[source][0]]
    rights = [(one[source][1] == one[source][0], other[source][1] == one[source][0]) for source in labelled]
    return Agreement(
        first,
        second,
        sum(one[source][1] == other[source][1] for source in both),
        len(both),
        sum(a and not b for a, b in rights),
        sum(b and not a for a, b in rights),
        len(labelled),
    )


def _cells(index: Index, model: str, target: str) -> Iterable[CellResult]:
    for found in index.result.cells:
        if found.cell.model == model and found.cell.target == target and measured(found):
            yield found


def _verdicts(cells: Iterable[CellResult]) -> dict[str, tuple[str, str]]:
    """Label and most frequent verdict of each input, over cells."""
    said: dict[str, Counter[str]] = {}
    labels: dict[str, str] = {}
    for found in cells:
        for judged in found.judgements:
            labels[judged.source] = judged.label
            said.setdefault(judged.source, Counter())[judged.verdict] += 1
    return {source: (labels[source], counter.most_common(1)[0][0]) for source, counter in said.items()}
