"""With a real hub: its commands, its API, its signatures; an edge node that is enrolled as a person would do it."""

import json
import os
import urllib.request

import pytest

from edgewise.model_server.building import tiny
from support.captured_samples import captured, spool
from support.sockets import dead_port, free_port
from support.waiting import wait_for

SPECIFICATION = """
model: tiny
version: 2
waves: [{name: all}]
gates: {errors: {margin: 20%, confidence: 90%}, latency: off}
canary: {shares: [30%], each_for: 1s, bake: 1s}
"""


@pytest.fixture
def real(tmp_path, start_server, edgewise, monkeypatch):
    """A hub process, and a function that runs commands against it."""
    url = f"http://127.0.0.1:{free_port()}"
    said = edgewise(
        *("hub", "init", "--state", str(tmp_path / "hub-state"), "--url", url),
        *("--with-offline-keys", str(tmp_path / "trust")),
    )
    monkeypatch.setenv("EDGEWISE_HUB", url)
    monkeypatch.setenv("EDGEWISE_HUB_TOKEN", next(word for word in said.split() if word.startswith("ewt_")))
    server = start_server(
        "serve", "--state", str(tmp_path / "hub-state"), "--port", url.rpartition(":")[2], command="hub"
    )
    yield edgewise
    server.stop()


def rollout(name):
    return asked(f"/api/v1/rollouts/{name}")


def asked(path):
    request = urllib.request.Request(
        f"{os.environ['EDGEWISE_HUB']}{path}",
        headers={"Authorization": f"Bearer {os.environ['EDGEWISE_HUB_TOKEN']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_site_that_is_enrolled_after_a_rollout_gets_its_version(real, node, second_node, build_tiny, tmp_path):
    word = real("sites", "enroll", "edge-1").split()[-1]
    real("agent", "enroll", word, "--state", str(node.state))
    node.start("--poll-s", "5", gateway=False)
    real("release", "create", "tiny", "2", "--all", str(build_tiny(2, bias=1.0)), "--trust", str(tmp_path / "trust"))
    (tmp_path / "rollout.yaml").write_text(
        SPECIFICATION.replace("errors: {margin: 20%, confidence: 90%}", "errors: off")
    )
    real("rollout", "start", str(tmp_path / "rollout.yaml"), "--name", "first", "--yes")
    wait_for(lambda: rollout("first")["state"] == "Completed", timeout_s=60)
    word = real("sites", "enroll", "edge-2").split()[-1]
    real("agent", "enroll", word, "--state", str(second_node.state))
    assert "enrolled, not heard of yet" in real("rollout", "status", "first")
    second_node.start("--poll-s", "5", gateway=False)
    wait_for(lambda: [site["state"] for site in rollout("first")["sites"]] == ["Active", "Active"], timeout_s=60)
    wait_for(lambda: second_node.version() == 2)
    assert rollout("first")["state"] == "Completed"
    said = real("rollout", "status", "first")
    assert "2 of 2 sites Active" in said or "2 sites Active" in said
    said = real("rollout", "history", "first")
    assert "site edge-2: Unreachable (enrolled, and not heard of yet)" in said
    assert "site edge-2: Unreachable -> Pending (heard of)" in said


@pytest.fixture
def nowhere():
    with dead_port() as port:
        yield port


def test_a_site_without_a_link_runs_what_a_bundle_brings(real, node, second_node, nowhere, build_tiny, tmp_path):
    for one, name in ((node, "edge-1"), (second_node, "edge-2")):
        real("agent", "enroll", real("sites", "enroll", name).split()[-1], "--state", str(one.state))
    node.start("--poll-s", "5", gateway=False)
    # It was carried away: from there nothing answers under the hub's address.
    known = json.loads((second_node.state / "site.json").read_text())
    (second_node.state / "site.json").write_text(json.dumps({**known, "hub": f"http://127.0.0.1:{nowhere}"}))
    real("release", "create", "tiny", "2", "--all", str(build_tiny(2, bias=1.0)), "--trust", str(tmp_path / "trust"))
    (tmp_path / "rollout.yaml").write_text(
        SPECIFICATION.replace("errors: {margin: 20%, confidence: 90%}", "errors: off")
    )
    real("rollout", "start", str(tmp_path / "rollout.yaml"), "--name", "first", "--yes")
    wait_for(lambda: rollout("first")["state"] == "Completed", timeout_s=60)
    real("release", "export", "tiny/2", "--site", "edge-2", "--out", str(tmp_path / "usb"))
    real("release", "import", str(tmp_path / "usb"), "--state", str(second_node.state))
    second_node.start("--poll-s", "5", gateway=False)
    wait_for(lambda: second_node.version() == 2, timeout_s=60)
    assert {one["site"]: one["state"] for one in rollout("first")["sites"]} == {
        "edge-1": "Active",
        "edge-2": "Unreachable",
    }


def test_a_rollout_of_the_version_that_a_site_runs_already_ends_by_itself(real, node, build_tiny, tmp_path):
    files = build_tiny(2, bias=1.0)
    word = real("sites", "enroll", "edge-1").split()[-1]
    real("agent", "enroll", word, "--state", str(node.state))
    node.start("--poll-s", "5", adopt=tmp_path / "built")
    wait_for(lambda: node.version() == 2)
    real("release", "create", "tiny", "2", "--all", str(files), "--trust", str(tmp_path / "trust"))
    (tmp_path / "rollout.yaml").write_text(SPECIFICATION)
    # Nobody asks anything, so no gate has anything to count.
    real("rollout", "start", str(tmp_path / "rollout.yaml"), "--name", "first", "--yes")
    wait_for(lambda: rollout("first")["state"] == "Completed", timeout_s=60)
    assert "wave 1 all is passed, nothing to prove: 1 of 1 site Active" in real("rollout", "status", "first")


def test_a_rollout_from_enrolment_to_undo(real, node, load, build_tiny, tmp_path):
    tiny.build(tmp_path / "before", version=1)
    word = real("sites", "enroll", "edge-1", "--label", "region=eu").split()[-1]
    assert "is the site edge-1" in real("agent", "enroll", word, "--state", str(node.state))
    node.start("--poll-s", "5", adopt=tmp_path / "before")
    wait_for(lambda: node.version() == 1)
    real("release", "create", "tiny", "2", "--all", str(build_tiny(2, bias=1.0)), "--trust", str(tmp_path / "trust"))
    (tmp_path / "rollout.yaml").write_text(SPECIFICATION)
    with load(node.ask) as asked:
        real("rollout", "start", str(tmp_path / "rollout.yaml"), "--name", "first", "--yes")
        wait_for(lambda: rollout("first")["state"] == "Completed", timeout_s=60)
        wait_for(lambda: node.version() == 2)
        real("rollout", "undo", "first", "--yes", "--why", "a test")
        wait_for(lambda: rollout("first")["state"] == "RolledBack", timeout_s=60)
        wait_for(lambda: node.version() == 1)
    assert not asked.failed()
    said = real("agent", "status", "--state", str(node.state))
    assert "tiny: version 1 is to answer; to be loaded: 1\n" in said
    assert "first: tiny/2 is RolledBack, told back" in said
    # An enrolment lets in once.
    complaint = real("agent", "enroll", word, "--state", str(tmp_path / "another"), code=1)
    assert "refuses: the enrolment was used already" in complaint


def test_what_the_gateway_captures_is_brought_to_the_hub(real, node, tmp_path):
    real("agent", "enroll", real("sites", "enroll", "edge-1").split()[-1], "--state", str(node.state))
    spool(tmp_path / "samples", [captured(number, site="edge-1") for number in range(3)])
    node.start(
        "--samples", str(tmp_path / "samples"), "--samples-rate", "1MB/s", "--samples-quota", "1GB", gateway=False
    )
    wait_for(lambda: asked("/api/v1/labels")["unlabelled"] == 3, timeout_s=30)
    # The rest comes while the agent runs.
    spool(tmp_path / "samples", [captured(number, site="edge-1") for number in range(3, 5)])
    wait_for(lambda: asked("/api/v1/labels")["unlabelled"] == 5, timeout_s=30)
    wait_for(lambda: not list((tmp_path / "samples").glob("*.seg")))
