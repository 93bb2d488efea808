"""`edgewise up` and `edgewise down`, as a newcomer types them: the whole system on this machine."""

import signal
import socket
import subprocess
import sys

import pytest

from edgewise.local.parts import PARTS
from edgewise.local.rollouts import HUB_URL

pytestmark = pytest.mark.usefixtures("system_ports")


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """One for all tests, so that the models are built once."""
    return tmp_path_factory.mktemp("up") / "state"


def edgewise(*words):
    return subprocess.run(
        [sys.executable, "-m", "edgewise", *words], capture_output=True, text=True, timeout=240, check=False
    )


def tables(output):
    """The rows of each phase's table: words of the lines about photographs."""
    phases = {}
    rows = []
    for line in output.splitlines():
        if line in {"link whole", "link cut", "link healed"}:
            rows = phases[line] = []
        elif ".jpg " in line:
            rows.append(line.split())
    return phases


@pytest.mark.timeout(900)
def test_up_predicts_through_a_cut_and_stops_what_it_started(state, tmp_path, images):
    try:
        up = edgewise("up", "--state", str(state), "--images", str(images))
        assert up.returncode == 0, up.stdout + up.stderr
        phases = tables(up.stdout)
        photographs = len(list(images.glob("*.jpg")))
        cats = {phase: next(row for row in rows if row[0] == "cat.jpg") for phase, rows in phases.items()}
        assert all(row[1] == "cat" for row in cats.values())
        assert "cloud/cloud" in cats["link whole"]
        assert "edge/edge" in cats["link cut"]
        assert "cloud/cloud" in cats["link healed"]
        assert len(phases["link cut"]) == photographs
        assert all("edge/edge" in row for row in phases["link cut"])
        closing = [line.split() for line in up.stdout.splitlines() if line.startswith("link cut ")][-1]
        assert closing[2:6] == [str(photographs), str(photographs), "edge", str(photographs)]
        assert up.stderr.count("stopped process") == len(PARTS)
        # A second time, and left running until it is told to end.
        keep = subprocess.Popen(
            [sys.executable, "-m", "edgewise", "up", "--keep", "--state", str(state), "--images", str(images)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with keep:
            while (line := keep.stdout.readline()) and not line.startswith("  gRPC: "):
                pass
            assert line, keep.stderr.read()
            asked = edgewise("predict", str(images / "dog.jpg"), "--url", "http://127.0.0.1:8080")
            assert "cloud/cloud" in asked.stdout, asked.stdout + asked.stderr
            sites = edgewise("sites", "list", "--hub", HUB_URL, "--token-file", str(state / "hub.token"))
            rows = [line.split() for line in sites.stdout.splitlines()[1:]]
            assert [(row[:3], "pets 1" in " ".join(row)) for row in rows] == [
                (["cloud", "cloud", "online"], True),
                (["edge", "edge", "online"], True),
                (["shop", "edge", "online"], True),
            ], sites.stdout + sites.stderr
            assert (state / "hub.token").stat().st_mode & 0o077 == 0
            (tmp_path / "other").mkdir()
            (tmp_path / "other" / "models").symlink_to(state / "models")
            other = edgewise("up", "--state", str(tmp_path / "other"), "--images", str(images))
            assert other.returncode == 1
            assert "taken by another program" in other.stderr
            assert not (tmp_path / "other" / "hub").exists()
            keep.send_signal(signal.SIGINT)
            _, errors = keep.communicate(timeout=60)
        assert keep.returncode == 0, errors
        assert errors.count("stopped process") == len(PARTS)
    finally:
        down = edgewise("down", "--state", str(state))
    assert down.returncode == 0
    assert down.stderr.count("not running") == len(PARTS)


@pytest.mark.timeout(900)
def test_down_stops_what_an_up_that_was_killed_left(state, images):
    up = subprocess.Popen(
        [sys.executable, "-m", "edgewise", "up", "--keep", "--state", str(state), "--images", str(images)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        with up:
            while (line := up.stdout.readline()) and not line.startswith("  gRPC: "):
                pass
            up.kill()
        assert line
    finally:
        down = edgewise("down", "--state", str(state))
    assert down.returncode == 0
    assert down.stderr.count("stopped process") == len(PARTS)
    assert len(PARTS) == 10
    for port in (8080, 8081, 8500, 8501, 8510, 8511, 8521, 8522, 8530, 8531, 8541, 8542, 8600):
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


def test_up_without_photographs_says_so(tmp_path):
    up = edgewise("up", "--state", str(tmp_path / "state"), "--images", str(tmp_path))
    assert up.returncode == 1
    assert "no photographs" in up.stderr
    assert "Traceback" not in up.stderr
