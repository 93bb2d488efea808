"""A cluster in memory whose controllers work: Deployments roll their pods on virtual time, pods load versions and count requests."""

import copy
import hashlib
import json
from dataclasses import dataclass, field

from edgewise.agent.kubernetes.objects import Object, matches
from edgewise.agent.kubernetes.port import PodAnswer
from edgewise.agent.kubernetes.release_source import told_version
from edgewise.model_server.metrics import ServerMetrics
from support.fake_cluster import FakeCluster

NAMESPACE = "edgewise"
READY_S = 3.0
STOP_S = 2.0


@dataclass
class Behaviour:
    """How a version behaves once it is loaded, or why it never is.

    Attributes:
        refuses: what the model server says instead of loading it.
        errors: the share of its answers that are errors.
        seconds: that an answer takes.
        crashes: its container ends at once.
    """

    refuses: str = ""
    errors: float = 0.0
    seconds: float = 0.002
    crashes: bool = False


@dataclass
class Running:
    """A pod from the inside."""

    began_s: float
    stopped_s: float | None = None
    metrics: ServerMetrics = field(default_factory=lambda: ServerMetrics("cloud", "cloud"))
    asked: int = 0


class RolloutCluster(FakeCluster):
    """The port, and the door to the pods.

    Args:
        replicas: of the Deployment `model-server`, which serves pets version 1 from ConfigMap model-source-1.
        room: pods that fit on the nodes.
    """

    def __init__(self, replicas: int = 3, room: int = 100) -> None:
        super().__init__()
        self.now_s = 0.0
        self.room = room
        self.deadline_s = 60.0
        self.behaviour: dict[int, Behaviour] = {}
        self.running: dict[str, Running] = {}
        self.answered: list[tuple[float, int]] = []
        self.unanswered = 0
        self._progressed_s: dict[str, float] = {}
        self._states: dict[str, tuple[object, ...]] = {}
        self._numbers = 0
        self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self.put(source_map("model-source-1", 1))
        self.put(deployment(replicas))
        self.settle()
        self.answered.clear()

    # ---- time

    def settle(self, for_s: float = 30.0) -> None:
        """Let time pass without requests."""
        for _ in range(int(for_s / 0.5)):
            self.tick(0.5)

    def tick(self, for_s: float, requests: int = 0) -> None:
        """Let time pass: controllers work, pods start and stop, and requests are answered by pods in turn.

        Args:
            requests: that come meanwhile.
        """
        self.now_s += for_s
        for name in self.names("Deployment"):
            self._control(name)
        self._schedule()
        for name in list(self.running):
            self._live(name)
        self._ask(requests)

    # ---- what pods are asked

    @property
    def door(self) -> "Door":
        return Door(self)

    def answer(self, pod: Object, path: str) -> PodAnswer | None:
        inside = self.running.get(pod["metadata"]["name"])
        if inside is None or inside.stopped_s is not None or self.now_s - inside.began_s < 1.0:
            return None
        if path == "/metrics":
            return PodAnswer(200, inside.metrics.exposition())
        _, version = self.told(pod)
        why = self.behaviour.get(version, Behaviour()).refuses
        status = {"error_code": "FAILED_PRECONDITION" if why else "OK", "error_message": why}
        entry = {"version": str(version), "state": "END" if why else "AVAILABLE", "status": status}
        return PodAnswer(200, json.dumps({"model_version_status": [entry]}).encode())

    def told(self, item: Object) -> tuple[str, int]:
        """Model and version of a pod, or of a pod template."""
        return told_version(item, {name: self.get("ConfigMap", name) for name in self.names("ConfigMap")})

    def versions(self, *, ready: bool = True) -> list[int]:
        """Of pods that take requests (or are there), in order."""
        pods = [item for (kind, _, _), item in self.objects.items() if kind == "Pod"]
        return sorted(
            self.told(pod)[1]
            for pod in pods
            if not ready or (_is_ready(pod) and matches(self._selector(), pod["metadata"]["labels"]))
        )

    # ---- controllers

    def _selector(self) -> dict[str, str]:
        return {"app.kubernetes.io/component": "model-server"}

    def _control(self, name: str) -> None:
        item = self.objects["Deployment", NAMESPACE, name]
        metadata, spec = item["metadata"], item["spec"]
        sets = self._sets(metadata["uid"])
        newest = self._set_for(item, sets)
        pods = {one: self._pods(one) for one in [newest, *[key for key in sets if key != newest]]}
        staying = {
            one: [pod for pod in found if "deletionTimestamp" not in pod["metadata"]] for one, found in pods.items()
        }
        wanted = spec.get("replicas", 1)
        new, old = staying[newest], [pod for one, found in staying.items() if one != newest for pod in found]
        # maxUnavailable 0, maxSurge 1.
        ready_new, ready_old = sum(map(_is_ready, new)), [pod for pod in old if _is_ready(pod)]
        if len(new) < wanted and (len(new) + len(old) < wanted + 1 or not old):
            self._make_pod(newest, spec["template"])
        if len(new) > wanted:
            self._stop(new[-1])
        spare = ready_new + len(ready_old) - wanted
        for pod in [pod for pod in old if not _is_ready(pod)] + ready_old[: max(0, spare)]:
            self._stop(pod)
        complete = ready_new >= wanted and not old
        progress = self._progress(name, (metadata.get("generation"), len(new), ready_new, len(old)), complete=complete)
        item["status"] = {
            "observedGeneration": metadata.get("generation", 1),
            "availableReplicas": ready_new + len(ready_old),
            "conditions": [progress],
        }

    def _progress(self, name: str, state: tuple[object, ...], *, complete: bool) -> Object:
        before = self._progressed_s.get(name)
        said = self.objects["Deployment", NAMESPACE, name].get("status", {}).get("conditions", [{}])[0]
        if before is None or self._states.get(name) != state:
            self._progressed_s[name] = self.now_s
        changed = self._states.get(name, (None,))[0] != state[0]
        self._states[name] = state
        if complete or (said.get("reason") == "NewReplicaSetAvailable" and not changed):
            return {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
        if self.now_s - self._progressed_s[name] > self.deadline_s:
            return {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        return {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}

    def _sets(self, uid: str) -> list[str]:
        return [
            item["metadata"]["name"]
            for (kind, _, _), item in self.objects.items()
            if kind == "ReplicaSet" and item["metadata"]["ownerReferences"][0]["uid"] == uid
        ]

    def _set_for(self, item: Object, sets: list[str]) -> str:
        """The ReplicaSet of the present template: one that is there already, or a new one."""
        template = json.dumps(item["spec"]["template"], sort_keys=True)
        revisions = [int(self._annotations("ReplicaSet", one)["deployment.kubernetes.io/revision"]) for one in sets]
        found = next(
            (
                one
                for one in sets
                if json.dumps(self.get("ReplicaSet", one)["spec"]["template"], sort_keys=True) == template
            ),
            "",
        )
        metadata = item["metadata"]
        if not found:
            found = f"{metadata['name']}-{hashlib.sha256(template.encode()).hexdigest()[:8]}"
            self.put(
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "metadata": {
                        "name": found,
                        "namespace": NAMESPACE,
                        "annotations": {"deployment.kubernetes.io/revision": "0"},
                        "ownerReferences": [{"kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}],
                    },
                    "spec": {"template": copy.deepcopy(item["spec"]["template"])},
                }
            )
        present = int(self._annotations("ReplicaSet", found)["deployment.kubernetes.io/revision"])
        if present < max(revisions, default=1) or present == 0:
            self._annotations("ReplicaSet", found)["deployment.kubernetes.io/revision"] = str(
                max(revisions, default=0) + 1
            )
        metadata.setdefault("annotations", {})["deployment.kubernetes.io/revision"] = self._annotations(
            "ReplicaSet", found
        )["deployment.kubernetes.io/revision"]
        return found

    def _annotations(self, kind: str, name: str) -> dict[str, str]:
        return self.objects[kind, NAMESPACE, name]["metadata"]["annotations"]

    def _pods(self, replica_set: str) -> list[Object]:
        return [
            item
            for (kind, _, _), item in self.objects.items()
            if kind == "Pod" and item["metadata"]["ownerReferences"][0]["name"] == replica_set
        ]

    def _make_pod(self, replica_set: str, template: Object) -> None:
        self._numbers += 1
        name = f"{replica_set}-{self._numbers:04}"
        self.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "labels": dict(template["metadata"]["labels"]),
                    "ownerReferences": [{"kind": "ReplicaSet", "name": replica_set, "uid": replica_set}],
                },
                "spec": copy.deepcopy(template["spec"]),
                "status": {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]},
            }
        )

    def _schedule(self) -> None:
        """Pods that wait for a node get one, as long as there is room."""
        for (kind, _, name), pod in self.objects.items():
            if kind != "Pod" or "nodeName" in pod["spec"]:
                continue
            waiting = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu."}
            pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}, waiting]
            if len(self.running) < self.room:
                pod["spec"]["nodeName"], pod["status"]["podIP"] = "node1", "10.0.0.9"
                pod["status"]["conditions"].pop()
                self.running[name] = Running(self.now_s)

    def _stop(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if name not in self.running:
            del self.objects["Pod", NAMESPACE, name]
        elif self.running[name].stopped_s is None:
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self.running[name].stopped_s = self.now_s

    def _live(self, name: str) -> None:
        """A pod's own life: it gets ready, and it ends."""
        inside, pod = self.running[name], self.objects.get(("Pod", NAMESPACE, name))
        owner = "" if pod is None else pod["metadata"]["ownerReferences"][0]["name"]
        if pod is not None and self.get("ReplicaSet", owner) is None:
            self._stop(pod)
        if pod is None or (inside.stopped_s is not None and self.now_s - inside.stopped_s >= STOP_S):
            self.objects.pop(("Pod", NAMESPACE, name), None)
            del self.running[name]
            return
        version = self.told(pod)[1]
        behaviour = self.behaviour.get(version, Behaviour())
        ready = self.now_s - inside.began_s >= READY_S and not behaviour.refuses and not behaviour.crashes
        pod["status"]["conditions"][0]["status"] = "True" if ready and inside.stopped_s is None else "False"

    def delete(self, resource, namespace, name, *, uid):
        gone = super().delete(resource, namespace, name, uid=uid)
        if gone and resource.kind == "Deployment":
            for one in self._sets(uid):
                del self.objects["ReplicaSet", NAMESPACE, one]
        return gone

    # ---- requests

    def _ask(self, requests: int) -> None:
        ready = [
            name
            for name, inside in sorted(self.running.items(), key=lambda one: one[1].asked)
            if inside.stopped_s is None
            and _is_ready(self.objects["Pod", NAMESPACE, name])
            and matches(self._selector(), self.objects["Pod", NAMESPACE, name]["metadata"]["labels"])
        ]
        for number in range(requests):
            if not ready:
                self.unanswered += 1
                continue
            name = ready[number % len(ready)]
            inside = self.running[name]
            model, version = self.told(self.objects["Pod", NAMESPACE, name])
            behaviour = self.behaviour.get(version, Behaviour())
            inside.asked += 1
            # Evenly spread: so many errors in a hundred.
            wrong = int(inside.asked * behaviour.errors) > int((inside.asked - 1) * behaviour.errors)
            inside.metrics.received += 1
            inside.metrics.finished(
                model=model,
                protocol="tfs-rest",
                method="Predict",
                code="INTERNAL" if wrong else "OK",
                seconds=behaviour.seconds,
            )
            self.answered.append((self.now_s, version))


class Door:
    """`edgewise.agent.kubernetes.pod_door.PodDoor` to the pods of a cluster."""

    def __init__(self, cluster: RolloutCluster) -> None:
        self.cluster = cluster

    def get(self, pod: Object, path: str) -> PodAnswer | None:
        return self.cluster.answer(pod, path)


def _is_ready(pod: Object) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])


def source_map(name: str, version: int, model: str = "pets") -> Object:
    """The ConfigMap that manifests bring."""
    data = {
        "MODEL_NAME": model,
        "MODEL_VERSION": str(version),
        "MODEL_URI": f"s3://b/{version}",
        "MODEL_SHA256": "0" * 64,
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}


def deployment(replicas: int, source: str = "model-source-1") -> Object:
    """The Deployment that manifests bring, as far as it matters."""
    labels = {"app.kubernetes.io/name": "model-server", "app.kubernetes.io/component": "model-server"}
    variables = [
        {"name": key, "valueFrom": {"configMapKeyRef": {"name": source, "key": key}}}
        for key in ("MODEL_NAME", "MODEL_VERSION", "MODEL_URI", "MODEL_SHA256")
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "model-server", "namespace": NAMESPACE, "labels": dict(labels), "generation": 1},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 5,
            "progressDeadlineSeconds": 60,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": {"app.kubernetes.io/name": "model-server"}},
            "template": {
                "metadata": {"labels": dict(labels)},
                "spec": {
                    "topologySpreadConstraints": [
                        {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "model-server"}},
                        }
                    ],
                    "initContainers": [{"name": "fetch-model", "image": "edgewise-agent:0.1.0", "env": variables}],
                    "containers": [
                        {
                            "name": "model-server",
                            "image": "edgewise-model-server:0.1.0",
                            "ports": [{"name": "rest", "containerPort": 8501}],
                        }
                    ],
                },
            },
        },
    }
