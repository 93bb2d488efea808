"""What pods counted: read out of metrics, summed up, and taken since a moment."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.agent.kubernetes.pod_numbers import PodNumbers, read_numbers, summed
from edgewise.core.errors import UnavailableError
from edgewise.model_server.metrics import ServerMetrics


def counted(*requests, model="pets"):
    """Metrics of a server that has ended requests: (code, seconds)."""
    metrics = ServerMetrics("cloud", "cloud")
    for code, seconds in requests:
        metrics.received += 1
        metrics.finished(model=model, protocol="tfs-rest", method="Predict", code=code, seconds=seconds)
    return metrics.exposition().decode()


def test_errors_are_those_of_the_version_and_who_was_sent_away_is_none():
    text = counted(
        ("OK", 0.01),
        ("INVALID_ARGUMENT", 0.01),
        ("INTERNAL", 0.01),
        ("DEADLINE_EXCEEDED", 0.01),
        ("UNAVAILABLE", 0.01),
        ("CANCELLED", 0.01),
    )
    numbers = read_numbers(text, "pets")
    assert (numbers.requests, numbers.errors, numbers.timed) == (6, 2, 6)


def test_other_models_do_not_count():
    assert read_numbers(counted(("OK", 0.1), model="tiny"), "pets") == PodNumbers()


def test_slow_is_what_takes_longer_than_the_next_bound():
    numbers = read_numbers(counted(("OK", 0.004), ("OK", 0.02), ("OK", 0.03), ("OK", 0.2)), "pets")
    assert numbers.timed == 4
    assert numbers.slower(0.011) == 2
    assert numbers.slower(0.025) == 2
    assert numbers.slower(0.0) == 4
    assert numbers.slower(100.0) == 0


def test_a_quantile_lies_in_its_bucket():
    numbers = read_numbers(counted(*[("OK", number / 1000) for number in range(1, 101)]), "pets")
    assert numbers.quantile_s(0.5) == pytest.approx(0.05, abs=0.002)
    assert 0.05 < numbers.quantile_s(0.95) <= 0.1
    assert PodNumbers().quantile_s(0.5) == 0.0


def test_what_is_slower_than_every_bound_is_estimated_by_the_last():
    assert read_numbers(counted(("OK", 100.0)), "pets").quantile_s(0.5) == 30.0


def test_what_is_no_metrics_is_said():
    with pytest.raises(UnavailableError, match="Prometheus' text format"):
        read_numbers("<html>", "pets")


NUMBERS = st.lists(st.integers(0, 50), min_size=3, max_size=3).map(
    lambda steps: PodNumbers(sum(steps), steps[0], (0.1, 1.0, math.inf), (steps[0], steps[0] + steps[1], sum(steps)))
)


@given(before=NUMBERS, more=NUMBERS)
def test_since_then_is_what_came_afterwards(before, more):
    assert summed([before, more]).since(before) == more


@given(before=NUMBERS, after=NUMBERS)
def test_a_process_that_began_anew_counts_from_zero(before, after):
    if after.requests < before.requests:
        assert after.since(before) == after
