"""What fails, and what is then in memory: what the database has."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from edgewise.core.errors import FailedPreconditionError, UnavailableError
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.reports import Progress
from edgewise.core.rollout.site_state import SiteState
from edgewise.hub.control.actors import Role
from support.control_world import OPERATOR, opened


@pytest.fixture(params=["not committed", "committed and nobody heard"])
def after(request):
    return request.param != "not committed"


def test_a_report_whose_commit_fails_is_taken_when_it_comes_again(small_world, failing, after):
    world = small_world
    name = world.begin()
    alpha = world.sites["alpha"]
    alpha.look(world.now_s)
    report = alpha.sealed(Progress(name, SiteState.DOWNLOADING, Want.STAGE))
    with failing(world, after=after), pytest.raises(UnavailableError, match="cannot be asked now"):
        world.plane.report("alpha", report, world.now_s)
    assert world.states(name)["alpha"] == ("Downloading" if after else "Pending")
    assert world.plane.report("alpha", report, world.now_s) == alpha.sequence
    assert world.moves(name).count(("site", "alpha", "Pending", "Downloading")) == 1
    world.settle()
    assert world.states(name) == {"alpha": "Active", "beta": "Active"}


def test_a_command_whose_commit_fails_moves_all_or_nothing(small_world, failing, after):
    world = small_world
    name = world.begin(start=False)
    world.changes.clear()
    with failing(world, after=after), pytest.raises(UnavailableError, match="cannot be asked now"):
        world.command(name, "start")
    assert world.plane.rollout(name).state == ("Progressing" if after else "Planned")
    _, envelope = world.plane.desired("beta", world.now_s)
    assert len(opened(envelope).orders) == int(after)
    # Whoever waits is told to look: nobody knew whether it was committed.
    assert world.changes[-1] == (frozenset({"alpha", "beta"}), frozenset({name}))
    if not after:
        world.command(name, "start")
    world.settle()
    assert world.plane.rollout(name).state == "Completed"
    assert world.moves(name).count(("rollout", name, "Planned", "Progressing")) == 1


def test_a_tick_or_a_token_or_a_site_whose_commit_fails_leaves_nothing_in_memory(small_world, failing):
    world = small_world
    name = world.begin()
    world.pass_s(2)
    with failing(world, after=False):
        world.now_s += 1.0
        for call in (
            lambda: world.plane.create_token("ci", Role.ADMIN, actor=OPERATOR),
            lambda: world.plane.label_site("alpha", {"a": "b"}, [], OPERATOR),
            lambda: world.plane.retire_site("beta", OPERATOR),
            lambda: world.begin(name="other"),
        ):
            with pytest.raises(UnavailableError, match="cannot be asked now"):
                call()
    assert world.plane.tokens() == []
    assert "a" not in world.plane.site("alpha").labels
    assert world.plane.site_of(world.sites["beta"].token) == "beta"
    assert [one.name for one in world.plane.rollouts()] == [name]
    world.settle()
    assert world.plane.rollout(name).state == "Completed"


def test_a_database_that_is_away_is_said_so_and_found_again(small_world):
    world = small_world
    name = world.begin()
    engine = world.plane._books._store.engine

    def away(_connection):
        raise OperationalError("BEGIN", {}, Exception("unable to open database file"))

    event.listen(engine, "begin", away)
    try:
        with pytest.raises(UnavailableError, match="cannot be asked now"):
            world.sites["alpha"].step(world.now_s)
        with pytest.raises(UnavailableError, match="cannot be asked now"):
            world.plane.rollouts()
    finally:
        event.remove(engine, "begin", away)
    world.settle()
    assert world.plane.rollout(name).state == "Completed"


def test_a_second_hub_ends_the_writing_of_the_first(small_world):
    world = small_world
    name = world.begin()
    first = world.plane
    world.restart(politely=False)
    with pytest.raises(FailedPreconditionError, match="another hub has opened the database"):
        first.command(name, "pause", "", OPERATOR, world.now_s)
    first.close()
    world.settle()
    assert world.plane.rollout(name).state == "Completed"


def test_a_restart_at_any_moment_changes_nothing(small_world):
    world = small_world
    name = world.begin(name="same")
    for _ in range(30):
        world.now_s += 1.0
        for site in world.sites.values():
            site.step(world.now_s)
            before = memory(world)
            world.restart()
            assert memory(world) == before
        world.plane.tick(world.now_s)
        world.restart()
    assert world.plane.rollout(name).state == "Completed"
    subjects = {"alpha", "beta"}
    for subject in subjects:
        path = [(before, after) for kind, one, before, after in world.moves(name) if one == subject]
        assert path == [
            ("Pending", "Downloading"),
            ("Downloading", "Staged"),
            ("Staged", "Activating"),
            ("Activating", "Verifying"),
            ("Verifying", "Active"),
        ]


@pytest.fixture
def restored(small_world, tmp_path):
    """A hub as it was before the rollout `two`, whose sites have followed that."""
    world = small_world
    if not world.url.startswith("sqlite"):
        pytest.skip("the file of SQLite is copied")
    world.begin(1, name="one")
    world.settle()
    world.plane.close()
    file, copy = Path(world.url.removeprefix("sqlite:///")), tmp_path / "backup.db"
    shutil.copy(file, copy)
    world.restart(politely=False)
    world.begin(2, name="two")
    world.settle()
    assert world.sites["alpha"].states["two"] == SiteState.ACTIVE
    world.plane.close()
    for leftover in tmp_path.glob("hub.db*"):
        leftover.unlink()
    shutil.copy(copy, file)
    world.restart(politely=False)
    return world


def test_a_database_put_back_from_a_backup(restored):
    # Sites know of a rollout that this hub never made; they follow it again as soon as they have reported.
    alpha = restored.sites["alpha"]
    with pytest.raises(AssertionError, match="told something older"):
        alpha.look(restored.now_s)
    for site in restored.sites.values():
        site.report(restored.now_s, Progress("two", SiteState.ACTIVE, Want.GRANTED))
        assert [order.rollout for order in site.look(restored.now_s).orders] == ["one"]


def test_a_rollout_that_is_started_again_before_sites_come_is_all_that_they_are_told(restored):
    # As docs/hub.md has it: nobody goes back to what the backup remembers.
    restored.begin(2, name="again")
    for site in restored.sites.values():
        site.report(restored.now_s, Progress("two", SiteState.ACTIVE, Want.GRANTED))
        assert [(order.rollout, order.version) for order in site.look(restored.now_s).orders] == [("again", 2)]
    restored.settle()
    assert restored.plane.rollout("again").state == "Completed"


def test_an_unavailable_database_is_no_fault_of_who_asks(small_world):
    world = small_world
    if not world.url.startswith("sqlite"):
        pytest.skip("a lock on the file of SQLite")
    other = sqlite3.connect(world.url.removeprefix("sqlite:///"), isolation_level=None)
    store = world.plane._books._store
    with store.engine.connect() as connection:
        connection.connection.execute("PRAGMA busy_timeout = 1")
        connection.rollback()
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="the hub's database cannot be asked now") as caught:
        world.plane.note(OPERATOR, "a", "b", {})
    assert caught.value.retry_after_s == 1.0
    other.execute("ROLLBACK")
    other.close()
    world.plane.note(OPERATOR, "a", "b", {})


def memory(world):
    """All that decides, apart from moments."""
    from dataclasses import replace

    books = world.plane._books
    known = books.known
    views = {}
    for name, running in known.running.items():
        view = running.machine.view()
        views[name] = (
            view.state,
            view.why,
            {site: replace(one, heard_s=None) for site, one in view.sites.items()},
            [replace(wave, since_s=0.0) for wave in view.waves],
            running.standing,
        )
    sites = {name: (site.sequence, site.generation, site.following, site.labels) for name, site in known.sites.items()}
    return views, sites, known.orders, known.releases, known.tokens
