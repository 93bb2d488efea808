"""The formulas against a seeded discrete-event simulation, and against one another."""

import math

import numpy as np
import pytest
import simulate_queues
from hypothesis import given
from hypothesis import strategies as st

from edgewise.core.queueing import (
    Stage,
    allen_cunneen_wait_s,
    break_even_delay,
    kraemer_langenbach_belz_wait_s,
    mmc_wait_quantile_s,
    mmc_wait_s,
    occupancy,
    pollaczek_khinchine_wait_s,
    tandem,
    whitt_wait_s,
)

rhos = st.floats(0.01, 0.99)
scvs = st.floats(0.0, 4.0)


def simulated(rho: float, servers: int, scvs: tuple[float, float], requests: int) -> tuple[float, float]:
    rng = np.random.default_rng([7, int(100 * rho), servers])
    (means,) = simulate_queues.simulated(rng, requests, rho=rho, servers=servers, scvs=scvs)
    return simulate_queues.mean_with_error(means)


@pytest.mark.parametrize(("rho", "servers"), [(0.5, 1), (0.7, 1), (0.5, 2), (0.7, 2), (0.7, 4)])
def test_m_m_c_is_within_two_percent_of_the_simulation(rho, servers):
    mean, error = simulated(rho, servers, (1.0, 1.0), 3_000_000)
    assert error < 0.02
    assert mmc_wait_s(rho * servers, 1.0, servers) == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize(("rho", "scv"), [(0.5, 0.0), (0.7, 0.05), (0.7, 0.5), (0.9, 0.02)])
def test_m_g_1_is_within_two_percent_of_the_simulation(rho, scv):
    mean, error = simulated(rho, 1, (1.0, scv), 3_000_000)
    assert error < 0.02
    assert pollaczek_khinchine_wait_s(rho, 1.0, scv) == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize("places", [2, 5])
def test_the_break_even_delay_is_within_two_percent_of_the_simulation(places):
    edge, _ = simulated(0.7, 1, (1.0, 1.0), 12_000_000)
    cloud, _ = simulated(0.7, places, (1.0, 1.0), 1_500_000)
    assert break_even_delay(0.7, places) == pytest.approx(edge - cloud, rel=0.02)


def test_the_tail_of_m_m_c_is_that_of_the_simulation():
    high = mmc_wait_quantile_s(0.95, 1.4, 1.0, 2)
    rng = np.random.default_rng(2)
    (over,) = simulate_queues.simulated(rng, 2_000_000, rho=0.7, servers=2, measures=(lambda waits: waits > high,))
    assert over.mean() == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize(("scvs", "servers", "within"), [((1.0, 0.05), 2, 0.03), ((1.0, 0.05), 4, 0.04)])
def test_whitt_is_nearer_than_allen_and_cunneen_for_even_services(scvs, servers, within):
    mean, _ = simulated(0.5, servers, scvs, 2_000_000)
    whitt, older = (formula(0.5 * servers, 1.0, servers, *scvs) for formula in (whitt_wait_s, allen_cunneen_wait_s))
    assert whitt == pytest.approx(mean, rel=within)
    assert abs(whitt - mean) < abs(older - mean)


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_a_station_of_servers_that_slow_each_other_is_that_of_the_simulation(rho):
    capacity = (1.0, 1.6, 1.9)
    state = occupancy(rho * capacity[-1], capacity)
    means = simulate_queues.simulated_inside(np.random.default_rng(4), rho, capacity, 6_000_000)
    assert state.mean_waiting + state.mean_served == pytest.approx(means.mean(), rel=0.04)


@pytest.mark.parametrize(
    ("link", "rho", "within"), [(0.8, 0.5, 0.03), (0.5, 0.7, 0.03), (0.8, 0.7, 0.05), (0.5, 0.9, 0.05)]
)
def test_a_server_behind_a_link_is_near_the_simulation(link, rho, within):
    rng = np.random.default_rng(6)
    means = [simulate_queues.waits_behind_a_link(rng, rho, link, (0.0, 0.05)) for _ in range(30)]
    stages = (Stage("uplink", (rho / link,)), Stage("server", (1.0,), 0.05))
    assert math.fsum(stage.wait_s for stage in tandem(stages, rho, 1.0)) == pytest.approx(np.mean(means), rel=within)


@given(rhos, st.integers(1, 30))
def test_one_queue_for_all_is_never_worse_than_a_queue_each(rho, servers):
    assert mmc_wait_s(rho * servers, 1.0, servers) <= mmc_wait_s(rho, 1.0, 1) * (1 + 1e-9)


@given(rhos, rhos, st.integers(1, 12), scvs, scvs)
def test_waits_grow_with_the_load(first, second, servers, arrival_scv, service_scv):
    low, high = sorted((first, second))
    waits = [allen_cunneen_wait_s(rho * servers, 1.0, servers, arrival_scv, service_scv) for rho in (low, high)]
    assert waits[0] <= waits[1] * (1 + 1e-9)


@given(rhos, st.integers(1, 12), scvs, scvs, st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_matter(rho, servers, arrival_scv, service_scv, unit_s):
    one = whitt_wait_s(rho * servers, 1.0, servers, arrival_scv, service_scv)
    other = whitt_wait_s(rho * servers / unit_s, unit_s, servers, arrival_scv, service_scv)
    assert other == pytest.approx(one * unit_s, rel=1e-6, abs=1e-12)


@given(rhos, scvs, scvs)
def test_waits_are_never_negative_and_the_refined_one_never_above_kingman_for_even_arrivals(
    rho, arrival_scv, service_scv
):
    refined = kraemer_langenbach_belz_wait_s(rho, 1.0, arrival_scv, service_scv)
    assert 0 <= refined <= allen_cunneen_wait_s(rho, 1.0, 1, arrival_scv, service_scv) * (1 + 1e-12)
    assert whitt_wait_s(rho, 1.0, 1, arrival_scv, service_scv) >= 0


@given(rhos, st.lists(st.floats(0.1, 3.0), min_size=1, max_size=6))
def test_a_station_keeps_littles_law_with_its_own_flow(rho, steps):
    capacity = tuple(float(value) for value in np.cumsum(steps))
    rate = rho * capacity[-1]
    state = occupancy(rate, capacity)
    # What is completed is what arrives: the mean rate over the states, by brute force over many of them.
    weights = [1.0]
    for inside in range(1, 3000):
        weights.append(weights[-1] * rate / capacity[min(inside, len(capacity)) - 1])
        if weights[-1] > 1e100:
            weights = [weight / 1e100 for weight in weights]
    total = math.fsum(weights)
    inside = math.fsum(count * weight for count, weight in enumerate(weights)) / total
    assert state.mean_waiting + state.mean_served == pytest.approx(inside, rel=1e-6)
