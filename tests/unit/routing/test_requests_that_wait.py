"""What becomes of requests that are not answered: they go elsewhere in time, or their app is told why not."""

import pytest

from edgewise.core.routing.calls import Answer, Cancel, Failure, Outcome, Reason, Reject, Request, Send, SiteSpec
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.router import Router
from edgewise.core.routing.routes import Route, RouteKind

NO_HEDGES = Route(hedge_ratio=0.0)


class Rig:
    """A router with virtual time and nobody who answers unless told."""

    def __init__(self, *sites, route=NO_HEDGES):
        self.router = Router(
            sites or (SiteSpec("cloud", "cloud"), SiteSpec("edge", "edge")), now_s=0.0, draws=lambda: 0.5
        )
        self.route = route
        self.now_s = 0.0

    def link(self, name):
        return self.router.links[name]

    def arrives(self, *, deadline_s=1.0, **kind):
        request = Request(
            "m", self.route, arrived_s=self.now_s, deadline_s=self.now_s + deadline_s, size_bytes=100, **kind
        )
        return request, self.router.arrived(request, self.now_s)

    def goes_on(self, until_s):
        """Ticks until then; all instructions with their times."""
        told = []
        while self.now_s < until_s:
            self.now_s = min(max(self.router.wake_s, self.now_s + 0.001), until_s)
            told += [(self.now_s, instruction) for instruction in self.router.tick(self.now_s)]
            self.router.validate_state(self.now_s)
            self.router.validate_requests()
        return told

    def learns(self, name, answer_s=0.05, count=100):
        """Have a site answer so many requests, one after the other."""
        for _ in range(count):
            request, (send,) = self.arrives()
            assert send.attempt.link.name == name
            self.now_s += answer_s
            self.router.answered(send.attempt, Outcome.OK, self.now_s)
            assert request.done


def sends(told):
    return [(at_s, item.attempt.link.name, item.attempt.reason) for at_s, item in told if isinstance(item, Send)]


def hears_of(rig, name):
    """The site is alive, so that silence is no evidence."""
    rig.link(name).last_heard_s = rig.now_s


def test_a_request_whose_answer_drips_is_sent_on_before_it_is_too_late():
    rig = Rig()
    request, _ = rig.arrives(deadline_s=1.0)
    told = []
    for step in range(1, 90):
        hears_of(rig, "cloud")
        told += rig.goes_on(0.01 * step)
    assert rig.link("cloud").state is LinkState.UP
    [(at_s, name, reason)] = sends(told)
    assert (name, reason) == ("edge", Reason.RESCUE)
    assert at_s == pytest.approx(0.5, abs=0.02)
    [answer] = [
        item for item in rig.router.answered(request.running[-1], Outcome.OK, rig.now_s) if isinstance(item, Answer)
    ]
    assert answer.attempt.link.name == "edge"


def test_a_request_that_will_be_answered_is_not_asked_twice():
    rig = Rig()
    rig.learns("cloud", 0.05)
    rig.arrives(deadline_s=1.0)
    assert sends(rig.goes_on(rig.now_s + 0.049)) == []


def test_last_chances_are_bounded():
    rig = Rig(SiteSpec("cloud", "cloud", max_in_flight=2000), SiteSpec("edge", "edge", max_in_flight=2000))
    rig.link("edge").limiter.limit = rig.link("cloud").limiter.limit = 2000
    for _ in range(1000):
        rig.arrives(deadline_s=1.0)
    told = []
    for step in range(1, 99):
        hears_of(rig, "cloud")
        told += rig.goes_on(0.01 * step)
    assert 400 <= len(sends(told)) <= 0.5 * 1000 + 20.0 * 10.0


def test_what_waits_at_one_site_goes_to_another_that_has_room_again():
    rig = Rig(SiteSpec("cloud", "cloud", max_in_flight=2), SiteSpec("edge", "edge", max_in_flight=2))
    attempts = [rig.arrives(deadline_s=5.0)[1][0].attempt for _ in range(4)]
    waiting, told = rig.arrives(deadline_s=5.0)
    assert told == []
    other = next(attempt for attempt in attempts if attempt.link is not waiting.queued_at)
    rig.goes_on(0.02)
    rig.router.answered(other, Outcome.OK, rig.now_s)
    [(_, name, _)] = sends(rig.goes_on(0.2))
    assert name == other.link.name
    assert waiting.queued_at is None


def test_a_request_that_may_not_run_twice_leaves_a_connection_that_is_not_made():
    rig = Rig()
    request, (send,) = rig.arrives(deadline_s=3.0, idempotent=False)
    rig.router.waits(send.attempt)
    told = rig.goes_on(2.0)
    kinds = [(type(item), item.attempt.link.name) for _, item in told if isinstance(item, Send | Cancel)]
    # First it is taken back, so that no two sites can ever have it.
    assert kinds == [(Cancel, "cloud"), (Send, "edge")]
    assert [attempt.link.name for attempt in request.running] == ["edge"]


def test_a_request_that_may_not_run_twice_stays_where_it_was_sent():
    rig = Rig()
    request, (send,) = rig.arrives(deadline_s=3.0, idempotent=False)
    rig.router.waits(send.attempt)
    rig.router.sent(send.attempt, 0.01)
    told = rig.goes_on(3.1)
    assert sends(told) == []
    assert request.done


def cut(rig, name):
    """The site's connections break, until the link is down."""
    for _ in range(3):
        request, told = rig.arrives()
        for send in told:
            if isinstance(send, Send) and send.attempt.link.name == name:
                rig.router.failed(send.attempt, Failure.CONNECT, rig.now_s)
        rig.router.cancelled(request, rig.now_s)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (RouteKind.PREFER_CLOUD, "no model server can be reached now; try again later"),
        (RouteKind.CLOUD_ONLY, "no model server in the cloud can be reached now; try again later"),
    ],
)
def test_an_app_is_told_what_to_do_and_nothing_of_sites(kind, says):
    rig = Rig(route=Route(kind))
    cut(rig, "cloud")
    cut(rig, "edge")
    _, told = rig.arrives()
    [reject] = told
    assert isinstance(reject, Reject)
    assert reject.error.message == says
    assert reject.error.retry_after_s == 1.0


def test_an_app_is_told_that_everybody_is_busy():
    rig = Rig(SiteSpec("cloud", "cloud", max_in_flight=2, max_queue=1))
    told = [rig.arrives(deadline_s=5.0)[1] for _ in range(4)]
    [reject] = told[-1]
    assert (
        reject.error.message == "all model servers that can be reached are too busy to answer in time; try again later"
    )


def test_an_app_is_told_that_its_request_may_have_run():
    rig = Rig(SiteSpec("cloud", "cloud"))
    _, (send,) = rig.arrives(idempotent=False)
    [reject] = rig.router.failed(send.attempt, Failure.LOST, 0.1)
    assert "may have run" in reject.error.message
    assert "cloud" not in reject.error.message


def test_the_last_site_that_only_its_hold_down_keeps_away_has_a_queue():
    rig = Rig(SiteSpec("cloud", "cloud", max_in_flight=2))
    cut(rig, "cloud")
    link = rig.link("cloud")
    link.state, link.answers, link.good_probes = LinkState.PROBING, True, 3
    link.hold.until_s = 1e9
    rig.goes_on(0.01)
    assert [type(told[0]) for told in (rig.arrives(deadline_s=5.0)[1] for _ in range(2))] == [Send, Send]
    waiting, told = rig.arrives(deadline_s=5.0)
    assert told == []
    assert waiting.queued_at is link
