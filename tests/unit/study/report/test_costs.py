"""The formulas of cost and energy, by hand."""

import math
from dataclasses import replace

import pytest

from edgewise.study.report.costs import cost, costs
from edgewise.study.report.index import Index
from edgewise.study.results import Estimate
from support import study_results
from support.study_results import PRICES


@pytest.fixture(scope="module")
def result():
    return study_results.quick()


def found(result, target, load=60.0, profile="4g"):
    return next(
        one
        for one in result.cells
        if (one.cell.target, one.cell.load) == (target, load) and one.cell.profile in {"", profile}
    )


def test_an_edge_node_is_paid_by_its_answers(result):
    one = cost(found(result, "edge"), PRICES, 9_400)
    # 0.06 an hour, 60 answers a second: 216,000 an hour.
    assert one.node == pytest.approx(0.06 / 216_000 * 1e6)
    assert one.transfer == 0
    assert one.node_kwh == pytest.approx(12 / 60 * 1e6 / 3.6e6)


def test_what_goes_to_the_cloud_pays_for_its_bytes(result):
    one = cost(found(result, "cloud"), PRICES, 9_400)
    assert one.node == pytest.approx(0.40 / 216_000 * 1e6)
    assert one.transfer == pytest.approx(9.4 * 0.09)
    assert one.total == pytest.approx(one.node + one.transfer)


def test_the_device_waits_as_long_as_an_answer_takes(result):
    one = replace(found(result, "cloud"), mean_ms=Estimate(90.0, 80.0, 100.0))
    assert cost(one, PRICES, 9_400).device_kwh == pytest.approx(2.0 * 0.090 * 1e6 / 3.6e6)


def test_the_gateway_keeps_both_nodes_and_pays_for_what_crossed(result):
    one = found(result, "gateway")
    runs = tuple(replace(run, sites={"cloud": 75, "edge": 25}) for run in one.runs)
    made = cost(replace(one, runs=runs), PRICES, 10_000)
    assert made.node == pytest.approx(0.46 / 216_000 * 1e6)
    assert made.transfer == pytest.approx(0.75 * 10.0 * 0.09)


def test_what_was_not_answered_is_paid_by_the_answers(result):
    whole = found(result, "edge")
    half = replace(whole, availability=Estimate(0.5, 0.4, 0.6))
    assert cost(half, PRICES, 0).node == pytest.approx(2 * cost(whole, PRICES, 0).node)


def test_what_has_no_price_has_no_cost(result):
    one = cost(found(result, "edge"), {"edge_node_per_hour": 0.06}, math.nan)
    assert not math.isnan(one.total)
    assert math.isnan(one.total_kwh)
    assert math.isnan(cost(found(result, "cloud"), PRICES, math.nan).total)
    nothing = replace(found(result, "edge"), availability=Estimate(0.0, 0.0, 0.1))
    assert math.isnan(cost(nothing, PRICES, 0).total)


def test_a_busy_node_is_cheaper_than_one_that_waits(result):
    index = Index(result)
    [setting] = index.settings
    for one in costs(index, setting):
        if one.cell.cell.target != "gateway":
            assert one.busy_node < one.node
