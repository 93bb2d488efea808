"""Tokens of people, releases, and the audit log."""

import threading

import pytest

from edgewise.core.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, UnauthenticatedError
from edgewise.hub.control.actors import Role
from support.control_world import OPERATOR, manifest_sha256, release


def test_a_token_opens_what_its_role_may(world):
    token = world.plane.create_token("ci", Role.OPERATOR, actor=OPERATOR)
    assert world.plane.role_of(token) == ("ci", Role.OPERATOR)
    world.restart()
    assert world.plane.role_of(token) == ("ci", Role.OPERATOR)
    [status] = world.plane.tokens()
    assert (status.name, status.role, status.created_by, status.expires_s) == ("ci", Role.OPERATOR, "olga", None)
    world.plane.revoke_token("ci", OPERATOR)
    for after in (lambda: None, world.restart):
        after()
        with pytest.raises(UnauthenticatedError, match="the token is not known"):
            world.plane.role_of(token)


def test_a_token_of_one_kind_opens_nothing_of_another(small_world):
    world = small_world
    token = world.plane.create_token("ci", Role.ADMIN, actor=OPERATOR)
    for ask, wrong in (
        (world.plane.site_of, token),
        (world.plane.role_of, world.sites["alpha"].token),
        (world.plane.role_of, ""),
        (world.plane.role_of, "\udcff\x00"),
        (world.plane.site_of, token.replace("ewt_", "ews_")),
    ):
        with pytest.raises(UnauthenticatedError):
            ask(wrong)


def test_a_token_expires(world):
    token = world.plane.create_token("guest", Role.VIEWER, actor=OPERATOR, expires_s=60.0)
    world.now_s += 59.0
    assert world.plane.role_of(token)[1] == Role.VIEWER
    world.now_s += 1.0
    with pytest.raises(UnauthenticatedError, match="has expired"):
        world.plane.role_of(token)


def test_names_of_tokens_are_given_once(world):
    world.plane.create_token("ci", Role.VIEWER, actor=OPERATOR)
    with pytest.raises(AlreadyExistsError, match="there is a token 'ci' already"):
        world.plane.create_token("ci", Role.ADMIN, actor=OPERATOR)
    with pytest.raises(InvalidArgumentError, match="found the name 'a b'"):
        world.plane.create_token("a b", Role.VIEWER, actor=OPERATOR)
    with pytest.raises(InvalidArgumentError, match="opens nothing"):
        world.plane.create_token("short", Role.VIEWER, actor=OPERATOR, expires_s=0.0)
    with pytest.raises(NotFoundError, match="there is no token 'other'"):
        world.plane.revoke_token("other", OPERATOR)


def test_roles_include_one_another():
    assert [[role.includes(needed) for needed in Role] for role in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_any_thread_may_ask_whose_token_it_is(world):
    token = world.plane.create_token("ci", Role.OPERATOR, actor=OPERATOR)
    ended, wrong = threading.Event(), []

    def ask():
        while not ended.is_set():
            try:
                wrong.extend([] if world.plane.role_of(token) == ("ci", Role.OPERATOR) else ["other"])
            except UnauthenticatedError:
                wrong.append("unknown")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(20):
        world.plane.create_token(f"other-{number}", Role.VIEWER, actor=OPERATOR)
        world.plane.revoke_token(f"other-{number}", OPERATOR)
    ended.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_release_is_taken_once_and_never_changes(world):
    made = release(3, chunks=("a", "b"), tiers=("cloud", "edge"))
    for _ in range(2):
        world.plane.add_release(made, manifest_sha256(made), OPERATOR)
    other = release(3, chunks=("a", "c"))
    with pytest.raises(AlreadyExistsError, match="a release never changes"):
        world.plane.add_release(other, manifest_sha256(other), OPERATOR)
    world.restart()
    [status] = world.plane.releases()
    assert status == world.plane.release("pets", 3)
    assert status.sizes_bytes == {"cloud": 2000, "edge": 2000}
    assert (status.manifest_sha256, status.added_by) == (manifest_sha256(made), "olga")
    assert [entry.action for entry in world.plane.audit()] == ["release.add"]
    with pytest.raises(NotFoundError, match="there is no release pets/4"):
        world.plane.release("pets", 4)


def test_the_audit_log_is_read_page_by_page(world):
    for number in range(7):
        world.plane.note(OPERATOR, "blob.put", f"blob-{number}", {"bytes": str(number)})
    newest = world.plane.audit(limit=3)
    assert [entry.subject for entry in newest] == ["blob-6", "blob-5", "blob-4"]
    assert [entry.subject for entry in world.plane.audit(newest[-1].number, limit=3)] == ["blob-3", "blob-2", "blob-1"]
    assert (newest[0].actor, newest[0].address, newest[0].details) == ("olga", "192.0.2.7", {"bytes": "6"})
    for limit in (0, 1001):
        with pytest.raises(InvalidArgumentError, match="expected 1 to 1000"):
            world.plane.audit(limit=limit)


def test_history_is_read_page_by_page(small_world):
    world = small_world
    name = world.begin()
    world.settle()
    whole = world.plane.history(name)
    first = world.plane.history(name, limit=4)
    assert first + world.plane.history(name, after=first[-1].number) == whole
    with pytest.raises(NotFoundError):
        world.plane.history("none")
