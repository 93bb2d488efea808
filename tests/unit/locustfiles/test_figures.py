"""Exact figures beside locust's."""

import math
import random

import pytest
from swarm.figures import CLOSED, OPEN, Figures

ROW = (OPEN, "REST", "rest-json tiny")


def test_quantiles_are_within_a_thousandth_of_the_exact_ones():
    draw = random.Random(3)
    latencies_ms = [draw.lognormvariate(3.0, 1.0) for _ in range(20_001)]
    figures = Figures()
    for one in latencies_ms:
        figures.add(ROW, one, failed=False)
    latencies_ms.sort()
    for ratio in (0.001, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = latencies_ms[max(1, math.ceil(ratio * len(latencies_ms))) - 1]
        assert figures.rows[ROW].quantile_ms(ratio) == pytest.approx(exact, rel=1e-3, abs=1e-3)


def test_failures_and_requests_without_a_latency_are_counted():
    figures = Figures()
    figures.add(ROW, 5.0, failed=True)
    figures.add(ROW, None, failed=True)
    figures.add(ROW, 7.0, failed=False)
    one = figures.rows[ROW]
    assert (one.requests, one.failures) == (3, 2)
    assert one.quantile_ms(1.0) == 7.0


def test_no_latency_gives_nan_and_what_is_too_long_the_longest():
    figures = Figures()
    figures.add(ROW, None, failed=True)
    assert math.isnan(figures.rows[ROW].quantile_ms(0.5))
    figures.add(ROW, 1e12, failed=True)
    assert figures.rows[ROW].quantile_ms(0.5) == 3_600_000.0


def test_workers_figures_add_up_to_those_of_one_process():
    alone, master = Figures(), Figures()
    workers = [Figures(sent_on=True) for _ in range(3)]
    draw = random.Random(4)
    for number in range(15_000):
        row = (CLOSED if number % 2 else OPEN, "gRPC", "oip-grpc tiny")
        latency_ms, failed = draw.expovariate(0.1), number % 7 == 0
        alone.add(row, latency_ms, failed=failed)
        workers[number % 3].add(row, latency_ms, failed=failed)
        workers[number % 3].lag.add(latency_ms / 100, failed=False)
        if number % 1000 == 0:
            for worker in workers:
                master.put(worker.take())
    for worker in workers:
        master.put(worker.take())
    assert master.lag.requests == 15_000
    assert master.rows.keys() == alone.rows.keys()
    for row, one in alone.rows.items():
        assert (master.rows[row].requests, master.rows[row].failures) == (one.requests, one.failures)
        for ratio in (0.5, 0.99, 1.0):
            assert master.rows[row].quantile_ms(ratio) == one.quantile_ms(ratio)


def test_what_was_taken_is_not_taken_twice():
    worker, master = Figures(sent_on=True), Figures()
    worker.add(ROW, 1.0, failed=False)
    for _ in range(3):
        master.put(worker.take())
    assert master.rows[ROW].requests == 1


def test_a_cleared_table_is_empty():
    figures = Figures()
    figures.add(ROW, 1.0, failed=False)
    figures.lag.add(1.0, failed=False)
    figures.clear()
    assert figures.rows == {}
    assert figures.lag.requests == 0
