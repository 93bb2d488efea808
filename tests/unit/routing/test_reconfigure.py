"""Sites that are exchanged while requests are in flight."""

from edgewise.core.routing.calls import Answer, Outcome, Reason, Request, Send, SendProbe, SiteSpec
from edgewise.core.routing.router import Router
from edgewise.core.routing.routes import Route

SITES = [SiteSpec("cloud", "cloud"), SiteSpec("edge", "edge")]


class Driver:
    """A router whose probes are answered at once and whose time passes in steps of 5 ms."""

    def __init__(self):
        self.now_s = 0.0
        self.router = Router(SITES, now_s=0.0, draws=lambda: 0.5)
        self.sent(self.router.start(0.0))

    def sent(self, instructions):
        for instruction in instructions:
            if isinstance(instruction, SendProbe):
                self.router.probe_answered(instruction.probe, self.now_s)
        return [instruction.attempt for instruction in instructions if isinstance(instruction, Send)]

    def ask(self):
        request = Request("m", Route(hedge_ratio=0.02), arrived_s=self.now_s, deadline_s=self.now_s + 10.0)
        (attempt,) = self.sent(self.router.arrived(request, self.now_s))
        return request, attempt

    def wait(self, steps):
        sent = []
        for _ in range(steps):
            self.now_s += 0.005
            sent += self.sent(self.router.tick(self.now_s))
        return sent


def test_a_request_that_was_in_flight_when_the_config_changed_is_hedged_all_the_same():
    driver = Driver()
    for number in range(1000):
        _, attempt = driver.ask()
        # One in two hundred takes twice as long, so that a hedge is worth it.
        driver.wait(8 if number % 200 == 199 else 4)
        driver.router.answered(attempt, Outcome.OK, driver.now_s)
    for _ in range(60):
        # Quick ones, which leave something for a hedge: a change of the config is no new budget.
        _, attempt = driver.ask()
        driver.wait(3)
        driver.router.answered(attempt, Outcome.OK, driver.now_s)
    slow, _ = driver.ask()
    driver.router.reconfigure(SITES, driver.now_s)
    (hedge,) = driver.wait(10)
    assert (hedge.request, hedge.link.name, hedge.reason) == (slow, "edge", Reason.HEDGE)
    (answer,) = driver.router.answered(hedge, Outcome.OK, driver.now_s)
    assert isinstance(answer, Answer)
    assert answer.request is slow
