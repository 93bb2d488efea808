"""The carrier with a router that says what it is told to say."""

import asyncio
import time

import pytest

from edgewise.core.errors import InternalError, UnavailableError
from edgewise.core.routing.calls import (
    Answer,
    Attempt,
    Cancel,
    CloseConnections,
    Failure,
    LinkChanged,
    Outcome,
    Probe,
    Reason,
    Reject,
    Request,
    Send,
    SendProbe,
    Warm,
)
from edgewise.core.routing.routes import DEFAULT_ROUTE
from edgewise.gateway.carrier import Carrier
from support.waiting import until

NEVER_S = float("inf")


class Script:
    """A router: `plan[event]` is what it instructs next time."""

    def __init__(self):
        self.plan = {}
        self.told_of = []
        self.wake_s = NEVER_S
        self.ticked = asyncio.Event()

    def _event(self, name, *what):
        self.told_of.append((name, *what))
        return self.plan.pop(name, [])

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)

        def event(*args, **kwargs):
            what = [arg for arg in args if not isinstance(arg, float)]
            return self._event(name, *what, *kwargs.values())

        return event

    def tick(self, now_s):
        self.wake_s = NEVER_S
        self.ticked.set()
        return self._event("tick")


class Link:
    name = "cloud"
    tier = "cloud"


class Hooks:
    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *args: self.calls.append((name, *args))


class Site:
    name = "cloud"

    def __init__(self, log):
        self.log = log

    def send_probe(self, probe, events):
        self.log.append(("probe", probe))

    def close_connections(self):
        self.log.append(("close",))

    def warm(self, connections, payload_bytes=0, *, at_once=0, lasts_s=0.0):
        self.log.append(("warm", connections, payload_bytes, at_once, lasts_s))


class Call:
    """An app's call that keeps what is asked of it."""

    def __init__(self, log):
        self.log = log
        self.during = {}

    def _do(self, what, *args):
        self.log.append((what, *args))
        action = self.during.pop(what, None)
        if action is not None:
            action()

    def send(self, attempt, site):
        self._do("send", attempt)

    def answer(self, attempt):
        self._do("answer", attempt)

    def reject(self, error):
        self._do("reject", error)


class Wire:
    def __init__(self):
        self.cancelled = 0

    def cancel(self):
        self.cancelled += 1


class House:
    def __init__(self, loop):
        self.log = []
        self.router = Script()
        self.hooks = Hooks()
        self.carrier = Carrier(self.router, {"cloud": Site(self.log)}, loop=loop, hooks=self.hooks)
        self.call = Call(self.log)

    def request(self):
        return Request("m", DEFAULT_ROUTE, arrived_s=0.0, context=self.call)

    def attempt(self, request, number=1):
        return Attempt(request, Link(), None, number, Reason.FIRST, 0.0)


@pytest.fixture
def scenario():
    """Runs a coroutine function with a house."""

    def run(main):
        async def guarded():
            house = House(asyncio.get_running_loop())
            try:
                await main(house)
            finally:
                house.carrier.close()

        asyncio.run(guarded())

    return run


def test_instructions_are_carried_out_in_their_order(scenario):
    async def main(house):
        request = house.request()
        first, second = house.attempt(request), house.attempt(request, 2)
        wire = first.carrier = Wire()
        probe = Probe(Link(), sent_s=0.0, payload_bytes=0, timeout_s=1.0, fresh=False)
        house.router.plan["arrived"] = [
            *(Send(first), Cancel(first), Send(second), SendProbe(probe)),
            *(
                CloseConnections(Link()),
                Warm(Link(), 4, payload_bytes=20_000, at_once=2, lasts_s=0.3),
                Answer(request, second),
            ),
        ]
        house.carrier.arrived(request)
        assert house.log == [
            *(("send", first), ("send", second), ("probe", probe)),
            *(("close",), ("warm", 4, 20_000, 2, 0.3), ("answer", second)),
        ]
        assert wire.cancelled == 1
        assert first.carrier is None

    scenario(main)


def test_an_event_while_instructions_are_carried_out_waits_its_turn(scenario):
    async def main(house):
        one, other = house.request(), house.request()
        a, b, c = house.attempt(one), house.attempt(one, 2), house.attempt(other)
        house.call.during["send"] = lambda: house.carrier.arrived(other)
        house.router.plan["arrived"] = [Send(a), Send(b)]
        original = house.router._event

        def event(name, *what):
            if what and what[0] is other:
                house.router.plan["arrived"] = [Send(c)]
            return original(name, *what)

        house.router._event = event
        house.carrier.arrived(one)
        assert [entry[0] for entry in house.router.told_of] == ["arrived", "arrived"], "told at once"
        assert house.log == [("send", a), ("send", b), ("send", c)]

    scenario(main)


def test_what_fails_to_be_sent_is_told_as_a_failed_attempt(scenario):
    async def main(house):
        request = house.request()
        attempt, next_one = house.attempt(request), house.attempt(request, 2)

        def fail():
            raise RuntimeError("out of order")

        house.call.during["send"] = fail
        house.router.plan["arrived"] = [Send(attempt), Send(next_one)]
        house.carrier.arrived(request)
        assert ("send", next_one) in house.log, "the others are carried out all the same"
        await asyncio.sleep(0)
        assert ("failed", attempt, Failure.PROTOCOL) in house.router.told_of

    scenario(main)


def test_an_answer_that_cannot_be_given_becomes_an_error(scenario):
    async def main(house):
        request = house.request()
        attempt = house.attempt(request)

        def fail():
            raise RuntimeError("out of order")

        house.call.during["answer"] = fail
        house.router.plan["answered"] = [Answer(request, attempt)]
        house.carrier.answered(attempt, Outcome.OK)
        what, error = house.log[-1]
        assert what == "reject"
        assert isinstance(error, InternalError)

    scenario(main)


def test_a_site_that_is_not_known_any_more_fails_the_attempt_alone(scenario):
    async def main(house):
        request = house.request()
        attempt = house.attempt(request)
        house.carrier.sites.clear()
        house.router.plan["arrived"] = [Send(attempt)]
        house.carrier.arrived(request)
        await asyncio.sleep(0)
        assert house.router.told_of[-1] == ("failed", attempt, Failure.PROTOCOL)

    scenario(main)


def test_one_timer_is_kept_for_the_earliest_wake(scenario):
    async def main(house):
        request = house.request()
        house.router.wake_s = time.monotonic() + 3600
        house.carrier.arrived(request)
        assert not house.router.ticked.is_set()
        house.router.wake_s = time.monotonic() + 0.001
        house.carrier.arrived(request)
        await asyncio.wait_for(house.router.ticked.wait(), 10)
        assert house.carrier._timer is None, "nothing is to come, so no timer runs"

    scenario(main)


def test_a_wake_in_the_past_does_not_spin(scenario):
    async def main(house):
        turns = 0

        def tick(now_s):
            nonlocal turns
            turns += 1
            if turns == 3:
                house.router.wake_s = NEVER_S
                house.router.ticked.set()
            return []

        house.router.tick = tick
        house.router.wake_s = 0.0
        house.carrier.arrived(house.request())
        assert turns == 0, "not from within the event"
        await asyncio.wait_for(house.router.ticked.wait(), 10)

    scenario(main)


def test_nothing_is_armed_once_closed(scenario):
    async def main(house):
        house.carrier.close()
        house.router.wake_s = 0.0
        house.carrier.arrived(house.request())
        assert house.carrier._timer is None

    scenario(main)


def test_what_is_counted_is_told_with_its_outcome(scenario):
    async def main(house):
        request = house.request()
        attempt = house.attempt(request)
        house.router.plan["arrived"] = [Send(attempt)]
        house.carrier.arrived(request)
        house.router.plan["answered"] = [Answer(request, attempt)]
        request.done = True
        house.carrier.answered(attempt, Outcome.OVERLOADED, queue_depth=3, retry_after_s=1.5)
        assert house.router.told_of[-1] == ("answered", attempt, Outcome.OVERLOADED, 3, 1.5)
        names = [call[0] for call in house.hooks.calls]
        assert names == ["received", "attempted", "attempt_answered", "answered"]
        assert house.hooks.calls[-1][1:4] == (request, attempt, Outcome.OVERLOADED)

    scenario(main)


def test_an_answer_given_later_is_counted_as_what_it_was(scenario):
    async def main(house):
        request, other = house.request(), house.request()
        kept, beside = house.attempt(request), house.attempt(other)
        house.carrier.answered(kept, Outcome.SITE_ERROR)
        other.done = True
        house.carrier.answered(beside, Outcome.OK)
        request.done = True
        house.router.plan["tick"] = [Answer(request, kept)]
        house.router.wake_s = time.monotonic()
        house.carrier.arrived(house.request())
        await asyncio.wait_for(house.router.ticked.wait(), 10)
        assert house.hooks.calls[-1][:4] == ("answered", request, kept, Outcome.SITE_ERROR)
        assert house.carrier._held == {}

    scenario(main)


def test_rejections_and_apps_that_go_are_counted_once(scenario):
    async def main(house):
        request = house.request()
        error = UnavailableError("no site")
        request.done = True
        house.router.plan["arrived"] = [Reject(request, error)]
        house.carrier.arrived(request)
        house.carrier.cancelled(request)
        assert [call for call in house.hooks.calls if call[0] != "received"] == [("rejected", request, error)]
        gone = house.request()
        house.carrier.cancelled(gone)
        assert house.hooks.calls[-1] == ("cancelled", gone)
        assert ("cancelled", gone) in house.router.told_of
        assert ("cancelled", request) not in house.router.told_of

    scenario(main)


def test_a_change_of_a_link_is_logged_and_told(scenario, caplog):
    async def main(house):
        change = LinkChanged(Link(), "up", "down", "silence", 0.0)
        house.router.plan["probe_failed"] = [change]
        caplog.set_level("INFO")
        probe = Probe(Link(), sent_s=0.0, payload_bytes=0, timeout_s=1.0, fresh=True)
        house.carrier.probe_failed(probe, refused=True)
        assert ("probe_failed", probe, True) in house.router.told_of
        assert ("link_changed", change) in house.hooks.calls
        assert "link cloud: up -> down: silence" in caplog.text

    scenario(main)


def test_sites_are_exchanged_with_the_routers(scenario):
    async def main(house):
        new = Site(house.log)
        probe = Probe(Link(), sent_s=0.0, payload_bytes=0, timeout_s=1.0, fresh=True)
        house.router.plan["reconfigure"] = [CloseConnections(Link()), SendProbe(probe)]
        old = house.carrier.sites["cloud"]
        Link.name = "near"
        try:
            house.carrier.reconfigure({"near": new}, [])
        finally:
            Link.name = "cloud"
        # What is in flight at the old one is still to be answered.
        assert house.carrier.sites == {"cloud": old, "near": new}
        house.carrier.forget(old)
        assert house.carrier.sites == {"near": new}
        assert house.log == [("close",), ("probe", probe)]

    scenario(main)


def test_a_probe_of_a_site_that_is_gone_fails_and_is_no_fault(scenario, caplog):
    async def main(house):
        house.carrier.forget(house.carrier.sites["cloud"])
        probe = Probe(Link(), sent_s=0.0, payload_bytes=0, timeout_s=1.0, fresh=True)
        house.router.plan["tick"] = [SendProbe(probe)]
        house.carrier._tick()
        await until(lambda: ("probe_failed", probe, False) in house.router.told_of)
        assert caplog.text == ""

    scenario(main)


def endings(house):
    return [call[0] for call in house.hooks.calls if call[0] in {"answered", "rejected", "cancelled"}]


@pytest.mark.parametrize(("problem", "told"), [(UnavailableError("cut"), "cut"), (ValueError("secret"), "a fault")])
def test_an_answer_that_cannot_be_given_is_a_rejection(scenario, problem, told):
    async def main(house):
        request = house.request()
        attempt = house.attempt(request)

        def fail():
            raise problem

        house.call.during["answer"] = fail
        # It was held until now; nothing of it is left.
        house.carrier.answered(attempt, Outcome.OK)
        request.done = True
        house.router.plan["failed"] = [Answer(request, attempt)]
        house.carrier.failed(house.attempt(request, 2), Failure.LOST)
        assert endings(house) == ["rejected"]
        assert [what for what, *_ in house.log] == ["answer", "reject"]
        assert told in house.log[-1][1].message
        assert "secret" not in house.log[-1][1].message
        assert house.carrier._held == {}

    scenario(main)


@pytest.mark.parametrize("decided", [Answer, Reject])
def test_an_app_that_goes_while_its_end_waits_for_its_turn_is_counted_as_gone(scenario, decided):
    async def main(house):
        first, request = house.request(), house.request()
        attempt = house.attempt(request)

        def while_another_is_carried_out():
            request.done = True
            end = Answer(request, attempt) if decided is Answer else Reject(request, UnavailableError("no site"))
            house.router.plan["answered"] = [end]
            house.carrier.answered(attempt, Outcome.OK)
            # The door's part of it, as when the app goes away at this moment.
            house.carrier.cancelled(request)
            request.context = None

        house.call.during["send"] = while_another_is_carried_out
        house.router.plan["arrived"] = [Send(house.attempt(first))]
        house.carrier.arrived(first)
        assert endings(house) == ["cancelled"]
        assert house.carrier._held == {}

    scenario(main)


def test_an_answer_that_came_late_while_others_are_carried_out_leaves_nothing(scenario):
    async def main(house):
        first, late = house.request(), house.request()
        late.done = True

        def while_another_is_carried_out():
            house.router.plan["answered"] = [Send(house.attempt(house.request()))]
            house.carrier.answered(house.attempt(late), Outcome.OK)

        house.call.during["send"] = while_another_is_carried_out
        house.router.plan["arrived"] = [Send(house.attempt(first))]
        house.carrier.arrived(first)
        assert house.carrier._held == {}

    scenario(main)
