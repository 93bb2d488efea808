"""What is proven about examples of which several are of one source."""

import itertools
import math

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.alike import Alike, alike
from edgewise.core.rollout.gates import AccuracyGate, Gate, Verdict
from edgewise.core.rollout.paired import Paired, worst

OF = "a" * 64
ORDER = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]


def paired(*sources):
    """Of sources: (count, lost, gained) each."""
    sums = [sum(numbers) for numbers in zip(*sources, strict=True)]
    return Paired(OF, sums[0], 0, *sums[1:], alike(sources))


def verdict(*sources, margin=0.02, confidence=0.95):
    return AccuracyGate(margin, confidence).verdict((paired(*sources),))


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        # As examples each of these would be proven; as sources there are too few of them.
        ([(100, 0, 33)] * 3, Verdict.INCONCLUSIVE),
        ([(100, 33, 0)] * 3, Verdict.INCONCLUSIVE),
        ([(100, 0, 0)] * 100, Verdict.INCONCLUSIVE),
        ([(100, 0, 33)] * 13, Verdict.PASS),
        ([(5, 0, 2), (5, 0, 1)] * 10, Verdict.PASS),
        ([(10, 0, 0)] * 200, Verdict.PASS),
        ([(5, 2, 0), (5, 1, 0)] * 10, Verdict.FAIL),
        ([(5, 2, 1), (5, 1, 2)] * 20, Verdict.INCONCLUSIVE),
    ],
)
def test_sources_are_what_proves(sources, expected):
    assert verdict(*sources) == expected


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize(("lost", "gained"), [(0.11, 0.09), (0.02, 0.0), (0.3, 0.28), (0.51, 0.49)])
def test_a_version_that_is_just_as_much_worse_as_is_allowed_is_seldom_taken_for_proven(lost, gained, alpha):
    """All pictures of a source share their fate, so that they know no more than one of them: every outcome, with its probability."""
    sources, margin = 20, 0.02
    proven = {"below": 0.0, "above": 0.0}
    for a, b in itertools.product(range(sources + 1), repeat=2):
        if a + b > sources:
            continue
        rest = sources - a - b
        chance = math.comb(sources, a) * math.comb(sources - a, b) * lost**a * gained**b * (1 - lost - gained) ** rest
        found = paired(*[(7, 7, 0)] * a, *[(7, 0, 7)] * b, *[(7, 0, 0)] * rest)
        proven["below"] += chance * found.is_proven_below(margin, alpha)
        proven["above"] += chance * found.is_proven_above(margin, alpha)
    assert proven["below"] <= alpha
    assert proven["above"] <= alpha


def test_large_and_small_sources_count_alike():
    # By examples the new version is better, by sources it is worse.
    found = paired((100, 0, 90), *[(2, 2, 0)] * 20)
    assert found.excess > 0.0
    assert found.sources == 21
    low, high = found.bounds(0.05)
    assert -1.0 < low < found.excess < high < 1.0
    assert AccuracyGate().verdict((found,)) == Verdict.FAIL
    assert worst([found, paired((100, 0, 90), *[(2, 1, 0)] * 20)]) == found


@pytest.mark.parametrize("margin", [0.001, 0.02, 0.3])
def test_bounds_and_proofs_agree_and_no_quicker_test_contradicts(margin):
    for n, lost, gained in itertools.product((1, 12, 60), (0, 1, 4), (0, 1, 4)):
        found = paired(*[(5, lost, 0), (5, 0, gained)] * n)
        low, high = found.bounds(0.05)
        assert low <= found.excess <= high
        assert found.is_proven_below(margin, 0.05) == (high < margin)
        assert found.is_proven_above(margin, 0.05) == (low > margin)
        slow = Gate.verdict(Gate(margin, 0.95), (found,))
        assert {slow, AccuracyGate(margin, 0.95).verdict((found,))} != {Verdict.PASS, Verdict.FAIL}


def test_one_more_right_answer_never_speaks_against_the_new_version():
    for lost, gained in itertools.product(range(4), range(4)):
        before = verdict(*[(8, 0, 2)] * 14, (8, lost + 1, gained))
        after = verdict(*[(8, 0, 2)] * 14, (8, lost, gained))
        assert ORDER.index(after) >= ORDER.index(before)


def test_the_same_sources_in_another_order_are_the_same():
    assert alike([(5, 1, 0), (5, 0, 1), (5, 1, 0)]) == alike([(5, 0, 1), (5, 1, 0), (5, 1, 0)])
    assert alike([(5, 1, 0), (5, 1, 0)]) == (Alike(2, 5, 1, 0),)


@pytest.mark.parametrize("numbers", [(0, 1, 0, 0), (1, 0, 0, 0), (1, 3, 2, 2), (1, 3, -1, 2)])
def test_sources_that_cannot_be_are_refused(numbers):
    with pytest.raises(InvalidArgumentError):
        Alike(*numbers)


def test_sources_that_do_not_add_up_are_refused():
    with pytest.raises(InvalidArgumentError, match="do not add up to 12 examples"):
        Paired(OF, 12, 0, 2, 0, (Alike(2, 5, 1, 0),))
