"""What is proven about examples that both versions were asked."""

import math

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout import paired
from edgewise.core.rollout.gates import AccuracyGate, Findings, GateName, Gates, Verdict, pooled
from edgewise.core.rollout.paired import Paired, worst
from edgewise.core.rollout.sequential import merged

FLOAT, INT8 = "f" * 64, "8" * 64
GATES = Gates(errors=None, latency=None, golden=False, accuracy=AccuracyGate())


def verdict(count, lost, gained, margin=0.02, confidence=0.95):
    return AccuracyGate(margin, confidence).verdict((Paired(FLOAT, count, 0, lost, gained),))


@pytest.mark.parametrize(
    ("count", "lost", "gained", "expected"),
    [
        (100, 4, 16, Verdict.PASS),
        (100, 0, 12, Verdict.PASS),
        (1000, 25, 25, Verdict.PASS),
        (100, 5, 5, Verdict.INCONCLUSIVE),
        (100, 0, 0, Verdict.INCONCLUSIVE),
        (250, 0, 0, Verdict.PASS),
        (100, 15, 2, Verdict.FAIL),
        (500, 40, 10, Verdict.FAIL),
        (1, 1, 0, Verdict.INCONCLUSIVE),
        (28, 25, 0, Verdict.FAIL),
        (0, 0, 0, Verdict.INCONCLUSIVE),
    ],
)
def test_better_passes_worse_fails_and_too_little_says_nothing(count, lost, gained, expected):
    assert verdict(count, lost, gained) == expected


def test_no_examples_prove_nothing_and_are_no_yes():
    assert GATES.verdict(Findings()) == Verdict.INCONCLUSIVE
    assert AccuracyGate().bounds(()) == (-1.0, 1.0)


def brute(count, lost, gained, difference):
    """The same probability, added up one outcome after another."""
    return sum(
        math.comb(count, a) * math.comb(count - a, b) * lost**a * gained**b * (1 - lost - gained) ** (count - a - b)
        for a in range(count + 1)
        for b in range(count + 1 - a)
        if a - b <= difference
    )


@pytest.mark.parametrize("count", [1, 2, 7, 30])
@pytest.mark.parametrize(("lost", "gained"), [(0.1, 0.05), (0.3, 0.3), (0.01, 0.5), (0.6, 0.39), (0.02, 0.001)])
def test_the_probability_is_that_of_all_outcomes_added_up(count, lost, gained):
    for difference in range(-count, count + 1):
        assert paired._tail(count, lost, gained, difference) == pytest.approx(
            brute(count, lost, gained, difference), abs=1e-12
        )


@pytest.mark.parametrize(("lost", "gained"), [(0.12, 0.10), (0.02, 0.0), (0.3, 0.28), (0.51, 0.49), (0.05, 0.03)])
def test_a_version_that_is_just_as_much_worse_as_is_allowed_is_seldom_taken_for_proven(lost, gained):
    count, alpha = 25, 0.1
    proven = {"below": 0.0, "above": 0.0}
    for a in range(count + 1):
        for b in range(count + 1 - a):
            found = Paired(FLOAT, count, 0, a, b)
            chance = math.comb(count, a) * math.comb(count - a, b) * lost**a * gained**b
            chance *= (1 - lost - gained) ** (count - a - b)
            proven["below"] += chance * found.is_proven_below(0.02, alpha)
            proven["above"] += chance * found.is_proven_above(0.02, alpha)
    assert proven["below"] <= alpha
    assert proven["above"] <= alpha


def test_the_same_comparison_at_many_sites_is_one_and_the_worst_stands():
    site = Findings({GateName.ACCURACY: (Paired(FLOAT, 100, 3, 0, 2),)})
    other = Findings({GateName.ACCURACY: (Paired(FLOAT, 100, 3, 1, 2),)})
    together = pooled([site, site, other, site] * 50)
    assert together.sampled[GateName.ACCURACY] == (Paired(FLOAT, 100, 3, 1, 2),)
    assert GATES.verdict(together) == GATES.verdict(other) == Verdict.INCONCLUSIVE


def test_each_variant_has_to_pass_by_itself():
    good, bad = Paired(FLOAT, 100, 3, 4, 16), Paired(INT8, 100, 3, 15, 2)
    gate = AccuracyGate()
    assert gate.verdict((good,)) == Verdict.PASS
    assert gate.verdict((good, bad)) == gate.verdict((bad,)) == Verdict.FAIL
    assert gate.bounds((good, bad)) == gate.bounds((bad,))
    assert worst([good, bad]) == bad


def test_merging_does_not_depend_on_the_order():
    parts = [
        Paired(FLOAT, 100, 1, 2, 3),
        Paired(INT8, 90, 1, 1, 1),
        Paired(FLOAT, 100, 2, 2, 3),
        Paired(FLOAT, 50, 1, 1, 2),
    ]
    assert set(merged(parts)) == set(merged(parts[::-1])) == set(merged([*merged(parts[:2]), *parts[2:]]))


@pytest.mark.parametrize("counts", [(3, 2, 1, 1), (3, -1, 1, 1), (10_001, 0, 0, 0), (3, 0, 4, -1)])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(InvalidArgumentError):
        Paired(FLOAT, *counts)
