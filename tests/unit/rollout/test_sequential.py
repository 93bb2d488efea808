"""What counts prove: the bets against what can be computed by hand, against chance, and over sites that differ."""

import math

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.sequential import (
    Compared,
    Observed,
    difference_bounds,
    log_evidence_above,
    log_evidence_below,
    merged,
)


def test_nothing_seen_proves_nothing():
    nothing = [Compared(0.5, 0, 0, 0, 0), Observed(0, 0)]
    assert log_evidence_above(nothing, 0.01) == 0.0
    assert log_evidence_below(nothing, 0.01) == 0.0
    assert log_evidence_above([], 0.01) == log_evidence_below([], 0.01) == 0.0


def test_requests_without_a_hit_are_worth_what_the_new_version_got_of_them():
    # 1,000 requests without an error: each stake f of the largest grows by 1 + f m w / (1 - m w) a request.
    share, margin, count = 0.1, 0.01, 1000
    largest = 1.0 / (1.0 / share - margin)
    stakes = [0.95, *(2 ** (-step / 2) for step in range(1, 19))]
    by_hand = np.mean([(1.0 + part * largest * margin) ** count for part in stakes])
    found = log_evidence_below([Compared(share, 100, 0, 900, 0)], margin)
    assert found == pytest.approx(math.log(by_hand), rel=1e-12)


def test_one_error_that_only_the_new_version_has_is_strong_at_a_small_share():
    one_in_a_hundred = [Compared(0.01, 10, 4, 990, 0)]
    assert log_evidence_above(one_in_a_hundred, 0.01) > math.log(1000)
    assert log_evidence_above([Compared(0.5, 500, 4, 500, 0)], 0.01) < math.log(20)


def test_what_is_impossible_is_refuted_by_one_hit():
    assert log_evidence_above([Observed(10, 1)], 0.0) == math.inf
    assert log_evidence_above([Observed(10, 0)], 0.0) == 0.0
    assert log_evidence_above([Observed(10, 0, reference=0.5)], -0.6) == math.inf


def test_evidence_of_sites_multiplies():
    one, other = [Compared(0.1, 52, 0, 495, 2)], [Compared(0.5, 40, 0, 44, 1)]
    both = log_evidence_below([*one, *other], 0.05)
    # One site alone knows less, and so does the other.
    assert both > max(log_evidence_below(one, 0.05), log_evidence_below(other, 0.05))


def test_ten_small_sites_know_what_one_large_one_knows():
    small = [Compared(0.5, 61, 3, 59, 3)] * 10
    large = [Compared(0.5, 610, 30, 590, 30)]
    assert log_evidence_below(small, 0.05) == pytest.approx(log_evidence_below(large, 0.05), rel=1e-9)
    assert merged(small) == tuple(large)


def test_merging_keeps_shares_and_references_apart():
    evidence = [
        Compared(0.1, 1, 0, 9, 0),
        Observed(5, 1, 0.1),
        Compared(0.5, 4, 1, 4, 0),
        Compared(0.1, 2, 1, 8, 1),
        Observed(5, 1),
    ]
    assert merged(evidence) == (
        Compared(0.1, 3, 1, 17, 1),
        Compared(0.5, 4, 1, 4, 0),
        Observed(5, 1, 0.1),
        Observed(5, 1),
    )


def test_sites_that_differ_do_not_make_a_new_version_look_worse():
    # Simpson's paradox: the bad site gave the new version half of its requests, the good one a tenth. Both versions are alike at each.
    sites = [Compared(0.5, 500, 100, 500, 100), Compared(0.1, 1000, 10, 9000, 90)]
    together = Compared(0.55 / 4, 1500, 110, 9500, 190)
    low, high = difference_bounds(sites, 0.01)
    assert low < 0.0 < high
    assert log_evidence_above([together], 0.02) > math.log(100) > log_evidence_above(sites, 0.02)


def test_the_bounds_hold_the_difference_and_close_in_on_it():
    few = difference_bounds([Compared(0.5, 100, 8, 100, 3)], 0.01)
    many = difference_bounds([Compared(0.5, 100_000, 8_000, 100_000, 3_000)], 0.01)
    assert few[0] < many[0] < 0.05 < many[1] < few[1]
    assert many[1] - many[0] < 0.02
    assert difference_bounds([], 0.01) == pytest.approx((-1.0, 1.0))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_looking_all_the_time_is_wrong_no_more_often_than_allowed(share):
    """2,000 canaries whose new version is exactly as much worse as it may be, looked at 60 times each."""
    random = np.random.default_rng(7)
    alpha, margin, old, canaries, looks, step = 0.1, 0.02, 0.05, 2_000, 60, 200
    failed = passed = 0
    for _ in range(canaries):
        new_count = np.cumsum(random.binomial(step, share, looks))
        old_count = np.arange(1, looks + 1) * step - new_count
        new_hits = np.cumsum(random.binomial(np.diff(new_count, prepend=0), old + margin))
        old_hits = np.cumsum(random.binomial(np.diff(old_count, prepend=0), old))
        shown = [
            [Compared(share, *(int(count) for count in counts))]
            for counts in zip(new_count[::6], new_hits[::6], old_count[::6], old_hits[::6], strict=True)
        ]
        failed += any(log_evidence_above(one, margin) >= -math.log(alpha) for one in shown)
        passed += any(log_evidence_below(one, margin) >= -math.log(alpha) for one in shown)
    # Ville's bound with three standard deviations of the count of canaries.
    most = alpha + 3.0 * math.sqrt(alpha * (1.0 - alpha) / canaries)
    assert failed / canaries <= most
    assert passed / canaries <= most


def test_a_version_that_is_worse_is_found_and_one_that_is_not_passes():
    random = np.random.default_rng(11)
    found = {"worse": 0, "alike": 0}
    for name, new in (("worse", 0.06), ("alike", 0.01)):
        for _ in range(50):
            given = int(random.binomial(4_000, 0.5))
            counts = [
                Compared(
                    0.5,
                    given,
                    int(random.binomial(given, new)),
                    4_000 - given,
                    int(random.binomial(4_000 - given, 0.01)),
                )
            ]
            proof = log_evidence_above if name == "worse" else log_evidence_below
            found[name] += proof(counts, 0.02) >= math.log(100)
    assert found["worse"] >= 45
    assert found["alike"] >= 45


def test_a_share_drifts_with_the_hour_without_harm():
    """At night, when few errors happen, the share is small; by day it is large. The new version is no worse."""
    night, day = Compared(0.1, 1_000, 1, 9_000, 9), Compared(0.5, 5_000, 500, 5_000, 500)
    assert log_evidence_above([night, day], 0.01) < math.log(20)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Compared(0.0, 0, 0, 0, 0), "a share of 0 compares nothing"),
        (lambda: Compared(1.0, 0, 0, 0, 0), "a share of 1 compares nothing"),
        (lambda: Compared(0.5, 3, 4, 0, 0), "4 of 3 requests cannot have hit"),
        (lambda: Compared(0.5, 3, 0, 2, -1), "-1 of 2 requests cannot have hit"),
        (lambda: Observed(3, 4), "4 of 3 requests cannot have hit"),
        (lambda: Observed(3, 1, 1.0), "a reference of 1 is no share below 1"),
    ],
)
def test_counts_that_cannot_be_are_refused(make, said):
    with pytest.raises(InvalidArgumentError, match=said):
        make()
