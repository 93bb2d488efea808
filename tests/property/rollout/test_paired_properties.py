"""Proofs about pairs: never both ways, never against more evidence, never against what a slower test knows."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.core.rollout.gates import AccuracyGate, Gate, Verdict
from edgewise.core.rollout.paired import Paired

MARGINS = st.floats(0.001, 0.3)
ALPHAS = st.sampled_from([0.01, 0.05, 0.1])


@st.composite
def pairs(draw, most=300):
    count = draw(st.integers(1, most))
    lost = draw(st.integers(0, count))
    gained = draw(st.integers(0, count - lost))
    return Paired("0" * 64, count, draw(st.integers(0, count - lost - gained)), lost, gained)


@settings(max_examples=60, deadline=None)
@given(pairs(), MARGINS, ALPHAS)
def test_it_is_never_proven_both_ways_and_proofs_agree_with_the_bounds(paired, margin, alpha):
    below, above = paired.is_proven_below(margin, alpha), paired.is_proven_above(margin, alpha)
    assert not (below and above)
    low, high = paired.bounds(alpha)
    assert low <= paired.excess <= high
    # What was seen lies on the side that is proven.
    assert paired.excess < margin or not below
    assert paired.excess > margin or not above


@settings(max_examples=60, deadline=None)
@given(pairs(), MARGINS, ALPHAS)
def test_examples_of_which_nothing_is_wrong_in_either_version_alone_do_not_count(paired, margin, alpha):
    fewer = Paired(paired.of, paired.count, 0, paired.lost, paired.gained)
    assert fewer.is_proven_below(margin, alpha) == paired.is_proven_below(margin, alpha)


@settings(max_examples=60, deadline=None)
@given(pairs(), MARGINS)
def test_one_more_example_that_is_answered_rightly_again_speaks_for_the_new_version(paired, margin):
    if paired.lost == 0:
        return
    better = Paired(paired.of, paired.count, paired.both, paired.lost - 1, paired.gained + 1)
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]
    gate = AccuracyGate(margin)
    assert order.index(gate.verdict((better,))) >= order.index(gate.verdict((paired,)))


@settings(max_examples=60, deadline=None)
@given(pairs(), MARGINS)
def test_it_never_contradicts_the_sequential_test(paired, margin):
    slow = Gate.verdict(Gate(margin, 0.95), (paired,))
    quick = AccuracyGate(margin).verdict((paired,))
    assert {slow, quick} != {Verdict.PASS, Verdict.FAIL}
