"""The simulator itself: its network is like TCP, a seed replays a run, and its ledger finds what is wrong."""

import pytest
from routing_simulator import ledger as ledgers
from routing_simulator.network import Way
from routing_simulator.random_scenarios import large_scenario
from routing_simulator.replay import RecordingRouter, replay
from routing_simulator.scenario import Fault, FaultKind, Load, Scenario, SitePlan
from routing_simulator.simulation import Simulation

from edgewise.core.routing.calls import Answer, Reason
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.router import Router
from edgewise.core.routing.routes import Route, RouteKind

CLOUD = SitePlan("cloud", "cloud", rtt_s=0.06, service_s=0.008, exponential=False)
EDGE = SitePlan("edge", "edge", rtt_s=0.001, service_s=0.003, exponential=False)


def scenario(*faults, sites=(CLOUD, EDGE), rate_hz=100.0, ends_s=5.0, seed=1, **load):
    return Scenario(sites, (Load(rate_hz=rate_hz, **load),), faults, seed=seed, ends_s=ends_s)


def run(*faults, make_router=Router, **changes):
    return Simulation(scenario(*faults, **changes), keep_records=True, make_router=make_router).run()


# The network.


def way(**changes):
    return Way(SitePlan("s", "cloud", rtt_s=0.1, **changes), lambda: 0.5)


def test_a_message_takes_half_the_round_trip_and_half_the_jitter():
    assert way(jitter_s=0.02).up_s(1.0, 100) == pytest.approx(1.06)


def test_bandwidth_makes_messages_wait_for_one_another():
    slow = way(bandwidth_bytes_s=1000.0)
    assert slow.up_s(0.0, 500) == pytest.approx(0.55)
    assert slow.up_s(0.0, 500) == pytest.approx(1.05)
    assert slow.down_s(0.0, 100) == pytest.approx(0.15)


def test_a_lost_message_costs_the_retransmission_timeout():
    draws = iter([0.0, 0.9])
    lossy = Way(SitePlan("s", "cloud", rtt_s=0.1, loss=0.5), lambda: next(draws))
    assert lossy.up_s(0.0, 100) == pytest.approx(0.05 + 0.3)


@pytest.mark.parametrize(
    ("healed_s", "arrives_s"),
    [(0.1, 0.3), (0.3, 0.3), (0.31, 0.9), (1.0, 2.1), (10.0, 18.9)],
)
def test_what_is_sent_into_a_cut_arrives_at_the_first_retransmission_after_it(healed_s, arrives_s):
    cut = way()
    cut.cuts_up = 1
    cut.hold(0.0, lambda *_: None, "job", None, size_bytes=10, upwards=True)
    assert list(cut.released(healed_s)) == []
    cut.cuts_up = 0
    [(time_s, message)] = cut.released(healed_s)
    assert time_s == pytest.approx(arrives_s + 0.05)
    assert message.job == "job"
    assert cut.held == []


def test_a_blackhole_for_large_packets_lets_small_ones_pass():
    path = way()
    path.swallows_over_bytes = 1200
    assert path.swallows_up(1201)
    assert path.swallows_down(1201)
    assert not path.swallows_up(1200)


# Sites and connections.


def test_an_undisturbed_request_takes_a_round_trip_and_its_run():
    simulation = run(rate_hz=10.0)
    assert {how for _, _, _, how, _, _ in simulation.ledger.records} == {ledgers.ANSWERED}
    latencies = [ended - arrived for arrived, ended, *_ in simulation.ledger.records]
    assert min(latencies) == pytest.approx(0.068)
    assert sorted(latencies)[len(latencies) // 2] == pytest.approx(0.068)


def test_the_first_request_waits_for_its_connection_where_none_is_open():
    class Cold(Router):
        def start(self, now_s):
            return []

    simulation = run(make_router=Cold, rate_hz=10.0)
    arrived_s, ended_s, *_ = min(simulation.ledger.records)
    assert ended_s - arrived_s == pytest.approx(0.128)


def test_one_worker_makes_requests_queue_in_order():
    alone = SitePlan("edge", "edge", rtt_s=0.0, workers=1, service_s=0.5, exponential=False)
    simulation = Simulation(scenario(sites=(alone,), rate_hz=100.0, poisson=False), keep_records=True)
    simulation.run_until(0.035)
    assert [len(site.waiting) for site in simulation.sites] == [2]
    simulation.run_until(1.6)
    answered = [ended for _, ended, _, how, *_ in simulation.ledger.records if how == ledgers.ANSWERED]
    assert answered == pytest.approx([0.51, 1.01, 1.51])


def test_a_site_drops_what_has_expired_before_it_runs():
    alone = SitePlan("edge", "edge", rtt_s=0.0, workers=1, service_s=0.5, exponential=False)
    simulation = Simulation(scenario(sites=(alone,), rate_hz=10.0, poisson=False, deadline_s=0.6), keep_records=True)
    simulation.run_until(3.0)
    [site] = simulation.sites
    assert site.executed + site.expired < simulation.arrivals
    assert site.executed <= 7


def test_a_stopped_process_answers_all_when_it_goes_on():
    stop = Fault(FaultKind.STOP, "cloud", 1.0, 0.05)
    simulation = run(stop, rate_hz=100.0, route=Route(RouteKind.CLOUD_ONLY))
    during = [ended for arrived, ended, *_ in simulation.ledger.records if 0.98 <= arrived <= 1.0]
    assert during
    assert min(during) >= 1.05


def test_a_killed_process_loses_what_it_held_and_refuses():
    simulation = Simulation(scenario(Fault(FaultKind.KILL, "cloud", 1.0, 1.0), rate_hz=100.0))
    simulation.run_until(1.5)
    cloud = simulation.sites[0]
    assert cloud.busy == 0
    assert not cloud.way.jobs
    assert simulation.router.links["cloud"].state is LinkState.DOWN


# The caller's own faults.


def test_a_pause_hands_everything_over_afterwards():
    simulation = Simulation(scenario(Fault(FaultKind.PAUSE, "", 1.0, value=0.5), rate_hz=100.0), keep_records=True)
    simulation.run()
    ended = [ended for _, ended, *_ in simulation.ledger.records]
    assert not [at for at in ended if 1.0 < at < 1.5]
    assert simulation.ledger.found == {}


def test_a_clock_jump_moves_the_routers_clock_only():
    simulation = Simulation(scenario(Fault(FaultKind.CLOCK_JUMP, "", 1.0, value=5.0)))
    simulation.run_until(2.0)
    assert simulation.skew_s == 5.0
    assert simulation.router.links["cloud"].last_heard_s > 6.5


def test_ticks_come_in_time_however_many_events_there_are():
    class Counts(Router):
        late_s = ()

        def tick(self, now_s):
            self.late_s = (*self.late_s, now_s - self.wake_s)
            return super().tick(now_s)

    simulation = Simulation(scenario(rate_hz=5_000.0), make_router=Counts)
    simulation.run_until(0.5)
    assert len(simulation.router.late_s) > 0.9 * 0.5 / simulation.router.settings.grain_s
    assert max(simulation.router.late_s) <= 0.002


# Replays.


def test_a_seed_gives_the_same_decisions_and_another_seed_others():
    faults = (Fault(FaultKind.CUT, "cloud", 1.0, 2.0), Fault(FaultKind.LOSS, "edge", 1.5, 2.0, 0.1))
    digests = [run(*faults, seed=seed).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_a_log_replays_to_the_same_instructions():
    simulation = run(Fault(FaultKind.CUT, "cloud", 1.0, 2.0), make_router=RecordingRouter)
    log = simulation.router.log
    assert {event[0] for event in log.events} >= {"arrived", "answered", "tick", "probe-answered", "probe-failed"}
    assert replay(log) is None


def test_a_replay_says_where_it_differs():
    simulation = run(make_router=RecordingRouter)
    log = simulation.router.log
    number = next(number for number, told in enumerate(log.instructions) if told and told[0][0] == "answer")
    log.instructions[number] = ()
    assert replay(log) == number


def test_the_large_scenario_has_faults_of_every_site():
    large = large_scenario(requests=100_000, sites=20, seed=1)
    struck = {plan.name for fault in large.faults for plan in large.struck(fault)}
    assert struck == {plan.name for plan in large.sites}
    assert any(plan.site for plan in large.sites)
    assert any(plan.away for plan in large.sites)
    assert large == large_scenario(requests=100_000, sites=20, seed=1)


# The ledger finds what is wrong: routers that break one rule each.


class AnswersTwice(Router):
    def answered(self, attempt, outcome, now_s, **said):
        instructions = super().answered(attempt, outcome, now_s, **said)
        return instructions + [Answer(told.request, attempt) for told in instructions if isinstance(told, Answer)]


class Forgets(Router):
    def arrived(self, request, now_s):
        self.counted = getattr(self, "counted", 0) + 1
        return [] if self.counted == 100 else super().arrived(request, now_s)


class SendsTwice(Router):
    def arrived(self, request, now_s):
        instructions = super().arrived(request, now_s)
        edge = self.links["edge"]
        return [*instructions, self._attempt(request, edge, Reason.FIRST, now_s)]


class HedgesAll(Router):
    def arrived(self, request, now_s):
        instructions = super().arrived(request, now_s)
        return [*instructions, self._attempt(request, self.links["edge"], Reason.HEDGE, now_s)]


class NeverCancels(Router):
    def _cancel(self, attempt, out):
        self._close(attempt)


class Rushes(Router):
    """Comes back without regard to the hold-down."""

    def tick(self, now_s):
        for link in self.links.values():
            link.hold.until_s = float("-inf")
        return super().tick(now_s)


CUT = Fault(FaultKind.CUT, "cloud", 2.0, 0.4)


@pytest.mark.parametrize(
    ("router", "faults", "load", "invariant"),
    [
        (AnswersTwice, (), {}, "one-end"),
        (Forgets, (), {}, "one-end"),
        (SendsTwice, (), {"non_idempotent_share": 1.0}, "one-site"),
        (HedgesAll, (), {}, "share"),
        (NeverCancels, (CUT,), {}, "ghost"),
        (Rushes, (CUT,), {}, "hold-down"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_ledger_finds_a_router_that_breaks_a_rule(router, faults, load, invariant):
    simulation = run(*faults, make_router=router, **load)
    assert invariant in simulation.ledger.found


def test_the_ledger_finds_a_site_that_gets_more_than_its_limit():
    class Floods(Router):
        def arrived(self, request, now_s):
            self.links["cloud"].limiter.limit = 1000
            return super().arrived(request, now_s)

    small = SitePlan("cloud", "cloud", rtt_s=0.5, max_in_flight=4)
    assert "limit" in run(sites=(small, EDGE), make_router=Floods).ledger.found


def test_the_ledger_finds_a_lost_request_that_the_edge_could_have_answered():
    class Gives(Router):
        def _pick(self, request, reason, now_s, **how):
            link, waits = super()._pick(request, reason, now_s, **how)
            return (None, False) if link is not None and link.name == "edge" else (link, waits)

    cut = Fault(FaultKind.CUT, "cloud", 4.0, 2.0)
    simulation = run(cut, make_router=Gives, ends_s=8.0)
    assert simulation.ledger.found["promise"] > 100


def test_a_lost_request_that_nobody_could_have_answered_is_no_broken_promise():
    route = Route(RouteKind.CLOUD_ONLY, deadline_s=1.0)
    simulation = run(Fault(FaultKind.CUT, "cloud", 1.0, 3.0), route=route)
    assert simulation.ledger.lost > 50
    assert simulation.ledger.lost == simulation.ledger.lost_without_a_site
    assert simulation.ledger.found == {}


def test_the_ledger_finds_a_link_that_does_not_come_back():
    class Sulks(Router):
        def probe_answered(self, probe, now_s, *, ready=True):
            return super().probe_answered(probe, now_s, ready=ready and probe.link.state is LinkState.UP)

    assert "return" in run(CUT, make_router=Sulks, rate_hz=20.0).ledger.found


def test_instructions_that_nobody_knows_are_refused():
    class Odd(Router):
        def arrived(self, request, now_s):
            return [object()]

    with pytest.raises(TypeError, match="no such instruction"):
        run(make_router=Odd)
