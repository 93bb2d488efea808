"""One run as the engine is told it: when, what, on which core; and the outage beside it."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from edgewise.core.errors import UnavailableError
from edgewise.study.cells import Cell, Run
from edgewise.study.outage_clock import OutageClock
from edgewise.study.outage_steps import read_steps
from edgewise.study.results import NetworkProfile, RunResult
from edgewise.study.run_job import ended_text, question_order, schedule, why
from edgewise.study.runner import StopRequest, engine_cpus
from edgewise.study.runs_left import calibration_s, warmup_s
from edgewise.study.scenario import GatewaySpec, Inputs, RunSettings, Scenario, SiteSpec, Sweep

RUN = Run(Cell("edge", "", "m", "rest-json", 50.0, 50.0), 0, 11)


def scenario(sites=(), **settings):
    run = RunSettings(**{"duration_s": 4.0, **settings})
    return Scenario("t", 1, "", run, (), sites, GatewaySpec(), Inputs(None), Sweep((), (), (), (), ()))


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
def test_what_counts_comes_behind_the_warm_up_and_does_not_depend_on_it(arrivals):
    alone = schedule(scenario(arrivals=arrivals), RUN, 0.0, None)
    behind = schedule(scenario(arrivals=arrivals), RUN, 1.5, None)
    assert np.array_equal(behind[-len(alone) :] - 1_500_000_000, alone)
    before = behind[: -len(alone)]
    assert before.size == pytest.approx(75, abs=30)
    assert before.max() < 1_500_000_000
    assert (np.diff(behind) >= 0).all()


def test_a_shape_is_of_what_counts_and_the_warm_up_is_level():
    due_ns = schedule(scenario(arrivals="constant", shape="ramp 0..2"), RUN, 2.0, None)
    edges = np.array([0, 1, 2, 3, 4, 5, 6]) * 10**9
    counts = np.histogram(due_ns, edges)[0]
    assert counts[:2].tolist() == [50, 50]
    assert counts[2] < counts[3] < counts[4] < counts[5]


def test_a_trace_has_a_warm_up_of_its_own_rate():
    due_ns = schedule(scenario(arrivals="trace"), RUN, 1.0, np.array([0.0, 0.02, 0.04]))
    assert due_ns[due_ns < 10**9].size > 20
    assert due_ns[due_ns >= 10**9].size == pytest.approx(200, abs=2)


@pytest.mark.parametrize("requests", [0, 1, 7, 20, 23])
def test_every_question_is_asked_before_any_is_asked_again(requests):
    order = question_order(5, requests, seed=3)
    assert order.size == requests
    assert order.dtype == np.uint16
    for begin in range(0, requests - 4, 5):
        assert sorted(order[begin : begin + 5].tolist()) == [0, 1, 2, 3, 4]
    assert np.array_equal(order, question_order(5, requests, seed=3))


def test_the_order_of_questions_is_of_the_seed():
    assert not np.array_equal(question_order(50, 50, seed=1), question_order(50, 50, seed=2))


def result(ok, errors):
    counts = {"ok": ok, "lost": 5 - ok, "error": 0}
    return RunResult(RUN, 5, counts, 1.0, {0.5: 1.25, 0.99: 2.5}, 3.0, 1.0, 0.0, 0.1, errors=errors)


def test_the_commonest_error_says_why():
    assert why(result(0, {"404: no model": 4, "500": 1})) == "404: no model (4 times)"
    assert why(result(0, {})) == "5 lost"
    assert len(why(result(0, {"x" * 5000: 5}))) < 400


def test_an_ended_run_tells_its_latencies_where_there_are_any():
    assert ended_text(1, 2, result(5, {}), 3).endswith("0 failed; p50 1.2 ms, p99 2.5 ms")
    assert ended_text(1, 2, result(0, {}), 3).endswith("5 failed")


@pytest.mark.parametrize(
    ("usable", "sites", "core"),
    [
        ([0], (), ()),
        ([0, 1], (), (1,)),
        ([0, 1], (SiteSpec("edge", "edge", cpus=(1,)),), (0,)),
        ([0, 1], (SiteSpec("edge", "edge", cpus=(0, 1)),), (1,)),
        ([2, 3, 5], (SiteSpec("edge", "edge", cpus=(5,)),), (3,)),
    ],
)
def test_the_engine_has_a_core_that_no_site_was_given_where_there_is_one(usable, sites, core):
    assert engine_cpus(scenario(sites), usable) == core


def test_the_warm_up_is_at_least_three_round_trips():
    asked = scenario(warmup_s=0.5)
    assert warmup_s(asked, None) == 0.5
    assert warmup_s(asked, NetworkProfile("near", 40.0)) == 0.5
    assert warmup_s(asked, NetworkProfile("far", 600.0)) == pytest.approx(1.8)


@pytest.mark.parametrize(("duration_s", "budget_s"), [(0.5, 6.0), (2.5, 8.0), (60.0, 10.0)])
def test_a_calibration_takes_no_longer_than_the_runs_deserve(duration_s, budget_s):
    assert calibration_s(scenario(duration_s=duration_s)) == budget_s


class Links:
    def __init__(self, refuse_at=None):
        self.told = []
        self.refuse_at = refuse_at
        self.all = threading.Event()

    def __call__(self, said):
        if len(self.told) == self.refuse_at:
            self.all.set()
            raise UnavailableError("no link answers")
        self.told.append(dict(said))
        if len(self.told) == 2:
            self.all.set()


STEPS = read_steps("0s:blackhole, 10ms:heal")


def test_an_outage_is_told_step_by_step_from_the_end_of_the_warm_up():
    links = Links()
    clock = OutageClock(STEPS, links, warmup_s=0.05)
    begun_s, begun_wall_s = time.monotonic(), time.time()
    clock.begin(begun_s)
    clock.begin(begun_s)
    assert links.all.wait(10)
    clock.end()
    assert [said.get("fault") for said in links.told] == ["blackhole", None]
    first, second = clock.told_text(begun_wall_s).split(", ")
    assert first.endswith("s:blackhole")
    assert second.endswith("s:heal")
    assert 0 <= float(first.partition("s:")[0]) <= float(second.partition("s:")[0])
    assert clock.problem == ""


def test_what_comes_after_the_end_of_a_run_is_left_out():
    links = Links()
    clock = OutageClock(read_steps("1000s:blackhole"), links, warmup_s=0.0)
    clock.begin(time.monotonic())
    clock.end()
    assert links.told == []
    assert clock.told_text(0.0) == ""


def test_a_run_without_an_outage_has_no_thread():
    clock = OutageClock((), Links(), warmup_s=0.0)
    before = threading.active_count()
    clock.begin(time.monotonic())
    assert threading.active_count() == before
    clock.end()


def test_a_link_that_does_not_answer_is_the_run_s_problem():
    links = Links(refuse_at=1)
    clock = OutageClock(STEPS, links, warmup_s=0.0)
    clock.begin(time.monotonic())
    assert links.all.wait(10)
    clock.end()
    assert clock.problem == "no link answers"


def test_the_first_signal_asks_and_the_second_ends():
    said = []
    stop = StopRequest()
    before = signal.getsignal(signal.SIGTERM)
    with stop.heard(said.append):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.event.wait(10)
        assert stop.signal == signal.SIGTERM
        assert len(said) == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before
