"""The concurrency limit on modelled sites: virtual time, Poisson arrivals, exponential service, first come first served.

`Model` is a gateway with a queue of its own in front of a site with some workers at some distance. The bounds
below hold for 37 of 40 seeds and more, most of them by far.
"""

import heapq
import random
import statistics
from collections import deque

import pytest

from edgewise.core.routing.concurrency import ConcurrencyLimit

SEEDS = (1, 2, 3)
MANY = 10**6


class Model:
    """Requests arrive at `rate_per_s`, wait for the limit, travel, wait for a worker, are served and travel back."""

    def __init__(self, limit, *, workers, service_s, rate_per_s=0.0, rtt_s=0.0, room=MANY, patience_s=1.0, seed=1):
        self.limit = limit
        self.workers = workers
        self.service_s = service_s
        self.rate_per_s = rate_per_s
        self.rtt_s = rtt_s
        self.room = room
        self.patience_s = patience_s
        self.now_s = 0.0
        self.in_flight = 0
        self.arrived = 0
        self.waited = 0
        self.refused = 0
        self.answers = []  # (when, latency at the site, in flight, limit)
        self._draws = random.Random(seed)
        self._events = []
        self._number = 0
        self._queue = deque()
        self._site = deque()
        self._busy = 0
        self._next_arrival_s = 0.0

    def burst(self, requests):
        for _ in range(requests):
            self._queue.append(self.now_s)
        self._dispatch()

    def run(self, seconds):
        end_s = self.now_s + seconds
        self._next_arrival_s = max(self._next_arrival_s, self.now_s)
        while True:
            event_s = self._events[0][0] if self._events else end_s
            if self.rate_per_s and self._next_arrival_s < min(event_s, end_s):
                self.now_s = self._next_arrival_s
                self._next_arrival_s += self._draws.expovariate(self.rate_per_s)
                self._arrive()
            elif event_s < end_s:
                self.now_s, _, happens, request = heapq.heappop(self._events)
                happens(request)
            else:
                break
        self.now_s = end_s
        return self

    def _at(self, delay_s, happens, request):
        self._number += 1
        heapq.heappush(self._events, (self.now_s + delay_s, self._number, happens, request))

    def _arrive(self):
        self.arrived += 1
        while self._queue and self.now_s - self._queue[0] > self.patience_s:
            self._queue.popleft()
        self.waited += bool(self._queue) or self.in_flight >= self.limit.limit
        self._queue.append(self.now_s)
        self._dispatch()

    def _dispatch(self):
        while self._queue and self.in_flight < self.limit.limit:
            self._queue.popleft()
            self.in_flight += 1
            self._at(self.rtt_s / 2, self._reach, self.now_s)

    def _reach(self, sent_s):
        if len(self._site) + self._busy >= self.room:
            self._at(self.rtt_s / 2, self._refuse, sent_s)
            return
        self._site.append(sent_s)
        self._work()

    def _work(self):
        while self._site and self._busy < self.workers:
            self._busy += 1
            self._at(self._draws.expovariate(1 / self.service_s), self._serve, self._site.popleft())

    def _serve(self, sent_s):
        self._busy -= 1
        self._at(self.rtt_s / 2, self._answer, sent_s)
        self._work()

    def _answer(self, sent_s):
        latency_s = self.now_s - sent_s
        self.limit.answered(latency_s, self.in_flight, self.now_s)
        self.answers.append((self.now_s, latency_s, self.in_flight, self.limit.limit))
        self.in_flight -= 1
        self._dispatch()

    def _refuse(self, _sent_s):
        self.limit.overloaded(self.now_s)
        self.refused += 1
        self.in_flight -= 1
        self._dispatch()

    # --- what came of it ---

    def since(self, start_s, end_s=float("inf")):
        return [answer for answer in self.answers if start_s <= answer[0] < end_s]

    def answered_per_s(self, start_s, end_s):
        return len(self.since(start_s, end_s)) / (end_s - start_s)

    def mean_in_flight(self, start_s, end_s=float("inf")):
        return statistics.fmean(answer[2] for answer in self.since(start_s, end_s))

    def mean_latency_s(self, start_s, end_s=float("inf")):
        return statistics.fmean(answer[1] for answer in self.since(start_s, end_s))


def one_worker(rate_per_s, *, seed, largest=256, **more):
    return Model(ConcurrencyLimit(largest), workers=1, service_s=0.004, rate_per_s=rate_per_s, seed=seed, **more)


# --- what must not be limited ---


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("rtt_s", "service_s"), [(0.3, 0.02), (0.06, 0.02), (0.0, 0.3)])
def test_a_far_site_with_many_workers_is_not_limited(seed, rtt_s, service_s):
    site = Model(
        ConcurrencyLimit(2048), workers=MANY, service_s=service_s, rtt_s=rtt_s, rate_per_s=200.0, seed=seed
    ).run(1.0)
    # Nobody knows at the start that more than `initial` are fine.
    assert site.waited <= 0.15 * site.arrived
    at_start = site.waited
    site.run(20.0)
    assert site.waited == at_start


def test_two_thousand_in_flight_are_reached_and_kept_where_the_site_takes_them():
    site = Model(ConcurrencyLimit(4096), workers=MANY, service_s=0.02, rtt_s=0.3, rate_per_s=6000.0, seed=1).run(6.0)
    at_start = site.waited
    site.run(4.0)
    assert site.waited == at_start
    assert site.mean_in_flight(7.0) > 1800


@pytest.mark.parametrize("seed", SEEDS)
def test_a_small_site_at_moderate_load_is_not_limited(seed):
    site = one_worker(0.6 * 250, seed=seed).run(20.0)
    assert site.waited == 0
    assert site.limit.limit == 64


@pytest.mark.parametrize("seed", SEEDS)
def test_a_small_site_at_high_load_hardly_ever_is(seed):
    site = one_worker(0.8 * 250, seed=seed).run(20.0)
    assert site.waited <= 0.05 * site.arrived
    assert site.answered_per_s(1.0, 20.0) == pytest.approx(200.0, rel=0.1)


# --- what must be ---


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [1.5, 2.0, 3.0])
def test_an_overloaded_site_is_kept_busy_with_little_in_flight(seed, load):
    site = one_worker(load * 250, seed=seed).run(8.0)
    assert 2 <= site.mean_in_flight(2.0) <= 30
    assert site.mean_latency_s(2.0) <= 30 * 0.004
    assert site.answered_per_s(2.0, 8.0) == pytest.approx(250, rel=0.1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slight_overload_is_noticed_too(seed):
    site = one_worker(1.1 * 250, seed=seed).run(20.0)
    assert site.mean_in_flight(10.0) <= 45
    assert site.answered_per_s(2.0, 20.0) == pytest.approx(250, rel=0.1)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_overload_of_a_known_site_is_over_within_a_second(seed):
    site = one_worker(125.0, seed=seed).run(3.0)
    site.rate_per_s = 750.0
    site.run(3.0)
    assert 3 <= site.mean_in_flight(4.0, 6.0) <= 20
    assert site.mean_latency_s(4.0) <= 20 * 0.004
    assert site.answered_per_s(3.5, 6.0) == pytest.approx(250, rel=0.12)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_queue_that_stays_is_noticed_long_before_the_limit_is_in_the_way(seed):
    site = Model(ConcurrencyLimit(1024, initial=1024), workers=1, service_s=0.004, rate_per_s=125.0, seed=seed).run(3.0)
    site.rate_per_s = 500.0
    site.run(3.0)
    assert max(answer[2] for answer in site.since(3.0)) < 300
    assert site.mean_in_flight(4.5) <= 20


@pytest.mark.parametrize("seed", SEEDS)
def test_many_workers_are_all_kept_busy(seed):
    site = Model(ConcurrencyLimit(512), workers=64, service_s=0.1, rate_per_s=1280.0, seed=seed).run(10.0)
    assert site.answered_per_s(2.0, 10.0) >= 0.92 * 640
    assert site.mean_in_flight(2.0) <= 5 * 64


def test_a_far_site_with_few_workers_is_kept_busy():
    site = Model(ConcurrencyLimit(1024), workers=30, service_s=0.05, rtt_s=0.3, rate_per_s=900.0, seed=1).run(15.0)
    assert site.answered_per_s(4.0, 15.0) >= 0.92 * 600
    # 210 are needed; without a limit it would be 600 more for each second of patience.
    assert site.mean_in_flight(4.0) <= 600


# --- when it changes ---


@pytest.mark.parametrize("seed", SEEDS)
def test_more_workers_are_used_within_a_second(seed):
    site = one_worker(500.0, seed=seed).run(5.0)
    site.workers = 4
    site.run(4.0)
    assert site.answered_per_s(6.0, 9.0) == pytest.approx(500.0, rel=0.1)
    waited = site.waited
    site.run(3.0)
    assert site.waited == waited


@pytest.mark.parametrize("seed", SEEDS)
def test_workers_that_go_are_noticed(seed):
    site = Model(ConcurrencyLimit(256), workers=64, service_s=0.004, rate_per_s=1500.0, seed=seed).run(5.0)
    assert site.waited == 0
    site.workers = 1
    site.run(6.0)
    assert site.mean_in_flight(8.0) <= 30
    assert site.answered_per_s(6.0, 11.0) == pytest.approx(250.0, rel=0.12)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_learned_of_another_kind_of_site_does_not_last(seed):
    site = Model(ConcurrencyLimit(256), workers=64, service_s=0.1, rate_per_s=1280.0, seed=seed).run(6.0)
    site.workers, site.service_s = 1, 0.004
    site.run(14.0)
    assert site.mean_in_flight(16.0) <= 25
    assert site.answered_per_s(14.0, 20.0) == pytest.approx(250.0, rel=0.1)


def test_a_site_that_becomes_slower_without_a_queue_is_not_starved():
    site = Model(ConcurrencyLimit(1024), workers=MANY, service_s=0.02, rtt_s=0.06, rate_per_s=200.0, seed=1).run(5.0)
    site.rtt_s = 0.6
    site.run(8.0)
    assert site.answered_per_s(10.0, 13.0) == pytest.approx(200.0, rel=0.15)
    assert site.limit.limit > 120


def test_after_the_overload_the_limit_returns_to_where_it_began():
    site = one_worker(750.0, seed=1).run(3.0)
    assert site.limit.limit < 30
    site.rate_per_s = 100.0
    site.run(6.0)
    assert site.limit.limit >= 64


# --- bursts ---


@pytest.mark.parametrize("seed", SEEDS)
def test_a_burst_drains_at_full_speed(seed):
    site = one_worker(150.0, seed=seed).run(3.0)
    site.burst(100)
    site.run(0.5)
    # Until the 100 and those that come meanwhile are through, the worker never rests.
    assert len(site.since(3.0, 3.4)) >= 0.75 * 0.4 * 250
    assert min(answer[3] for answer in site.since(3.0)) >= 3
    site.run(4.0)
    assert site.limit.limit >= 32


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_thing_an_unknown_site_sees_may_be_a_burst(seed):
    site = one_worker(0.0, seed=seed)
    site.burst(100)
    site.run(1.5)
    assert len(site.answers) == 100
    # One after the other, without a pause: the sum of 100 services of 4 ms.
    assert site.answers[-1][0] < 0.6
    site.rate_per_s = 150.0
    site.run(3.0)
    assert site.waited == 0


# --- sites that say no ---


def test_a_site_that_refuses_is_seldom_asked_for_more_than_it_takes():
    sites = [one_worker(1000.0, seed=seed, room=10).run(10.0) for seed in range(8)]
    for site in sites:
        assert site.answered_per_s(2.0, 10.0) == pytest.approx(250.0, rel=0.1)
        assert site.refused <= 0.05 * len(site.answers)
    assert statistics.fmean(site.refused / len(site.answers) for site in sites) <= 0.015


def test_a_refusal_lowers_the_limit_once_a_round_trip():
    limit = ConcurrencyLimit(256)
    limit.overloaded(0.0)
    assert limit.limit == 44
    for _ in range(100):
        limit.overloaded(0.001)
    assert limit.limit == 44
    limit.overloaded(1.0)
    assert limit.limit == 30
    for second in range(2, 100):
        limit.overloaded(float(second))
    assert limit.limit == 8


def refused(times, *, latency_s):
    """A limit that was learned at 40 in flight, and then refused so often, a round trip apart."""
    limit = ConcurrencyLimit(256)
    now_s = 0.0
    for _ in range(400):
        now_s += latency_s / 40
        limit.answered(latency_s, 40, now_s)
    for _ in range(times):
        now_s += latency_s + 0.1
        limit.overloaded(now_s)
    return limit, now_s


def test_refusals_do_not_lower_the_limit_far_under_what_the_site_has_been_using():
    assert refused(50, latency_s=0.3)[0].limit >= 18


def test_a_far_site_that_refused_is_used_again_within_three_seconds():
    limit, now_s = refused(50, latency_s=0.3)
    well_s = now_s
    while limit.limit < 40:
        now_s += 0.3 / limit.limit
        limit.answered(0.3, limit.limit, now_s)
    assert now_s - well_s <= 3.0


def test_no_trial_is_made_at_a_far_site_while_something_waits():
    site = Model(ConcurrencyLimit(64), workers=MANY, service_s=0.01, rtt_s=0.3, rate_per_s=400.0, seed=1)
    site.limit.waited_for(0.0)
    site.run(10.0)
    assert min(answer[3] for answer in site.answers) == 64


def test_a_trial_at_a_far_site_ends_when_something_has_to_wait():
    limit = ConcurrencyLimit(256)
    now_s = 0.0
    while limit.limit >= 64:  # as much is answered however many are in flight: a trial begins
        now_s += 0.01
        limit.answered(0.01 * limit.limit, limit.limit, now_s)
    limit.waited_for(now_s)
    assert limit.limit >= 64


# --- the rest ---


def test_reset_forgets_everything():
    site = one_worker(750.0, seed=1).run(3.0)
    assert site.limit.limit < 64
    site.limit.reset(3.0)
    assert site.limit.limit == 64
    assert site.limit.throughput_per_s(3.0) == 0.0


def test_throughput_is_what_a_busy_site_answers():
    limit = ConcurrencyLimit(256)
    assert limit.throughput_per_s(0.0) == 0.0
    site = one_worker(500.0, seed=1).run(5.0)
    assert site.limit.throughput_per_s(5.0) == pytest.approx(250.0, rel=0.25)


@pytest.mark.parametrize(
    ("largest", "initial", "smallest"), [(1, 64, 1), (2, 64, 2), (8, 64, 8), (16, 1, 4), (3, 3, 3)]
)
def test_the_limit_stays_in_its_bounds(largest, initial, smallest):
    limit = ConcurrencyLimit(largest, initial=initial, smallest=smallest)
    site = Model(limit, workers=1, service_s=0.004, rate_per_s=600.0, seed=1)
    for _ in range(30):
        site.run(0.2)
        limit.overloaded(site.now_s)
        assert smallest <= limit.limit <= largest
        site.run(0.2)
        assert smallest <= limit.limit <= largest
    assert site.answered_per_s(1.0, site.now_s) == pytest.approx(250.0, rel=0.1)


def test_latencies_of_nothing_and_a_clock_that_stands_do_no_harm():
    limit = ConcurrencyLimit(256)
    for number in range(1000):
        limit.answered(0.0, 1 + number % 64, 0.0)
    for number in range(1000):
        limit.answered(0.0, 64, number * 1e-6)
    assert 2 <= limit.limit <= 256


def test_a_pause_in_the_middle_of_a_trial_does_no_harm():
    site = one_worker(750.0, seed=1)
    while site.limit.limit >= 64:
        site.run(0.01)
    site.rate_per_s = 0.0
    site.run(3600.0)
    site.rate_per_s = 100.0
    site.run(5.0)
    assert site.limit.limit >= 32


@pytest.mark.parametrize("wrong", [{"largest": 1}, {"largest": 8, "smallest": 0}, {"largest": 8, "initial": 0}])
def test_limits_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="smallest|initial"):
        ConcurrencyLimit(**wrong)
