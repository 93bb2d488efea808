"""Who wins a cell, and where the winner changes."""

import math
from dataclasses import replace

import pytest

from edgewise.study.cells import Cell, Run
from edgewise.study.report.contests import Metric, Reason, contest, crossovers, zeros
from edgewise.study.report.index import Index, Setting
from edgewise.study.results import CellResult, Estimate, RunResult
from support.study_results import NAN, PROFILES, quick

SETTING = Setting("pets", "rest-image")


def cell(target, mean, half=1.0, *, profile="", load=10.0, availability=(1.0, 0.99, 1.0)):
    made = Cell(target, profile, "pets", "rest-image", load, load)
    run = RunResult(Run(made, 0, 1), 100, {"ok": 100}, mean, {}, mean, 1.0, 0.1, 0.1)
    figure = Estimate(mean, mean - half, mean + half)
    return CellResult(made, (run,), 100, {"ok": 100}, figure, {0.99: figure}, Estimate(*availability), NAN)


def between(edge, cloud, metric=Metric.MEAN):
    return contest(SETTING, "4g", 10.0, first=edge, second=cloud, metric=metric)


def test_the_faster_wins_where_intervals_are_apart():
    one = between(cell("edge", 10), cell("cloud", 20))
    assert (one.winner, one.reason, one.ratio) == ("edge", Reason.LATENCY, 0.5)
    assert between(cell("edge", 20), cell("cloud", 10)).winner == "cloud"


def test_nothing_is_shown_where_intervals_overlap_or_touch():
    for cloud in (11, 12):
        one = between(cell("edge", 10), cell("cloud", cloud))
        assert (one.winner, one.reason, one.faster) == ("", Reason.OVERLAP, "edge")


def test_nothing_is_shown_without_an_interval():
    one = between(cell("edge", 10, math.nan), cell("cloud", 20))
    assert (one.winner, one.faster) == ("", "edge")
    assert between(cell("edge", math.nan), cell("cloud", 20)).faster == ""


def test_a_fast_target_that_answers_too_little_loses():
    one = between(cell("edge", 10, availability=(0.6, 0.55, 0.65)), cell("cloud", 200))
    assert (one.winner, one.reason) == ("cloud", Reason.ANSWERS)
    assert one.difference_ms.value == math.inf
    assert math.isnan(one.factor)


def test_too_few_answers_decide_nothing_while_it_may_be_chance():
    one = between(cell("edge", 10, availability=(0.97, 0.90, 0.995)), cell("cloud", 200))
    assert (one.winner, one.reason) == ("", Reason.OVERLOAD)


def test_nobody_wins_where_neither_keeps_up():
    few = (0.5, 0.45, 0.55)
    one = between(cell("edge", 10, availability=few), cell("cloud", 200, availability=few))
    assert (one.winner, one.reason) == ("", Reason.OVERLOAD)


def test_the_metric_that_is_asked_for_is_compared():
    edge = replace(cell("edge", 10), quantiles_ms={0.99: Estimate(90, 89, 91)})
    assert between(edge, cell("cloud", 20)).winner == "edge"
    assert between(edge, cell("cloud", 20), Metric.P99).winner == "cloud"
    missing = replace(edge, quantiles_ms={})
    assert between(missing, cell("cloud", 20), Metric.P99).winner == ""


def along(*pairs, half=1.0):
    """Contests of an edge against a cloud, by place."""
    return [(place, between(cell("edge", edge, half), cell("cloud", cloud, half))) for place, edge, cloud in pairs]


def test_a_crossover_lies_where_the_lines_meet():
    [change] = crossovers(along((10, 30, 20), (20, 30, 30), (40, 30, 50)))
    assert (change.below, change.above) == ("cloud", "edge")
    assert change.at == 20
    assert (change.last_below, change.first_above) == (10, 40)
    # The difference falls from 10 to 0 within 10 ms, its bounds are 2 off; then by 20 within 20 ms.
    assert (change.low, change.high) == (18, 22)


def test_there_is_no_crossover_where_only_one_is_shown():
    assert crossovers(along((10, 30, 30), (20, 30, 40), (40, 30, 50))) == []
    assert crossovers(along((10, 30, 30), (20, 30, 31))) == []
    assert crossovers([]) == []


def test_every_change_is_found():
    assert len(crossovers(along((10, 30, 20), (20, 30, 50), (40, 30, 20)))) == 2


def test_where_answers_decide_only_the_neighbours_are_known():
    drowned = between(cell("edge", 30, availability=(0.5, 0.4, 0.6)), cell("cloud", 90))
    [change] = crossovers([*along((10, 30, 50)), (20, drowned)])
    assert (change.below, change.above) == ("edge", "cloud")
    assert math.isnan(change.at)
    assert (change.low, change.high) == (10, 20)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2, 1], []), ([1, -1], [0.5]), ([-1, 3], [0.25]), ([1, math.inf], []), ([1, math.nan, -1], []), ([0, 0], [])],
)
def test_zeros(values, expected):
    assert zeros(range(len(values)), values) == expected


def test_the_index_finds_what_stands_for_every_network():
    index = Index(quick())
    [setting] = index.settings
    assert index.targets == ["cloud", "edge", "gateway"]
    assert index.profiles == ["lan", "4g"]
    assert index.rivals() == (("edge", "cloud"),)
    assert index.cell(setting, "edge", "4g", 10) is index.cell(setting, "edge", "lan", 10)
    assert index.cell(setting, "cloud", "4g", 10) is not index.cell(setting, "cloud", "lan", 10)
    assert index.cell(setting, "cloud", "4g", 11) is None


def test_networks_are_ordered_by_rtt_and_then_by_bandwidth():
    result = quick()
    names = ["edge-lossy", "cable", "fibre", "unknown", "none"]
    cells = tuple(cell("cloud", 1, profile=name) for name in names)
    index = Index(replace(result, cells=cells, profiles=PROFILES))
    assert index.profiles == ["none", "fibre", "cable", "edge-lossy", "unknown"]
    assert not index.only_rtt(["fibre", "cable"])
    assert index.only_rtt(["fibre"])
    assert not index.only_rtt(["unknown"])
