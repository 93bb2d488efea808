"""Which cells and runs a scenario has, in which order, and how long they take."""

from dataclasses import replace
from itertools import pairwise

import pytest

from edgewise.study import planning
from edgewise.study.cells import Cell
from edgewise.study.scenario import (
    GatewaySpec,
    Inputs,
    MlperfSpec,
    ModelSpec,
    Outage,
    RunSettings,
    Scenario,
    SiteSpec,
    Sweep,
)

CLOUD, EDGE = SiteSpec("cloud", "cloud"), SiteSpec("edge", "edge")
CUT = Outage("cut", "1s:blackhole, 2s:heal")


def study(sites=(CLOUD, EDGE), run=None, **sweep):
    keys = {
        "targets": ("cloud", "edge", "gateway"),
        "profiles": ("fibre", "4g"),
        "models": ("pets",),
        "protocols": ("rest-image",),
        "loads": (10.0, 40.0),
        **sweep,
    }
    models = tuple(ModelSpec(name, name, "pets") for name in keys["models"])
    return Scenario(
        title="a study",
        seed=1,
        text="",
        run=run or RunSettings(duration_s=4, warmup_s=1, repeats=3),
        models=models,
        sites=sites,
        gateway=GatewaySpec(),
        inputs=Inputs(images=None),
        sweep=Sweep(**keys),
    )


def test_a_target_that_does_not_cross_the_link_is_measured_once_for_all_networks():
    cells = planning.cells(study())
    assert len(cells) == len(set(cells)) == 2 * (2 + 1 + 2)
    assert {cell.profile for cell in cells if cell.target == "edge"} == {""}
    assert {cell.profile for cell in cells if cell.target == "gateway"} == {"fibre", "4g"}
    assert len({cell.name for cell in cells}) == len(cells)


def test_an_outage_does_not_touch_a_target_that_does_not_cross_the_link():
    cells = planning.cells(study(outages=(CUT,), profiles=("4g",), loads=(10.0,)))
    assert {(cell.target, cell.outage) for cell in cells} == {("cloud", "cut"), ("gateway", "cut"), ("edge", "")}


def test_an_outage_without_steps_is_no_outage():
    cells = planning.cells(study(outages=(Outage("calm", ""), CUT), profiles=("4g",), loads=(10.0,)))
    assert sorted((cell.target, cell.outage) for cell in cells) == [
        ("cloud", ""),
        ("cloud", "cut"),
        ("edge", ""),
        ("gateway", ""),
        ("gateway", "cut"),
    ]


def test_a_site_that_pools_places_gets_the_load_of_each():
    cells = planning.cells(study(sites=(replace(CLOUD, pooled=5), EDGE)))
    assert {(cell.target, cell.load, cell.rate) for cell in cells} == {
        ("cloud", 10, 50),
        ("cloud", 40, 200),
        ("edge", 10, 10),
        ("edge", 40, 40),
        ("gateway", 10, 10),
        ("gateway", 40, 40),
    }


def test_what_is_left_out_is_not_measured():
    cells = planning.cells(study(without=({"target": "gateway", "load": 40.0}, {"profile": "4g"})))
    assert {(cell.target, cell.profile, cell.load) for cell in cells} == {
        ("cloud", "fibre", 10),
        ("cloud", "fibre", 40),
        ("gateway", "fibre", 10),
        ("edge", "", 10),
        ("edge", "", 40),
    }


def test_the_repeats_of_a_cell_stand_apart_and_models_change_seldom():
    scenario = study(models=("pets", "dogs"), batching={"one": {}, "four": {}})
    runs = planning.runs(scenario)
    assert len(runs) == len(set(runs)) == len(planning.cells(scenario)) * 3
    served = [(run.cell.model, run.cell.batching) for run in runs]
    assert sum(before != after for before, after in pairwise(served)) == 3
    for group in set(served):
        repeats = [run.repeat for run, own in zip(runs, served, strict=True) if own == group]
        assert repeats == sorted(repeats)


def test_the_order_differs_from_round_to_round_and_repeats_with_the_seed():
    scenario = study()
    rounds = [[run.cell for run in planning.runs(scenario) if run.repeat == repeat] for repeat in range(3)]
    assert rounds[0] != rounds[1] != rounds[2]
    assert planning.runs(scenario) == planning.runs(scenario)
    assert planning.runs(scenario) != planning.runs(replace(scenario, seed=2))


def test_cells_that_differ_in_target_or_network_are_asked_the_same_at_the_same_times():
    scenario = study()
    seeds = {}
    for run in planning.runs(scenario):
        seeds.setdefault((run.cell.load, run.repeat), set()).add(run.seed)
    assert all(len(shared) == 1 for shared in seeds.values())
    assert len(set.union(*seeds.values())) == 2 * 3


def test_each_target_model_protocol_and_batching_is_calibrated_once():
    scenario = study(protocols=("rest-image", "oip-grpc"))
    found = planning.calibrated(scenario)
    assert len(found) == len(set(found)) == 3 * 2
    assert planning.calibrated(replace(scenario, calibrate=False)) == ()


@pytest.mark.parametrize(
    ("targets", "sites", "asked"),
    [
        (("edge",), (CLOUD, EDGE), ["edge"]),
        (("gateway",), (CLOUD, EDGE), ["cloud", "edge"]),
        (("cloud",), (CLOUD, EDGE, SiteSpec("east", "cloud")), ["cloud"]),
        (("gateway", "east"), (CLOUD, EDGE, SiteSpec("east", "cloud")), ["cloud", "edge", "east"]),
    ],
)
def test_only_sites_that_are_needed_are_asked(targets, sites, asked):
    assert [site.name for site in planning.asked_sites(study(sites=sites, targets=targets))] == asked


def test_the_expected_time_is_that_of_the_runs_and_of_what_lies_between():
    scenario = study(targets=("cloud",), profiles=("4g",), loads=(10.0,))
    overheads = planning.Overheads(start_s=100, model_s=30, run_s=2, gateway_s=7, calibration_s=11, report_s=1000)
    assert planning.expected_s(scenario, overheads) == 100 + 30 + 11 + 3 * (4 + 1 + 2) + 1000
    assert planning.expected_s(replace(scenario, calibrate=False), overheads) == 100 + 30 + 3 * 7 + 1000
    # Over a long way, a run warms up for longer.
    longer = planning.expected_s(scenario, overheads, lambda cell: 5.0 if cell.profile == "4g" else 1.0)
    assert longer == planning.expected_s(scenario, overheads) + 3 * 4


def test_a_gateway_starts_anew_for_each_network_and_after_each_outage():
    calm = study(targets=("gateway",), profiles=("4g",), loads=(10.0,))
    none = planning.Overheads(gateway_s=0, outage_s=0)
    some = planning.Overheads(gateway_s=10, outage_s=0)
    assert planning.expected_s(calm, some) - planning.expected_s(calm, none) == pytest.approx(10)
    cut = replace(calm, sweep=replace(calm.sweep, outages=(CUT,)))
    assert planning.expected_s(cut, some) - planning.expected_s(cut, none) == pytest.approx(30)
    waiting = planning.Overheads(gateway_s=0, outage_s=2)
    assert planning.expected_s(cut, waiting) - planning.expected_s(cut, none) == pytest.approx(6)


def test_mlperf_takes_its_time_for_each_target_and_scenario():
    scenario = study(targets=("cloud", "edge"), profiles=("4g",), loads=(10.0,))
    ruled = replace(
        scenario, mlperf=MlperfSpec(("Server", "Offline"), target_qps=10, min_duration_s=60, min_queries=100)
    )
    once = planning.expected_s(ruled) - planning.expected_s(scenario)
    assert once == pytest.approx(4 * 60 * planning.Overheads().mlperf_ratio)


def test_a_nodes_price_is_by_default_that_of_its_tier():
    scenario = replace(study(sites=(CLOUD, EDGE, SiteSpec("attic", "edge"))), prices={"edge_node_watts": 7.0})
    prices = planning.prices(scenario)
    assert prices["attic_node_watts"] == prices["edge_node_watts"] == 7.0
    assert prices["per_gb"] == planning.PRICES["per_gb"]
    assert set(prices) <= set(planning.price_names(scenario.sites))


def test_a_cell_matches_a_rule_when_all_of_it_fits():
    cell = Cell("edge", "", "pets", "rest-image", 10, 10)
    assert planning.matches(cell, {"target": "edge", "load": 10})
    assert not planning.matches(cell, {"target": "edge", "load": 11})
