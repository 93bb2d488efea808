"""Verdicts: what is not proven is Inconclusive, and one failure is enough."""

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.gates import Findings, Gate, GateName, Gates, Golden, LatencyGate, Verdict, pooled, together
from edgewise.core.rollout.sequential import Compared, Observed

GOOD = Compared(0.5, 2_000, 4, 2_000, 4)
BAD = Compared(0.5, 2_000, 120, 2_000, 4)
RIGHT = Golden(1, 1, 0)
THIN = Compared(0.5, 20, 0, 20, 0)


def findings(errors, latency=GOOD, golden=RIGHT, **more):
    return Findings({GateName.ERRORS: (errors,), GateName.LATENCY: (latency,), **more}, golden)


def test_each_gate_says_what_is_proven():
    gates = Gates(errors=Gate(0.01), latency=LatencyGate(), disagreement=Gate(0.05))
    found = gates.verdicts(findings(BAD, THIN, **{GateName.DISAGREEMENT: (Observed(1_000, 10),)}))
    assert found == {
        GateName.ERRORS: Verdict.FAIL,
        GateName.LATENCY: Verdict.INCONCLUSIVE,
        GateName.DISAGREEMENT: Verdict.PASS,
        GateName.GOLDEN: Verdict.PASS,
    }
    assert gates.verdict(findings(BAD, THIN)) == Verdict.FAIL


def test_no_data_is_inconclusive_and_no_gate_passes():
    assert Gates().verdict(Findings()) == Verdict.INCONCLUSIVE
    assert Gates(None, None, None, golden=False).verdict(Findings()) == Verdict.PASS


@pytest.mark.parametrize(
    ("golden", "verdict"),
    [
        (Golden(), Verdict.INCONCLUSIVE),
        (Golden(2, 1, 0), Verdict.INCONCLUSIVE),
        (Golden(2, 2, 0), Verdict.PASS),
        (Golden(2, 1, 1), Verdict.FAIL),
    ],
)
def test_golden_inputs_are_all_right_or_not(golden, verdict):
    assert golden.verdict() == verdict


def test_sites_that_know_too_little_know_enough_together():
    small = findings(Compared(0.5, 150, 0, 150, 0), Compared(0.5, 150, 3, 150, 3))
    gates = Gates()
    assert gates.verdict(small) == Verdict.INCONCLUSIVE
    assert gates.verdict(pooled([small] * 12)) == Verdict.PASS
    assert pooled([small] * 12).golden == Golden(12, 12, 0)


def test_one_failure_fails_and_one_doubt_is_a_doubt():
    assert together([Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]) == Verdict.FAIL
    assert together([Verdict.PASS, Verdict.INCONCLUSIVE]) == Verdict.INCONCLUSIVE
    assert together([Verdict.PASS, Verdict.PASS]) == Verdict.PASS


def test_bounds_are_for_the_gate_s_confidence():
    low, high = Gate(0.01, confidence=0.9).bounds([GOOD])
    wide_low, wide_high = Gate(0.01, confidence=0.999).bounds([GOOD])
    assert wide_low < low < 0.0 < high < wide_high


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Gate(0.0), "a margin of 0 leaves nothing to decide"),
        (lambda: Gate(1.0), "a margin of 1 leaves nothing to decide"),
        (lambda: Gate(0.1, confidence=1.0), "a confidence of 1: expected"),
        (lambda: Gate(0.1, confidence=0.2), "a confidence of 0.2: expected"),
        (lambda: LatencyGate(quantile=1.0), "a quantile of 1 lies outside"),
        (lambda: LatencyGate(ratio=0.9), "a ratio of 0.9 would ask the new version to be faster"),
        (lambda: LatencyGate(margin=0.0), "a margin of 0"),
    ],
)
def test_gates_that_cannot_be_are_refused(make, said):
    with pytest.raises(InvalidArgumentError, match=said):
        make()


def test_slow_is_a_ratio_over_the_old_version():
    assert LatencyGate(ratio=1.5).slow_s(0.020) == pytest.approx(0.030)
