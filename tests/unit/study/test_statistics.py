"""Intervals against published figures, and against samples whose truth is known."""

import math

import numpy as np
import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.statistics import (
    MAX_BLOCKS_PER_RUN,
    Resampled,
    block_count,
    blocks,
    student_t,
    student_tail,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(successes, trials, low, high):
    # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I, method 3.
    found = wilson(successes, trials)
    assert found.value == successes / trials
    assert found.low == pytest.approx(low, abs=6e-5)
    assert found.high == pytest.approx(high, abs=6e-5)


def test_trials_that_depend_on_each_other_are_worth_fewer():
    alone, clustered = wilson(90, 100), wilson(900, 1000, effective_trials=100)
    assert clustered == alone
    assert wilson(900, 1000).high - wilson(900, 1000).low < alone.high - alone.low


def test_a_share_of_nothing_is_nan_and_an_impossible_one_an_error():
    assert math.isnan(wilson(0, 0).value)
    with pytest.raises(InvalidArgumentError, match="impossible"):
        wilson(3, 2)


@pytest.mark.parametrize(
    ("share", "degrees", "value"),
    [
        (0.975, 1, 12.7062),
        (0.975, 2, 4.30265),
        (0.975, 4, 2.77645),
        (0.95, 10, 1.81246),
        (0.9995, 4, 8.6103),
        (0.975, 120, 1.97993),
        (0.975, 1e6, 1.95996),
    ],
)
def test_students_t_is_that_of_the_tables(share, degrees, value):
    assert student_t(share, degrees) == pytest.approx(value, rel=1e-5)
    assert student_tail(value, degrees) == pytest.approx(1 - share, rel=2e-4)


def test_blocks_hold_every_request_and_answer():
    latency_ns = np.array([10, 20, 30, 40, 50, 60, 70], dtype=np.int64)
    answered = np.array([True, True, False, True, True, False, True])
    cut = blocks(latency_ns, answered, 3)
    assert cut.asked.tolist() == [3, 2, 2]
    assert cut.answered.tolist() == [2, 2, 1]
    assert cut.sums_ns.tolist() == [30, 90, 70]
    assert cut.buckets.tolist() == [10, 20, 40, 50, 70]
    assert cut.counts.tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]]


def test_blocks_are_as_many_as_the_run_can_carry():
    assert block_count(0, 1) == 1
    assert block_count(6, 3) == 6
    assert block_count(40, 3) == 8
    assert block_count(100, 3) == 10
    assert block_count(10**7, 3) == MAX_BLOCKS_PER_RUN
    assert block_count(10**7, 10**6) == 1


def queue_ns(draws, requests, utilisation=0.7, service_ns=20e6):
    """Sojourn times of an M/M/1 queue in its steady state."""
    gaps = draws.exponential(service_ns / utilisation, requests)
    services = draws.exponential(service_ns, requests)
    backlog = draws.exponential(service_ns / (1 - utilisation)) if draws.random() < utilisation else 0.0
    walk = np.concatenate([[0.0], np.cumsum(services[:-1] - gaps[:-1])])
    waits = np.maximum(walk + backlog, walk - np.minimum.accumulate(walk))
    return (waits + services).astype(np.int64)


def interval(runs, draws, figure, **options):
    parts = [blocks(run, np.ones(run.size, dtype=bool), block_count(run.size, len(runs))) for run in runs]
    resampled = Resampled(parts, draws, **options)
    every = np.concatenate(runs) / 1e6
    if figure == "mean":
        return resampled.mean_ms(float(every.mean()))
    return resampled.quantile_ms(float(np.quantile(every, figure, method="inverted_cdf")), figure)


@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_intervals_hold_the_truth_though_requests_wait_for_each_other(drift):
    draws = np.random.default_rng(11)
    truths = {"mean": 20 / 0.3, 0.5: 20 / 0.3 * math.log(2)}
    held = dict.fromkeys(truths, 0)
    for _ in range(100):
        runs = [(queue_ns(draws, 500) * math.exp(drift * draws.standard_normal())).astype(np.int64) for _ in range(4)]
        for figure, truth in truths.items():
            found = interval(runs, draws, figure, replicates=200)
            held[figure] += found.low <= truth <= found.high
    # Of intervals that took the requests for independent, 50 to 60 would.
    assert min(held.values()) >= 88


def test_order_within_a_run_matters_to_the_interval():
    draws = np.random.default_rng(5)
    runs = [queue_ns(draws, 4000) for _ in range(3)]
    mixed = np.concatenate(runs)
    draws.shuffle(mixed)
    ordered = interval(runs, np.random.default_rng(1), "mean")
    shuffled = interval(np.split(mixed, 3), np.random.default_rng(1), "mean")
    assert ordered.value == pytest.approx(shuffled.value)
    assert ordered.high - ordered.low > 2 * (shuffled.high - shuffled.low)


def test_runs_that_differ_widen_the_interval():
    draws = np.random.default_rng(5)
    alike = [draws.exponential(20e6, 2000).astype(np.int64) for _ in range(3)]
    apart = [(run * factor).astype(np.int64) for run, factor in zip(alike, (0.8, 1.0, 1.2), strict=True)]
    one, other = interval(alike, np.random.default_rng(1), 0.5), interval(apart, np.random.default_rng(1), 0.5)
    assert other.high - other.low > 3 * (one.high - one.low)


def test_two_runs_that_differ_still_say_something():
    draws = np.random.default_rng(5)
    apart = [(draws.exponential(20e6, 500) * factor).astype(np.int64) for factor in (0.9, 1.1)]
    found = interval(apart, np.random.default_rng(1), "mean")
    # With one degree of freedom the limits would lie at a quarter and at four times the mean.
    assert 0.5 * found.value < found.low < 0.85 * found.value
    assert 1.15 * found.value < found.high < 2.0 * found.value


def test_few_requests_feign_no_certainty():
    # Two halves that are alike by chance: their means differ by a thousandth, the requests by a factor of two.
    run = np.array([10.0, 20.0, 15.0, 20.015, 10.0, 15.015]) * 1e6
    found = interval([run.astype(np.int64)], np.random.default_rng(1), "mean")
    assert found.low < 0.9 * found.value
    assert found.high > 1.1 * found.value


def test_the_upper_limit_of_a_tail_exceeds_what_was_seen():
    draws = np.random.default_rng(5)
    runs = [draws.exponential(20e6, 50).astype(np.int64) for _ in range(3)]
    found = interval(runs, np.random.default_rng(1), 0.99)
    assert found.high > max(run.max() for run in runs) / 1e6
    assert found.high / found.value >= found.value / found.low * (1 - 1e-9)


def test_a_single_run_has_an_interval_and_a_single_request_none():
    draws = np.random.default_rng(5)
    found = interval([queue_ns(draws, 1000)], draws, 0.5)
    assert found.low < found.value < found.high
    alone = interval([np.array([20_000_000])], draws, 0.5)
    assert alone.value == 20.0
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)


def test_only_runs_are_drawn_when_their_parts_differ_by_plan():
    # Each run is the same: quick, then slow. Blocks drawn at random would be quicker or slower than any run.
    run = np.concatenate([np.full(500, 10_000_000), np.full(500, 100_000_000)]).astype(np.int64)
    draws = np.random.default_rng(1)
    by_runs = interval([run, run, run], draws, "mean", within=False)
    assert by_runs.low == by_runs.value == by_runs.high == pytest.approx(55.0)
    by_blocks = interval([run, run, run], draws, "mean")
    assert by_blocks.high - by_blocks.low > 10.0


def test_the_same_seed_gives_the_same_interval():
    runs = [queue_ns(np.random.default_rng(seed), 300) for seed in range(3)]
    assert interval(runs, np.random.default_rng(9), 0.99) == interval(runs, np.random.default_rng(9), 0.99)
    assert interval(runs, np.random.default_rng(9), 0.99) != interval(runs, np.random.default_rng(8), 0.99)
