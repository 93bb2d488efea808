import math
from dataclasses import replace

import numpy as np
import pytest

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.core.queueing import crossover_utilisation, pollaczek_khinchine_wait_s
from edgewise.study.calibration import calibrate
from edgewise.study.cells import Cell
from edgewise.study.prediction import crossover, predict
from edgewise.study.results import Calibration, NetworkProfile
from support.simulated_target import ASKING, SimulatedTarget, mean_latency_ms

FOUR_G = NetworkProfile("4g", 40.0, 10_240, 10_240, 2.0)


def calibration(
    target="edge", *, capacity=(100.0,), scv=0.02, base_ms=12.0, error=0.0, request_bytes=20_000, **changes
):
    spread = np.linspace(-0.5, 0.5, 101)
    samples = tuple(base_ms + float(value) for value in spread)
    return Calibration(
        target, "pets", "rest-image", "", base_ms, samples, capacity, scv, request_bytes, 800,
        capacity_error_ratio=error, **changes,
    )  # fmt: skip


def cell(target="edge", rate=50.0, profile="", **changes):
    return Cell(target, profile, "pets", "rest-image", rate, rate, **changes)


# --- the steady state


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9])
def test_at_the_edge_it_is_a_lone_request_and_the_wait_of_m_g_1(rho):
    found = predict(cell(rate=100 * rho), calibration(), None)
    assert found.mean_ms == pytest.approx(12.0 + 1e3 * pollaczek_khinchine_wait_s(100 * rho, 0.01, 0.02))
    assert found.utilisation == pytest.approx(rho)
    assert found.bottleneck == "server"
    assert found.note == ""


def test_nobody_asks():
    found = predict(cell(rate=0.0), calibration(), None, requests=100)
    assert found.mean_ms == pytest.approx(12.0)
    assert found.p99_ms == pytest.approx(12.5, abs=0.1)


def test_who_comes_after_a_pause_takes_longer():
    rested = calibration(pauses_ms=(5.0, 10.0, 40.0), pause_costs_ms=(0.0, 1.0, 2.0))
    # Even arrivals: 100 ms apart a pause is 88 ms, 22 ms apart it is 10, 13 ms apart 1.
    for rate, cost_ms in ((10.0, 2.0), (1e3 / 22, 1.0), (1e3 / 13, 0.0)):
        for requests in (0, 400):
            with_cost, without = (
                predict(cell(rate=rate), one, None, arrival_scv=0.0, requests=requests)
                for one in (rested, calibration())
            )
            assert with_cost.mean_ms - without.mean_ms == pytest.approx(cost_ms, abs=0.12)
            assert with_cost.p50_ms - without.p50_ms == pytest.approx(cost_ms, abs=0.12)
    assert predict(cell(rate=0.0), rested, None).mean_ms == pytest.approx(14.0)


def test_a_steady_state_has_the_pauses_of_its_runs():
    rested = calibration(pauses_ms=(5.0, 10.0, 40.0), pause_costs_ms=(0.0, 2.0, 3.0))
    for rate in (5.0, 30.0, 60.0):
        steady, runs = (predict(cell(rate=rate), rested, None, requests=requests) for requests in (0, 20_000))
        assert steady.mean_ms == pytest.approx(runs.mean_ms, rel=0.02)
    assert predict(cell(rate=95.0), rested, None).mean_ms == pytest.approx(
        predict(cell(rate=95.0), calibration(), None).mean_ms, rel=0.01
    )


@pytest.mark.parametrize(("pauses_ms", "costs_ms"), [((5.0,), ()), ((0.0, 5.0), (0.0, 1.0)), ((9.0, 5.0), (0.0, 1.0))])
def test_pauses_that_are_none_are_refused(pauses_ms, costs_ms):
    with pytest.raises(InvalidArgumentError, match="as many of both, the pauses over 0 and rising"):
        predict(cell(), calibration(pauses_ms=pauses_ms, pause_costs_ms=costs_ms), None)


def test_blocks_that_scatter_widen_the_interval():
    narrow, wide = (
        predict(cell(rate=10.0), calibration(base_error_ratio=ratio), None, requests=300) for ratio in (0.0, 0.05)
    )
    assert wide.high_mean_ms - wide.low_mean_ms > 2.0 > narrow.high_mean_ms - narrow.low_mean_ms


def test_quantiles_are_those_of_a_long_simulation():
    rng = np.random.default_rng(5)
    for rho in (0.5, 0.8):
        arrivals = np.cumsum(rng.standard_exponential(2_000_000)) / (100 * rho)
        service = rng.gamma(1 / 0.02, 0.02 * 0.01, arrivals.size)
        served = np.cumsum(service)
        waits_ms = 1e3 * (np.maximum.accumulate(arrivals - served + service) + served - service - arrivals)
        latency_ms = waits_ms + 12.0 + rng.uniform(-0.5, 0.5, arrivals.size)
        found = predict(cell(rate=100 * rho), calibration(), None)
        for ratio, value in ((0.5, found.p50_ms), (0.95, found.p95_ms), (0.99, found.p99_ms)):
            assert value == pytest.approx(np.quantile(latency_ms, ratio), rel=0.02)


def test_an_overloaded_server_has_no_steady_state():
    found = predict(cell(rate=101.0), calibration(), None, requests=500)
    assert found.utilisation == pytest.approx(1.01)
    assert {found.mean_ms, found.low_mean_ms, found.high_mean_ms, found.p50_ms, found.p95_ms, found.p99_ms} == {
        math.inf
    }
    assert found.note == "the server is overloaded"


def test_instances_that_slow_each_other_serve_more_slowly_under_load():
    slowed = calibration(capacity=(100.0, 150.0), scv=1.0)
    free = calibration(capacity=(100.0, 200.0), scv=1.0)
    assert predict(cell(rate=1.0), slowed, None).mean_ms == pytest.approx(12.0, abs=0.1)
    # At the same utilisation the queues are alike, in service times; what differs is how long service takes.
    assert predict(cell(rate=75.0), slowed, None).mean_ms > predict(cell(rate=100.0), free, None).mean_ms + 1.0


# --- the way to the cloud


def test_the_way_adds_round_trip_and_transfer():
    found = predict(cell("cloud", 0.001, "x"), calibration("cloud"), NetworkProfile("x", 30.0, 8_000, 4_000))
    # 20,000 bytes at 8 Mbit/s are 20 ms, 800 at 4 Mbit/s 1.6 ms; 0.4 ms for waking up.
    assert found.mean_ms == pytest.approx(12.0 + 30.0 + 20.0 + 1.6 + 0.4, abs=0.01)
    assert found.p50_ms == pytest.approx(found.mean_ms, abs=0.1)


def test_the_edge_has_no_way():
    assert predict(cell(), calibration(), FOUR_G) == predict(cell(), calibration(), None)


def test_what_was_there_during_the_calibration_is_not_added_again():
    profile = NetworkProfile("x", 30.0)
    whole, rest = (
        predict(cell("cloud", 1.0, "x"), calibration("cloud"), profile, base_rtt_ms=rtt_ms) for rtt_ms in (0.0, 30.0)
    )
    assert whole.mean_ms - rest.mean_ms == pytest.approx(30.0)


def test_a_narrow_uplink_is_the_bottleneck():
    found = predict(cell("cloud", 40.0, "x"), calibration("cloud"), NetworkProfile("x", 10.0, 8_000, 8_000))
    assert found.bottleneck == "uplink"
    assert found.utilisation == pytest.approx(0.8)
    wait_ms = 1e3 * pollaczek_khinchine_wait_s(40.0, 0.02, 0.0)
    # Evenly spaced by the uplink, requests hardly wait at the server.
    assert found.mean_ms == pytest.approx(12.0 + 10.4 + 20.0 + 0.8 + wait_ms, rel=0.02)


def test_an_overloaded_uplink_is_said():
    found = predict(cell("cloud", 60.0, "x"), calibration("cloud"), NetworkProfile("x", 10.0, 8_000, 8_000))
    assert (found.mean_ms, found.bottleneck, found.note) == (math.inf, "uplink", "the uplink is overloaded")


def test_sizes_that_vary_lengthen_the_wait_for_the_uplink():
    profile = NetworkProfile("x", 10.0, 8_000, 8_000)
    even, uneven = (
        predict(cell("cloud", 40.0, "x"), calibration("cloud", request_bytes_scv=scv), profile) for scv in (0.0, 0.5)
    )
    assert uneven.mean_ms > even.mean_ms + 10


def test_jitter_is_that_of_the_last_piece_of_several():
    few = predict(cell("cloud", 0.001, "x"), calibration("cloud", request_bytes=1_000), replace(FOUR_G, jitter_ms=10))
    none = predict(cell("cloud", 0.001, "x"), calibration("cloud", request_bytes=1_000), replace(FOUR_G, jitter_ms=0))
    assert few.mean_ms == pytest.approx(none.mean_ms, abs=0.1)
    assert few.p95_ms > none.p95_ms + 8
    # At 10,240 kbit/s 20,000 bytes arrive in eight pieces: the latest of some within 20 ms counts, not the mean one.
    many, still = (
        predict(cell("cloud", 0.001, "x"), calibration("cloud"), replace(FOUR_G, jitter_ms=jitter))
        for jitter in (10, 0)
    )
    assert 2 < many.mean_ms - still.mean_ms < 10


def test_a_lost_segment_costs_its_repair():
    profile = NetworkProfile("x", 100.0, loss_ratio=0.02)
    found = predict(cell("cloud", 0.001, "x"), calibration("cloud", request_bytes=1_000), profile)
    # One segment each way; a loss waits for the timer of 300 ms, and sometimes again for twice that.
    repair_ms = 2 * 0.02 * (300 + 0.02 * 300)
    assert found.mean_ms == pytest.approx(12.0 + 100.4 + repair_ms, abs=1.0)
    assert found.p50_ms == pytest.approx(112.4, abs=1.0)
    assert found.p99_ms == pytest.approx(412.4, abs=5.0)


# --- the gateway


def test_a_gateway_takes_the_way_that_its_route_takes():
    at_gateway = calibration("gateway", base_ms=13.0)
    to_edge = predict(cell("gateway", 50.0, "4g"), at_gateway, FOUR_G, route="prefer-edge")
    to_cloud = predict(cell("gateway", 50.0, "4g"), at_gateway, FOUR_G, route="cloud-only")
    assert to_edge.mean_ms == pytest.approx(predict(cell("edge", 50.0), at_gateway, None).mean_ms)
    assert to_cloud.mean_ms == pytest.approx(predict(cell("cloud", 50.0), at_gateway, FOUR_G).mean_ms)
    assert "hedge" in to_edge.note
    assert to_cloud.note == ""


@pytest.mark.parametrize("route", ["fastest", "cascade"])
def test_a_route_that_depends_on_what_it_finds_is_declined(route):
    with pytest.raises(FailedPreconditionError) as caught:
        predict(cell("gateway"), calibration("gateway"), FOUR_G, route=route)
    assert f"what the route '{route}' does depends on what it finds" in caught.value.message


# --- runs of a length


def test_short_runs_that_start_empty_wait_less_than_the_steady_state():
    steady, short, long = (predict(cell(rate=90.0), calibration(), None, requests=n) for n in (0, 300, 200_000))
    assert short.mean_ms < 0.9 * steady.mean_ms
    assert long.mean_ms == pytest.approx(steady.mean_ms, rel=0.04)
    assert long.high_mean_ms - long.low_mean_ms < (short.high_mean_ms - short.low_mean_ms) / 5


def test_the_interval_holds_the_mean_of_most_runs():
    found = predict(cell(rate=80.0), calibration(base_ms=12.0), None, requests=400, warmup=50)
    rng = np.random.default_rng(8)
    arrivals = np.cumsum(rng.standard_exponential((400, 450)), axis=1) / 80.0
    service = rng.gamma(1 / 0.02, 0.02 * 0.01, arrivals.shape)
    served = np.cumsum(service, axis=1)
    waits_ms = 1e3 * (np.maximum.accumulate(arrivals - served + service, axis=1) + served - service - arrivals)
    means_ms = 12.0 + waits_ms[:, 50:].mean(axis=1)
    assert found.mean_ms == pytest.approx(means_ms.mean(), rel=0.03)
    assert 0.90 < np.mean((means_ms >= found.low_mean_ms) & (means_ms <= found.high_mean_ms)) < 0.99


def test_more_runs_scatter_less():
    one, nine = (predict(cell(rate=80.0), calibration(), None, requests=400, runs=runs) for runs in (1, 9))
    assert nine.high_mean_ms - nine.low_mean_ms < 0.6 * (one.high_mean_ms - one.low_mean_ms)


def test_an_uncertain_capacity_widens_the_interval_where_the_server_is_busy():
    widths = {}
    for rho in (0.3, 0.9):
        for error in (0.0, 0.03):
            found = predict(cell(rate=100 * rho), calibration(error=error), None)
            widths[rho, error] = (found.high_mean_ms - found.low_mean_ms) / found.mean_ms
    assert widths[0.3, 0.03] < 0.2
    assert widths[0.9, 0.03] > 0.5
    assert widths[0.9, 0.0] < 0.1


def test_a_known_schedule_leaves_little_scatter():
    target = SimulatedTarget(seed=4)
    found = calibrate(target, ASKING, target="edge", model="pets", protocol="rest-image")
    recording = target.open_loop(85.0, 500)
    blind = predict(cell(rate=85.0), found, None, requests=450, warmup=50)
    seeing = predict(cell(rate=85.0), found, None, requests=450, schedules_s=[recording.due_ns / 1e9], warmup=50)
    measured_ms = mean_latency_ms(recording, 50)
    assert seeing.mean_ms == pytest.approx(measured_ms, rel=0.08)
    assert seeing.low_mean_ms * 0.97 < measured_ms < seeing.high_mean_ms * 1.03
    assert seeing.high_mean_ms - seeing.low_mean_ms < 0.5 * (blind.high_mean_ms - blind.low_mean_ms)


def test_what_is_due_in_the_warm_up_does_not_count():
    due_s = np.concatenate((np.zeros(50), 10 + np.arange(20.0)))
    by_time = predict(cell(rate=2.0), calibration(), None, requests=20, schedules_s=[due_s], warmup_s=5.0)
    by_count = predict(cell(rate=2.0), calibration(), None, requests=20, schedules_s=[due_s], warmup=50)
    whole = predict(cell(rate=2.0), calibration(), None, requests=70, schedules_s=[due_s])
    assert by_time.mean_ms == by_count.mean_ms == pytest.approx(12.0)
    assert whole.mean_ms > 100


def test_a_schedule_shorter_than_its_warm_up_waits_for_nothing():
    found = predict(cell(rate=2.0), calibration(), None, requests=5, schedules_s=[np.arange(3.0)], warmup=10)
    assert found.mean_ms == pytest.approx(12.0)


def test_the_path_between_satellites_makes_a_run_uncertain():
    profile = NetworkProfile("starlink", 50.0, path_spread_ms=12.0)
    found = predict(cell("cloud", 10.0, "starlink"), calibration("cloud"), profile, requests=100, runs=1)
    assert found.high_mean_ms - found.low_mean_ms > 20
    assert "15 s" in found.note


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"beside_s": 0.005},
        {"service_scv": 0.2},
        {"instances": 2, "slowdown": 1.2},
        {"largest_batch": 8, "per_more_s": 0.004},
        {"rests_after_s": 0.02, "rest_cost_s": 0.004},
        {"rests_after_s": 0.02, "rest_cost_s": 0.004, "instances": 2},
    ],
    ids=["plain", "decoding", "scattered", "instances", "batches", "rests", "instances that rest"],
)
def test_calibrated_predictions_hold_against_the_target_itself(words):
    target = SimulatedTarget(**words, seed=2)
    found = calibrate(
        target,
        ASKING,
        target="edge",
        model="pets",
        protocol="rest-image",
        instances=target.instances,
        largest_batch=target.largest_batch,
        budget_s=40.0,
    )
    for rho in (0.3, 0.7):
        rate = rho * found.capacity_per_s[-1]
        recording = target.open_loop(rate, 6_000)
        expected = predict(cell(rate=rate), found, None, requests=6_000, schedules_s=[recording.due_ns / 1e9])
        assert expected.mean_ms == pytest.approx(mean_latency_ms(recording), rel=0.05)
        latency_ms = (recording.ended_ns - recording.due_ns) / 1e6
        assert expected.p50_ms == pytest.approx(np.quantile(latency_ms, 0.5), rel=0.07)
        assert expected.p99_ms == pytest.approx(np.quantile(latency_ms, 0.99), rel=0.15)


def test_batches_say_how_valid_they_are():
    batching = calibration(capacity=tuple(1e3 * size / (6 + 4 * size) for size in range(1, 9)), largest_batch=8)
    assert "batches: one server that takes all that wait" in predict(cell(rate=100.0), batching, None).note


# --- the crossover


@pytest.mark.parametrize("rtt_ms", [5.0, 10.0, 20.0])
@pytest.mark.parametrize("places", [2, 5])
def test_the_crossover_is_that_of_the_formula(rtt_ms, places):
    edge = calibration(scv=1.0, base_ms=10.0)
    cloud = calibration("cloud", capacity=tuple(100.0 * n for n in range(1, places + 1)), scv=1.0, base_ms=10.0)
    found = crossover(edge, cloud, NetworkProfile("x", rtt_ms), pooled=places)
    assert found is not None
    assert found.utilisation == pytest.approx(crossover_utilisation((rtt_ms + 0.4) / 10, places), abs=1e-3)
    assert found.load_per_s == pytest.approx(100 * found.utilisation)
    assert found.cloud_utilisation == pytest.approx(found.utilisation)
    assert found.low_utilisation == pytest.approx(found.utilisation, abs=0.02)
    assert found.high_utilisation == pytest.approx(found.utilisation, abs=0.02)


def test_a_cloud_with_one_place_and_the_same_server_never_wins():
    assert crossover(calibration(), calibration("cloud"), NetworkProfile("x", 1.0)) is None


def test_a_faster_cloud_wins_at_once_where_it_is_near():
    found = crossover(calibration(base_ms=30.0, capacity=(35.0,)), calibration("cloud"), NetworkProfile("lan", 0.0))
    assert found is not None
    assert found.load_per_s == 0


def test_a_way_that_is_full_before_the_edge_is_leaves_the_edge_the_winner():
    # 20,000 bytes from two places: 320 kbit for each request of one place.
    narrow = NetworkProfile("x", 1.0, up_kbit_s=5_000)
    cloud = calibration("cloud", capacity=(100.0, 200.0))
    assert crossover(calibration(), cloud, narrow, pooled=2) is None
    assert crossover(calibration(), cloud, replace(narrow, up_kbit_s=1e6), pooled=2) is not None


def test_uncertain_calibrations_make_an_uncertain_crossover():
    edge, cloud = calibration(error=0.01), calibration("cloud", capacity=(100.0, 200.0), error=0.01)
    found = crossover(edge, cloud, NetworkProfile("x", 10.0), pooled=2)
    assert found is not None
    assert 0.01 < found.high_utilisation - found.low_utilisation < 0.3
    assert found.low_utilisation < found.utilisation < found.high_utilisation


# --- what cannot be


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arrival_scv": -1.0}, "arrival_scv is -1"),
        ({"requests": -1}, "requests -1"),
        ({"runs": 0}, "runs 0"),
        ({"warmup_s": -1.0}, "warmup_s -1"),
    ],
)
def test_arguments_out_of_range_are_said(changes, said):
    with pytest.raises(InvalidArgumentError) as caught:
        predict(cell(), calibration(), None, **changes)
    assert said in caught.value.message


def test_calibrations_that_say_nothing_are_refused():
    with pytest.raises(InvalidArgumentError, match="has no capacity over 0"):
        predict(cell(), calibration(capacity=()), None)
    with pytest.raises(InvalidArgumentError, match="has no latency over 0"):
        predict(cell(), replace(calibration(), base_ms=math.nan), None)
    with pytest.raises(InvalidArgumentError, match="the rate is nan"):
        predict(cell(rate=math.nan), calibration(), None)
    with pytest.raises(InvalidArgumentError, match="pooled is 0"):
        crossover(calibration(), calibration("cloud"), FOUR_G, pooled=0)


def test_outages_are_not_predicted():
    with pytest.raises(FailedPreconditionError, match="an outage is not predicted"):
        predict(cell(outage="cut"), calibration(), None)
