"""Blobs that no release names go, and nothing that one may name."""

import os
import threading
import time

import pytest

from support.api_world import sha256
from support.waiting import wait_for

DAY_S = 86400.0


@pytest.fixture
def put(world):
    """Brings blobs in, as an upload did that ended days ago and that nobody finished."""

    def bring(*contents, days=3):
        names = []
        for content in contents:
            world.operator.put(f"/blobs/sha256/{sha256(content)}", content=content).raise_for_status()
            names.append(sha256(content))
        age(world, *names, days=days)
        return names

    yield bring
    prune(world)


def age(world, *names, days=3):
    then_s = time.time() - days * DAY_S
    for name in names:
        os.utime(world.hub.blobs._path(name), (then_s, then_s))


def prune(world, **asked):
    """Names of what went, or would."""
    answer = world.admin.post("/api/v1/blobs/prune", json=asked).raise_for_status().json()
    return [blob["sha256"] for blob in answer["blobs"]]


def test_what_no_release_names_goes_and_what_one_names_stays(world, put):
    world.publish(200, 201)
    released = [sha256(b"pets 200"), sha256(b"pets 201")]
    age(world, *released, days=300)
    stray = sorted(put(b"stray", b"another stray"))

    assert prune(world, dry_run=True) == stray
    assert all(map(world.hub.blobs.has, stray))
    answer = world.admin.post("/api/v1/blobs/prune", json={}).json()
    assert answer == {
        "blobs": [{"sha256": name, "size_bytes": {sha256(b"stray"): 5}.get(name, 13)} for name in stray],
        "upto": "",
    }
    assert not any(map(world.hub.blobs.has, stray))
    assert all(map(world.hub.blobs.has, released))
    assert prune(world) == []
    deed = world.admin.get("/api/v1/audit").json()[0]
    assert (deed["actor"], deed["action"], deed["subject"]) == ("admin", "blob.prune", "2 blobs")
    assert deed["details"] == {"bytes": "18", "from": stray[0]}


def test_what_came_in_lately_stays(world, put):
    (name,) = put(b"came in lately", days=0.5)

    assert prune(world) == []
    assert prune(world, unwanted_for_s=6 * 3600) == [name]


def test_what_an_operator_was_told_is_there_stays_until_the_release_comes(world, put):
    (name,) = put(b"pets 210")
    assert world.operator.head(f"/blobs/sha256/{name}").status_code == 200

    assert prune(world) == []
    assert world.publish(210, blobs=False).json()["releases"] == ["pets/210"]
    age(world, name)
    assert prune(world) == []


def test_who_only_looks_keeps_nothing(world, put):
    (name,) = put(b"looked at")
    site = world.site("looks-at-blobs")
    for client in (world.viewer, site.client):
        assert client.head(f"/blobs/sha256/{name}").status_code == 200
    assert world.operator.get(f"/blobs/sha256/{name}").content == b"looked at"

    assert prune(world) == [name]


def test_a_release_that_relies_on_what_is_gone_is_refused_and_can_be_given_again(world, put):
    put(b"pets 220")
    prune(world)

    answer = world.publish(220, blobs=False)
    assert (answer.status_code, answer.json()["code"]) == (409, "FAILED_PRECONDITION")
    world.operator.put(f"/blobs/sha256/{sha256(b'pets 220')}", content=b"pets 220")
    assert world.publish().json()["releases"] == ["pets/220"]


def test_no_release_comes_in_while_blobs_are_looked_at(world, put, monkeypatch):
    (name,) = put(b"pets 230")
    looked, go_on = threading.Event(), threading.Event()
    real = world.hub.blobs.remove

    def slow(*words):
        looked.set()
        assert go_on.wait(30)
        return real(*words)

    monkeypatch.setattr(world.hub.blobs, "remove", slow)
    answers = {}
    threads = [
        threading.Thread(target=lambda: answers.update(pruned=prune(world))),
        threading.Thread(target=lambda: answers.update(published=world.publish(230, blobs=False))),
    ]
    threads[0].start()
    assert looked.wait(30)
    threads[1].start()
    wait_for(lambda: len(world.hub.publishing._waiters or ()) > 0)
    go_on.set()
    for thread in threads:
        thread.join()

    assert answers["pruned"] == [name]
    assert answers["published"].status_code == 409
    assert "is not here" in answers["published"].json()["error"]
    # It is signed already: what is missing is sent, and the same is handed in.
    world.operator.put(f"/blobs/sha256/{name}", content=b"pets 230")
    assert world.publish().json()["releases"] == ["pets/230"]


def test_many_go_a_hundred_at_a_time(world, put):
    names = sorted(put(*(b"many %d" % number for number in range(130))))

    answer = world.admin.post("/api/v1/blobs/prune", json={"dry_run": True}).json()
    assert [blob["sha256"] for blob in answer["blobs"]] == names[:100]
    assert answer["upto"] == names[99]
    assert prune(world, dry_run=True, after=names[99]) == names[100:]
    assert prune(world) == names[:100]
    assert prune(world) == names[100:]


def test_a_hub_of_an_older_backup_removes_nothing(world, put, monkeypatch):
    (name,) = put(b"of a release that this hub does not know")
    monkeypatch.setattr(world.hub.plane, "trusted_versions", lambda: {"targets": 10_000})

    answer = world.admin.post("/api/v1/blobs/prune", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "FAILED_PRECONDITION")
    assert "sites have seen version 10000 of targets.json" in answer.json()["error"]
    assert world.hub.blobs.has(name)


def test_what_may_not_be_asked(world):
    for asked in ({"unwanted_for_s": 60}, {"dryrun": True}):
        assert world.admin.post("/api/v1/blobs/prune", json=asked).status_code == 400
