"""What the router asks to be warmed on the way back, on virtual time: a cloud at 60 ms, 200 requests a second."""

import heapq
import itertools

import pytest

from edgewise.core.routing.calls import (
    Cancel,
    CloseConnections,
    LinkChanged,
    Outcome,
    Request,
    Send,
    SendProbe,
    SiteSpec,
    Warm,
)
from edgewise.core.routing.router import Router
from edgewise.core.routing.routes import Route
from edgewise.core.routing.settings import RouterSettings

EDGE_S = 0.003
GRAIN_S = 0.004
LARGE_BYTES = 20_000
CUT_S = 4.0
HEAL_S = 7.0


class World:
    """Two sites with fixed times; the cloud answers nothing in a cut."""

    def __init__(
        self,
        *,
        size_bytes=lambda _number: LARGE_BYTES,
        cloud_s=lambda _number: 0.06,
        rtt_s=None,
        probe_payload=True,
        settings=None,
    ):
        sites = [SiteSpec("cloud", "cloud", probe_payload=probe_payload), SiteSpec("edge", "edge")]
        self.now_s = 0.0
        self.size_bytes = size_bytes
        self.cloud_s = cloud_s
        self.rtt_s = rtt_s or cloud_s(0)
        self.cuts = []
        self.events = []
        self.numbers = itertools.count()
        self.said = []
        self.router = Router(sites, now_s=0.0, draws=lambda: 0.5, settings=settings)
        self.carry_out(self.router.start(0.0))

    def at(self, at_s, what):
        heapq.heappush(self.events, (at_s, next(self.numbers), what))

    def is_cut(self):
        return any(since_s <= self.now_s < until_s for since_s, until_s in self.cuts)

    def carry_out(self, instructions):
        for instruction in instructions:
            if isinstance(instruction, Send):
                self.send(instruction.attempt)
            elif isinstance(instruction, SendProbe):
                self.said.append((self.now_s, instruction))
                self.ask(instruction.probe)
            elif isinstance(instruction, Warm | LinkChanged | CloseConnections):
                self.said.append((self.now_s, instruction))
            else:
                assert not isinstance(instruction, Cancel) or not instruction.attempt.open

    def send(self, attempt):
        if attempt.link.name == "edge":
            self.answer(attempt, EDGE_S)
        elif not self.is_cut():
            self.answer(attempt, self.cloud_s(attempt.request.context))

    def answer(self, attempt, seconds):
        cloud = attempt.link.name == "cloud"

        def arrive():
            if not (cloud and self.is_cut()):
                self.carry_out(self.router.answered(attempt, Outcome.OK, self.now_s))

        self.at(self.now_s + seconds, arrive)

    def ask(self, probe):
        if probe.link.name == "cloud" and self.is_cut():
            self.at(self.now_s + probe.timeout_s, lambda: self.carry_out(self.router.probe_failed(probe, self.now_s)))
        else:
            seconds = (1 + probe.fresh) * self.rtt_s if probe.link.name == "cloud" else EDGE_S
            self.at(self.now_s + seconds, lambda: self.carry_out(self.router.probe_answered(probe, self.now_s)))

    def arrive(self, number):
        request = Request(
            "m",
            Route(),
            arrived_s=self.now_s,
            deadline_s=self.now_s + 5.0,
            size_bytes=self.size_bytes(number),
            context=number,
        )
        self.carry_out(self.router.arrived(request, self.now_s))

    def run(self, until_s, rate_hz=200.0):
        for number in range(int(until_s * rate_hz)):
            self.at(number / rate_hz, lambda number=number: self.arrive(number))
        for number in range(int(until_s / GRAIN_S)):
            self.at(number * GRAIN_S, lambda: self.carry_out(self.router.tick(self.now_s)))
        while self.events and self.events[0][0] < until_s:
            self.now_s, _, what = heapq.heappop(self.events)
            what()
            self.router.validate_state(self.now_s)
        return self

    def moves(self, after):
        """When the cloud's link went to this state."""
        return [
            at_s
            for at_s, said in self.said
            if isinstance(said, LinkChanged) and said.link.name == "cloud" and said.after == after
        ]

    def warms(self, since_s, until_s=float("inf"), *, large=True):
        return [
            (at_s, said)
            for at_s, said in self.said
            if isinstance(said, Warm)
            and said.link.name == "cloud"
            and since_s <= at_s < until_s
            and (said.payload_bytes > 0) == large
        ]


def after_a_cut(until_s=11.0, **options):
    world = World(**options)
    world.cuts.append((CUT_S, HEAL_S))
    return world.run(until_s)


def test_each_step_of_the_ramp_finds_its_connections_warm():
    world = after_a_cut()
    (ramp_s,) = world.moves("RAMP")
    (up_s,) = world.moves("UP")
    warms = world.warms(HEAL_S)
    assert all(warm.payload_bytes == LARGE_BYTES for _, warm in warms)
    # Before the ramp for its first step, then at each step for the next one's share of those in flight, 15 at most;
    # and in the last for as many as that.
    before, *steps = [warm.connections for _, warm in warms]
    assert before == 2
    assert steps == [2, 6, 11, 15, 15]
    assert [at_s for at_s, _ in warms[1:]] == pytest.approx([ramp_s + 0.15 * step for step in range(5)], abs=0.03)
    assert up_s > warms[-1][0]
    # What a step uses at once stays warm by that, the rest until the step that it is for has filled.
    assert [warm.at_once for _, warm in warms] == [0, 1, 1, 1, 4, 11]
    assert all(warm.lasts_s == pytest.approx(0.15 + 0.06, rel=0.1) for _, warm in warms)


def test_the_handshakes_are_made_when_the_link_is_heard_again():
    world = after_a_cut()
    (probing_s,) = world.moves("PROBING")
    ((at_s, warm),) = world.warms(HEAL_S, large=False)
    assert at_s == probing_s
    assert 15 < warm.connections <= 20


def test_the_ramp_waits_for_the_first_warm_connection():
    def waited_s(**options):
        world = after_a_cut(12.0, settings=RouterSettings(probe_interval_s=0.05), **options)
        return world.moves("RAMP")[0] - world.moves("PROBING")[0]

    assert 0.3 <= waited_s(cloud_s=lambda _number: 0.3) < 0.35
    assert waited_s(cloud_s=lambda _number: 0.3, size_bytes=lambda _number: 500) < 0.2, "any is fit for these"
    assert waited_s(cloud_s=lambda _number: 1.0, rtt_s=0.06) < 0.2, "the model's time is not the network's"


def test_what_takes_several_round_trips_to_warm_is_begun_several_steps_ahead():
    world = after_a_cut(12.0, cloud_s=lambda _number: 0.3, size_bytes=lambda _number: 100_000)
    (probing_s,) = world.moves("PROBING")
    (ramp_s,) = world.moves("RAMP")
    assert ramp_s - probing_s >= 3 * 0.3
    warms = [warm for _, warm in world.warms(HEAL_S)]
    shares = [warm.connections / warms[-1].connections for warm in warms]
    assert shares == pytest.approx([0.25, 0.5, 1.0, 1.0, 1.0, 1.0], abs=0.15)
    assert all(warm.lasts_s == pytest.approx(4 * 0.3, rel=0.1) for warm in warms)


def test_small_requests_need_handshakes_only():
    world = after_a_cut(size_bytes=lambda _number: 500)
    assert world.moves("UP")
    assert world.warms(HEAL_S) == []
    assert len(world.warms(HEAL_S, large=False)) == 1


def test_a_site_that_is_not_sent_payloads_is_sent_none_to_warm_it():
    world = after_a_cut(probe_payload=False)
    assert world.moves("UP")
    assert world.warms(HEAL_S) == []


def test_few_are_warmed_where_few_requests_are_large():
    world = after_a_cut(size_bytes=lambda number: 200_000 if number % 8 == 0 else 500)
    warms = [warm for _, warm in world.warms(HEAL_S)]
    assert {warm.payload_bytes for warm in warms} == {200_000}
    in_flight_bytes = 2 * 200_000 + 11 * 500
    assert max(warm.connections for warm in warms) * 200_000 <= 2.5 * in_flight_bytes
    assert all(warm.at_once <= warm.connections for warm in warms)


def test_no_connection_is_warmed_for_more_than_probes_may_send():
    world = after_a_cut(size_bytes=lambda _number: 10_000_000)
    assert {warm.payload_bytes for _, warm in world.warms(HEAL_S)} == {world.router.settings.max_probe_bytes}


def test_what_waited_in_the_cut_does_not_count_as_in_flight():
    """Some 30 attempts are in flight when this cut is noticed, and 12 before."""
    world = after_a_cut()
    assert world.warms(HEAL_S)[-1][1].connections <= 16


def test_a_few_slow_answers_do_not_make_the_ramp_longer():
    def cloud_s(number):
        return 0.6 if number % 33 == 32 else 0.3

    world = after_a_cut(12.0, cloud_s=cloud_s)
    (ramp_s,) = world.moves("RAMP")
    (up_s,) = world.moves("UP")
    assert 5 * 0.3 <= up_s - ramp_s < 5 * 0.36


def test_a_link_that_flaps_is_warmed_when_its_hold_down_is_over_and_proves_itself_again():
    world = World()
    world.cuts += [(CUT_S, HEAL_S), (11.0, 13.0)]
    world.run(28.0)
    probing_s, ramp_s = world.moves("PROBING")[-1], world.moves("RAMP")[-1]
    assert ramp_s - probing_s > 10.0
    assert world.moves("UP")[-1] > ramp_s
    (warm_s, _), *_ = warms = world.warms(probing_s)
    assert warm_s > probing_s + 10.0
    assert len(warms) == 6
    proofs = [
        at_s
        for at_s, said in world.said
        if isinstance(said, SendProbe) and said.probe.payload_bytes and at_s >= probing_s
    ]
    assert proofs[-1] == warm_s, "the first proof is as old as the hold-down"
    assert len(proofs) == 2
    assert ramp_s >= warm_s + 0.06
