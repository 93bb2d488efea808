"""What the router promises, each by itself, in random scenarios that put it to the test.

Here the faults and loads are chosen for the one property; `test_router_invariants.py` has all of them at once. Every run
takes the same examples; `HYPOTHESIS_PROFILE=long` takes many more, others each time.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st
from routing_simulator.ledger import LATE
from routing_simulator.scenario import Fault, FaultKind, Load, Scenario, SitePlan
from routing_simulator.simulation import Simulation

from edgewise.core.routing.calls import Reason
from edgewise.core.routing.routes import Route, RouteKind

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
pytestmark = pytest.mark.timeout(7_200 if LONG else 120)
EXAMPLES = settings(
    deadline=None,
    max_examples=300 if LONG else 20,
    derandomize=not LONG,
    phases=list(Phase) if LONG else [Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

ENDS_S = 6.0
RATE_HZ = 80.0
STABLE_S = 60.0  # a loss sooner after the way back is a flap
FLAP_HOLD_S = 10.0

BREAKS = (FaultKind.CUT, FaultKind.CUT_UP, FaultKind.CUT_DOWN, FaultKind.RESET, FaultKind.KILL, FaultKind.STOP)
UNWELL = (FaultKind.ERRORS_500, FaultKind.ERRORS_503, FaultKind.ERRORS_429)
ROUTES = (RouteKind.PREFER_CLOUD, RouteKind.PREFER_EDGE, RouteKind.FASTEST)
VALUES = {
    FaultKind.LOSS: (0.05, 0.3),
    FaultKind.SLOW: (5.0, 20.0),
    FaultKind.DELAY: (0.05, 0.3),
    FaultKind.FLAP: (0.3, 0.8),
    FaultKind.HALF_DEAD: (1_000.0,),
    **dict.fromkeys(UNWELL, (0.2, 1.0)),
}


@st.composite
def faults(draw, kinds, *, most=3, earliest_s=0.5, latest_s=ENDS_S - 1.0, longest_s=3.0):
    found = []
    for _ in range(draw(st.integers(1, most))):
        kind = draw(st.sampled_from(kinds))
        starts_s = draw(st.floats(earliest_s, latest_s) if draw(st.integers(0, 3)) else st.just(earliest_s))
        value = draw(st.sampled_from(VALUES[kind])) if kind in VALUES else 0.0
        found.append(
            Fault(kind, draw(st.sampled_from(["cloud", "edge"])), starts_s, draw(st.floats(0.2, longest_s)), value)
        )
    return tuple(found)


@st.composite
def scenarios(
    draw, kinds, *, max_in_flight=(64, 256), ends_s=ENDS_S, routes=ROUTES, route=None, load=None, **fault_bounds
):
    sites = (
        SitePlan(
            "cloud",
            "cloud",
            rtt_s=draw(st.sampled_from([0.02, 0.06, 0.2])),
            jitter_s=draw(st.sampled_from([0.0, 0.01])),
            max_in_flight=draw(st.sampled_from(max_in_flight)),
        ),
        SitePlan("edge", "edge", rtt_s=0.001, service_s=0.004, max_in_flight=draw(st.sampled_from(max_in_flight))),
    )
    kind = draw(st.sampled_from(routes))
    loads = (Load(route=Route(kind, deadline_s=2.0, **(route or {})), rate_hz=RATE_HZ, **(load or {})),)
    wrong = draw(faults(kinds, **fault_bounds))
    valued = [(fault.kind, fault.site) for fault in wrong if fault.kind in VALUES]
    assume(len(set(valued)) == len(valued))  # the end of the one would end the other
    return Scenario(sites, loads, wrong, seed=draw(st.integers(0, 2**32)), ends_s=ends_s)


def run(scenario):
    """Until the faults are over and everything has ended."""
    simulation = Simulation(scenario, validate=True, keep_records=True)
    simulation.run_until(max(scenario.ends_s, scenario.healed_s))
    simulation.drain()
    note(f"{scenario}; {dict(simulation.ledger.sends)}, {simulation.ledger.moves}")
    return simulation


def found(simulation, *invariants):
    return [violation for violation in simulation.ledger.violations if violation.startswith(invariants)]


@EXAMPLES
@given(
    scenarios(
        (*BREAKS, *UNWELL, FaultKind.LOSS, FaultKind.DRIP),
        # So that some have nowhere else to go and run out of time.
        routes=(*ROUTES, RouteKind.CLOUD_ONLY, RouteKind.EDGE_ONLY),
        load={"cancel_share": 0.05, "non_idempotent_share": 0.1},
        longest_s=5.0,
    )
)
def test_each_request_ends_once(scenario):
    simulation = run(scenario)
    assert found(simulation, "one-end", "late-send", "forever") == []
    assert sum(simulation.ledger.ends.values()) == simulation.arrivals == len(simulation.ledger.records)


@EXAMPLES
@given(
    scenarios(
        (*BREAKS, *UNWELL, FaultKind.LOSS, FaultKind.NOT_SERVED, FaultKind.DRIP, FaultKind.HALF_DEAD),
        # So that nothing is saved by hedges, and some is lost before anything is known of its site.
        route={"hedge_ratio": 0.0},
        earliest_s=0.02,
        latest_s=7.0,
        longest_s=6.0,
        ends_s=9.0,
    )
)
def test_no_request_is_lost_rejected_or_late_that_a_site_could_have_answered(scenario):
    simulation = run(scenario)
    assert found(simulation, "promise") == []
    assert simulation.ledger.ends[LATE] == 0


@EXAMPLES
@given(
    st.sampled_from([0.0, 0.01, 0.05]).flatmap(
        lambda ratio: scenarios((FaultKind.LOSS, FaultKind.SLOW), route={"hedge_ratio": ratio})
    )
)
def test_hedges_stay_within_the_share_of_their_route(scenario):
    simulation = run(scenario)
    assert found(simulation, "share") == []
    ratio = scenario.loads[0].route.hedge_ratio
    assert simulation.ledger.sends[Reason.HEDGE] <= ratio * simulation.arrivals + 2.0 * (ratio > 0.0)


@EXAMPLES
@given(scenarios((*BREAKS, *UNWELL, FaultKind.REFUSE), load={"non_idempotent_share": 1.0}))
def test_a_request_that_may_not_run_twice_goes_to_one_site_only(scenario):
    simulation = run(scenario)
    assert found(simulation, "one-site") == []
    assert simulation.ledger.runs == simulation.ledger.ran_once


@EXAMPLES
@given(scenarios((*BREAKS, *UNWELL, FaultKind.SLOW, FaultKind.DELAY), max_in_flight=(2, 8, 32)))
def test_no_site_has_more_in_flight_than_its_limit(scenario):
    assert found(run(scenario), "limit") == []


@EXAMPLES
@given(scenarios((FaultKind.FLAP, *BREAKS), most=4, latest_s=20.0, longest_s=8.0, ends_s=30.0))
def test_traffic_switches_at_most_once_in_each_hold_down(scenario):
    simulation = run(scenario)
    assert found(simulation, "hold-down", "table") == []
    for site in ("cloud", "edge"):
        lost_s = back_s = hold_s = None
        for at_s, name, before, after, _ in simulation.ledger.moves:
            if name != site:
                continue
            if after == "DOWN" and before != "PROBING":
                hold_s = FLAP_HOLD_S if back_s is not None and at_s - back_s < STABLE_S else 0.6
                lost_s = at_s
            elif after == "RAMP":
                assert at_s - lost_s >= hold_s, f"{site} was lost at {lost_s} and carries requests at {at_s}"
                back_s = at_s


@EXAMPLES
@given(scenarios((*BREAKS, *UNWELL, FaultKind.LOSS, FaultKind.SLOW, FaultKind.DELAY)))
def test_when_the_faults_are_over_everything_is_as_it_was_at_first(scenario):
    simulation = Simulation(scenario, validate=True).run()
    note(f"{scenario}; {simulation.ledger.moves}")
    assert found(simulation, "return", "forever", "ghost") == []
    for link in simulation.router.links.values():
        assert (link.state, len(link.in_flight), len(link.queue), link.witnesses) == ("UP", 0, 0, 0)
