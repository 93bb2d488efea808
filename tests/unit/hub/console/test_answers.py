"""A hub's JSON as types: what an older or newer hub says is understood as far as it goes, and nothing else is taken for an answer."""

import dataclasses
import json

import pytest

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.rollout.reports import Inventory, Served
from edgewise.hub.console.answers import as_tuple, as_type
from edgewise.hub.control.planning import Plan, Problem, ProblemKind, SitePlan, WavePlan
from edgewise.hub.control.status import OrderStatus, SiteStatus

SITE = SiteStatus(
    site="factory-7",
    tier="edge",
    labels={"region": "eu"},
    enrolled_s=1.0,
    heard_s=None,
    online=False,
    reported_s=2.5,
    generation=3,
    following=2,
    clock_ahead_s=-0.5,
    retired_s=None,
    inventory=Inventory(models={"pets": (1, 2)}, serving={"pets": 1}, edge={"pets": Served(3, 0, 1.5, 2.0)}),
    orders=(OrderStatus("pets-2-k3f9", "pets", 2, "run"),),
    states={"pets-2-k3f9": "Staged"},
)
PLAN = Plan(
    "pets",
    2,
    10,
    1.0,
    (Problem(ProblemKind.SITES, stops=True, text="a wave has no sites"),),
    (WavePlan(0, "all", "", 1, 0, 1.0, (SitePlan("a", "edge", 1, "any", 10, 10, None, ()),)),),
    ("b",),
)


def over_the_wire(value):
    return json.loads(json.dumps(dataclasses.asdict(value)))


@pytest.mark.parametrize("value", [SITE, PLAN])
def test_what_was_sent_is_what_is_read(value):
    assert as_type(type(value), over_the_wire(value), "it") == value


def test_whole_numbers_stand_for_seconds_too():
    assert as_type(SiteStatus, {**over_the_wire(SITE), "enrolled_s": 1}, "it") == SITE


def test_what_is_not_known_is_passed_over_and_what_has_a_default_may_be_missing():
    value = {**over_the_wire(SITE), "news": 1}
    del value["states"]
    assert as_type(SiteStatus, value, "it") == dataclasses.replace(SITE, states={})


def test_a_list_is_a_list():
    assert as_tuple(str, ["a"], "names") == ("a",)
    with pytest.raises(FailedPreconditionError, match="not understood at names:"):
        as_tuple(str, {"names": ["a"]}, "names")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"site": 7}, "the site.site"),
        ({"online": 1}, "the site.online"),
        ({"generation": True}, "the site.generation"),
        ({"generation": 1.5}, "the site.generation"),
        ({"labels": ["a"]}, "the site.labels"),
        ({"labels": {"a": None}}, "the site.labels.a"),
        ({"orders": {}}, "the site.orders"),
        ({"orders": [{}]}, r"the site.orders\[0\].rollout"),
        ({"inventory": None}, "the site.inventory"),
        ({"inventory": {"models": {"pets": 1}}}, "the site.inventory.models.pets"),
    ],
)
def test_anything_else_is_no_answer(change, where):
    with pytest.raises(FailedPreconditionError, match=f"the hub's answer is not understood at {where}"):
        as_type(SiteStatus, {**over_the_wire(SITE), **change}, "the site")


def test_an_unknown_kind_of_problem_is_no_answer():
    value = over_the_wire(PLAN)
    value["problems"][0]["kind"] = "other"
    with pytest.raises(FailedPreconditionError, match=r"not understood at the plan.problems\[0\].kind"):
        as_type(Plan, value, "the plan")
