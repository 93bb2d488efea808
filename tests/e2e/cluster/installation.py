"""Edgewise in a namespace of the cluster, as `edgewise k8s` puts it there."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from e2e.cluster.archives import Archive
from e2e.cluster.kube import Namespace, Pod
from e2e.cluster.timeline import Timeline, Told

K8S = Path(__file__).resolve().parents[3] / "deploy" / "k8s"
SUITE_LABEL = "edgewise-suite=cluster"
STORE = "http://model-store:8000"
_UPLOAD = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, open(sys.argv[1], 'wb'))"


@dataclass(frozen=True)
class Overlay:
    """What the suite sets on top of the overlay `test`.

    Attributes:
        source: literals of the ConfigMap model-source.
        source_behavior: "replace" leaves out what is not in `source`.
        canary: literals of model-source-canary; empty for no canary.
        gateway_toml: instead of the overlay's; "" for that.
    """

    source: dict[str, str]
    source_behavior: str = "merge"
    canary: dict[str, str] = field(default_factory=dict)
    gateway_toml: str = ""


def source_of(archive: Archive, **instead: str) -> dict[str, str]:
    """The literals that name a version in the store.

    Args:
        instead: literals that are to be others.
    """
    return {
        "MODEL_NAME": archive.model,
        "MODEL_VERSION": str(archive.version),
        "MODEL_URI": f"{STORE}/{archive.name}",
        "MODEL_SHA256": archive.sha256,
        **instead,
    }


@dataclass
class Command:
    """A command that has ended."""

    code: int
    output: str


class Installation:
    """What is installed, and how to look at it.

    Args:
        directory: for the overlay that is written.
        images: the options of `edgewise k8s install` that name them.
    """

    def __init__(self, namespace: Namespace, timeline: Timeline, directory: Path, images: list[str]) -> None:
        self.namespace = namespace
        self.timeline = timeline
        self.directory = directory
        self.images = images
        self.node = namespace.cluster.node_address()

    # --- what is installed ---

    def write(self, overlay: Overlay) -> Path:
        """Write a kustomization that sets what the suite wants. Returns: its directory."""
        sources = [{"name": "model-source", "behavior": overlay.source_behavior, "literals": _literals(overlay.source)}]
        if overlay.canary:
            sources.append({"name": "model-source-canary", "behavior": "merge", "literals": _literals(overlay.canary)})
        if overlay.gateway_toml:
            directory = self.directory / "overlay"
            directory.mkdir(exist_ok=True)
            (directory / "gateway.toml").write_text(overlay.gateway_toml)
            sources.append({"name": "gateway-config", "behavior": "merge", "files": ["gateway.toml"]})
        below = K8S / "overlays" / "test"
        if overlay.canary:
            # Generators come before components: what a component brings is changed a layer further up.
            below = self._layer("canary", below, components=[K8S / "components" / "canary"])
        return self._layer(
            "overlay",
            below,
            namespace=self.namespace.name,
            labels=[{"pairs": dict([SUITE_LABEL.split("=")]), "includeTemplates": True}],
            replicas=[{"name": "model-server", "count": 3}],
            configMapGenerator=sources,
        )

    def _layer(self, name: str, below: Path, *, components: Sequence[Path] = (), **words: Any) -> Path:
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        written = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(below, directory)],
            "components": [os.path.relpath(component, directory) for component in components],
            **words,
        }
        # JSON is YAML, and needs no library to be written.
        (directory / "kustomization.yaml").write_text(json.dumps(written, indent=1))
        return directory

    def install(self, overlay: Overlay, *words: str, timeout_s: float = 90.0, check: bool = True) -> Command:
        """Run `edgewise k8s install`. Raises: AssertionError: it failed, and `check`."""
        said = [
            "install",
            "--overlay",
            str(self.write(overlay)),
            "--timeout-s",
            f"{timeout_s:.0f}",
            *self.images,
            *words,
        ]
        return self.edgewise(*said, check=check)

    def begin_install(self, overlay: Overlay, model: Archive) -> Told:
        """The same in the background, with another model version than the overlay's."""
        words = ["--overlay", str(self.write(overlay)), "--timeout-s", "90", "--model-uri", f"{STORE}/{model.name}"]
        words += ["--model-sha256", model.sha256, "--model-version", str(model.version), *self.images]
        return self.begin("install", *words)

    def begin(self, *words: str) -> Told:
        """Run `edgewise k8s WORDS...` in the background."""
        name = f"edgewise k8s {words[0]}"
        return Told(self.timeline, name, self._words(*words), self.namespace.cluster.environment())

    def install_store(self, archives: list[Archive], overlay: Overlay) -> None:
        """Bring up the store and fill it, before anything fetches from it."""
        rendered = self.namespace.cluster.kubectl("kustomize", str(self.write(overlay)))
        parts = rendered.split("\n---\n")
        wanted = [part for part in parts if "kind: Namespace\n" in part or "component: model-store" in part]
        file = self.directory / "store.yaml"
        file.write_text("\n---\n".join(wanted))
        self.edgewise("install", "--file", str(file), "--timeout-s", "60", *self.images)
        for archive in archives:
            self.upload(archive)

    def upload(self, archive: Archive) -> None:
        """Put an archive into the store."""
        with archive.path.open("rb") as file:
            words = ["exec", "-i", "deployment/model-store", "--", "python", "-c", _UPLOAD, f"/store/{archive.name}"]
            done = subprocess.run(
                ["kubectl", "-n", self.namespace.name, *words],
                stdin=file,
                capture_output=True,
                check=False,
                timeout=60,
                env=self.namespace.cluster.environment(),
            )
        assert not done.returncode, done.stderr.decode()

    def edgewise(self, *words: str, check: bool = True, kubeconfig: Path | None = None) -> Command:
        """Run `edgewise k8s WORDS...` and say what it printed."""
        environment = self.namespace.cluster.environment()
        if kubeconfig is not None:
            environment["KUBECONFIG"] = str(kubeconfig)
        done = subprocess.run(
            self._words(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=180,
            env=environment,
        )
        assert not check or not done.returncode, f"edgewise k8s {' '.join(words)}: {done.returncode}\n{done.stdout}"
        return Command(done.returncode, done.stdout)

    def _words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "edgewise", "k8s", *words, "--namespace", self.namespace.name]

    # --- what can be seen ---

    def show(self) -> None:
        """The pods, and the status, as a person asks for them."""
        self.timeline.say("$ kubectl get pods -o wide")
        self.timeline.show(self.namespace.kubectl("get", "pods", "-o", "wide"))
        self.timeline.say("$ edgewise k8s status")
        self.timeline.show(self.edgewise("status", check=False).output)

    def port(self, name: str) -> int:
        """The NodePort of the gateway's `rest` or `grpc`."""
        ports = self.namespace.get("services/gateway")["spec"]["ports"]
        return next(int(port["nodePort"]) for port in ports if port["name"] == name)

    @property
    def rest(self) -> str:
        """HOST:PORT of the gateway's REST door, from outside."""
        return f"{self.node}:{self.port('rest')}"

    @property
    def grpc(self) -> str:
        """The same for gRPC."""
        return f"{self.node}:{self.port('grpc')}"

    def received(self) -> dict[str, float]:
        """Requests that each ready model server says it has got, by pod."""
        return {pod.name: self._received(pod) for pod in self.namespace.ready("model-server")}

    def _received(self, pod: Pod) -> float:
        with contextlib.suppress(ValueError):
            text = self.namespace.proxied(pod.name, 8501, "metrics")
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == "edgewise_server_received_total":
                        return float(sample.value)
        return 0.0

    def links(self) -> list[dict[str, str]]:
        """What each gateway pod says of its links: name to state."""
        from e2e.cluster.edge_site import link_states

        found = []
        for pod in self.namespace.ready("gateway"):
            with contextlib.suppress(ValueError, KeyError):
                found.append(link_states(self.namespace.proxied(pod.name, 8080, "edgewise/v1/links").encode()))
        return found


def _literals(values: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]
