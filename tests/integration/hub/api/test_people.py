"""What people ask: sites, rollouts, tokens, what was done."""

import threading

import pytest

from edgewise.core.rollout.reports import Inventory, SampleBacklog
from edgewise.hub.control.actors import Role
from support.control_world import QUIET
from support.waiting import wait_for


def specification(label, *, version=1):
    text = f"model: pets\nversion: {version}\nwaves: [{{name: all, sites: {label}=yes}}]\n{QUIET}"
    return {"specification": text, "format": "yaml"}


@pytest.fixture(scope="module", autouse=True)
def releases(world):
    world.publish(1, 2)


def test_labels(world):
    world.site("labelled", region="eu")
    answer = world.operator.patch("/api/v1/sites/labelled", json={"labels": {"gpu": "yes"}, "remove": ["region"]})
    assert answer.json()["labels"] == {"gpu": "yes"}
    assert [one["site"] for one in world.viewer.get("/api/v1/sites", params={"selector": "gpu=yes"}).json()] == [
        "labelled"
    ]
    assert world.viewer.get("/api/v1/sites", params={"selector": "gpu=no"}).json() == []
    for wrong in ({"labels": {"a b": "x"}}, {"labels": {"tier": "cloud"}}, {"label": {}}, {"labels": {"a": 5}}):
        assert world.operator.patch("/api/v1/sites/labelled", json=wrong).status_code == 400


def test_a_retired_site_is_let_in_nowhere(world):
    site = world.site("retiring")
    assert world.admin.post("/api/v1/sites/retiring/retire").json() == {"done": True}
    assert site.client.get("/api/v1/sites/retiring/desired").status_code == 401
    assert world.viewer.get("/api/v1/sites/retiring").status_code == 404


def test_a_plan_changes_nothing(world):
    world.site("planned", plan="yes")
    before = world.viewer.get("/api/v1/rollouts").json()
    plan = world.viewer.post("/api/v1/rollouts/plan", json=specification("plan")).json()
    (wave,) = plan["waves"]
    assert [(site["site"], site["fetch_bytes"]) for site in wave["sites"]] == [("planned", len(b"pets 1"))]
    assert world.viewer.get("/api/v1/rollouts").json() == before


def test_a_rollout_from_beginning_to_end(world):
    site = world.site("steered", steer="yes")
    made = world.operator.post("/api/v1/rollouts", json={**specification("steer"), "name": "steered"})
    assert (made.status_code, made.json()) == (201, {"name": "steered"})
    assert (
        world.operator.post("/api/v1/rollouts", json={**specification("steer"), "name": "steered"}).status_code == 409
    )

    path = "/api/v1/rollouts/steered"
    assert "start" in world.viewer.get(path).json()["verbs"]
    refused = world.operator.post(f"{path}/resume", json={"why": "too early"})
    assert (refused.status_code, refused.json()["code"]) == (409, "FAILED_PRECONDITION")
    assert world.operator.post(f"{path}/start").json()["state"] == "Progressing"
    assert world.operator.post(f"{path}/pause", json={"why": "lunch"}).json()["why"] == "lunch"
    assert world.operator.post(f"{path}/resume", json={}).json()["state"] == "Progressing"
    assert world.operator.post(f"{path}/explode").status_code == 400

    def completed():
        site.step(world.hub.clock())
        world.tick()
        return world.viewer.get(path).json()["state"] == "Completed"

    wait_for(completed)
    history = world.viewer.get(f"{path}/history").json()
    assert [one["after"] for one in history if one["kind"] == "rollout"][-1] == "Completed"
    later = world.viewer.get(f"{path}/history", params={"after": history[1]["number"], "limit": 2}).json()
    assert later == history[2:4]
    assert world.operator.post(f"{path}/undo", json={"why": "no"}).json()["state"] in {"Aborting", "RolledBack"}
    audit = [one for one in world.viewer.get("/api/v1/audit").json() if one["action"].startswith("rollout.")]
    audit = [one for one in audit if one["subject"] == "steered"]
    assert {(one["actor"], one["address"]) for one in audit} == {("operator", "127.0.0.1")}
    assert audit[0]["action"] == "rollout.undo"


def test_who_follows_a_rollout_is_told_of_a_change(world):
    world.site("followed", follow="yes")
    world.operator.post("/api/v1/rollouts", json={**specification("follow"), "name": "followed"})
    before = world.viewer.get("/api/v1/rollouts/followed").json()["revision"]
    same = world.viewer.get("/api/v1/rollouts/followed", params={"after": before, "wait_s": 0.1}).json()
    assert same["revision"] == before

    found = []

    def follow():
        params = {"after": before, "wait_s": 60}
        found.append(world.viewer.get("/api/v1/rollouts/followed", params=params).json())

    thread = threading.Thread(target=follow)
    thread.start()
    wait_for(lambda: world.hub.rollouts.count == 1)
    world.operator.post("/api/v1/rollouts/followed/start")
    thread.join()
    assert found[0]["revision"] > before
    assert found[0]["state"] == "Progressing"


def test_tokens(world):
    made = world.admin.post("/api/v1/tokens", json={"name": "olga-2", "role": "operator", "expires_s": 3600}).json()
    olga = world.client(made["token"])
    assert olga.get("/api/v1/sites").status_code == 200
    (listed,) = [one for one in world.admin.get("/api/v1/tokens").json() if one["name"] == "olga-2"]
    assert (listed["role"], listed["created_by"]) == ("operator", Role.ADMIN.value)
    assert made["token"] not in world.admin.get("/api/v1/tokens").text
    again = world.admin.post("/api/v1/tokens", json={"name": "olga-2", "role": "viewer"})
    assert (again.status_code, again.json()["code"]) == (409, "ALREADY_EXISTS")

    assert world.admin.delete("/api/v1/tokens/olga-2").json() == {"done": True}
    assert olga.get("/api/v1/sites").status_code == 401
    assert world.admin.delete("/api/v1/tokens/olga-2").status_code == 404


def test_the_audit_log_is_read_from_the_newest_on(world):
    for number in range(5):
        world.admin.post("/api/v1/tokens", json={"name": f"audited-{number}", "role": "viewer"})
    first = world.viewer.get("/api/v1/audit", params={"limit": 3}).json()
    assert [one["subject"] for one in first] == ["audited-4", "audited-3", "audited-2"]
    rest = world.viewer.get("/api/v1/audit", params={"limit": 2, "before": first[-1]["number"]}).json()
    assert [one["subject"] for one in rest] == ["audited-1", "audited-0"]


def test_metrics(world):
    site = world.site("measured")
    site.inventory = Inventory(samples=SampleBacklog(5, 1000, 3))
    site.client.post("/api/v1/sites/measured/reports", content=site.sealed()).raise_for_status()
    text = world.viewer.get("/metrics").text
    for line in (
        'edgewise_hub_requests_total{method="POST",route="/api/v1/sites/{site}/reports",status="200"} ',
        'edgewise_hub_sites{link="online"} ',
        'edgewise_hub_site_sample_segments{state="waiting"} 5.0',
        'edgewise_hub_site_sample_segments{state="held_up"} 3.0',
        'edgewise_hub_rollouts{state="Completed"} ',
        'edgewise_hub_metadata_version{role="targets"} ',
        'edgewise_hub_metadata_expires_timestamp_seconds{role="root"} ',
        "edgewise_hub_waiting_polls 0.0",
        "edgewise_hub_database_errors_total 0.0",
    ):
        assert line in text
    world.nobody.get("/nothing/of/the/kind")
    assert "/nothing/of" not in world.viewer.get("/metrics").text
