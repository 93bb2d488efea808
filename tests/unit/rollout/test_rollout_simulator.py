"""Whole rollouts on virtual time: agents and hub are killed, links are cut, and the ledger finds nothing.

`HYPOTHESIS_PROFILE=long` runs ten seeds of each instead of two.
"""

import os
from dataclasses import replace

import pytest
from rollout_simulator.scenario import Release, Scenario
from rollout_simulator.simulation import Simulation
from simulate_rollouts import specification

from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.waves import Amount

SEEDS = range(10 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 2)
# A third of the sites is away at some time, half of them perhaps after they switched: what is tested here is not the budget.
SCENARIO = Scenario(
    specification(error_budget=Amount(share=0.5)), sites=24, quick_s=5.0, duration_s=5_000.0, settle_s=4_000.0
)


def run(**changes):
    simulation = Simulation(replace(SCENARIO, **changes))
    simulation.run()
    assert simulation.ledger.texts == []
    assert simulation.ledger.checks > 1_000
    return simulation


def states(simulation):
    return {agent.disk.record.state for agent in simulation.agents.values()}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_good_release_reaches_every_site(seed):
    simulation = run(seed=seed)
    assert simulation.hub.rollout.state == RolloutState.COMPLETED
    assert states(simulation) == {SiteState.ACTIVE}


@pytest.mark.parametrize("seed", SEEDS)
def test_sites_that_are_enrolled_meanwhile_get_a_good_release(seed):
    simulation = run(seed=seed, late_share=0.4)
    assert simulation.late
    assert simulation.hub.rollout.state == RolloutState.COMPLETED
    assert states(simulation) == {SiteState.ACTIVE}


@pytest.mark.parametrize("abort_s", [600.0, 1_500.0])
def test_sites_that_are_enrolled_meanwhile_go_back_with_the_others(abort_s):
    simulation = run(seed=5, late_share=0.4, abort_s=abort_s)
    assert simulation.hub.rollout.state == RolloutState.ROLLED_BACK


@pytest.mark.parametrize(
    "release",
    [Release(error_ratio=0.05), Release(slow_ratio=0.3), Release(golden_wrong=1), Release(loads=False)],
    ids=str,
)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_bad_release_leaves_no_trace(release, seed):
    simulation = run(seed=seed, release=release)
    assert simulation.hub.rollout.state == RolloutState.ROLLED_BACK
    assert states(simulation) <= {SiteState.ROLLED_BACK, SiteState.PENDING}


def test_a_release_that_is_bad_at_a_few_sites_goes_back_there_alone():
    simulation = run(release=Release(loads=False, bad_share=0.05), seed=8)
    found = states(simulation)
    assert simulation.hub.rollout.state == RolloutState.COMPLETED
    assert found == {SiteState.ACTIVE, SiteState.ROLLED_BACK}


@pytest.mark.parametrize("abort_s", [15.0, 120.0, 600.0, 1_500.0])
def test_an_abort_at_any_time_brings_everybody_back(abort_s):
    simulation = run(abort_s=abort_s, seed=5)
    assert simulation.hub.rollout.state == RolloutState.ROLLED_BACK
    assert states(simulation) <= {SiteState.ROLLED_BACK, SiteState.PENDING}


def test_an_undo_after_the_end_brings_everybody_back():
    simulation = run(undo=True, seed=6)
    assert simulation.hub.rollout.state == RolloutState.ROLLED_BACK
    assert states(simulation) == {SiteState.ROLLED_BACK}


def test_killed_at_every_other_step_everything_still_ends_well():
    simulation = run(crashing_share=1.0, crash_ratio=0.5, hub_crash_ratio=0.2, seed=7)
    assert simulation.hub.crashes > 10
    assert simulation.hub.rollout.state in {RolloutState.COMPLETED, RolloutState.PAUSED, RolloutState.ROLLED_BACK}


def test_a_seed_repeats_a_run():
    first, second, other = run(seed=3, sites=8), run(seed=3, sites=8), run(seed=9, sites=8)
    assert first.digest == second.digest != other.digest
