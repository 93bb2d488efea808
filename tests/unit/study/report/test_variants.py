"""Accuracy and agreement, input by input."""

from dataclasses import replace

import pytest

from edgewise.study.report.index import Index
from edgewise.study.report.variants import Agreement, accuracies, agreement, wilson
from edgewise.study.results import Judgement
from support import study_results


def judged(result, target, verdicts):
    """The result, with what a target said of the inputs a, b, c..."""
    made = tuple(Judgement(f"{place}", label, verdict) for place, (label, verdict) in enumerate(verdicts))
    return replace(
        result,
        cells=tuple(replace(one, judgements=made) if one.cell.target == target else one for one in result.cells),
    )


@pytest.fixture(scope="module")
def result():
    made = judged(study_results.quick(), "cloud", [("dog", "dog"), ("cat", "cat"), ("cat", "dog"), ("", "cat")])
    made = judged(made, "edge", [("dog", "dog"), ("cat", "other"), ("cat", "cat"), ("", "cat")])
    return judged(made, "gateway", [])


def test_inputs_are_counted_once_however_often_they_were_asked(result):
    found = {one.target: one for one in accuracies(Index(result), "pets")}
    assert (found["cloud"].right, found["cloud"].inputs, found["cloud"].by_input) == (2, 3, True)
    assert (found["edge"].right, found["edge"].inputs) == (2, 3)
    assert not found["gateway"].by_input


def test_agreement_counts_inputs_without_a_label_too(result):
    found = agreement(Index(result), "pets", "edge", "cloud")
    assert found == Agreement("edge", "cloud", 2, 4, 1, 1, 3)
    assert agreement(Index(result), "pets", "edge", "gateway") is None


@pytest.mark.parametrize(
    ("first", "second", "p"), [(0, 0, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (3, 3, 1.0), (1, 9, 0.021484375)]
)
def test_mcnemar(first, second, p):
    assert Agreement("edge", "cloud", 0, 20, first, second, 20).p_value == p


def test_wilson():
    # Newcombe (1998), table I: 81 of 263.
    found = wilson(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert wilson(0, 10).low == 0
    assert wilson(10, 10).high == 1
