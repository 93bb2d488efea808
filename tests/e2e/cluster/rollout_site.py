"""The cluster as a site of a hub that runs beside it: what is installed, and the way between the two."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from e2e.cluster.archives import Archive
from e2e.cluster.installation import K8S, SUITE_LABEL, Installation, Overlay, source_of
from e2e.cluster.kube import Cluster, Namespace
from e2e.cluster.timeline import Timeline
from support.site_hub import SiteHub

SITE = "cluster-1"
_NO_PROVISIONER = [
    {
        "target": {"kind": "Deployment", "name": "agent"},
        "patch": json.dumps(
            [
                {
                    "op": "replace",
                    "path": "/spec/template/spec/volumes/0",
                    "value": {"name": "state", "emptyDir": {"sizeLimit": "1Gi"}},
                },
                # A test waits for the next question after a cut.
                {"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--poll-s=5"},
            ]
        ),
    },
    {
        "target": {"kind": "PersistentVolumeClaim", "name": "agent-state"},
        "patch": json.dumps(
            {
                "$patch": "delete",
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "agent-state"},
            }
        ),
    },
]
"""Nobody makes volumes in the test cluster: what the agent has written down ends with its pod, not with its container."""


class RolloutSite(Installation):
    """An installation with the component `rollouts`, of which a hub knows."""

    def write(self, overlay: Overlay) -> Path:
        """See `Installation`."""
        below = self._layer(
            "rollouts",
            K8S / "overlays" / "test",
            namespace=self.namespace.name,
            components=[K8S / "components" / "rollouts"],
        )
        return self._layer(
            "overlay",
            below,
            namespace=self.namespace.name,
            labels=[{"pairs": dict([SUITE_LABEL.split("=")]), "includeTemplates": True}],
            replicas=[{"name": "model-server", "count": 3}],
            configMapGenerator=[
                {
                    "name": "model-source",
                    "behavior": "merge",
                    "literals": [f"{key}={value}" for key, value in overlay.source.items()],
                }
            ],
            patches=_NO_PROVISIONER,
        )

    def enroll(self, word: str) -> None:
        """Put the word of an enrolment where the agent looks for it."""
        self.namespace.kubectl("delete", "secret", "agent-enrollment", "--ignore-not-found")
        self.namespace.kubectl("create", "secret", "generic", "agent-enrollment", f"--from-literal=enrollment={word}")

    def agent_says(self) -> str:
        """What the agent has logged."""
        return self.namespace.kubectl("logs", "deployment/agent", "--tail=60", check=False)

    def told_versions(self) -> list[str]:
        """The version that each ready pod behind the Service serves, by its own metrics."""
        addresses = self.namespace.get("endpoints/model-server").get("subsets") or []
        pods = [one["targetRef"]["name"] for subset in addresses for one in subset.get("addresses") or []]
        pattern = re.compile(r'model_state\{model="tiny",state="AVAILABLE",version="(\d+)"\} 1')
        return sorted("".join(pattern.findall(self.namespace.proxied(pod, 8501, "metrics"))) for pod in pods)

    def deployments(self) -> list[str]:
        """Names of all that are there."""
        items = self.namespace.get("deployments", "apis/apps/v1")["items"]
        return sorted(item["metadata"]["name"] for item in items)

    def install_site(self, archive: Archive, word: str) -> None:
        """From nothing to a site that runs a version.

        Args:
            word: of its enrolment.
        """
        overlay = Overlay(source_of(archive))
        self.install_store([archive], overlay)
        self.enroll(word)
        self.timeline.show(self.install(overlay).output)


@contextlib.contextmanager
def rollout_site(
    cluster: Cluster, name: str, images: dict[str, str], timeline: Timeline, directory: Path
) -> Iterator[RolloutSite]:
    """A namespace with nothing in it yet; it is gone afterwards."""
    namespace = Namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=60s")
    place, _, tag = images["model-server"].rpartition(":")
    named = ["--image-registry", place.removesuffix("/edgewise-model-server"), "--image-tag", tag]
    site = RolloutSite(namespace, timeline, directory, named)
    try:
        yield site
    finally:
        timeline.show(site.agent_says())
        namespace.close()
        cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=60s", check=False)


@contextlib.contextmanager
def way_to(hub: SiteHub, node: str) -> Iterator[subprocess.Popen[str]]:
    """Let pods reach a hub that listens on this machine alone; it is cut when the process that is given ends."""
    words = ["link", "--listen", f"{node}:0", "--to", f"127.0.0.1:{hub.port}", "--control", "none"]
    process = subprocess.Popen([sys.executable, "-m", "edgewise", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(rf"{re.escape(node)}:(\d+)", line)
        assert found, line
        hub.url = f"http://{node}:{found[1]}"
        yield process
    finally:
        process.terminate()
        process.communicate()
