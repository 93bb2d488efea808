"""A cluster and two edge nodes as the sites of one hub, and a rollout to all of them, as a person types it."""

import re
import shutil

import pytest

from e2e.cluster.archives import row_questions
from e2e.cluster.rollout_site import SITE, rollout_site
from e2e.cluster.story import phases_between, show_ledger
from e2e.cluster.terminal import EdgeNode, Operator
from support.sockets import free_port
from support.spoiled_versions import expect_another_answer

pytestmark = pytest.mark.long

NAMESPACE = "edgewise-e2e-fleet"
FIRST, SECOND = "edge-1", "edge-2"
SITES = {SITE, FIRST, SECOND}
SPECIFICATION = """\
model = "tiny"
version = {version}
waves = [
    {{ name = "one edge node", sites = "site=edge-1" }},
    {{ name = "all others", at_once = "100%" }},
]
canary = {{ shares = ["25%"], each_for = "3s", bake = "3s" }}
silent_after = "10s"

[gates]
errors = {{ margin = "10%", confidence = "95%" }}
latency = "off"
"""


@pytest.fixture(scope="module")
def operator(cluster, timeline, tmp_path_factory):
    node, port = cluster.node_address(), free_port()
    timeline.section("One hub; a cluster and two edge nodes as its sites, as a person types it")
    operator = Operator(tmp_path_factory.mktemp("operator"), timeline, f"http://{node}:{port}")
    with operator.hub(node, port):
        yield operator


@pytest.fixture(scope="module")
def installation(cluster, images, published, operator, timeline, tmp_path_factory):
    with rollout_site(cluster, NAMESPACE, images, timeline, tmp_path_factory.mktemp("site")) as site:
        word = operator.enrollment(SITE, "--tier", "cloud")
        with timeline.timed("edgewise k8s install"):
            site.install_site(published.tiny_1, word)
        yield site


@pytest.fixture(scope="module")
def nodes(operator, published, tmp_path_factory):
    """Two, each with `tiny` version 1."""
    at_first = tmp_path_factory.mktemp("at-first")
    shutil.copytree(published.repository / "tiny" / "1", at_first / "tiny" / "1")
    hub = operator.environment["EDGEWISE_HUB"].removeprefix("http://")
    made = []
    for name in (FIRST, SECOND):
        made.append(EdgeNode(operator, name, hub))
        made[-1].start(at_first)
    yield made
    for node in made:
        node.close()


class Loads:
    """Apps that ask the cluster and each node."""

    def __init__(self, apps, nodes):
        self._apps = apps
        self._nodes = nodes
        self._started = {}

    def begin(self, *versions):
        """Of which each may answer."""
        questions = row_questions(2_000, *versions)
        self._started[SITE] = self._apps("cluster", questions, rest=40, grpc=20)
        for node in self._nodes:
            self._started[node.site] = self._apps(node.site, questions, rest=40, through=(node.rest, ""))
        for load in self._started.values():
            load.wait_count(100)

    def finish(self, timeline, last):
        """Each was answered rightly, and this version answered last."""
        for site, load in self._started.items():
            load.wait_count(100)
            ledger = load.finish()
            timeline.say(f"{site}:")
            show_ledger(timeline, ledger, phases_between(ledger, ["all"], []))
            ledger.require_all_right()
            assert {record.version for record in ledger.records[-50:]} == {last}


@pytest.fixture
def loads(apps, nodes):
    return Loads(apps, nodes)


def release(operator, published, version, *, bad=False):
    directory = operator.directory / f"tiny-{version}"
    shutil.copytree(published.repository / "tiny" / "1", directory)
    if bad:
        expect_another_answer(directory)
    operator("release", "create", "tiny", str(version), "--all", str(directory), "--trust", "trust")
    (operator.directory / f"tiny-{version}.toml").write_text(SPECIFICATION.format(version=version))


def serving(operator):
    """The version of `tiny` that the hub believes each site to run."""
    listed = operator("sites", "list", shown=False)
    return dict(re.findall(r"^(\S+) .* tiny (\d+) ", listed, re.MULTILINE))


def states(operator, rollout):
    """What the rollout's status says of each site."""
    said = operator("rollout", "status", rollout, shown=False)
    return dict(re.findall(rf"^  ({'|'.join(SITES)}) +(\w+)", said, re.MULTILINE))


def test_one_rollout_reaches_a_cluster_and_edge_nodes_also_the_one_that_was_away(
    operator, installation, nodes, published, timeline, loads
):
    release(operator, published, 2)
    timeline.wait("the hub hears of all", lambda: serving(operator) == dict.fromkeys(SITES, "1"), pause_s=1.0)
    operator("sites", "list")
    loads.begin(1, 2)
    nodes[1].disconnect()
    operator("rollout", "plan", "tiny-2.toml")
    operator("rollout", "start", "tiny-2.toml", "--name", "tiny-2", "--yes", "--watch")
    operator("rollout", "status", "tiny-2")
    assert states(operator, "tiny-2") == {SITE: "Active", FIRST: "Active", SECOND: "Unreachable"}
    assert installation.told_versions() == ["2", "2", "2"]
    nodes[1].connect()
    timeline.wait(
        "edge-2 has caught up",
        lambda: states(operator, "tiny-2") == dict.fromkeys(SITES, "Active"),
        timeout_s=120.0,
        pause_s=0.5,
    )
    operator("rollout", "status", "tiny-2")
    assert serving(operator) == dict.fromkeys(SITES, "2")
    loads.finish(timeline, 2)


def test_a_version_that_is_wrong_about_golden_inputs_goes_back_and_reaches_nobody_else(
    operator, installation, nodes, published, timeline, loads
):
    release(operator, published, 3, bad=True)
    loads.begin(2)
    operator("rollout", "start", "tiny-3.toml", "--name", "tiny-3", "--yes", "--watch", code=1)
    said = operator("rollout", "status", "tiny-3")
    loads.finish(timeline, 2)
    assert "golden input" in said
    assert "RolledBack" in said
    assert serving(operator) == dict.fromkeys(SITES, "2")
    assert installation.told_versions() == ["2", "2", "2"]


def test_a_cluster_goes_back_from_a_version_that_is_wrong(operator, installation, nodes, published, timeline, loads):
    release(operator, published, 4, bad=True)
    path = operator.directory / "tiny-4.toml"
    path.write_text(path.read_text().replace("site=edge-1", f"site={SITE}").replace("one edge node", "the cluster"))
    loads.begin(2)
    operator("rollout", "start", "tiny-4.toml", "--name", "tiny-4", "--yes", "--watch", code=1)
    said = operator("rollout", "status", "tiny-4")
    loads.finish(timeline, 2)
    assert "golden input" in said
    assert "RolledBack" in said
    assert serving(operator) == dict.fromkeys(SITES, "2")
    assert installation.told_versions() == ["2", "2", "2"]
