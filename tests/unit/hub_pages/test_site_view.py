import pytest

from edgewise.core.rollout.reports import Inventory, Served
from edgewise.hub.control.status import OrderStatus, RolloutSummary, SiteStatus
from edgewise.hub.pages import site_view
from edgewise.hub.pages.overview import overview
from edgewise.hub.pages.signs import LinkState
from edgewise.protocols.documents import time_text

NOW_S = 1_700_000_000.0


def site(name="edge-1", **changes):
    values = {
        "site": name,
        "tier": "edge",
        "labels": {},
        "enrolled_s": NOW_S - 1000.0,
        "heard_s": NOW_S - 3.0,
        "online": True,
        "reported_s": NOW_S - 3.0,
        "generation": 1,
        "following": 1,
        "clock_ahead_s": 0.1,
        "retired_s": None,
        "inventory": Inventory(),
    }
    return SiteStatus(**{**values, **changes})


def rollout(name, state):
    return RolloutSummary(name, "pets", 2, state, "too little data", 1, 0.0, "anna", 0.0, 3, {"Active": 3})


@pytest.mark.parametrize(
    ("changes", "link"),
    [
        ({}, LinkState.ONLINE),
        ({"online": False}, LinkState.OFFLINE),
        ({"online": False, "heard_s": None}, LinkState.NEVER),
        ({"retired_s": NOW_S}, LinkState.RETIRED),
    ],
)
def test_a_link_is_what_was_heard_of_it(changes, link):
    assert site_view.link(site(**changes)) == link


def test_a_site_that_is_well_has_no_concerns():
    far = Inventory(certificate_expires=time_text(NOW_S + 90 * 86400.0), disk_free_bytes=10**10)
    assert site_view.concerns(site(inventory=far), NOW_S) == ()


@pytest.mark.parametrize(
    ("changes", "concern"),
    [
        ({"online": False, "heard_s": NOW_S - 600.0}, "not heard of for 10 min"),
        ({"states": {"pets-2": "Failed"}}, "Failed in rollout pets-2"),
        ({"clock_ahead_s": 900.0}, "its clock is 15 min ahead"),
        ({"clock_ahead_s": -86400.0 * 800}, "its clock is 800 days behind"),
        ({"inventory": Inventory(disk_free_bytes=1000)}, "its disk has 1.0 kB left"),
        (
            {"inventory": Inventory(certificate_expires=time_text(NOW_S + 3 * 86400.0))},
            "its certificate expires in 3 days",
        ),
        ({"inventory": Inventory(certificate_expires=time_text(NOW_S - 1.0))}, "its certificate has expired"),
    ],
)
def test_what_somebody_should_see_to_is_said(changes, concern):
    assert site_view.concerns(site(**changes), NOW_S) == (concern,)


def test_a_certificate_that_nobody_understands_is_no_concern_and_no_error():
    assert site_view.concerns(site(inventory=Inventory(certificate_expires="soon")), NOW_S) == ()


def test_models_are_those_that_run_and_those_that_are_to():
    inventory = Inventory(models={"pets": (1, 2), "zoo": (7,)}, serving={"pets": 1})
    orders = (OrderStatus("pets-2-k3f9", "pets", 2, "run"), OrderStatus("cars-1-aaaa", "cars", 1, "stage"))
    rows = {row.model: row for row in site_view.models(site(inventory=inventory, orders=orders))}
    assert list(rows) == ["cars", "pets", "zoo"]
    assert (rows["pets"].serving, rows["pets"].loaded, rows["pets"].wanted) == (1, (2,), "version 2: told to switch")
    assert (rows["zoo"].serving, rows["zoo"].loaded, rows["zoo"].rollout) == (0, (7,), "")
    assert (rows["cars"].serving, rows["cars"].wanted) == (0, "version 1: told to fetch, and to wait")


@pytest.mark.parametrize(
    ("want", "wanted"),
    [("granted", "version 2: told to switch"), ("back", "version 2: told to go back"), ("nothing", "")],
)
def test_what_a_site_is_told_is_said_in_words(want, wanted):
    (row,) = site_view.models(site(orders=(OrderStatus("pets-2-k3f9", "pets", 2, want),)))
    assert row.wanted == wanted


def test_cloud_and_edge_are_drawn_to_one_scale():
    inventory = Inventory(cloud={"pets": Served(10, 0, 40.0, 80.0)}, edge={"pets": Served(10, 0, 8.0, 20.0)})
    ((model, bars),) = [(one.model, one.bars) for one in site_view.latencies(site(inventory=inventory))]
    assert model == "pets"
    assert [(bar.tier, bar.p50, bar.p99) for bar in bars] == [("cloud", 50.0, 100.0), ("edge", 10.0, 25.0)]


def test_a_tier_that_was_not_asked_is_left_out_and_no_time_is_drawn_as_none():
    (one,) = site_view.latencies(site(inventory=Inventory(edge={"pets": Served(0, 0, 0.0, 0.0)})))
    assert [(bar.tier, bar.p50, bar.p99) for bar in one.bars] == [("edge", 0.0, 0.0)]


def test_the_overview_counts_and_names_what_needs_a_person():
    sites = [
        site("edge-1", inventory=Inventory(serving={"pets": 2})),
        site("edge-2", inventory=Inventory(serving={"pets": 1}), online=False, heard_s=NOW_S - 600.0),
        site("edge-3", online=False, heard_s=None),
    ]
    rollouts = [rollout("pets-2-k3f9", "Paused"), rollout("pets-1-aaaa", "Completed")]
    found = overview(sites, rollouts, NOW_S)
    assert {figure.name: figure.count for figure in found.figures} == {
        "sites": 3,
        "online": 1,
        "offline": 1,
        "never seen": 1,
        "rollouts under way": 1,
        "need a person": 2,
    }
    assert [one.name for one in found.attention] == ["pets-2-k3f9", "edge-2"]
    assert found.versions == (("pets", ((2, 1), (1, 1))),)
    assert found.said == "2 things need a person; 1 of 3 sites online; 1 rollout under way."


def test_many_concerns_are_cut_short_and_counted():
    sites = [site(f"edge-{number}", online=False) for number in range(50)]
    found = overview(sites, [], NOW_S)
    assert len(found.attention) + found.more == 50
    assert found.more > 0
