"""The README's section on rolling out a version, typed as it stands there, in its order, beside a real `edgewise up --keep`."""

import json
import re
import shutil
import signal
import sys
import urllib.request

import pytest

from edgewise.local.parts import PARTS
from support.readme_story import ROOT, Story, running
from support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("system_ports")

PORTS = {"cloud": 8501, "edge": 8511, "shop": 8531}


@pytest.fixture
def place(tmp_path, pets_repository):
    """A directory like a clone in which `make up` was run: the edge's model was built."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    shutil.copytree(pets_repository, tmp_path / ".edgewise" / "models" / "edge")
    return tmp_path


def available(site):
    """The versions of pets that a site's model server has."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORTS[site]}/v1/models/pets", timeout=10) as answer:
        states = json.load(answer)["model_version_status"]
    return {int(one["version"]) for one in states if one["state"] == "AVAILABLE"}


def answering(line):
    """Which versions answered at each site, of a line of the traffic."""
    cells = re.findall(r"(cloud|edge|shop) ((?:v\d+ \d+(?:, )?)+)", line)
    return {site: {int(version) for version in re.findall(r"v(\d+)", found)} for site, found in cells}


def site_versions(listed):
    """What `sites list` says that each site answers with."""
    return dict(re.findall(r"^(\w+) .* pets (\d+) ", listed, re.MULTILINE))


@pytest.mark.timeout(900)
def test_the_readmes_rollout_story(place):
    story = Story(place, "Rolling out a version")
    up = traffic = None
    up_log, traffic_log = place / "up.log", place / "traffic.log"

    def all_answer(version):
        """Whether the last whole line of the traffic knows no other version, at any site."""
        lines = traffic_log.read_text().splitlines()
        return bool(lines) and answering(lines[-1]) == {site: {version} for site in PORTS}

    try:
        up = running(place, "edgewise up --keep", up_log)
        wait_for(lambda: "\n  gRPC: " in up_log.read_text() or up.poll() is not None, 180)
        assert up.poll() is None, up_log.read_text()

        # Three sites, of which one loses its way to the hub; and traffic.
        story.run("source")
        story.run("export EDGEWISE_HUB")
        listed = story.run("edgewise sites list")
        assert site_versions(listed) == {"cloud": "1", "edge": "1", "shop": "1"}, listed
        assert listed.count(" online ") == 3
        assert "fault=blackhole" in story.run("edgewise link set")
        traffic = running(place, story.next("python "), traffic_log)
        wait_for(lambda: all_answer(1))

        # A release, and what would become of it.
        story.run("edgewise models build pets build/cloud")
        story.run("edgewise models build pets build/edge")
        assert story.run("edgewise release create pets 2").startswith("pets/2: ")
        plan = story.next("edgewise rollout plan")
        # The README's reader has taken long enough for the hub to miss the site.
        planned, code = wait_for(lambda: "LATER" in (found := story.type(plan))[0] and found)
        assert code == 0, planned
        assert "STOPS" not in planned
        assert planned.count("LATER") == 1
        assert re.search(r"^  cloud .* nothing .*\n  shop .*\n    LATER: it is offline since ", planned, re.MULTILINE)

        # Two sites follow, wave by wave; the third goes on with what it has.
        assert "pets-2 is started" in story.run("edgewise rollout start")
        moves = story.run("edgewise rollout watch pets-2")
        told = [
            "site edge: Activating -> Verifying",
            "site edge: Verifying -> Active",
            "wave the others: open",
            "site cloud: Verifying -> Active",
            "rollout pets-2: Progressing -> Completed",
        ]
        assert sorted(told, key=moves.find) == told, moves
        assert all(move in moves for move in told), moves
        # When the hub misses a site is nothing that the waves wait for.
        assert "site shop: Pending -> Unreachable" in moves, moves
        wait_for(lambda: available("edge") == available("cloud") == {2})
        assert available("shop") == {1}

        # It comes back, and catches up by itself.
        assert "no fault" in story.run("edgewise link set")
        status = story.next("edgewise rollout status pets-2")
        wait_for(lambda: re.search(r"^  shop +Active ", story.type(status)[0], re.MULTILINE), 60)
        wait_for(lambda: all_answer(2))
        wait_for(lambda: available("shop") == {2})

        # Back again, everywhere.
        story.run("edgewise rollout undo pets-2")
        sites = story.next("edgewise sites list")
        wait_for(lambda: set(site_versions(story.type(sites)[0]).values()) == {"1"}, 60)
        wait_for(lambda: all_answer(1))
        assert " is RolledBack: " in story.type(status)[0]

        # A version that is wrong goes back by itself, and has answered nobody.
        story.run("cp ")
        story.run("sed ")
        story.run("edgewise release create pets 3")
        moves = story.run("edgewise rollout start --release pets/3", code=1)
        assert "site edge: Activating -> RolledBack (golden input 'cat.jpg'" in moves
        assert "rollout pets-3: Aborting -> RolledBack" in moves
        assert "Verifying" not in moves
        assert set(site_versions(story.run("edgewise sites list")).values()) == {"1"}
        assert story.is_told()

        # No request was lost over all that.
        traffic.send_signal(signal.SIGINT)
        assert traffic.wait(60) == 0, traffic_log.read_text()
        answered = [answering(line) for line in traffic_log.read_text().splitlines()]
        asked = re.search(
            r"^(\d+) asked, (\d+) answered, (\d+) refused, 0 failed$", traffic_log.read_text(), re.MULTILINE
        )
        assert asked, traffic_log.read_text()
        assert int(asked[1]) == int(asked[2]) + int(asked[3])
        assert any(found.get("edge") == {1, 2} for found in answered)
        assert not any(3 in versions for found in answered for versions in found.values())

        up.send_signal(signal.SIGINT)
        assert up.wait(120) == 0
        assert up_log.read_text().count("stopped process") == len(PARTS)
    finally:
        for process in (traffic, up):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(120)
        story.end()
