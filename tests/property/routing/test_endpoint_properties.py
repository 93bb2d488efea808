"""What the router promises of sites that have several endpoints, in random scenarios that put it to the test.

Every run takes the same examples; `HYPOTHESIS_PROFILE=long` takes many more, others each time.
"""

import os
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from routing_simulator.rolling_update import endpoints, rolling_update
from routing_simulator.scenario import Fault, FaultKind, Load, Scenario, SitePlan
from routing_simulator.simulation import Simulation

from edgewise.core.routing.calls import Outcome, Reason, Request, Send, SiteSpec
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.order import by_site
from edgewise.core.routing.router import Router
from edgewise.core.routing.routes import Route, RouteKind

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
pytestmark = pytest.mark.timeout(7_200 if LONG else 120)
EXAMPLES = settings(
    deadline=None,
    max_examples=200 if LONG else 12,
    derandomize=not LONG,
    phases=list(Phase) if LONG else [Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MANY_EXAMPLES = settings(EXAMPLES, max_examples=2_000 if LONG else 200)

FAULT_S = 5.0
RATE_HZ = 150.0
EDGE = SitePlan("edge", "edge", rtt_s=0.001, workers=2, service_s=0.004)


@st.composite
def clouds(draw, least=2):
    """Two to six endpoints of a cloud, each of which could carry everything."""
    plan = SitePlan(
        "cloud",
        "cloud",
        rtt_s=draw(st.sampled_from([0.005, 0.06, 0.2])),
        jitter_s=draw(st.sampled_from([0.0, 0.01])),
        workers=8,
        service_s=draw(st.sampled_from([0.004, 0.016])),
        exponential=draw(st.booleans()),
        reports_queue=draw(st.booleans()),
    )
    return endpoints(plan, draw(st.integers(least, 6)))


def run(plans, *faults, seed, route=None, rate_hz=RATE_HZ, ends_s=9.0, **load):
    loads = (Load(route=route or Route(), rate_hz=rate_hz, **load),)
    simulation = Simulation(Scenario(plans, loads, faults, seed=seed, ends_s=ends_s), validate=True, keep_records=True)
    simulation.run()
    note(f"{simulation.scenario}; {dict(simulation.ledger.sends)}, {simulation.ledger.moves}")
    return simulation


@MANY_EXAMPLES
@given(
    st.integers(2, 200),
    st.lists(st.tuples(st.integers(0, 199), st.sampled_from(["down", "full", "ramp", "busy"])), max_size=60),
    st.integers(0, 2**32),
)
def test_the_order_names_each_endpoint_once_and_begins_with_one_that_can_be_asked(count, unwell, seed):
    random = Random(seed)
    router = Router(
        [SiteSpec(f"s/{number}", "cloud", site="s") for number in range(count)], now_s=0.0, draws=random.random
    )
    links = list(router.links.values())
    for number, how in unwell:
        link = links[number % count]
        if how == "down":
            link.state = LinkState.DOWN
        elif how == "ramp":
            link.state = LinkState.RAMP
        elif how == "full":
            link.limiter.limit = 0
        else:
            link.queue.append((0.0, 0, None, None))
    (site,) = by_site(links)
    order = site.order(random.random)
    assert sorted(link.name for link in order) == sorted(link.name for link in links)

    def rank(link):
        if link.state not in {LinkState.UP, LinkState.RAMP}:
            return 2
        return 1 if link.queue or not link.limit else 0

    assert rank(order[0]) == min(rank(link) for link in links)


@EXAMPLES
@given(st.integers(2, 50), st.integers(20, 60), st.integers(0, 2**32))
def test_what_is_in_flight_is_spread_evenly(count, each, seed):
    """With two choices the fullest has hardly more than the mean, whoever is answered when."""
    random = Random(seed)
    specs = [SiteSpec(f"s/{number}", "cloud", site="s") for number in range(count)]
    router = Router(specs, now_s=0.0, draws=random.random)
    for link in router.links.values():
        link.limiter.limit = 256
    attempts = []
    ratios = []
    asked = Counter()
    for number in range(6 * count * each):
        now_s = 0.000_01 * number
        request = Request("m", Route(), arrived_s=now_s, deadline_s=now_s + 60.0)
        attempts += [told.attempt for told in router.arrived(request, now_s) if isinstance(told, Send)]
        asked[attempts[-1].link.name] += 1
        if len(attempts) == count * each:
            last = random.randrange(len(attempts))
            attempts[last], attempts[-1] = attempts[-1], attempts[last]
            router.answered(attempts.pop(), Outcome.OK, now_s)
            if number % 50 == 0:
                ratios.append(max(len(link.in_flight) for link in router.links.values()) / each)
    assert max(ratios) < 1.0 + 6.0 / each
    mean = 6 * each
    assert max(asked.values()) < mean + 5.0 * mean**0.5


@EXAMPLES
@given(clouds(), st.sampled_from([FaultKind.KILL, FaultKind.STOP, FaultKind.CUT]), st.integers(0, 2**32))
def test_an_endpoint_that_is_lost_under_load_loses_no_request(plans, kind, seed):
    fault = Fault(kind, plans[0].name, FAULT_S, 2.0)
    simulation = run((*plans, EDGE), fault, seed=seed)
    assert simulation.ledger.violations == []
    assert simulation.ledger.lost == 0
    # The others of the site take it over: the next site sees rescues at the most.
    firsts = [at for arrived, _, at, _, attempts, _ in simulation.ledger.records if attempts == 1]
    assert firsts.count(len(plans)) == 0


@EXAMPLES
@given(clouds(), st.booleans(), st.floats(0.6, 3.0), st.floats(0.0, 0.4), st.integers(0, 2**32))
def test_a_rolling_update_loses_nothing_and_sends_nothing_to_one_that_has_left(
    plans, alone, each_s, told_after_s, seed
):
    rolled, faults = rolling_update(plans, starts_s=2.0, each_s=each_s, told_after_s=told_after_s)
    sites = rolled if alone else (*rolled, EDGE)
    route = Route(RouteKind.CLOUD_ONLY if alone else RouteKind.PREFER_CLOUD)
    simulation = run(sites, *faults, seed=seed, route=route, ends_s=3.0 + each_s * len(plans))
    assert simulation.ledger.violations == []
    assert simulation.ledger.lost == 0
    assert sorted(simulation.router.links) == sorted(plan.name for plan in sites if plan.is_known(1e9))


@EXAMPLES
@given(clouds(), st.sampled_from([FaultKind.CUT, FaultKind.CUT_UP, FaultKind.UNREACHABLE]), st.integers(0, 2**32))
def test_a_site_that_is_cut_off_goes_to_the_next_with_one_attempt_wasted_at_most(plans, kind, seed):
    simulation = run((*plans, EDGE), Fault(kind, "cloud", FAULT_S, 2.0), seed=seed, route=Route(hedge_ratio=0.0))
    assert simulation.ledger.violations == []
    assert simulation.ledger.lost == 0
    in_cut = [record for record in simulation.ledger.records if FAULT_S - 0.3 <= record[0] < FAULT_S + 2.0]
    # The first, one that went where it was as silent, and the one that was answered.
    assert max(attempts for *_, attempts, _ in in_cut) <= 3
    wasted = sum(attempts > 2 for *_, attempts, _ in in_cut)
    assert wasted <= 0.5 * sum(attempts > 1 for *_, attempts, _ in in_cut)


@EXAMPLES
@given(
    clouds(),
    st.sampled_from([FaultKind.KILL, FaultKind.RESET, FaultKind.REFUSE, FaultKind.CUT, FaultKind.ERRORS_500]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_a_request_that_may_not_run_twice_goes_to_one_endpoint_only(plans, kind, whole, seed):
    fault = Fault(kind, "cloud" if whole else plans[0].name, FAULT_S, 2.0, 0.5)
    simulation = run((*plans, EDGE), fault, seed=seed, non_idempotent_share=1.0)
    assert [violation for violation in simulation.ledger.violations if violation.startswith("one-site")] == []
    assert simulation.ledger.runs == simulation.ledger.ran_once


@EXAMPLES
@given(clouds(), st.integers(0, 2**32))
def test_a_site_comes_back_on_one_ramp(plans, seed):
    """However many endpoints it has, the first steps of the ramp let few requests through."""
    simulation = run((*plans, EDGE), Fault(FaultKind.CUT, "cloud", FAULT_S, 2.0), seed=seed, ends_s=12.0)
    ramps = [at for at, _, _, after, _ in simulation.ledger.moves if after == "RAMP"]
    first_s = min(ramps)
    early = [at for arrived, _, at, *_ in simulation.ledger.records if first_s <= arrived < first_s + 0.15]
    cloud = sum(at not in {len(plans), -1} for at in early)
    # One request opens the step of each endpoint, and then one in a hundred.
    assert cloud <= len(plans) + 2
    assert simulation.ledger.sends[Reason.RAMP] <= 0.05 * simulation.arrivals
