"""The README's section on a better model from the field, typed as it stands there, beside a real `edgewise up --keep`."""

import re
import shutil
import signal
import sys

import pytest

from support.readme_story import ROOT, Story, running
from support.waiting import wait_for

pytestmark = [pytest.mark.usefixtures("system_ports"), pytest.mark.tensorflow, pytest.mark.long]

UNLABELLED = "edgewise data list --unlabelled --limit 1000"


@pytest.fixture
def place(tmp_path, pets_repository):
    """A directory like a clone in which `make up` was run: the edge's model was built."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    shutil.copytree(pets_repository, tmp_path / ".edgewise" / "models" / "edge")
    return tmp_path


def right(printed):
    """How many of how many the camera says are right."""
    counts = [tuple(map(int, found)) for found in re.findall(r"(\d+) of +(\d+) right", printed)]
    return sum(one for one, _ in counts), sum(all_of_them for _, all_of_them in counts)


@pytest.mark.timeout(1200)
def test_the_readmes_field_story(place):
    story = Story(place, "From the field to a better model")
    up = visitors = None
    up_log = place / "up.log"
    try:
        up = running(place, "edgewise up --keep", up_log)
        wait_for(lambda: "\n  gRPC: " in up_log.read_text() or up.poll() is not None, 240)
        assert up.poll() is None, up_log.read_text()

        # Nothing is kept until somebody says so; then everything is, and comes to the hub.
        story.run("source")
        story.next("python -m pip install")  # it is installed
        story.run("export EDGEWISE_HUB")
        assert " night-" not in story.type(UNLABELLED)[0]
        story.run("sed ")
        story.run("kill -HUP")
        wait_for(lambda: '"enabled":true' in story.type("curl -s http://127.0.0.1:8080/edgewise/v1/capture; echo")[0])
        before, asked = right(story.run("python examples/field/door_camera.py"))
        wait_for(lambda: story.type(UNLABELLED)[0].count(" night-") == asked, 120)

        # Labelled, made a dataset of, trained on, made a version of.
        assert " night-" in story.run("edgewise data list --unlabelled")
        story.run("python examples/field/door_camera.py")
        assert f"{asked} pictures" in story.run("edgewise data import")
        assert story.type(UNLABELLED)[0].count(" night-") == 0
        assert f"{asked} pictures" in story.run("edgewise data export")
        assert "pictures of 3 classes" in story.run("edgewise data build")
        assert "test pictures right" in story.run("edgewise train run")
        assert (place / "runs" / "door" / "report.html").stat().st_size > 10_000
        assert "edgewise release create pets 4 " in story.run("edgewise train export")

        # Rolled out by what it knows of nights that it was not trained on.
        assert story.run("edgewise release create").startswith("pets/4: ")
        visitors = running(
            place, "python examples/field/door_camera.py --nights 1600 --first 2001", place / "visitors.log"
        )
        assert "rollout door-4: Progressing -> Completed" in story.run("edgewise rollout start")
        status = story.run("edgewise rollout status door-4")
        gained = re.search(r"accuracy +Pass .* right: old (\d+) of (\d+), new (\d+) of \2 .* of \d+ sources", status)
        assert gained, status
        assert int(gained[3]) > int(gained[1])
        visitors.terminate()
        visitors.wait(60)

        # It answers, and knows the visitors of other nights better than the old version did.
        after, of_these = right(answered := story.run("python examples/field/door_camera.py"))
        assert "answered by edge version 4: " in answered
        assert "; 0 failed" in answered
        assert after / of_these > before / asked + 0.1
        assert story.is_told()
        up.send_signal(signal.SIGINT)
        assert up.wait(120) == 0
    finally:
        for process in (visitors, up):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(120)
        story.end()
