"""Requests that pods have divided, counted as draws would have divided them."""

from hypothesis import given
from hypothesis import strategies as st

from edgewise.agent.kubernetes.thinning import Thinning
from edgewise.core.rollout.gates import Gate, Verdict
from edgewise.core.rollout.sequential import Compared

STEPS = st.lists(st.tuples(*[st.integers(0, 200)] * 4), max_size=30)


def added(share, steps):
    thinning = Thinning(share)
    for new, new_hits, old, old_hits in steps:
        thinning.add((new, min(new, new_hits)), (old, min(old, old_hits)))
    return thinning


@given(share=st.floats(0.01, 0.99), steps=STEPS)
def test_what_counts_is_in_the_right_proportion_and_nothing_is_lost(share, steps):
    thinning = added(share, steps)
    new, old = thinning.new, thinning.old
    assert new.total == sum(step[0] for step in steps)
    assert old.total == sum(step[2] for step in steps)
    assert abs(new.count * (1 - share) - old.count * share) <= 1.0
    # One of the two has all of its requests counted.
    assert min(new.waiting, old.waiting) <= max(1.0, share / (1 - share), (1 - share) / share)


@given(share=st.floats(0.01, 0.99), steps=STEPS, more=STEPS)
def test_counts_never_shrink_and_hits_are_some_of_them(share, steps, more):
    before, after = added(share, steps), added(share, [*steps, *more])
    for one, other in ((before.new, after.new), (before.old, after.old)):
        assert one.count <= other.count
        assert one.hits <= other.hits
        assert 0 <= other.hits <= other.count
        assert 0 <= other.waiting_hits <= other.waiting


@given(share=st.floats(0.05, 0.5), every=st.integers(2, 50))
def test_hits_count_in_proportion(share, every):
    thinning = Thinning(share)
    for second in range(3000):
        thinning.add((30, 30 // every + (second % every == 0)), (70, 0))
    ratio = thinning.new.hits / thinning.new.count
    expected = sum(30 // every + (second % every == 0) for second in range(3000)) / 90_000
    assert abs(ratio - expected) <= 0.1 * expected + 0.01


def test_a_version_that_is_as_good_passes_although_its_pod_got_many_times_its_share():
    """Both are slow in one of twenty, and the new one got a quarter where a hundredth was asked for."""
    thinning = Thinning(0.01)
    for second in range(4000):
        thinning.add((25, 5 if second % 4 == 0 else 0), (75, 15 if second % 4 == 0 else 0))
    new, old = thinning.new, thinning.old
    evidence = Compared(0.01, new.count, new.hits, old.count, old.hits)
    raw = Compared(0.01, new.total, new.hits + new.waiting_hits, old.total, old.hits + old.waiting_hits)
    gate = Gate(0.05)
    assert gate.verdict([evidence]) != Verdict.FAIL
    assert gate.verdict([raw]) == Verdict.FAIL
