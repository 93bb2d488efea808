"""A site as one, by the links to its endpoints."""

import itertools

import pytest

from edgewise.core.routing.calls import SiteSpec
from edgewise.core.routing.link import Link
from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.settings import RouterSettings
from edgewise.gateway.site_view import NO_ENDPOINT, best_state, site_snapshot


def link(name, state=LinkState.UP, why="start"):
    found = Link(SiteSpec(f"cloud/{name}", "cloud", site="cloud"), RouterSettings(), 0.0)
    found.state, found.why = state, why
    return found


def snapshot(*links):
    return site_snapshot("cloud", "cloud", [one.snapshot(10.0) for one in links])


def test_a_site_is_what_its_best_endpoint_is():
    order = [LinkState.UP, LinkState.RAMP, LinkState.SUSPECT, LinkState.PROBING, LinkState.DOWN]
    for better, worse in itertools.combinations(order, 2):
        assert best_state([worse, better]) is better
    assert best_state([]) is LinkState.DOWN
    assert set(order) == set(LinkState)


def test_one_link_is_the_site():
    one = link("a", LinkState.SUSPECT, "silence")
    assert snapshot(one) == {**one.snapshot(10.0), "name": "cloud", "site": "cloud", "states": {"SUSPECT": 1}}


def test_counts_are_summed_and_the_state_is_the_best_ones():
    lost, good = link("a", LinkState.DOWN, "silence"), link("b")
    lost.since_s = 4.0
    found = snapshot(lost, good, link("c"))
    assert (found["name"], found["tier"], found["state"], found["why"]) == ("cloud", "cloud", "UP", "start")
    assert found["states"] == {"DOWN": 1, "UP": 2}
    assert found["limit"] == lost.limit * 3
    assert found["since_s"] == 10.0


def test_of_what_was_learned_that_which_rests_on_the_most():
    little, much = link("a"), link("b")
    for count, one, latency_s in ((3, little, 0.5), (60, much, 0.010)):
        for number in range(count):
            one.path("pets", 0).latency.record(latency_s, number * 0.01)
            one.probe_latency.record(latency_s, number * 0.01)
    little.path("other", 1).latency.record(0.2, 1.0)
    found = snapshot(little, much)
    pets, other = sorted(found["paths"], key=lambda path: -path["count"])
    assert (pets["model"], pets["size_class"], pets["count"]) == ("pets", 0, 63)
    assert pets["q50_s"] == pytest.approx(0.010, rel=0.2)
    assert (other["model"], other["size_class"], other["count"]) == ("other", 1, 1)
    assert found["probe"]["q50_s"] == pytest.approx(0.010, rel=0.2)


def test_no_endpoint():
    found = snapshot()
    assert (found["state"], found["why"], found["states"], found["limit"]) == ("DOWN", NO_ENDPOINT, {}, 0)
    assert set(found) == set(snapshot(link("a")))
