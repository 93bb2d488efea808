"""How releases and metadata come in."""

import asyncio
import base64
import json

import pytest
from tuf.api.metadata import Metadata

from edgewise.hub.api.publishing import catch_up
from edgewise.protocols.desired_state import decode_desired
from edgewise.protocols.documents import time_text
from edgewise.protocols.release_manifest import encode_release
from edgewise.protocols.trusted_documents import encode_policy
from edgewise.trust.offline import OfflineTrust
from edgewise.trust.tuf_files import POLICY, is_carried, release_path
from support.api_world import released, sha256
from support.control_world import QUIET


def versions(world):
    return world.hub.repository.versions()


def test_a_release_is_there_once_its_metadata_is(world):
    before = versions(world)
    answer = world.publish(1, 2)
    assert answer.status_code == 200
    assert sorted(answer.json()["releases"]) == ["pets/1", "pets/2"]
    assert answer.json()["versions"]["targets"] > before["targets"]
    assert [(one["model"], one["version"]) for one in world.viewer.get("/api/v1/releases").json()] == [
        ("pets", 1),
        ("pets", 2),
    ]
    one = world.viewer.get("/api/v1/releases/pets/2").json()
    assert one["sizes_bytes"] == {"any": len(b"pets 2")}
    stored = f"/tuf/targets/releases/pets/{one['manifest_sha256']}.2.json"
    assert sha256(world.viewer.get(stored).content) == one["manifest_sha256"]
    assert world.viewer.get("/api/v1/releases/pets/9").status_code == 404


def test_the_same_metadata_again_changes_nothing(world):
    world.publish(3)
    before = versions(world)
    again = world.publish()
    assert (again.status_code, again.json()["releases"]) == (200, [])
    assert versions(world) == before


def test_a_release_whose_blobs_are_not_here_is_refused_before_anything_is_accepted(world):
    before = versions(world)
    answer = world.publish(50, blobs=False)
    assert (answer.status_code, answer.json()["code"]) == (409, "FAILED_PRECONDITION")
    assert f"pets/50: model.onnx ({sha256(b'pets 50')}) is not here" in answer.json()["error"]
    assert versions(world) == before

    world.operator.put(f"/blobs/sha256/{sha256(b'pets 50')}", content=b"pets 50")
    assert world.publish().json()["releases"] == ["pets/50"]


def test_metadata_that_names_files_nobody_has_put_here(world):
    manifest = encode_release(released(b"pets 60", 60))
    world.operator.put(f"/blobs/sha256/{sha256(b'pets 60')}", content=b"pets 60")
    world.offline.add_targets({release_path("pets", 60): manifest})
    answer = world.publish()
    assert (answer.status_code, "releases/pets/60.json" in answer.json()["error"]) == (409, True)
    world.operator.put(f"/api/v1/targets/{release_path('pets', 60)}", content=manifest)
    assert world.publish().status_code == 200


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("releases/pets/70.json", b"{", 400),
        ("releases/pets/70.json", encode_release(released(b"x", 71)), 400),
        ("releases/../policy.json", b"{}", 400),
        ("policy.json", b"", 400),
        ("policy.json", b'{"format": "other"}', 400),
        ("policy.json", b" " * ((64 << 20) + 1), 413),
    ],
)
def test_target_files_that_are_none(world, path, content, status):
    answer = world.operator.put(f"/api/v1/targets/{path.replace('..', '%2e%2e')}", content=content)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "code"}


def test_metadata_of_somebody_else(world, tmp_path):
    other = OfflineTrust.created(
        tmp_path / "other", world.hub.repository._keys[0].public_hex, {POLICY: encode_policy({})}
    )
    for content, status in ((other.targets_file(), 403), (b"{}", 400), (b"", 400), (b"x" * 6_000_000, 413)):
        assert world.operator.post("/api/v1/metadata/targets", content=content).status_code == status
        assert world.admin.post("/api/v1/metadata/root", content=content).status_code in {400, 413}
    assert world.admin.post("/api/v1/metadata/root", content=other.root_files()[0]).status_code in {403, 409}


def test_a_new_root(world):
    before = versions(world)
    answer = world.admin.post("/api/v1/metadata/root", content=world.offline.rotate_root()[-1])
    assert (answer.status_code, answer.json()["versions"]["root"]) == (200, before["root"] + 1)
    assert world.viewer.get(f"/tuf/metadata/{before['root'] + 1}.root.json").status_code == 200
    assert world.viewer.get(f"/tuf/metadata/{before['root'] + 2}.root.json").status_code == 404


@pytest.mark.parametrize("path", ["..%2fhub.db", "%2e%2e/timestamp.json", "timestamp.json%00", "0.root.json", "x"])
def test_names_that_lead_elsewhere(world, path):
    for place in ("metadata", "targets"):
        assert world.viewer.get(f"/tuf/{place}/{path}").status_code == 404


def test_plans_know_the_floors_of_the_policy(world):
    world.publish(80)
    world.site("floored", floor="yes")
    policy = encode_policy({"pets": 81})
    world.operator.put(f"/api/v1/targets/{POLICY}", content=policy)
    world.offline.add_targets({POLICY: policy})
    assert world.publish().status_code == 200

    text = f"model: pets\nversion: 80\nwaves: [{{name: all, sites: floor=yes}}]\n{QUIET}"
    plan = world.viewer.post("/api/v1/rollouts/plan", json={"specification": text, "format": "yaml"}).json()
    problems = [one for wave in plan["waves"] for site in wave["sites"] for one in site["problems"]] + plan["problems"]
    assert "floor" in {one["kind"] for one in problems}


def test_a_hub_that_was_killed_between_metadata_and_database_takes_the_release_when_it_starts(world):
    manifest = encode_release(released(b"pets 90", 90))
    world.operator.put(f"/blobs/sha256/{sha256(b'pets 90')}", content=b"pets 90")
    world.operator.put(f"/api/v1/targets/{release_path('pets', 90)}", content=manifest)
    world.hub.repository.accept_targets(world.offline.add_targets({release_path("pets", 90): manifest}))
    assert world.viewer.get("/api/v1/releases/pets/90").status_code == 404

    asyncio.run_coroutine_threadsafe(catch_up(world.hub), world._loop).result()
    assert world.viewer.get("/api/v1/releases/pets/90").json()["added_by"] == "hub"


def test_what_a_bundle_carries_is_signed_for_who_asks_and_written_down(world):
    world.publish(70)
    site = world.site("carried-to")
    before = versions(world)

    signed = world.operator.post("/api/v1/bundles", json={"site": "carried-to", "valid_for_s": 40 * 86400.0}).json()

    timestamp = Metadata.from_bytes(signed["timestamp"].encode()).signed
    assert is_carried(timestamp)
    assert time_text(timestamp.expires.timestamp()) == signed["until"]
    now = versions(world)
    assert (timestamp.version, timestamp.snapshot_meta.version) == (now["timestamp"], now["snapshot"])
    assert now["timestamp"] > before["timestamp"]
    # What others are given stays good for a day.
    assert not is_carried(Metadata.from_bytes(world.hub.repository.read("timestamp.json")).signed)
    desired = decode_desired(base64.b64decode(json.loads(signed["desired"])["payload"]))
    assert (desired.site, desired.carried, desired.expires) == ("carried-to", True, signed["until"])
    told = decode_desired(base64.b64decode(site.client.get("/api/v1/sites/carried-to/desired").json()["payload"]))
    assert (told.generation, told.carried) == (desired.generation, False)
    deed = world.admin.get("/api/v1/audit").json()[0]
    assert (deed["actor"], deed["action"], deed["subject"]) == ("operator", "bundle.sign", "carried-to")
    assert deed["details"] == {"until": signed["until"]}

    without = world.operator.post("/api/v1/bundles", json={"valid_for_s": 3600}).json()
    assert without["desired"] is None


def test_a_bundle_that_cannot_be_signed_is_refused(world):
    before = versions(world)
    for asked, status, message in (
        ({"site": "nowhere", "valid_for_s": 3600}, 404, "nowhere"),
        ({"valid_for_s": 366 * 86400.0}, 409, "a bundle cannot be valid until "),
        ({"valid_for_s": 10}, 400, "valid_for_s"),
    ):
        answer = world.operator.post("/api/v1/bundles", json=asked)
        assert answer.status_code == status
        assert message in answer.json()["error"]
    assert versions(world) == before
