"""Sites that have several endpoints: which one a request goes to, what a lost one costs, and endpoints that come and go."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from edgewise.core.routing.calls import (
    Answer,
    Attempt,
    Failure,
    LinkChanged,
    Outcome,
    Reason,
    Reject,
    Request,
    Send,
    SendProbe,
    SiteSpec,
)
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.router import Router
from edgewise.core.routing.routes import Route, RouteKind

ANSWER_S = 0.05
EDGE = SiteSpec("edge", "edge")


def pods(count, *, first=0, site="cloud", tier="cloud", **settings):
    return [SiteSpec(f"{site}/{first + number}", tier, site=site, **settings) for number in range(count)]


class Rig:
    """A router on virtual time, probes that are answered at once where they are, and draws from a seed."""

    def __init__(self, *specs, seed=1, route=None):
        self.draws = Counter()
        self.now_s = 0.0
        self.silent = set()
        random = Random(seed)

        def draw():
            self.draws["all"] += 1
            return random.random()

        self.router = Router(specs, now_s=0.0, draws=draw)
        self.route = route or Route()
        self.told(self.router.start(0.0))

    def link(self, name):
        return self.router.links[name]

    def told(self, instructions):
        """All instructions, those that answers to probes led to included."""
        told = []
        for instruction in instructions:
            told.append(instruction)
            if isinstance(instruction, SendProbe) and instruction.probe.link.name not in self.silent:
                told += self.told(self.router.probe_answered(instruction.probe, self.now_s))
        self.router.validate_state(self.now_s)
        return told

    def arrives(self, *, deadline_s=5.0, route=None, **kind):
        request = Request(
            "m", route or self.route, arrived_s=self.now_s, deadline_s=self.now_s + deadline_s, size_bytes=100, **kind
        )
        return request, self.told(self.router.arrived(request, self.now_s))

    def asks(self, **kind):
        request, told = self.arrives(**kind)
        (send,) = (item for item in told if isinstance(item, Send))
        return request, send.attempt

    def answers(self, attempt, outcome=Outcome.OK, **said):
        return self.told(self.router.answered(attempt, outcome, self.now_s, **said))

    def goes_on(self, seconds):
        told = []
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s = min(max(self.router.wake_s, self.now_s + 0.001), until_s)
            told += self.told(self.router.tick(self.now_s))
            self.router.validate_requests()
        return told

    def learns(self, count=100, **kind):
        """Requests one after the other, answered by whom they are sent to."""
        for _ in range(count):
            _, attempt = self.asks(**kind)
            for _ in range(5):
                self.now_s += ANSWER_S / 5
                self.told(self.router.tick(self.now_s))
            self.answers(attempt)

    def knows(self, *specs):
        return self.told(self.router.reconfigure(specs, self.now_s))


def sends(told):
    return [item.attempt for item in told if isinstance(item, Send)]


def to(told):
    return [(attempt.link.name, attempt.reason) for attempt in sends(told)]


# Which endpoint.


def test_a_link_knows_whose_endpoint_it_is():
    rig = Rig(*pods(2), EDGE)
    assert [(link.name, link.site) for link in rig.router.links.values()] == [
        ("cloud/0", "cloud"),
        ("cloud/1", "cloud"),
        ("edge", "edge"),
    ]
    assert rig.link("cloud/0").snapshot(0.0)["site"] == "cloud"


def test_the_less_busy_of_two_endpoints_is_asked():
    rig = Rig(*pods(2), EDGE)
    assert {rig.asks()[1].link.name for _ in range(2)} == {"cloud/0", "cloud/1"}
    for _ in range(40):
        rig.asks()
    assert [len(rig.link(f"cloud/{number}").in_flight) for number in range(2)] == [21, 21]


def test_behind_the_first_come_the_sites_others_from_a_random_place_on_and_then_the_next_site():
    rig = Rig(*pods(4), EDGE)
    seconds = Counter()
    for _ in range(200):
        request, attempt = rig.asks()
        names = [link.name for link in request.order]
        assert names[0] == attempt.link.name
        assert sorted(names[:4]) == [f"cloud/{number}" for number in range(4)]
        assert names[4:] == ["edge"]
        seconds[names[0], names[1]] += 1
        rig.answers(attempt)
    assert len(seconds) == 12


def test_sites_of_one_endpoint_have_an_order_that_costs_no_draw():
    rig = Rig(SiteSpec("cloud", "cloud"), EDGE)
    before = rig.draws["all"]
    orders = {id(rig.asks()[0].order) for _ in range(3)}
    assert rig.draws["all"] == before
    assert len(orders) == 1


def test_several_endpoints_cost_one_draw():
    rig = Rig(*pods(200), EDGE)
    before = rig.draws["all"]
    rig.asks()
    assert rig.draws["all"] == before + 1


def test_an_endpoint_without_room_is_passed_over():
    rig = Rig(*pods(3, max_in_flight=2), EDGE)
    assert Counter(rig.asks()[1].link.name for _ in range(6)) == {f"cloud/{number}": 2 for number in range(3)}
    assert rig.asks()[1].link.name == "edge"


@pytest.mark.parametrize("count", [3, 7])
def test_what_a_lost_endpoint_had_goes_to_the_others_evenly(count):
    rig = Rig(*pods(count), EDGE)
    rig.link("cloud/1").state = LinkState.DOWN
    asked = Counter()
    for _ in range(1000):
        _, attempt = rig.asks()
        asked[attempt.link.name] += 1
        rig.answers(attempt)
    assert sorted(asked) == sorted(f"cloud/{number}" for number in range(count) if number != 1)
    assert max(asked.values()) < 1.3 * 1000 / (count - 1)


def test_an_endpoint_begins_with_the_limit_of_one_machine():
    rig = Rig(*pods(2), SiteSpec("plain", "cloud"), EDGE)
    assert [link.limit for link in rig.router.links.values()] == [64, 64, 256, 64]


def test_weights_name_sites():
    route = Route(RouteKind.WEIGHTS, {"stable": 3.0, "canary": 1.0})
    rig = Rig(*pods(3, site="stable"), *pods(2, site="canary"), EDGE, route=route)
    asked = Counter()
    for _ in range(4000):
        request, attempt = rig.asks()
        asked[attempt.link.name] += 1
        assert {link.site for link in request.order} == {"stable", "canary", "edge"}
        rig.answers(attempt)
    shares = Counter()
    for name, times in asked.items():
        shares[name.partition("/")[0]] += times
    assert shares["stable"] / 4000 == pytest.approx(0.75, abs=0.03)
    assert shares["edge"] == 0
    assert max(asked[f"stable/{number}"] for number in range(3)) < 1100


def test_fastest_compares_sites_and_sends_no_herd_to_one_endpoint():
    route = Route(RouteKind.FASTEST)
    rig = Rig(*pods(3, site="near", tier="edge"), *pods(3, site="far"), route=route)
    for link in rig.router.links.values():
        for _ in range(40):
            link.path("m", 0).record(0.01 if link.site == "near" else 0.05, 0.0)
    asked = Counter(rig.asks()[1].link.name for _ in range(90))
    near = [asked[f"near/{number}"] for number in range(3)]
    assert sum(near) >= 88  # one in two hundred looks whether the other has become quicker
    assert max(near) - min(near) <= 4


# What the app is told.


def test_another_endpoint_of_the_preferred_site_is_no_degradation():
    rig = Rig(*pods(2, max_in_flight=1), EDGE)
    for _ in range(2):
        request, attempt = rig.asks()
        # The one that would have been asked has filled up meanwhile.
        request.order = request.order[1::-1] + request.order[2:]
        assert request.order[0] is not attempt.link
        rig.answers(attempt)
        assert request.degraded == ""


def test_the_next_site_is_a_degradation():
    rig = Rig(*pods(2, max_in_flight=1), EDGE)
    rig.asks()
    rig.asks()
    request, attempt = rig.asks()
    rig.answers(attempt)
    assert (attempt.link.name, request.degraded) == ("edge", "overload")


def test_a_rescue_by_the_same_site_is_one_too():
    rig = Rig(*pods(2), EDGE)
    rig.learns(10)
    request, attempt = rig.asks()
    rig.goes_on(0.01)
    rig.link("cloud/0").last_heard_s = rig.link("cloud/1").last_heard_s = rig.now_s
    (rescue,) = sends(rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s)))
    rig.answers(rescue)
    assert (rescue.link.site, request.degraded) == ("cloud", "rescue")


# Losses.


def test_a_lost_endpoint_is_rescued_by_one_that_was_heard_since():
    rig = Rig(*pods(3), EDGE)
    rig.learns(60)
    _, attempt = rig.asks()
    rig.goes_on(0.01)
    _, other = rig.asks()
    assert other.link is not attempt.link
    rig.goes_on(0.01)
    rig.answers(other)
    told = rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s))
    assert to(told) == [(other.link.name, Reason.RESCUE)]


def test_a_lost_endpoint_is_rescued_by_the_next_site_when_no_other_was_heard_since():
    rig = Rig(*pods(3), EDGE)
    rig.learns(60)
    _, attempt = rig.asks()
    told = rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s))
    assert to(told) == [("edge", Reason.RESCUE)]


@pytest.mark.parametrize("heard", [True, False])
def test_a_hedge_goes_to_another_endpoint_that_was_heard_since_and_else_to_the_next_site(heard):
    rig = Rig(*pods(3), EDGE, route=Route(hedge_ratio=1.0))
    for number in range(200):
        _, attempt = rig.asks()
        rig.goes_on(2 * ANSWER_S if number % 20 == 19 else ANSWER_S)
        rig.answers(attempt)
    _, attempt = rig.asks()
    told = []
    while not sends(told):
        for link in rig.router.links.values():
            # Since it was sent something came from its own endpoint, so that nothing is suspected.
            link.last_heard_s = rig.now_s if heard or link is attempt.link else attempt.sent_s
        told += rig.goes_on(0.004)
    [(name, reason)] = to(told)
    assert reason is Reason.HEDGE
    assert name != attempt.link.name
    assert name.startswith("cloud/") == heard


def test_with_no_other_site_an_endpoint_that_was_not_heard_since_is_asked_all_the_same():
    rig = Rig(*pods(3))
    rig.learns(60)
    request, attempt = rig.asks()
    (second,) = sends(rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s)))
    (third,) = sends(rig.told(rig.router.failed(second, Failure.LOST, rig.now_s)))
    assert len({attempt.link, second.link, third.link}) == 3
    rig.answers(third)
    assert request.done


@pytest.mark.parametrize("outcome", [Outcome.OVERLOADED, Outcome.SITE_ERROR, Outcome.NOT_SERVED])
def test_what_three_endpoints_could_not_do_the_others_are_not_asked_for(outcome):
    rig = Rig(*pods(50), EDGE)
    request, attempt = rig.asks()
    asked = [attempt.link.site]
    while not request.done:
        (attempt,) = sends(rig.answers(attempt, outcome)) or [None]
        if attempt is None:
            break
        asked.append(attempt.link.site)
    assert asked == ["cloud", "cloud", "cloud", "edge"]
    assert request.done


def test_a_request_that_breaks_each_connection_breaks_no_more_than_three():
    rig = Rig(*pods(50))
    rig.learns(10)
    request, attempt = rig.asks()
    for _ in range(2):
        (attempt,) = sends(rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s)))
    told = rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s))
    assert sends(told) == []
    assert request.done


def test_connections_that_cannot_be_made_are_tried_at_all_endpoints():
    rig = Rig(*pods(6))
    rig.silent = {f"cloud/{number}" for number in range(6)}
    request, attempt = rig.asks()
    for _ in range(5):
        (attempt,) = sends(rig.told(rig.router.failed(attempt, Failure.CONNECT, rig.now_s)))
    rig.answers(attempt)
    assert request.done


def test_a_model_that_another_site_has_is_missing_at_all_endpoints():
    rig = Rig(*pods(50), EDGE)
    _, attempt = rig.asks()
    while attempt.link.site == "cloud":
        (attempt,) = sends(rig.answers(attempt, Outcome.NOT_SERVED))
    rig.answers(attempt)
    assert {rig.asks()[1].link.name for _ in range(20)} == {"edge"}


def test_a_model_that_another_endpoint_has_is_missing_at_one():
    rig = Rig(*pods(2), EDGE)
    _, attempt = rig.asks()
    lacking = attempt.link
    (attempt,) = sends(rig.answers(attempt, Outcome.NOT_SERVED))
    assert attempt.link.site == "cloud"
    rig.answers(attempt)
    assert {rig.asks()[1].link.name for _ in range(20)} == {attempt.link.name} != {lacking.name}


def test_a_request_that_may_not_run_twice_goes_to_no_second_endpoint():
    rig = Rig(*pods(3), EDGE)
    rig.learns(60)
    request, attempt = rig.asks(idempotent=False)
    told = rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s))
    assert sends(told) == []
    assert [type(item) for item in told if isinstance(item, Reject)] == [Reject]
    assert request.done


def test_a_site_that_was_cut_off_is_noticed_by_all_that_is_missing_together():
    rig = Rig(*pods(10), EDGE)
    rig.learns(400)
    for _ in range(12):
        rig.asks()
        rig.goes_on(0.003)
    rig.silent = {link.name for link in rig.router.links.values() if link.site == "cloud"}
    lost_s = max(link.last_heard_s for link in rig.router.links.values() if link.site == "cloud")
    told = rig.goes_on(0.1)
    moves = [item for item in told if isinstance(item, LinkChanged) and item.after == LinkState.SUSPECT]
    assert {move.link.site for move in moves} == {"cloud"}
    assert len(moves) == 10
    assert {move.why for move in moves} == {"silence of the whole site"}
    # No single one was overdue yet, and nothing was sent where it is as silent.
    assert moves[0].now_s - lost_s < 1.3 * ANSWER_S + 0.05
    assert set(to(told)) == {("edge", Reason.RESCUE)}
    assert len(sends(told)) == 12


def test_an_endpoint_that_answers_speaks_for_the_whole_site():
    rig = Rig(*pods(10), EDGE)
    rig.learns(400)
    attempts = []
    for _ in range(12):
        attempts.append(rig.asks()[1])
        rig.goes_on(0.003)
    told = []
    for _ in range(30):
        told += rig.goes_on(0.005)
        rig.router.bytes_came(attempts[0], rig.now_s)
    assert "silence of the whole site" not in {item.why for item in told if isinstance(item, LinkChanged)}


def test_the_ramp_of_a_site_takes_one_share_however_many_endpoints_are_on_it():
    rig = Rig(*pods(3), EDGE)
    for number in range(3):
        link = rig.link(f"cloud/{number}")
        link.state, link.ramp_step, link.ramp_credit = LinkState.RAMP, 1, 0.0
    asked = Counter()
    for _ in range(1000):
        _, told = rig.arrives()
        (attempt,) = sends(told)
        asked[attempt.link.site] += 1
        rig.answers(attempt)
    assert asked["cloud"] == pytest.approx(50, abs=3)


def test_an_endpoint_on_the_ramp_leaves_the_rest_to_the_others():
    rig = Rig(*pods(3), EDGE)
    link = rig.link("cloud/0")
    link.state, link.ramp_step, link.ramp_credit = LinkState.RAMP, 0, 0.0
    asked = Counter()
    for _ in range(1000):
        _, attempt = rig.asks()
        asked[attempt.link.name] += 1
        rig.answers(attempt)
    assert 1 <= asked["cloud/0"] <= 10
    assert asked["edge"] == 0


def test_endpoints_that_became_slow_together_are_not_given_up_where_there_is_no_other_site():
    rig = Rig(*pods(3))
    rig.learns(200)
    for _ in range(200):
        _, attempt = rig.asks()
        rig.link(attempt.link.name).last_heard_s = rig.now_s
        for _ in range(3):
            rig.goes_on(0.05)
            for link in rig.router.links.values():
                link.last_heard_s = rig.now_s
        rig.answers(attempt)
    up = [link for link in rig.router.links.values() if link.state is LinkState.UP]
    assert len(up) >= 2


# Endpoints that come and go.


def test_one_that_joins_begins_with_what_the_others_have_shown():
    rig = Rig(*pods(2), EDGE)
    rig.learns(200)
    rig.knows(*pods(3), EDGE)
    old, new = rig.link("cloud/0").path("m", 0), rig.link("cloud/2").path("m", 0)
    assert new.known
    assert new.overdue_s == pytest.approx(old.overdue_s, rel=0.2)
    assert new.latency.q50 == pytest.approx(ANSWER_S, rel=0.1)
    assert rig.link("cloud/2").probe_latency.count > 0


def test_its_own_answers_soon_weigh_more():
    rig = Rig(*pods(2), EDGE)
    rig.learns(200)
    rig.knows(*pods(3), EDGE)
    path = rig.link("cloud/2").path("m", 0)
    for _ in range(40):
        assert not path.record(4 * ANSWER_S, rig.now_s)
    assert path.latency.q50 == pytest.approx(4 * ANSWER_S, rel=0.1)


def test_a_model_that_only_the_others_have_answered_for_is_known_too():
    rig = Rig(*pods(2), EDGE)
    for _ in range(50):
        rig.link("cloud/0").path("late", 3).record(0.2, rig.now_s)
    assert rig.link("cloud/1").path("late", 3).latency.q50 == pytest.approx(0.2, rel=0.01)
    assert not rig.link("edge").path("late", 3).known


def test_one_that_dies_right_after_joining_is_noticed_as_quickly():
    def lost_after_s(name):
        rig = Rig(*pods(2), EDGE)
        rig.learns(200)
        rig.knows(*pods(3), EDGE)
        joined = rig.link(name)
        for link in rig.router.links.values():
            if link.site == "cloud" and link is not joined:
                link.limiter.limit = 0
        rig.silent = {name}
        sent_s = rig.now_s
        attempts = [rig.asks()[1] for _ in range(4)]
        assert {attempt.link for attempt in attempts} == {joined}
        told = rig.goes_on(1.0)
        return next(item.now_s for item in told if isinstance(item, LinkChanged) and item.link is joined) - sent_s

    assert lost_after_s("cloud/2") <= 1.3 * lost_after_s("cloud/0")


def test_one_that_leaves_gets_nothing_new_and_finishes_what_it_has():
    rig = Rig(*pods(3), EDGE)
    rig.learns(30)
    attempts = [rig.asks() for _ in range(12)]
    leaving = rig.link("cloud/0")
    assert leaving.in_flight
    rig.knows(*pods(2, first=1), EDGE)
    for _ in range(100):
        _, attempt = rig.asks()
        assert attempt.link is not leaving
    rig.goes_on(0.02)
    for request, attempt in attempts:
        assert any(isinstance(item, Answer) for item in rig.answers(attempt))
        assert request.degraded == ""
    rig.goes_on(0.02)
    assert leaving not in rig.router._all_links()


def test_what_is_lost_at_one_that_leaves_is_rescued_by_one_that_joined():
    rig = Rig(*pods(1))
    rig.learns(60)
    request, attempt = rig.asks()
    rig.knows(*pods(1, first=5))
    told = rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s))
    assert to(told) == [("cloud/5", Reason.RESCUE)]
    (rescue,) = sends(told)
    rig.answers(rescue)
    assert request.done


def test_silence_of_one_that_left_is_noticed():
    rig = Rig(*pods(2), EDGE)
    rig.learns(200)
    _, attempt = rig.asks()
    rig.silent = {attempt.link.name}
    rig.knows(*[spec for spec in pods(2) if spec.name != attempt.link.name], EDGE)
    told = rig.goes_on(0.5)
    (rescue,) = [sent for sent in sends(told) if sent.request is attempt.request]
    assert rescue.reason is Reason.RESCUE
    assert rescue.link is not attempt.link


def test_what_waits_at_one_that_leaves_waits_elsewhere():
    rig = Rig(*pods(2, max_in_flight=1))
    rig.asks()
    rig.asks()
    waiting = []
    for _ in range(8):
        request, told = rig.arrives()
        assert sends(told) == []
        waiting.append(request)
    leaving = rig.link("cloud/0")
    assert any(request.queued_at is leaving for request in waiting)
    rig.knows(*pods(1, first=1, max_in_flight=1), *pods(1, first=9, max_in_flight=4))
    assert not leaving.queue
    assert {attempt.link.name for request in waiting for attempt in request.running} == {"cloud/9"}
    assert {request.queued_at.name for request in waiting if request.queued_at is not None} <= {"cloud/1", "cloud/9"}


@pytest.mark.parametrize("lost", [True, False])
def test_a_second_attempt_never_goes_to_one_that_left(lost):
    """Rescue, retry, hedge and last chance of requests that arrived while it was there."""
    for seed in range(10):
        rig = Rig(*pods(3), EDGE, seed=seed, route=Route(hedge_ratio=1.0))
        rig.learns(60)
        open_attempts = [rig.asks(deadline_s=1.0)[1] for _ in range(9)]
        leaving = rig.link("cloud/0")
        rig.knows(*pods(2, first=1), EDGE)
        told = []
        if lost:
            for attempt in open_attempts:
                told += rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s))
        else:
            for attempt in open_attempts[::2]:
                told += rig.answers(attempt, Outcome.OVERLOADED, retry_after_s=1.0)
        for link in rig.router.links.values():
            link.last_heard_s = rig.now_s
        told += rig.goes_on(1.1)
        asked = {attempt.link for attempt in sends(told)}
        assert asked
        assert leaving not in asked


@pytest.mark.parametrize("how", ["rescue", "retry", "last chance"])
def test_the_preferred_endpoint_of_a_request_that_went_elsewhere_gets_nothing_once_it_has_left(how):
    for seed in range(5):
        rig = Rig(*pods(2), EDGE, seed=seed)
        rig.learns(40)
        preferred = rig.link("cloud/0")
        preferred.missing["m"] = 1e9
        request = None
        while request is None or request.order[0] is not preferred:
            request, attempt = rig.asks(deadline_s=1.0)
        assert attempt.link.name == "cloud/1"
        rig.knows(*pods(1, first=1), EDGE)
        preferred.missing.clear()
        preferred.last_heard_s = rig.now_s + 10.0
        if how == "rescue":
            told = rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s))
        elif how == "retry":
            told = rig.answers(attempt, Outcome.OVERLOADED, retry_after_s=1.0)
        else:
            told = []
            while not sends(told):
                attempt.link.last_heard_s = rig.now_s
                told += rig.goes_on(0.02)
        assert to(told)[0][0] == "edge"


def test_one_that_left_is_no_last_resort():
    rig = Rig(*pods(2))
    rig.learns(40)
    request, attempt = rig.asks()
    other = next(link for link in rig.router.links.values() if link is not attempt.link)
    rig.knows(*[spec for spec in pods(2) if spec.name == attempt.link.name])
    other.state = LinkState.SUSPECT
    told = rig.told(rig.router.failed(attempt, Failure.LOST, rig.now_s))
    assert {sent.link for sent in sends(told)} <= {attempt.link}
    assert request.order[0] is attempt.link


def test_one_that_left_and_refuses_connections_may_finish():
    rig = Rig(*pods(2), EDGE)
    rig.learns(60)
    _, attempt = rig.asks()
    leaving = attempt.link
    rig.knows(*[spec for spec in pods(2) if spec.name != leaving.name], EDGE)
    rig.silent = {leaving.name}
    told = rig.goes_on(0.04)
    for item in told:
        if isinstance(item, SendProbe) and item.probe.link is leaving:
            rig.told(rig.router.probe_failed(item.probe, rig.now_s, refused=True))
    rig.answers(attempt)
    assert leaving.state is LinkState.UP
    assert attempt.request.done


def test_one_that_comes_back_before_it_has_finished_is_the_same_link():
    rig = Rig(*pods(2), EDGE)
    rig.learns(60)
    _, attempt = rig.asks()
    leaving = attempt.link
    rig.knows(*[spec for spec in pods(2) if spec.name != leaving.name], EDGE)
    rig.knows(*pods(2), EDGE)
    assert rig.link(leaving.name) is leaving
    assert not leaving.left
    assert {rig.asks()[1].link.name for _ in range(4)} == {"cloud/0", "cloud/1"}


def test_a_site_whose_endpoints_have_all_gone_is_none():
    rig = Rig(*pods(2), EDGE, route=Route(RouteKind.CLOUD_ONLY))
    request, attempt = rig.asks()
    rig.knows(EDGE)
    rig.answers(attempt)
    assert (request.done, request.degraded) == (True, "")
    _, told = rig.arrives()
    assert "no site for the route cloud-only" in told[0].error.message


def test_a_hedge_budget_is_not_earned_by_changes():
    rig = Rig(*pods(2), EDGE)
    rig.learns(10)
    budget = rig.router._hedges["m"]
    while budget.take():
        pass
    for _ in range(5):
        rig.knows(*pods(3), EDGE)
        rig.learns(1)
        rig.knows(*pods(2), EDGE)
        rig.learns(1)
    assert rig.router._hedges["m"].tokens < 1.0


def test_a_spec_can_change_the_site_of_a_link():
    rig = Rig(SiteSpec("a", "cloud"), SiteSpec("b", "cloud"), EDGE)
    rig.knows(*(replace(rig.link(name).spec, site="cloud") for name in "ab"), EDGE)
    assert {rig.asks()[1].link.name for _ in range(2)} == {"a", "b"}
    assert isinstance(rig.asks()[1], Attempt)
