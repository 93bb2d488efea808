import math
from fractions import Fraction

import pytest

from edgewise.core import queueing
from edgewise.core.errors import InvalidArgumentError
from edgewise.core.queueing import (
    Stage,
    allen_cunneen_wait_s,
    break_even_delay,
    crossover_utilisation,
    departure_scv,
    erlang_b,
    erlang_c,
    first_crossing,
    kingman_wait_s,
    kraemer_langenbach_belz_wait_s,
    mm1_mean_wait_variance_s2,
    mm1_wait_s,
    mmc_wait_quantile_s,
    mmc_wait_s,
    mmc_wait_tail,
    occupancy,
    pollaczek_khinchine_wait_s,
    tandem,
    time_at,
    transfer_s,
    wait_quantile_s,
    whitt_wait_s,
)

UTILISATIONS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)

# For ten places at 0.6 the published table has 1.48; the exact value is 1.47468 (see the test in fractions).
BREAK_EVEN = {
    2: ("0.33", "0.67", "0.94", "1.37", "2.22", "4.74"),
    5: ("0.42", "0.95", "1.38", "2.08", "3.45", "7.48"),
    10: ("0.43", "0.99", "1.47", "2.26", "3.80", "8.33"),
    math.inf: ("0.43", "1.00", "1.50", "2.33", "4.00", "9.00"),
}


@pytest.mark.parametrize(
    ("places", "rho", "expected"),
    [(places, rho, value) for places, row in BREAK_EVEN.items() for rho, value in zip(UTILISATIONS, row, strict=True)],
)
def test_the_break_even_delay_is_the_published_one_to_the_last_digit(places, rho, expected):
    assert f"{break_even_delay(rho, places):.2f}" == expected


def exact_wait(servers: int, rho: Fraction) -> Fraction:
    """Of M/M/c, in service times, by the definition of Erlang C."""
    offered = servers * rho
    last = offered**servers / math.factorial(servers) / (1 - rho)
    waiting = last / (sum(offered**count / math.factorial(count) for count in range(servers)) + last)
    return waiting / (servers * (1 - rho))


@pytest.mark.parametrize("servers", [1, 2, 5, 10, 40])
@pytest.mark.parametrize("tenths", [3, 5, 6, 7, 8, 9])
def test_waits_and_break_even_delays_agree_with_exact_fractions(servers, tenths):
    rho = Fraction(tenths, 10)
    exact = exact_wait(servers, rho)
    assert mmc_wait_s(float(rho) * servers, 1.0, servers) == pytest.approx(float(exact), rel=1e-12)
    delay = float(rho / (1 - rho) - exact)
    assert break_even_delay(float(rho), servers) == pytest.approx(delay, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("servers", "offered", "blocked", "waiting"),
    [(1, 0.5, 1 / 3, 0.5), (2, 1.0, 0.2, 1 / 3), (10, 6.0, 0.0431418, 0.1012945), (100, 90.0, 0.0269573, 0.2169366)],
)
def test_erlang_b_and_c_at_tabled_places(servers, offered, blocked, waiting):
    assert erlang_b(servers, offered) == pytest.approx(blocked, rel=1e-4)
    assert erlang_c(servers, offered) == pytest.approx(waiting, rel=1e-4)


def test_erlang_b_of_ten_thousand_servers_does_not_overflow():
    assert 0 < erlang_b(10_000, 9_900.0) < 0.01


def test_nobody_waits_where_nobody_comes():
    assert erlang_c(3, 0.0) == 0
    assert mmc_wait_s(0.0, 1.0, 3) == 0
    assert whitt_wait_s(0.0, 1.0, 3, 1.0, 0.1) == 0
    assert kraemer_langenbach_belz_wait_s(0.0, 1.0, 0.0, 0.0) == 0
    stage = time_at(Stage("server", (1.0, 1.5)), 0.0, 1.0)
    assert (stage.wait_s, stage.service_s, stage.utilisation) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("rate", [1.0, 1.5])
def test_without_a_steady_state_the_wait_is_infinite(rate):
    assert erlang_c(1, rate) == 1
    assert mm1_wait_s(rate, 1.0) == math.inf
    assert pollaczek_khinchine_wait_s(rate, 1.0, 0.0) == math.inf
    assert kingman_wait_s(rate, 1.0, 0.0, 0.0) == math.inf
    assert whitt_wait_s(2 * rate, 1.0, 2, 0.5, 0.5) == math.inf
    assert mmc_wait_tail(5.0, rate, 1.0, 1) == 1
    assert mmc_wait_quantile_s(0.5, rate, 1.0, 1) == math.inf
    assert mm1_mean_wait_variance_s2(rate, 1.0, 100) == math.inf
    state = occupancy(rate, (1.0,))
    assert (state.waiting_ratio, state.mean_waiting, state.mean_served) == (1.0, math.inf, 1.0)
    assert time_at(Stage("server", (1.0,)), rate, 1.0).wait_s == math.inf


def test_the_tail_and_the_quantile_of_the_wait_are_each_others_inverse():
    for quantile in (0.8, 0.95, 0.99, 0.9999):
        wait_s = mmc_wait_quantile_s(quantile, 1.6, 1.0, 2)
        assert mmc_wait_tail(wait_s, 1.6, 1.0, 2) == pytest.approx(1 - quantile)
    assert mmc_wait_quantile_s(0.1, 1.6, 1.0, 2) == 0


def test_constant_service_times_halve_the_wait():
    assert pollaczek_khinchine_wait_s(0.8, 1.0, 0.0) == pytest.approx(mm1_wait_s(0.8, 1.0) / 2)


@pytest.mark.parametrize("rho", UTILISATIONS)
def test_the_general_formulas_are_the_exact_ones_where_those_exist(rho):
    for servers in (1, 2, 7):
        exact = mmc_wait_s(rho * servers, 1.0, servers)
        assert allen_cunneen_wait_s(rho * servers, 1.0, servers, 1.0, 1.0) == pytest.approx(exact)
        assert whitt_wait_s(rho * servers, 1.0, servers, 1.0, 1.0) == pytest.approx(exact)
    for scv in (0.0, 0.3, 2.0):
        exact = pollaczek_khinchine_wait_s(rho, 1.0, scv)
        assert whitt_wait_s(rho, 1.0, 1, 1.0, scv) == pytest.approx(exact)
        assert kraemer_langenbach_belz_wait_s(rho, 1.0, 1.0, scv) == pytest.approx(exact)


def test_where_everything_is_constant_kraemer_and_langenbach_belz_know_that_nobody_waits():
    assert kraemer_langenbach_belz_wait_s(0.5, 1.0, 0.0, 0.0) == 0


def test_departures_of_an_idle_stage_are_its_arrivals_and_of_a_busy_one_its_services():
    assert departure_scv(0.0, 1, 1.0, 0.0) == 1
    assert departure_scv(1.0, 1, 1.0, 0.0) == 0
    assert departure_scv(0.7, 3, 1.0, 1.0) == pytest.approx(1.0)


def test_a_station_of_equal_servers_is_m_m_c():
    for servers in (1, 2, 6):
        capacity = tuple(4.0 * count for count in range(1, servers + 1))
        rate = 0.75 * capacity[-1]
        state = occupancy(rate, capacity)
        assert state.mean_waiting / rate == pytest.approx(mmc_wait_s(rate, 0.25, servers))
        assert state.waiting_ratio == pytest.approx(erlang_c(servers, rate / 4))
        assert state.mean_served == pytest.approx(rate / 4)


def test_two_instances_that_slow_each_other_take_longer_to_serve_and_wait_for():
    alone, slowed = (Stage("server", capacity, 1.0) for capacity in ((1.0, 2.0), (1.0, 1.4)))
    assert time_at(slowed, 1.0, 1.0).service_s > time_at(alone, 1.0, 1.0).service_s == pytest.approx(1.0)
    assert time_at(slowed, 1.0, 1.0).wait_s > time_at(alone, 1.0, 1.0).wait_s


def test_a_station_of_a_thousand_servers_does_not_overflow():
    state = occupancy(990_000.0, tuple(1_000.0 * count for count in range(1, 1001)))
    assert state.utilisation == pytest.approx(0.99)
    assert state.mean_served == pytest.approx(990.0)


def test_exponential_stages_one_behind_another_are_independent():
    stages = (Stage("uplink", (10.0,), 1.0), Stage("server", (5.0,), 1.0))
    up, served = tandem(stages, 4.0, 1.0)
    assert up.wait_s == pytest.approx(mm1_wait_s(4.0, 0.1))
    assert served.wait_s == pytest.approx(mm1_wait_s(4.0, 0.2))


def test_constant_stages_one_behind_another_wait_as_at_the_slowest_alone():
    slow_first = tandem((Stage("uplink", (5.0,)), Stage("server", (10.0,))), 4.0, 1.0)
    slow_last = tandem((Stage("uplink", (10.0,)), Stage("server", (5.0,))), 4.0, 1.0)
    alone = pollaczek_khinchine_wait_s(4.0, 0.2, 0.0)
    assert sum(stage.wait_s for stage in slow_first) == pytest.approx(alone)
    assert sum(stage.wait_s for stage in slow_last) == pytest.approx(alone)


def test_an_overloaded_stage_lets_through_what_it_can():
    up, served = tandem((Stage("uplink", (2.0,)), Stage("server", (4.0,), 1.0)), 3.0, 1.0)
    assert up.wait_s == math.inf
    assert served.utilisation == pytest.approx(0.5)
    assert math.isfinite(served.wait_s)


def test_bytes_take_their_time_on_a_link():
    assert transfer_s(12_500, 1_000) == pytest.approx(0.1)
    assert transfer_s(12_500, 0) == 0


def test_the_crossover_is_where_the_break_even_delay_is_the_way():
    for places in (2, 5, 10):
        for rho in UTILISATIONS:
            delay = break_even_delay(rho, places)
            assert crossover_utilisation(delay, places) == pytest.approx(rho, abs=1e-6)


def test_the_crossover_moves_up_where_service_times_vary_less():
    usual = crossover_utilisation(1.0, 5)
    even = crossover_utilisation(1.0, 5, service_scv=0.05)
    assert usual is not None
    assert even is not None
    assert even > usual + 0.05
    wait_difference = pollaczek_khinchine_wait_s(even, 1.0, 0.05) - whitt_wait_s(5 * even, 1.0, 5, 1.0, 0.05)
    assert wait_difference == pytest.approx(1.0, abs=1e-6)


def test_a_cloud_that_is_one_place_wins_at_no_load_unless_it_is_no_farther():
    assert crossover_utilisation(0.5, 1) is None
    assert crossover_utilisation(0.0, 2) == pytest.approx(0.0, abs=1e-3)


def test_first_crossing_finds_the_first_of_several():
    assert first_crossing(lambda x: math.sin(x) - 0.5, 0.0, 20.0) == pytest.approx(math.pi / 6)
    assert first_crossing(lambda _: -1.0, 0.0, 1.0) is None
    assert first_crossing(lambda _: math.nan, 0.0, 1.0) is None
    assert first_crossing(lambda _: 1.0, 0.0, 1.0) == 0.0


def test_the_mean_of_a_run_scatters_as_daley_says():
    # At 0.9: 9 service times of wait, and a relative variance of 443 / n.
    relative = mm1_mean_wait_variance_s2(0.9, 1.0, 443) / mm1_wait_s(0.9, 1.0) ** 2
    assert relative == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: erlang_b(0, 1.0), "servers is 0; expected a whole number that is 1 or more"),
        (lambda: erlang_c(1.5, 1.0), "servers is 1.5"),
        (lambda: mm1_wait_s(-1.0, 1.0), "arrivals_per_s is -1; expected a finite number that is 0 or more"),
        (lambda: mm1_wait_s(1.0, 0.0), "service_s is 0; expected a finite number over 0"),
        (lambda: mm1_wait_s(math.nan, 1.0), "arrivals_per_s is nan"),
        (lambda: kingman_wait_s(0.5, 1.0, -1.0, 1.0), "arrival_scv is -1"),
        (lambda: wait_quantile_s(1.0, 0.5, 1.0), "quantile is 1; expected 0 or more and less than 1"),
        (lambda: occupancy(1.0, ()), "capacity_per_s is empty"),
        (lambda: occupancy(1.0, (1.0, 0.0)), "capacity_per_s is 0"),
        (lambda: transfer_s(-1, 10), "size_bytes is -1"),
        (lambda: break_even_delay(1.0, 2), "utilisation is 1; expected 0 or more and less than 1"),
        (lambda: break_even_delay(0.5, 2.5), "places is 2.5"),
        (lambda: first_crossing(lambda x: x, 1.0, 0.0), "there is nothing between 1 and 0"),
        (lambda: departure_scv(0.5, 1, -0.1, 1.0), "arrival_scv is -0.1"),
    ],
)
def test_what_cannot_be_is_said(call, said):
    with pytest.raises(InvalidArgumentError) as caught:
        call()
    assert said in caught.value.message


def test_every_name_that_is_offered_is_there():
    assert all(hasattr(queueing, name) for name in queueing.__all__)
