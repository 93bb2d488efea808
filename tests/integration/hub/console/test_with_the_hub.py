"""The commands of an operator against the hub's own app: a release made, sites let in, a rollout there and back, a bundle carried."""

import base64
import hashlib
import json
import os
import threading

import httpx
import pytest

from edgewise.agent.bundles import BundleSource
from support.bundle_world import Site as SiteWithoutLink
from support.control_world import QUIET, Site
from support.hub_in_thread import HubInThread

SPEC = f"""\
model: pets
version: 2
waves:
  - {{name: canary, sites: site=site-1}}
  - {{name: everyone, at_once: 2}}
canary: {{shares: [50%], each_for: 0, bake: 0}}
{QUIET}"""


@pytest.fixture
def hub(tmp_path):
    with HubInThread(tmp_path / "hub").serving() as serving:
        yield serving


@pytest.fixture
def edgewise(edgewise, hub, monkeypatch):
    monkeypatch.setenv("EDGEWISE_HUB_TOKEN", hub.token)
    return edgewise


@pytest.fixture
def released(hub, edgewise, version):
    for number in (1, 2):
        directory = version(f"pets/{number}", model=b"\x08\x07 model %d" % number, labels__txt=b"cat\ndog\n")
        code, _, err = edgewise(
            "release", "create", "pets", number, "--all", directory, "--trust", hub.offline.directory
        )
        assert (code, err) == (0, "")


@pytest.fixture
def join(hub, edgewise):
    """Lets sites in, each of which talks to the hub over HTTP."""

    def ask(method, name, *words, **named):
        if method == "create_enrollment":
            tier, labels = words
            told = [f"--label={key}={value}" for key, value in labels.items()]
            word = edgewise("sites", "enroll", name, "--tier", tier, *told)[1].strip().removeprefix("ew1.")
            return json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))["token"]
        if method == "enroll":
            asked = dict(zip(("public_key", "tier", "labels"), words, strict=True))
            found = httpx.post(f"{hub.url}/api/v1/enroll", json={"token": name, **asked}).raise_for_status().json()
            return found["site"], found["site_token"]
        site = sites[name]
        headers = {"authorization": f"Bearer {site.token}"}
        if method == "desired":
            found = httpx.get(f"{hub.url}/api/v1/sites/{name}/desired", headers=headers).raise_for_status()
            return found.headers["etag"], found.content
        path = f"{hub.url}/api/v1/sites/{name}/reports"
        return httpx.post(path, headers=headers, content=words[0]).raise_for_status().json()["sequence"]

    sites = {}

    def let_in(*names, **labels):
        for name in names:
            sites[name] = Site(name, ask)
            sites[name].join(labels=labels)
        return [sites[name] for name in names]

    return let_in


def settled(hub, sites):
    """Sites do what they are told until nothing moves any more."""
    quiet = 0
    while quiet < 2:
        moved = [site.step(0.0) for site in sites]
        hub.tick()
        quiet = 0 if any(moved) else quiet + 1


def test_releases_are_listed_shown_and_verified(hub, edgewise, released):
    code, out, _ = edgewise("release", "list")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [["pets/1", "any", "18"], ["pets/2", "any", "18"]]
    assert "manifest:       sha256 " in edgewise("release", "show", "pets/2")[1]
    assert edgewise("release", "show", "pets/9")[0] == 1
    code, out, _ = edgewise("release", "verify", "pets/2", "--trust", hub.offline.directory)
    assert (code, "all of 2 files (18 bytes) are what was signed" in out) == (0, True)


def test_sites_are_let_in_labelled_and_let_go(edgewise, join):
    join("site-1", region="eu")

    assert edgewise("sites", "label", "site-1", "gpu=", "region=us") == (0, "site-1: gpu=, region=us\n", "")
    assert edgewise("sites", "label", "site-1", "gpu-")[1] == "site-1: region=us\n"
    assert "site-1" in edgewise("sites", "list", "--selector", "tier=edge,region=us")[1]
    assert "no sites" in edgewise("sites", "list", "--selector", "region=eu")[1]
    assert "tier:           edge" in edgewise("sites", "show", "site-1")[1]
    assert json.loads(edgewise("sites", "show", "site-1", "--json")[1])["labels"] == {"region": "us"}
    assert edgewise("sites", "retire", "site-1", "--yes") == (0, "site-1 is retired\n", "")
    assert edgewise("sites", "show", "site-9")[0] == 1


def test_a_rollout_goes_through_all_waves_while_it_is_watched_and_back_again(hub, edgewise, released, join, tmp_path):
    sites = join("site-1", "site-2", "site-3")
    for site in sites:
        site.look(0.0)
        site.report(0.0)
    spec = tmp_path / "pets-2.yaml"
    spec.write_text(SPEC)

    code, out, err = edgewise("rollout", "plan", spec)
    assert (code, err) == (0, "")
    assert "pets 2: 3 sites in 2 waves, 54 bytes to fetch" in out

    mover = threading.Thread(target=settled, args=(hub, sites))
    code, out, err = edgewise("rollout", "start", spec, "--name", "pets-2-test", "--hold", "--yes")
    assert (code, err) == (0, "")
    code, out, err = edgewise("rollout", "start", "pets-2-test", "--yes")
    assert (code, err) == (0, "")
    mover.start()
    code, out, err = edgewise("rollout", "watch", "pets-2-test")
    mover.join()
    assert (code, err) == (0, "")
    moves = [line.split("UTC  ")[-1].partition(" (")[0] for line in out.splitlines()[1:]]
    assert "rollout pets-2-test: Progressing -> Completed" in moves
    for site in sites:
        assert f"site {site.name}: Verifying -> Active" in moves
    assert len(set(moves)) == len(moves)

    code, out, err = edgewise("rollout", "pause", "pets-2-test")
    assert (code, out) == (1, "")
    assert "is Completed and cannot pause; it can undo" in err

    code, out, err = edgewise("rollout", "undo", "pets-2-test", "--yes", "--why", "calls from the night shift")
    assert (code, err) == (0, "")
    assert "is Aborting: calls from the night shift" in out
    settled(hub, sites)
    assert edgewise("rollout", "watch", "pets-2-test")[0] == 0
    code, out, _ = edgewise("rollout", "status", "pets-2-test")
    assert "is RolledBack" in out
    assert "calls from the night shift" in edgewise("rollout", "history", "pets-2-test")[1]
    assert json.loads(edgewise("rollout", "status", "--json")[1])[0]["state"] == "RolledBack"


def test_a_specification_that_only_the_hub_can_judge_is_refused_by_it(edgewise, released, join, tmp_path):
    spec = tmp_path / "pets-9.yaml"
    spec.write_text(SPEC.replace("version: 2", "version: 9"))
    join("site-1")

    code, _, err = edgewise("rollout", "start", spec, "--yes")

    assert code == 1
    assert "pets/9" in err


def test_a_bundle_is_carried_to_a_site_without_a_link(hub, edgewise, released, join, tmp_path):
    (site,) = join("factory-7")
    spec = tmp_path / "pets-2.yaml"
    spec.write_text(SPEC.replace("site=site-1", "site=factory-7"))
    assert edgewise("rollout", "start", spec, "--yes")[0] == 0
    carried = SiteWithoutLink(tmp_path / "site", hub.offline.root_files()[0])
    heard = json.loads(edgewise("sites", "show", "factory-7", "--json")[1])["heard_s"]

    code, _, err = edgewise("release", "export", "pets/2", "--site", "factory-7", "--out", tmp_path / "usb")
    assert (code, err) == (0, "")
    code, out, err = edgewise("release", "import", tmp_path / "usb", "--state", carried.state.root)

    assert (code, err) == (0, "")
    assert out.startswith("pets/2: 2 files, 18 bytes\nthe agent, once started, follows generation ")
    trusted = carried.trusted(BundleSource(tmp_path, frozenset()))
    order = trusted.open_desired(carried.state.desired.read_bytes()).orders[0]
    assert (order.model, order.version) == ("pets", 2)
    # Whoever carries a bundle is not the site.
    assert json.loads(edgewise("sites", "show", "factory-7", "--json")[1])["heard_s"] == heard
    assert site.token


def test_files_that_no_release_names_are_pruned(hub, edgewise, released):
    stray = hashlib.sha256(b"stray").hexdigest()
    headers = {"authorization": f"Bearer {hub.token}"}
    httpx.put(f"{hub.url}/blobs/sha256/{stray}", headers=headers, content=b"stray").raise_for_status()
    kept = set(hub.hub.blobs.names()) - {stray}
    for name in (stray, *kept):
        os.utime(hub.hub.blobs._path(name), (1e9, 1e9))

    code, out, err = edgewise("hub", "prune", "--unwanted-for", "5m")
    assert (code, out) == (2, "")
    assert "expected 1h or more" in err
    assert edgewise("hub", "prune", "--dry-run") == (
        0,
        f"would remove {stray} (5 bytes)\nwould remove 1 file, 5 bytes\n",
        "",
    )
    assert edgewise("hub", "prune", "--unwanted-for", "7d") == (
        0,
        f"removed {stray} (5 bytes)\nremoved 1 file, 5 bytes\n",
        "",
    )
    assert set(hub.hub.blobs.names()) == kept
    assert edgewise("hub", "prune")[1] == "removed 0 files, 0 bytes\n"


def test_a_viewer_changes_nothing(hub, edgewise, monkeypatch, tmp_path, version):
    from edgewise.hub.control.actors import HUB, Role

    monkeypatch.setenv("EDGEWISE_HUB_TOKEN", hub.call("create_token", "vera", Role.VIEWER, actor=HUB))
    assert edgewise("sites", "list")[0] == 0

    code, _, err = edgewise("sites", "enroll", "site-1")
    assert (code, err) == (1, "edgewise: the token vera has the role viewer; this needs the role admin\n")
    code, _, err = edgewise("release", "create", "pets", "1", "--all", version(), "--trust", hub.offline.directory)
    assert (code, err) == (1, "edgewise: the token vera has the role viewer; this needs the role operator\n")
    assert hub.offline.targets().version == 1
