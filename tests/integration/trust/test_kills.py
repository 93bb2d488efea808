"""Killed at any point, what hub, site and operator have on the disk is whole, and the next try ends well.

A process is killed with SIGKILL just before, or just after, its first call that changes the disk, then its second, and so on until it gets
through. Each time what is left is looked at, and the thing is done once more.
"""

import json
from pathlib import Path

import pytest

from support.deadly_calls import printed

PROGRAM = Path(__file__).parent / "dying_writers.py"


def points(directory, what, moment):
    seen = json.loads(printed([str(PROGRAM)], str(directory), what, moment))
    assert len(seen) > 5
    assert [killed for killed, *_ in seen] == [True] * (len(seen) - 1) + [False]
    return seen


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("what", ["accept_targets", "accept_root", "renew", "raise_versions", "carried"])
def test_a_hub_killed_while_it_publishes(what, moment, tmp_path):
    seen = points(tmp_path, what, moment)
    befores = set()
    for _, (sites, versions), (sites_after, after) in seen:
        # At any point both a site that has been there and a new one refresh, and see just what is in force.
        assert sites == sites_after == [["", True], ["", True]]
        befores.add(json.dumps(versions))
        assert dict(after)["timestamp"] > 1
    # Sites saw the state of before at some points and that of after at others.
    assert len(befores) > 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_site_killed_while_it_takes_the_timestamp_of_a_bundle(moment, tmp_path):
    seen = points(tmp_path, "take_carried", moment)
    versions = seen[0][1][0]
    for _, before, after in seen:
        assert before[0] == versions
        assert after == [versions, True]
    # Killed before it was believed as well as after.
    assert {carried for _, (_, carried), _ in seen} == {False, True}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_site_killed_while_it_refreshes(moment, tmp_path):
    seen = points(tmp_path, "refresh", moment)
    old, new = seen[0][1], seen[-1][1]
    assert (old[0], new[0]) == ("", "")
    assert (old[2], new[2]) == ("NOT_FOUND", "pets/2")
    for _, (may_install, versions, release), after in seen:
        assert may_install == ""
        assert versions in (old[1], new[1])
        # The manifest comes after the metadata that name it; the hub was away when this was looked at.
        assert release in ({"NOT_FOUND"} if versions == old[1] else {"pets/2", "UNAVAILABLE"})
        assert after == new


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("what", ["add_targets", "rotate_root", "rotate_targets", "rotate_online"])
def test_an_operator_killed_while_signing(what, moment, tmp_path):
    seen = points(tmp_path, what, moment)
    for _, (roots, targets, left), (roots_after, targets_after, left_after) in seen:
        assert roots in (1, 2)
        assert targets in (1, 2)
        assert (roots_after, targets_after) == (roots + 1, targets + 1)
        # Keys that no root names are gone, and none that one names.
        assert left == left_after == [".lock", "metadata", "root.key", "targets", "targets.key"]
    assert {roots for _, (roots, *_), _ in seen} == ({1} if what == "add_targets" else {1, 2})


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("what", ["created", "begun"])
def test_killed_while_beginning(what, moment, tmp_path):
    seen = points(tmp_path, what, moment)
    finished = [2, 2] if what == "created" else seen[-1][1]
    assert seen[0][1] is None
    assert seen[-1][1]
    for _, left, after in seen:
        assert left in (None, seen[-1][1])
        assert after == finished
