"""What stands in the box for a new rollout at first can be read by what reads specifications, and is for the right release."""

import pytest

from edgewise.core.rollout.reports import Inventory
from edgewise.hub.control.status import ReleaseStatus, SiteStatus
from edgewise.hub.pages.first_draft import KEYS, first_draft
from edgewise.protocols.rollout_specification import read_specification


def release(version, *, model="pets", added_s=None, tiers=("any",)):
    sizes = dict.fromkeys(tiers, 1000)
    return ReleaseStatus(model, version, "", "", {}, "", sizes, float(version) if added_s is None else added_s, "olga")


def site(name="edge-1", *, runs=None, online=True, tier="edge", retired_s=None):
    inventory = Inventory(serving={"pets": runs} if runs else {})
    return SiteStatus(name, tier, {}, 0.0, 1.0, online, 1.0, 1, 1, 0.0, retired_s, inventory)


def drafted(releases, sites):
    return read_specification(first_draft(releases, sites), "yaml")


@pytest.mark.parametrize(
    ("releases", "sites", "version"),
    [
        ([release(1), release(2), release(3)], [site(runs=1)], 3),
        ([release(1), release(2)], [site(runs=1), site("edge-2", runs=2)], 2),
        # Nobody wants to go back to what nobody runs any more.
        ([release(1), release(2), release(3)], [site(runs=3)], 3),
        ([release(3, added_s=1.0), release(2, added_s=2.0)], [site(runs=1)], 2),
        ([release(1), release(2)], [site(runs=2, retired_s=9.0)], 2),
        ([release(4)], [], 4),
    ],
)
def test_the_draft_is_for_the_newest_release_that_waits(releases, sites, version):
    assert drafted(releases, sites).version == version


def test_a_model_with_a_release_that_waits_comes_before_one_without():
    releases = [release(2), release(7, model="cars", added_s=0.5)]
    assert drafted(releases, [site(runs=2)]).model == "cars"


def test_the_draft_has_two_waves_and_all_gates():
    found = drafted([release(2)], [site("edge-2", runs=1), site("edge-1", runs=1, online=False)])
    assert [wave.name for wave in found.waves] == ["first", "everyone else"]
    # A wave whose only site is away would wait for it.
    assert found.waves[0].selector.text == "site=edge-2"
    assert found.gates.errors is not None
    assert found.gates.latency is not None
    assert found.gates.golden


def test_the_first_version_of_a_model_is_not_compared_with_anything():
    gates = drafted([release(1)], [site()]).gates
    assert (gates.errors, gates.latency, gates.golden) == (None, None, True)


@pytest.mark.parametrize(
    ("releases", "sites"),
    [
        ([release(2)], [site(online=False)]),
        ([release(2, tiers=("cloud",))], [site(tier="edge")]),
        ([release(2, model="on")], []),
        ([release(2, model="7")], []),
    ],
)
def test_whatever_there_is_the_draft_can_be_read(releases, sites):
    assert drafted(releases, sites).model == releases[0].model


def test_without_a_release_there_is_no_draft():
    assert first_draft([], [site()]) == ""


def test_the_keys_are_those_that_are_understood():
    words = {"model", "version", "waves", "silent_after", "patience", "on_failure", "prestage"}
    named = {part.strip() for key, _, _ in KEYS for part in key.split(",")}
    assert words <= named
    assert {f"waves[].{key}" for key in ("name", "sites", "take", "at_once", "may_fail")} <= named
    assert {f"gates.{key}" for key in ("errors", "latency", "disagreement", "golden")} <= named
