"""Counts of a rollout: nothing twice, whatever restarts; and what is slow, and what is compared with what."""

from dataclasses import astuple, replace

import pytest

from edgewise.agent.site.port import Counts, Reading
from edgewise.agent.site.tally import BASELINE_COUNT, Tally, read_tally, tally_value
from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.gates import Gate, GateName, Gates, Golden, LatencyGate
from edgewise.core.rollout.sequential import Compared, Observed
from edgewise.protocols.documents import Document

GATES = Gates(errors=Gate(0.01), latency=LatencyGate(quantile=0.95, ratio=2.0), disagreement=Gate(0.01), golden=True)


def reading(baseline=0, **counts):
    quantiles = {0.5: 3.0, 0.95: 10.0, 0.99: 30.0}
    return Reading("r/1.0", Counts(**counts), baseline, quantiles if baseline else {})


def test_shares_are_compared_and_what_runs_alone_is_observed():
    tally = Tally().read(
        reading(new_count=10, new_errors=1, old_count=90, old_errors=2, new_timed=4, new_slow=1, old_timed=8),
        0.1,
        GATES,
    )
    found = tally.findings(0.1, GATES).sampled
    assert found[GateName.ERRORS] == (Compared(0.1, 10, 1, 90, 2),)
    assert found[GateName.LATENCY] == (Compared(0.1, 4, 1, 8, 0),)
    alone = tally.turned(0.1, GATES).read(reading(new_count=50, new_errors=1, new_timed=50, new_slow=3), 1.0, GATES)
    found = alone.findings(1.0, GATES).sampled
    # Against a little more than was seen of the old version, and what its quantile says.
    assert Observed(50, 1, 3.0 / 91.0) in found[GateName.ERRORS]
    assert found[GateName.LATENCY] == (Compared(0.1, 4, 1, 8, 0),)


def test_what_ran_beside_nothing_is_held_against_what_the_quantile_says():
    alone = Tally().read(reading(new_timed=50, new_slow=3), 1.0, GATES).findings(1.0, GATES)
    ((one,),) = [alone.sampled[GateName.LATENCY]]
    assert (one.count, one.hits, one.reference) == (50, 3, pytest.approx(0.05))


def test_with_little_seen_of_the_old_version_errors_are_held_against_none():
    tally = Tally().read(reading(old_count=BASELINE_COUNT - 1, old_errors=9), 0.1, GATES).turned(0.1, GATES)
    assert tally.error_ratio == 0.0


def test_a_site_that_became_slower_is_not_held_against_the_version_that_then_runs_alone():
    tally = Tally().read(reading(new_timed=100, new_slow=25, old_timed=399, old_slow=99), 0.2, GATES).turned(0.2, GATES)
    beside = tally.findings(1.0, GATES).sampled[GateName.LATENCY]
    alone = tally.read(reading(new_count=300, new_timed=300, new_slow=150), 1.0, GATES).findings(1.0, GATES)
    assert alone.sampled[GateName.LATENCY] == beside
    assert Observed(300, 0, 0.0) in alone.sampled[GateName.ERRORS]


def test_what_is_slow_is_known_once_the_old_version_was_asked_often_enough_and_stays_so():
    tally = Tally().read(reading(baseline=BASELINE_COUNT - 1), 0.1, GATES)
    assert tally.slow_s is None
    tally = tally.read(reading(baseline=BASELINE_COUNT), 0.1, GATES)
    assert tally.slow_s == pytest.approx(0.02)
    later = Reading("r/1.0", Counts(), 1000, {0.95: 99.0})
    assert tally.read(later, 0.1, GATES).slow_s == pytest.approx(0.02)


def test_a_quantile_that_is_not_told_is_the_next_one_that_is():
    gates = replace(GATES, latency=LatencyGate(quantile=0.97, ratio=1.0))
    assert Tally().read(reading(baseline=99), 0.1, gates).slow_s == pytest.approx(0.03)
    gates = replace(GATES, latency=LatencyGate(quantile=0.999, ratio=1.0))
    assert Tally().read(reading(baseline=99), 0.1, gates).slow_s == pytest.approx(0.03)


def test_counts_that_shrank_are_kept_and_another_key_begins():
    tally = Tally().read(reading(new_count=10, old_count=20), 0.5, GATES)
    key = tally.key("r", 1)
    tally = tally.read(reading(new_count=4, old_count=25), 0.5, GATES)
    assert tally.key("r", 1) != key
    assert tally.findings(0.5, GATES).sampled[GateName.ERRORS] == (Compared(0.5, 10, 0, 20, 0),)


def test_only_what_is_asked_is_told_and_what_the_shadow_lacked_counts_as_unlike():
    counted = reading(shadowed=10, disagreed=1, shadow_errors=2, new_count=5)
    tally = Tally().read(counted, 0.0, GATES)
    assert tally.findings(0.0, GATES).sampled == {GateName.DISAGREEMENT: (Observed(10, 3),)}
    assert tally.findings(0.5, Gates(errors=None, latency=None)).sampled == {}


def test_golden_inputs_are_kept_over_stages():
    tally = Tally().with_golden(Golden(1, 1, 0)).turned(0.1, GATES)
    assert tally.findings(1.0, GATES).golden == Golden(1, 1, 0)


def test_more_hits_than_answers_are_no_hits():
    """Workers are asked one after another, so one may have counted on meanwhile."""
    tally = Tally().read(reading(new_count=1, new_errors=2), 0.5, GATES)
    assert tally.findings(0.5, GATES).sampled[GateName.ERRORS] == (Compared(0.5, 1, 1, 0, 0),)


def test_written_and_read_it_is_the_same():
    tally = Tally().read(reading(new_count=10, old_count=200, old_errors=1, baseline=99), 0.5, GATES)
    tally = tally.turned(0.5, GATES).with_golden(Golden(1, 1, 0)).read(reading(new_count=3), 1.0, GATES)
    value = tally_value(tally)
    assert read_tally(Document("it", "", value)) == tally
    assert astuple(tally.counts)[0] == 3
    with pytest.raises(InvalidArgumentError):
        read_tally(Document("it", "", {**value, "epoch": -1}))
