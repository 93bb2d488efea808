"""Images, models and the tool for compose, made once for the whole suite."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.containers import engine
from e2e.containers.engine import ROOT, podman, ran

HERE = Path(__file__).parent
TARGETS = ("model-server", "gateway", "gateway-kubernetes", "agent", "models")
# Building all images takes two or three minutes, and the machine may have other things to do.
TIMEOUT_S = 1800


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def version():
    project = (ROOT / "pyproject.toml").read_text()
    return next(line.split('"')[1] for line in project.splitlines() if line.startswith('version = "'))


@pytest.fixture(scope="session")
def images(version):
    """The images by target, built from this tree unless EDGEWISE_IMAGES_BUILT is set."""
    engine.install()
    engine.remove_leftovers()
    if not os.environ.get("EDGEWISE_IMAGES_BUILT"):
        print(f"\n{ran('deploy/images/build', *TARGETS, timeout_s=TIMEOUT_S).stdout}", end="", flush=True)
    return {target: f"localhost/edgewise-{target}:{version}" for target in TARGETS}


@pytest.fixture(scope="session")
def sizes(images):
    """What the images hold, by target, as `deploy/images/sizes.py` reads it."""
    script = str(ROOT / "deploy" / "images" / "sizes.py")
    print(f"\n{ran(sys.executable, script, *images.values()).stdout}")
    found = json.loads(ran(sys.executable, script, "--json", *images.values()).stdout)
    return dict(zip(images, found, strict=True))


@pytest.fixture(scope="session")
def models(images, tmp_path_factory):
    """A repository with the model `pets` in int8, readable by the containers' user."""
    directory = tmp_path_factory.mktemp("models")
    directory.chmod(0o777)
    # Whoever else may not enter what pytest makes, the containers' user has to; the parents are his as a mount.
    mount = f"{directory}:/models"
    ran("podman", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--volume", mount, images["models"])
    return directory


@pytest.fixture(scope="session")
def cat():
    return (ROOT / "examples" / "images" / "cat.jpg").read_bytes()


@pytest.fixture(scope="session")
def tools():
    """The programs of a virtual environment with what requirements.txt names."""
    place = ROOT / ".venv-containers"
    wanted = (HERE / "requirements.txt").read_text()
    noted = place / "requirements.txt"
    if not noted.exists() or noted.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        compose, schema = (line for line in wanted.splitlines() if not line.startswith("#"))
        pip = (str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        ran(*pip, compose, "--constraint", str(ROOT / "constraints.txt"), timeout_s=300)
        ran(*pip, schema, "--no-deps", timeout_s=300)
        noted.write_text(wanted)
    return place


@pytest.fixture(scope="session", autouse=True)
def nothing_left():
    """The suite takes its containers along."""
    yield
    if shutil.which("podman"):
        own = f"label={engine.LABEL}={os.getpid()}"
        assert podman("ps", "--all", "--quiet", "--filter", own) == ""
