"""A site that is enrolled after a rollout was made gets what the others have."""

import pytest

from edgewise.core.errors import UnavailableError
from edgewise.core.rollout.events import Want
from support.control_world import OPERATOR, QUIET, Site

ENDING = QUIET.replace("{", "{{").replace("}", "}}")
EDGES = "model: pets\nversion: {version}\nwaves: [{{name: edges, sites: tier=edge, at_once: 100%}}]\n" + ENDING
DRAWN = "model: pets\nversion: {version}\nwaves: [{{name: drawn, take: 1}}]\n" + ENDING


def told(world, site):
    return [(one.rollout, one.version, one.want) for one in world.plane.site(site).orders]


@pytest.fixture
def completed(small_world):
    """Every site has version 2."""
    small_world.begin(name="two")
    small_world.settle()
    assert small_world.plane.rollout("two").state == "Completed"
    return small_world


def test_it_catches_up_with_a_completed_rollout(completed):
    world = completed
    revision = world.plane.rollout("two").revision
    world.site("late", ring="first")
    status = world.plane.rollout("two")
    (site,) = [one for one in status.sites if one.site == "late"]
    # It means it twice; late sites come last.
    assert (site.state, site.was, site.wave, site.want) == ("Unreachable", "", 1, "stage")
    assert status.revision == revision + 1
    assert world.changes[-1] == (frozenset({"late"}), frozenset({"two"}))
    world.restart()
    world.settle()
    assert world.states("two") == {"alpha": "Active", "beta": "Active", "late": "Active"}
    assert [move[2:] for move in world.moves("two") if move[1] == "late"] == [
        ("", "Unreachable"),
        ("Unreachable", "Pending"),
        ("Pending", "Downloading"),
        ("Downloading", "Staged"),
        ("Staged", "Activating"),
        ("Activating", "Verifying"),
        ("Verifying", "Active"),
    ]
    assert world.plane.rollout("two").state == "Completed"
    assert world.plane.rollouts()[0].states == {"Active": 3}


def test_it_gets_what_is_current_where_a_newer_rollout_went_back(completed):
    world = completed
    world.release(3)
    world.begin(3, name="three")
    assert world.plane.rollouts()[0].name == "three"
    world.settle()
    world.command("three", "undo")
    world.settle()
    assert world.plane.rollout("three").state == "RolledBack"
    assert set(world.states("two").values()) == {"Superseded"}
    # Nobody answers to it, so it is not in memory.
    assert "two" not in world.plane._books.known.running
    late = world.site("late")
    assert list(world.plane._books.known.running) == ["two", "three"]
    world.restart()
    assert list(world.plane._books.known.running) == ["two", "three"]
    world.settle()
    assert late.states["two"] == "Active"
    assert world.states("two") == {"alpha": "Superseded", "beta": "Superseded", "late": "Active"}
    # The next one takes it over like any other.
    world.begin(3, name="again")
    world.settle()
    assert world.states("again") == {"alpha": "Active", "beta": "Active", "late": "Active"}
    assert world.states("two")["late"] == "Superseded"


def test_it_joins_the_rollout_that_was_started_last_of_those_that_take_it(completed):
    world = completed
    world.release(3)
    world.begin(2, name="made-first", start=False)
    world.now_s += 1.0
    world.begin(3, name="made-last", text=EDGES)
    world.settle()
    world.command("made-first", "start")
    world.settle()
    world.now_s += 1.0
    world.begin(3, name="drawn", text=DRAWN)
    world.settle()
    world.site("late")
    assert told(world, "late") == [("made-first", 2, Want.STAGE)]
    world.command("made-first", "undo")
    world.settle()
    world.site("later")
    world.site("cloud", tier="cloud")
    assert told(world, "later") == [("made-last", 3, Want.STAGE)]
    assert told(world, "cloud") == [("two", 2, Want.STAGE)]


def test_it_joins_a_rollout_that_is_planned_under_way_or_paused(small_world):
    world = small_world
    world.begin(name="planned", start=False)
    world.begin(1, name="running")
    world.site("late")
    assert told(world, "late") == [("running", 1, Want.STAGE)]
    assert world.states("planned")["late"] == "Unreachable"
    world.command("running", "pause")
    world.site("later")
    assert told(world, "later") == [("running", 1, Want.STAGE)]
    world.command("running", "resume")
    world.settle()
    assert set(world.states("running").values()) == {"Active"}
    world.command("planned", "start")
    world.settle()
    assert world.states("planned") == dict.fromkeys(("alpha", "beta", "late", "later"), "Active")
    assert set(world.states("running").values()) == {"Superseded"}


def test_one_that_is_never_heard_of_holds_nothing_up(small_world):
    world = small_world
    name = world.begin()
    world.site("late")
    world.pass_s(40, online=("alpha", "beta"))
    assert world.plane.rollout(name).state == "Completed"
    assert world.states(name)["late"] == "Unreachable"


def test_a_retired_one_that_joins_again_begins_anew(completed):
    world = completed
    world.plane.retire_site("alpha", OPERATOR)
    assert world.states("two")["alpha"] == "Superseded"
    again = world.site("alpha", tier="cloud")
    # In the wave of its new labels, after all others.
    assert [(one.site, one.wave, one.state) for one in world.plane.rollout("two").sites] == [
        ("beta", 1, "Active"),
        ("alpha", 1, "Unreachable"),
    ]
    world.restart()
    assert [one.site for one in world.plane.rollout("two").sites] == ["beta", "alpha"]
    world.settle()
    assert again.states == {"two": "Active"}


def test_one_that_gives_its_place_to_another_stays_where_it_was(completed):
    world = completed
    before = world.moves("two")
    world.site("beta")
    assert world.moves("two") == before
    assert world.states("two")["beta"] == "Active"


def test_other_models_and_labels_that_change_later_bring_it_nothing(completed):
    world = completed
    world.begin(1, name="edges", text=EDGES)
    world.settle()
    world.site("late", tier="cloud")
    world.plane.label_site("late", {"ring": "first"}, [], OPERATOR)
    assert told(world, "late") == [("two", 2, Want.STAGE)]
    world.release(1, model="cars")
    world.begin(1, name="cars", text=EDGES.replace("pets", "cars"))
    world.site("later")
    assert told(world, "later") == [("cars", 1, Want.STAGE), ("edges", 1, Want.STAGE)]


@pytest.mark.parametrize("after", [False, True], ids=["not committed", "committed and nobody heard"])
def test_an_enrolment_whose_commit_fails_is_whole_or_absent(completed, failing, after):
    world = completed
    late = Site("late", world.ask)
    token = world.plane.create_enrollment("late", "edge", {}, actor=OPERATOR)
    # The enrolment is looked up, and then the rollouts.
    with failing(world, after=after, spared=2), pytest.raises(UnavailableError, match="cannot be asked now"):
        world.plane.enroll(token, late.key.public_hex, "edge", {})
    assert ("late" in world.states("two")) == after
    assert len(world.plane.sites()) == 2 + after
    assert [move[2:] for move in world.moves("two") if move[1] == "late"] == [("", "Unreachable")] * after
    world.site("late")
    world.settle()
    assert world.states("two")["late"] == "Active"
