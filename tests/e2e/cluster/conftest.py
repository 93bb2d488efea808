"""One cluster, one installation, for the whole story; each part of it can also run by itself."""

import contextlib
import os
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.cluster import edge_site
from e2e.cluster.archives import Published, publish
from e2e.cluster.edge_site import EdgeSite
from e2e.cluster.installation import Installation, Overlay, source_of
from e2e.cluster.kube import Cluster, Namespace, find_cluster, start_cluster, stop_cluster, sweep_rules
from e2e.cluster.report import write_report
from e2e.cluster.timeline import Timeline
from support.app_load import LoadSettings
from support.app_questions import Question
from support.load_ledger import Load

ROOT = Path(__file__).resolve().parents[3]
IN_CLUSTER = ("model-server", "gateway-kubernetes", "agent")
AT_THE_EDGE = ("model-server", "gateway")


def pytest_addoption(parser):
    parser.addoption("--results", metavar="FILE", help="write what the cluster suite has seen to this Markdown file")


def pytest_collection_modifyitems(items):
    for item in items:
        # The first of them may build the images and start a cluster. Each wait has a limit of its own.
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def timeline(request) -> Iterator[Timeline]:
    timeline = Timeline()
    yield timeline
    if path := request.config.getoption("--results", default=None):
        write_report(timeline, Path(path), failed=bool(request.session.testsfailed))


@pytest.fixture(scope="session")
def cluster(timeline) -> Iterator[Cluster]:
    found = find_cluster()
    if isinstance(found, str):
        pytest.skip(found)
    timeline.section("The cluster")
    if found.started:
        with timeline.timed("started a cluster"):
            start_cluster(found)
    sweep_rules()
    timeline.say("$ kubectl get nodes -o wide")
    timeline.show(found.kubectl("get", "nodes", "-o", "wide"))
    yield found
    if found.started:
        stop_cluster(found)


@pytest.fixture(scope="session")
def images(cluster, timeline) -> dict[str, str]:
    """Name to image; those of the cluster are there.

    EDGEWISE_E2E_REGISTRY, such as registry.example/team, names where a cluster that is not the test cluster pulls them from
    (REGISTRY/edgewise-NAME:TAG); EDGEWISE_E2E_TAG the tag, the project's version otherwise.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    tag = os.environ.get("EDGEWISE_E2E_TAG", version)
    registry = os.environ.get("EDGEWISE_E2E_REGISTRY", "localhost")
    found = {name: f"{registry}/edgewise-{name}:{tag}" for name in {*IN_CLUSTER, *AT_THE_EDGE}}
    if cluster.script is None:
        if registry == "localhost":
            pytest.skip("this cluster pulls its images: push them and name the place with EDGEWISE_E2E_REGISTRY")
        return found
    missing = [name for name, image in found.items() if _is_to_be_built(image)]
    if missing:
        with timeline.timed(f"built the images {', '.join(sorted(missing))}"):
            subprocess.run(["bash", str(ROOT / "deploy" / "images" / "build"), *missing], check=True, timeout=1200)
    with timeline.timed("brought the images into the node"):
        cluster.load([found[name] for name in IN_CLUSTER])
    return found


def _is_to_be_built(image: str) -> bool:
    """It is not there, or it is of another commit than the sources and nobody has asked for it by its tag."""
    label = '{{index .Labels "org.opencontainers.image.revision"}}'
    found = _said("podman", "image", "inspect", "--format", label, image)
    head = _said("git", "-C", str(ROOT), "rev-parse", "HEAD")
    other = bool(head) and len(found) >= len(head) and not found.startswith(head)
    return not found or (other and "EDGEWISE_E2E_TAG" not in os.environ)


def _said(*command: str) -> str:
    """What a command prints; "" when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode else done.stdout.strip()


@pytest.fixture(scope="session")
def published(tmp_path_factory, timeline) -> Published:
    with timeline.timed("built and packed the models"):
        return publish(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def namespace(cluster) -> Iterator[Namespace]:
    """EDGEWISE_E2E_NAMESPACE, or `edgewise-e2e`; it is the suite's own."""
    namespace = Namespace(cluster, os.environ.get("EDGEWISE_E2E_NAMESPACE", "edgewise-e2e"))
    cluster.kubectl("delete", "namespace", namespace.name, "--ignore-not-found", "--timeout=60s")
    yield namespace
    namespace.close()
    cluster.kubectl("delete", "namespace", namespace.name, "--ignore-not-found", "--timeout=60s", check=False)


@pytest.fixture(scope="session")
def installation(namespace, images, published, timeline, tmp_path_factory) -> Installation:
    """`pets` version 1 on three pods behind two gateways."""
    timeline.section("Install: pets version 1 on three pods, two gateways in front of them")
    place, _, tag = images["model-server"].rpartition(":")
    named = ["--image-registry", place.removesuffix("/edgewise-model-server"), "--image-tag", tag]
    installation = Installation(namespace, timeline, tmp_path_factory.mktemp("installation"), named)
    overlay = Overlay(source_of(published.pets_1))
    archives = [published.pets_1, published.pets_2, published.tiny_1, published.tiny_2, published.truncated]
    installation.install_store(archives, overlay)
    with timeline.timed("edgewise k8s install"):
        timeline.show(installation.install(overlay).output)
    installation.show()
    return installation


@pytest.fixture(scope="session")
def tiny(installation, published, timeline) -> Installation:
    """The same pods serve a model that computes next to nothing: a hundred photographs a second would be all of two cores."""
    timeline.section("The pods serve tiny version 1 from now on")
    with timeline.timed("edgewise k8s install"):
        installation.install(Overlay(source_of(published.tiny_1)))
    return installation


@pytest.fixture(scope="session")
def edge(images, published, tmp_path_factory) -> Iterator[EdgeSite]:
    """An edge node beside the cluster."""
    if shutil.which("podman") is None or os.geteuid():
        pytest.skip("an edge site beside the cluster takes podman and root")
    edge_site.sweep()
    directory = tmp_path_factory.mktemp("edge")
    directory.chmod(0o755)
    site = EdgeSite(images, published.repository, directory)
    yield site
    site.close()


@pytest.fixture
def apps(installation, tmp_path) -> Iterator[Callable[..., Load]]:
    """Starts apps: `apps("name", questions, rest=70, grpc=30)`, through the cluster's gateway unless told otherwise."""
    started: list[Load] = []

    def start(
        name: str, questions: list[Question], *, rest: float, grpc: float = 0, through: tuple[str, str] | None = None
    ) -> Load:
        doors = through or (installation.rest, installation.grpc)
        records = str(tmp_path / f"{name}.jsonl")
        settings = LoadSettings(doors[0], doors[1] if grpc else "", rest, grpc, questions, records)
        load = Load(settings, tmp_path)
        started.append(load)
        return load

    yield start
    for load in started:
        with contextlib.suppress(OSError):
            load.kill()
