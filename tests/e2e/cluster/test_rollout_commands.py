"""A hub, a release and a rollout as a person types them; the site is a cluster."""

import contextlib
import os
import re
import shutil
import subprocess
import sys

import pytest

from e2e.cluster.archives import row_questions
from e2e.cluster.rollout_site import SITE, rollout_site
from e2e.cluster.story import phases_between, show_ledger
from support.sockets import free_port
from support.spoiled_versions import expect_another_answer

pytestmark = pytest.mark.long

NAMESPACE = "edgewise-e2e-commands"
SPECIFICATION = """\
model = "tiny"
version = {version}
waves = [{{ name = "clusters", sites = "tier=cloud" }}]
canary = {{ shares = ["25%"], each_for = "3s", bake = "3s" }}

[gates]
errors = {{ margin = "10%", confidence = "95%" }}
latency = "off"
"""


class Operator:
    """A person at a terminal, in a directory of their own."""

    def __init__(self, directory, timeline, url):
        self.directory = directory
        self.timeline = timeline
        self.environment = {**os.environ, "EDGEWISE_HUB": url, "HOME": str(directory)}

    def __call__(self, *words, code=0):
        """What a command prints."""
        done = subprocess.run(
            [sys.executable, "-m", "edgewise", *words],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.timeline.say(f"$ edgewise {' '.join(words)}")
        shown = re.sub(r"ew[t1][_.]\S+", "…", done.stdout + done.stderr)
        self.timeline.show(shown)
        assert done.returncode == code, shown
        return done.stdout

    @contextlib.contextmanager
    def hub(self, host, port):
        """A hub that serves."""
        said = self(
            "hub", "init", "--state", "hub", "--url", self.environment["EDGEWISE_HUB"], "--with-offline-keys", "trust"
        )
        self.environment["EDGEWISE_HUB_TOKEN"] = re.search(r"ewt_\S+", said)[0]
        with (self.directory / "hub.log").open("w") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "edgewise",
                    "hub",
                    "serve",
                    "--state",
                    "hub",
                    "--host",
                    host,
                    "--port",
                    str(port),
                ],
                cwd=self.directory,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert process.stdout.readline().startswith("edgewise: ready hub="), (
                self.directory / "hub.log"
            ).read_text()
            yield
        finally:
            process.terminate()
            process.communicate(timeout=30)


@pytest.fixture(scope="module")
def operator(cluster, timeline, tmp_path_factory):
    node, port = cluster.node_address(), free_port()
    timeline.section("A hub, and a cluster as its site, as a person types it")
    operator = Operator(tmp_path_factory.mktemp("operator"), timeline, f"http://{node}:{port}")
    with operator.hub(node, port):
        yield operator


@pytest.fixture(scope="module")
def installation(cluster, images, published, operator, timeline, tmp_path_factory):
    with rollout_site(cluster, NAMESPACE, images, timeline, tmp_path_factory.mktemp("site")) as site:
        word = re.search(r"ew1\.\S+", operator("sites", "enroll", SITE, "--tier", "cloud"))[0]
        with timeline.timed("edgewise k8s install"):
            site.install_site(published.tiny_1, word)
        yield site


def release(operator, published, version, *, bad=False):
    directory = operator.directory / f"tiny-{version}"
    shutil.copytree(published.repository / "tiny" / "1", directory)
    if bad:
        expect_another_answer(directory)
    operator("release", "create", "tiny", str(version), "--all", str(directory), "--trust", "trust")
    (operator.directory / f"tiny-{version}.toml").write_text(SPECIFICATION.format(version=version))


def test_a_rollout_is_completed(operator, installation, published, timeline, apps):
    release(operator, published, 2)
    timeline.wait("the hub hears of the site", lambda: "tiny 1" in operator("sites", "list"), pause_s=2.0)
    load = apps("commands", row_questions(2_000, 1, 2), rest=70, grpc=30)
    load.wait_count(100)
    operator("rollout", "plan", "tiny-2.toml")
    operator("rollout", "start", "tiny-2.toml", "--name", "tiny-2", "--yes", "--watch")
    operator("rollout", "status", "tiny-2")
    assert installation.told_versions() == ["2", "2", "2"]
    load.wait_count(100)
    ledger = load.finish()
    show_ledger(timeline, ledger, phases_between(ledger, ["all"], []))
    ledger.require_all_right()
    assert {record.version for record in ledger.records[-50:]} == {2}


def test_a_rollout_that_is_wrong_about_golden_inputs_goes_back(operator, installation, published, timeline, apps):
    release(operator, published, 3, bad=True)
    load = apps("commands-bad", row_questions(2_000, 2), rest=70, grpc=30)
    load.wait_count(100)
    operator("rollout", "start", "tiny-3.toml", "--name", "tiny-3", "--yes", "--watch", code=1)
    said = operator("rollout", "status", "tiny-3")
    load.wait_count(100)
    ledger = load.finish()
    ledger.require_all_right()
    assert {record.version for record in ledger.records} == {2}
    assert "golden input" in said
    assert "RolledBack" in said
    assert installation.told_versions() == ["2", "2", "2"]
