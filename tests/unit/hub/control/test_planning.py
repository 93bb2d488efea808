"""What a plan says of sites: what they would fetch, for how long, and what would stop them."""

from dataclasses import replace

import pytest

from edgewise.core.releases import Variant
from edgewise.core.rollout.gates import AccuracyGate, Gates
from edgewise.core.rollout.reports import Inventory
from edgewise.core.rollout.specification import Canary, Specification
from edgewise.core.rollout.waves import Amount, Wave
from edgewise.hub.control.planning import ProblemKind, Site, plan_rollout
from edgewise.protocols.documents import time_text
from support.control_world import release

NOW_S = 1_800_000_000.0
CANARY = Canary(shadow_s=10.0, shares=(0.1, 0.5), stage_s=20.0, bake_s=50.0)
WHOLE_S = 100.0
CHUNKS = tuple("abcdefghij")


def site(name="alpha", *, tier="edge", heard_s=NOW_S, ahead_s=0.0, taken_by="", **inventory):
    return Site(name, tier, heard_s, ahead_s, Inventory(**inventory), taken_by)


ONE_WAVE = (Wave("all"),)


def plan(*sites, waves=ONE_WAVE, placed=None, floor=0, made=None, known=None, gates=None):
    specification = Specification("pets", 2, waves, gates or Gates(), CANARY)
    return plan_rollout(
        specification,
        made or release(2, chunks=CHUNKS),
        placed or [[one.name for one in sites]],
        {one.name: one for one in sites},
        known=known or {},
        floor=floor,
        now_s=NOW_S,
    )


def only(planned):
    [wave] = planned.waves
    [one] = wave.sites
    return one


def kinds(planned):
    return [(problem.kind, problem.stops) for problem in only(planned).problems]


def test_a_site_that_has_nothing_fetches_everything():
    found = only(plan(site(bandwidth_bytes_per_s=2000.0)))
    assert (found.variant, found.size_bytes, found.fetch_bytes, found.seconds) == ("any", 10_000, 10_000, 5.0)
    assert (found.runs, found.problems) == (0, ())


def test_a_site_fetches_what_the_version_that_it_has_does_not_share():
    known = {1: release(1, chunks=(*"abcdefgh", "x"))}
    planned = plan(
        site("has", models={"pets": (1,)}, serving={"pets": 1}),
        site("has_not", models={"cats": (1,)}),
        site("has_another", models={"pets": (7,)}),
        known=known,
    )
    assert {one.site: one.fetch_bytes for one in planned.waves[0].sites} == {
        "has": 2000,
        "has_not": 10_000,
        "has_another": 10_000,
    }
    assert planned.fetch_bytes == 22_000


def test_a_site_that_has_the_version_fetches_nothing():
    found = only(plan(site(models={"pets": (1, 2)}, serving={"pets": 2}, disk_free_bytes=0)))
    assert (found.fetch_bytes, found.seconds, found.runs) == (0, 0.0, 2)
    assert [(one.kind, one.stops) for one in found.problems] == [(ProblemKind.CURRENT, False)]


def test_nobody_knows_how_long_without_a_measured_bandwidth():
    assert only(plan(site())).seconds is None


def test_each_tier_has_its_own_variant():
    made = release(2, chunks=CHUNKS, tiers=("cloud",))
    assert only(plan(site(tier="cloud"), made=made)).variant == "cloud"
    found = plan(site(), made=made)
    assert only(found).variant == ""
    assert kinds(found) == [(ProblemKind.VARIANT, True)]


def test_a_gate_that_asks_for_examples_needs_a_release_that_carries_some():
    asked = Gates(accuracy=AccuracyGate())
    [problem] = only(plan(site(serving={"pets": 1}), gates=asked)).problems
    assert (problem.kind, problem.stops) == ("examples", True)
    assert problem.text.endswith("the release carries no held-out examples (heldout/heldout.json)")
    # Where nothing ran, there is nothing to compare with.
    assert kinds(plan(site(), gates=asked)) == []
    made = release(2, chunks=CHUNKS)
    [file] = made.variants["any"].files
    carrying = replace(made, variants={"any": Variant((file, replace(file, path="heldout/heldout.json")))})
    assert kinds(plan(site(serving={"pets": 1}), gates=asked, made=carrying)) == []


@pytest.mark.parametrize(
    ("facts", "kind", "stops", "says"),
    [
        ({"disk_free_bytes": 9990}, "disk", True, "10 kB do not fit on its disk, which has 9.99 kB left"),
        ({"memory_free_bytes": 5, "serving": {"pets": 1}}, "memory", True, "beside what runs: 5 bytes are left"),
        ({"quota_left_bytes": 0}, "quota", False, "0 bytes are left of its quota of today"),
        ({"runtimes": {"tensorflow": "2.21"}}, "runtime", True, "needs onnxruntime; the site has tensorflow"),
        ({"certificate_expires": time_text(NOW_S + 99.0)}, "certificate", True, "before the rollout can end"),
        ({"certificate_expires": "soon"}, "certificate", False, "nobody can say when"),
        ({"ahead_s": 301.0}, "clock", True, "its clock is 301 s ahead"),
        ({"ahead_s": -400.0}, "clock", True, "its clock is 400 s behind"),
        ({"taken_by": "pets-1-abcd"}, "taken", False, "taken over from the rollout pets-1-abcd"),
    ],
)
def test_what_would_stop_a_site_is_said(facts, kind, stops, says):
    [problem] = only(plan(site(**facts))).problems
    assert (problem.kind, problem.stops) == (kind, stops)
    assert says in problem.text


@pytest.mark.parametrize(
    ("heard_s", "says"),
    [
        (None, "it was never heard of; it catches up when its agent runs"),
        (NOW_S - 91.0, f"it is offline since {time_text(NOW_S - 91.0)}; it catches up when it is back"),
    ],
)
def test_a_site_that_is_away_comes_later_and_stops_nobody(heard_s, says):
    planned = plan(site("away", heard_s=heard_s), site("there"))
    [wave] = planned.waves
    [problem] = wave.sites[0].problems
    assert (problem.kind, problem.stops, problem.later, problem.text) == (ProblemKind.OFFLINE, False, True, says)
    assert planned.problems == ()


def test_a_wave_of_which_no_site_is_online_stops_the_rollout():
    waves = (Wave("first", amount=Amount(count=2)), Wave("rest"))
    sites = [site("a", heard_s=None), site("b", heard_s=NOW_S - 91.0), site("c")]
    [problem] = plan(*sites, waves=waves, placed=[["a", "b"], ["c"]]).problems
    assert (problem.kind, problem.stops, problem.later) == (ProblemKind.OFFLINE, True, False)
    assert problem.text == "no site of the wave first is online, and it cannot pass before one of them is"


@pytest.mark.parametrize(
    "facts",
    [
        {"disk_free_bytes": 10_000, "memory_free_bytes": 10_000, "quota_left_bytes": 10_000, "serving": {"pets": 1}},
        {"memory_free_bytes": 5},  # nothing runs there yet, so there is nothing to be loaded beside
        {"runtimes": {"onnxruntime": "1.24"}},
        {"runtimes": {}},
        {"certificate_expires": time_text(NOW_S + WHOLE_S)},
        {"ahead_s": None},
        {"ahead_s": -300.0},
        {"heard_s": NOW_S - 90.0},
    ],
)
def test_what_just_suffices_stops_nobody(facts):
    assert only(plan(site(**facts))).problems == ()


def test_a_plan_counts_what_each_wave_takes():
    sites = [site(f"s{number}", bandwidth_bytes_per_s=1000.0 / (number + 1)) for number in range(5)]
    waves = (
        Wave("first", amount=Amount(count=1)),
        Wave("none"),
        Wave("rest", max_concurrent=Amount(count=2), error_budget=Amount(share=0.5)),
    )
    planned = plan(*sites, waves=waves, placed=[["s0"], [], ["s1", "s2", "s3"]], floor=3)
    assert [wave.seconds for wave in planned.waves] == [WHOLE_S, 0.0, 2.0 * WHOLE_S]
    assert [(wave.at_once, wave.may_fail) for wave in planned.waves] == [(1, 0), (0, 0), (2, 1)]
    assert planned.seconds == 40.0 + 3.0 * WHOLE_S
    assert planned.left_out == ("s4",)
    assert [(one.kind, one.stops) for one in planned.problems] == [
        (ProblemKind.SITES, False),
        (ProblemKind.FLOOR, True),
    ]
    assert "version 2 is below 3" in planned.problems[1].text
