"""A cluster as its users see it: kubectl for what is done, the API for what is waited on."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[4] / "shared"
COMMAND_TIMEOUT_S = 120.0
RULE_COMMENT = "edgewise-e2e-cut"  # told from what kube-proxy says of the suite's namespace


@dataclass(frozen=True)
class Pod:
    """A pod as the API has it.

    Attributes:
        deleting: it has been told to end.
    """

    name: str
    uid: str
    ip: str
    node: str
    phase: str
    ready: bool
    deleting: bool
    container_ids: tuple[str, ...]
    config_maps: tuple[str, ...]


@dataclass
class Cluster:
    """Where the suite runs.

    Attributes:
        kubeconfig: an administrator's.
        script: what brings images into the test cluster's node; None for clusters that pull from a registry.
        started: the suite has started it, and takes it down.
    """

    kubeconfig: Path
    script: Path | None
    started: bool = False

    def environment(self) -> dict[str, str]:
        """What commands run with."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *words: str, check: bool = True, text: str | None = None) -> str:
        """What kubectl prints.

        Raises: AssertionError: it failed, with what it said.
        """
        done = subprocess.run(
            ["kubectl", *words],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
            env=self.environment(),
        )
        assert not check or not done.returncode, f"kubectl {' '.join(words)}: {done.stderr.strip()}"
        return done.stdout + ("" if check else done.stderr)

    def load(self, images: list[str]) -> int:
        """Bring images from podman's store into the node, those that it has not got from here yet. Returns: how many."""
        assert self.script is not None
        # Beside the cluster's own state, so that it goes with it.
        noted = self.kubeconfig.parent / "e2e-images.json"
        there = json.loads(noted.read_text()) if noted.exists() else {}
        ids = {image: _output(["podman", "image", "inspect", "--format", "{{.Id}}", image]) for image in images}
        missing = [image for image in images if there.get(image) != ids[image]]
        if missing:
            subprocess.run(["bash", str(self.script), "load", *missing], check=True, capture_output=True, timeout=300)
            noted.write_text(json.dumps({**there, **ids}))
        return len(missing)

    def node_address(self) -> str:
        """Where NodePorts are."""
        if given := os.environ.get("EDGEWISE_E2E_NODE"):
            return given
        return self.kubectl(
            "get", "nodes", "-o", 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'
        )


def find_cluster() -> Cluster | str:
    """The cluster that KUBECONFIG names, or else the one that `shared` can start; or why there is none."""
    script = SHARED / "kubernetes" / "cluster"
    if shutil.which("kubectl") is None:
        return "kubectl is not installed; it is what installs and asks in these tests"
    named = os.environ.get("KUBECONFIG")
    local = Path(_output(["bash", str(script), "kubeconfig"])) if script.exists() else None
    if named:
        kubeconfig = Path(named)
        if not kubeconfig.exists():
            return f"KUBECONFIG names {named}, which does not exist"
        ours = local is not None and local.exists() and kubeconfig.samefile(local)
        return Cluster(kubeconfig, script if ours else None)
    if local is not None and local.exists():
        return Cluster(local, script)
    if local is None:
        return "no cluster: set KUBECONFIG to the file of a cluster where namespaces may be made and nodes drained"
    if os.geteuid():
        return f"no cluster: run as root, so that {script} can start one, or set KUBECONFIG"
    return Cluster(local, script, started=True)


def start_cluster(cluster: Cluster) -> None:
    """Bring the test cluster up. Raises: CalledProcessError: it does not come."""
    for command in ([str(SHARED / "containers" / "setup")], [str(cluster.script), "up"]):
        subprocess.run(["bash", *command], check=True, timeout=600)


def stop_cluster(cluster: Cluster) -> None:
    """Take it down again."""
    subprocess.run(["bash", str(cluster.script), "down"], check=True, timeout=120)


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()


class Namespace:
    """One namespace of a cluster, asked over a connection that stays.

    Args:
        cluster: where it is.
        name: of the namespace.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        # It knows every way to log in that a kubeconfig can name.
        self._proxy = subprocess.Popen(
            ["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True, env=cluster.environment()
        )
        assert self._proxy.stdout is not None
        said = self._proxy.stdout.readline()
        assert "Starting to serve on" in said, f"kubectl proxy said: {said!r}"
        self._address = said.split()[-1]

    def kubectl(self, *words: str, check: bool = True, text: str | None = None) -> str:
        """As `Cluster.kubectl`, in this namespace."""
        return self.cluster.kubectl("-n", self.name, *words, check=check, text=text)

    def get(self, path: str, group: str = "api/v1") -> Any:
        """An object or a list by its path behind the namespace."""
        return json.loads(self._ask(f"/{group}/namespaces/{self.name}/{path}"))

    def proxied(self, pod: str, port: int, path: str) -> str:
        """What a pod answers, by way of the API server; "" when it does not."""
        try:
            return self._ask(f"/api/v1/namespaces/{self.name}/pods/{pod}:{port}/proxy/{path}").decode()
        except OSError:
            return ""

    def _ask(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self._address}{path}", timeout=20) as answer:
            body: bytes = answer.read()
            return body

    def pods(self, name: str) -> list[Pod]:
        """The pods with this `app.kubernetes.io/name`, the oldest first."""
        selector = f"app.kubernetes.io%2Fname%3D{name}"
        items = self.get(f"pods?labelSelector={selector}")["items"]
        return [_pod(item) for item in sorted(items, key=lambda item: item["metadata"]["creationTimestamp"])]

    def ready(self, name: str) -> list[Pod]:
        """Those that are ready and have not been told to end."""
        return [pod for pod in self.pods(name) if pod.ready and not pod.deleting]

    def logs(self, pod: str, container: str) -> str:
        """What a container has written."""
        return self.kubectl("logs", pod, "-c", container, "--tail=50", check=False)

    def close(self) -> None:
        """End what was started."""
        self._proxy.terminate()
        self._proxy.communicate()


def _pod(item: dict[str, Any]) -> Pod:
    status = item["status"]
    conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
    containers = item["spec"].get("initContainers", []) + item["spec"]["containers"]
    sources = [one for container in containers for one in container.get("envFrom", [])]
    names = {one["configMapRef"]["name"] for one in sources if "configMapRef" in one}
    names |= {
        value["valueFrom"]["configMapKeyRef"]["name"]
        for container in containers
        for value in container.get("env", [])
        if "configMapKeyRef" in value.get("valueFrom", {})
    }
    return Pod(
        item["metadata"]["name"],
        item["metadata"]["uid"],
        status.get("podIP", ""),
        item["spec"].get("nodeName", ""),
        status.get("phase", ""),
        conditions.get("Ready") == "True",
        "deletionTimestamp" in item["metadata"],
        tuple(one.get("containerID", "") for one in status.get("containerStatuses", [])),
        tuple(sorted(names)),
    )


@contextlib.contextmanager
def dropped(*rules: str) -> Iterator[float]:
    """Packets that match are dropped; gives the moment (`time.monotonic()`) from which all of them are.

    Args:
        rules: `CHAIN MATCHES...` of iptables.
    """
    marked = [[*rule.split(), "-m", "comment", "--comment", RULE_COMMENT, "-j", "DROP"] for rule in rules]
    placed: list[list[str]] = []
    try:
        for chain, *rest in marked:
            _iptables("-I", chain, "1", *rest)
            placed.append([chain, *rest])
        yield time.monotonic()
    finally:
        for rule in placed:
            _iptables("-D", *rule)


def _iptables(*words: str) -> None:
    subprocess.run(["iptables", "-w", "5", *words], check=True, capture_output=True, timeout=20)


def sweep_rules() -> None:
    """Take away what a run that was killed has left."""
    done = subprocess.run(["iptables-save", "-t", "filter"], capture_output=True, text=True, check=False, timeout=20)
    for line in done.stdout.splitlines():
        words = shlex.split(line)
        if words[:1] == ["-A"] and RULE_COMMENT in words:
            _iptables("-D", *words[1:])
