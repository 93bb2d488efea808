"""A cluster in memory behind `edgewise.agent.kubernetes.port.Cluster`, and the surroundings of a flow on virtual time.

It keeps objects, owners of fields, and what was asked. Controllers are played by `each_second`, which a test may set: it is
called whenever the flow sleeps.
"""

import copy
import itertools
from collections.abc import Callable

from edgewise.agent.kubernetes.objects import Object, matches
from edgewise.agent.kubernetes.port import (
    FIELD_MANAGER,
    Applied,
    ClusterError,
    FieldConflict,
    FieldConflictError,
    PodAnswer,
    RefusedError,
    Resource,
)
from edgewise.agent.kubernetes.readiness import Surroundings

NAMESPACED = {
    "v1": ["ConfigMap", "Secret", "Service", "ServiceAccount", "Pod", "Event", "PersistentVolumeClaim"],
    "apps/v1": ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"],
    "rbac.authorization.k8s.io/v1": ["Role", "RoleBinding"],
    "autoscaling/v1": ["HorizontalPodAutoscaler"],
}
CLUSTER_WIDE = {"v1": ["Namespace"], "rbac.authorization.k8s.io/v1": ["ClusterRole"]}


def _resource(api_version: str, kind: str, *, namespaced: bool) -> Resource:
    group, _, version = api_version.rpartition("/")
    return Resource(group, version, kind, f"{kind.lower()}s", namespaced)


class FakeCluster:
    """The port, in memory."""

    address = "https://cluster.example:6443"

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.owners: dict[tuple[str, str, str], dict[str, str]] = {}
        self.fields: dict[tuple[str, tuple[str, str, str]], Object] = {}
        self.applied: list[str] = []
        self.deleted: list[str] = []
        self.failures: dict[tuple[str, str], ClusterError] = {}
        self.down: ClusterError | None = None
        self.held: set[str] = set()
        self.logs: dict[tuple[str, str, bool], str] = {}
        self.pod_answers: dict[str, PodAnswer] = {}
        self._uids = itertools.count(1)

    # --- for tests ---

    def put(self, item: Object) -> Object:
        """Have an object, as somebody else would make it."""
        stored = copy.deepcopy(item)
        stored["metadata"].setdefault("uid", f"uid-{next(self._uids)}")
        self.objects[self._key(stored)] = stored
        return stored

    def get(self, kind: str, name: str, namespace: str = "edgewise") -> Object | None:
        return self.objects.get((kind, namespace, name))

    def fail(self, verb: str, what: str, error: ClusterError) -> None:
        """Fail each call of a verb on a kind, or on KIND/NAME."""
        self.failures[verb, what] = error

    def names(self, kind: str) -> list[str]:
        return sorted(name for found, _, name in self.objects if found == kind)

    # --- the port ---

    def version(self) -> str:
        self._may("get", "version")
        return "v1.20.2"

    def group_versions(self) -> frozenset[str]:
        return frozenset(NAMESPACED)

    def resources(self, group_version: str) -> tuple[Resource, ...]:
        spaced = [_resource(group_version, kind, namespaced=True) for kind in NAMESPACED.get(group_version, [])]
        return (
            *spaced,
            *(_resource(group_version, kind, namespaced=False) for kind in CLUSTER_WIDE.get(group_version, [])),
        )

    def read(self, resource: Resource, namespace: str, name: str) -> Object | None:
        self._may("get", resource.kind, name)
        found = self.objects.get((resource.kind, namespace if resource.namespaced else "", name))
        return copy.deepcopy(found)

    def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[Object]:
        self._may("list", resource.kind)
        selector = dict(pair.split("=") for pair in labels.split(",") if pair)
        return [
            copy.deepcopy(item)
            for (kind, where, _), item in sorted(self.objects.items())
            if kind == resource.kind
            and (not namespace or where == namespace)
            and (not selector or matches(selector, item["metadata"].get("labels") or {}))
        ]

    def apply(
        self,
        resource: Resource,
        item: Object,
        *,
        dry_run: bool = False,
        force: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Applied:
        name = item["metadata"]["name"]
        self._may("patch", resource.kind, name)
        key = self._key(item)
        if resource.namespaced and ("Namespace", "", key[1]) not in self.objects:
            raise RefusedError(f'namespaces "{key[1]}" not found', 404)
        before = self.objects.get(key)
        foreign = [FieldConflict(owner, field) for field, owner in self.owners.get(key, {}).items()]
        if foreign and not force:
            raise FieldConflictError("conflict", foreign)
        after = copy.deepcopy(item)
        if manager != FIELD_MANAGER and before is not None:
            # Installing applies whole objects; whoever else does, applies fields.
            after = _merged(_without(before, self.fields.get((manager, key), {}), item), item)
        elif before is not None:
            after["metadata"] = {**before["metadata"], **after["metadata"]}
            after |= {"status": before["status"]} if "status" in before else {}
        else:
            after["metadata"]["uid"] = "unborn" if dry_run else f"uid-{next(self._uids)}"
            if item["kind"] == "Deployment" and manager != FIELD_MANAGER:
                after["metadata"]["generation"] = 1
        if not dry_run and manager != FIELD_MANAGER:
            self.fields[manager, key] = copy.deepcopy(item)
        if not dry_run:
            if before is not None and "generation" in before["metadata"] and before.get("spec") != after.get("spec"):
                after["metadata"]["generation"] += 1
            self.applied.append(f"{item['kind']}/{name}")
            self.owners.pop(key, None)
            self.objects[key] = after
        return Applied(copy.deepcopy(after), before is None)

    def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> bool:
        self._may("delete", resource.kind, name)
        key = (resource.kind, namespace if resource.namespaced else "", name)
        found = self.objects.get(key)
        if found is None or found["metadata"]["uid"] != uid:
            return False
        self.deleted.append(f"{resource.kind}/{name}")
        if name in self.held:
            found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            found["metadata"]["finalizers"] = ["example.com/hold"]
        else:
            del self.objects[key]
        return True

    def log(self, namespace: str, pod: str, container: str, *, previous: bool, lines: int) -> str:
        self._may("get", "pods/log")
        return self.logs.get((pod, container, previous), "")

    def ask_pod(self, namespace: str, pod: str, port: int, path: str, *, tls: bool) -> PodAnswer:
        self._may("get", "pods/proxy")
        return self.pod_answers.get(pod, PodAnswer(503, b""))

    def _may(self, verb: str, kind: str, name: str = "") -> None:
        if self.down is not None:
            raise self.down
        error = self.failures.get((verb, kind)) or self.failures.get((verb, f"{kind}/{name}"))
        if error is not None:
            raise error

    def _key(self, item: Object) -> tuple[str, str, str]:
        return item["kind"], item["metadata"].get("namespace") or "", item["metadata"]["name"]


def _merged(live: object, applied: object) -> object:
    """What an object is after fields were applied: maps key by key, lists of named things name by name, anything else as it was applied."""
    if isinstance(live, dict) and isinstance(applied, dict):
        return {**live, **{key: _merged(live.get(key), value) for key, value in applied.items()}}
    if _is_named(live) and _is_named(applied):
        found = {one["name"]: one for one in live}
        return list(({**found, **{one["name"]: _merged(found.get(one["name"]), one) for one in applied}}).values())
    return copy.deepcopy(applied)


def _without(live: object, applied: object, now: object) -> object:
    """An object without the fields that a manager applied before and leaves out now."""
    if isinstance(live, dict) and isinstance(applied, dict):
        kept = now if isinstance(now, dict) else {}
        return {
            key: _without(value, applied[key], kept.get(key)) if key in applied else value
            for key, value in live.items()
            if key not in applied or key in kept or isinstance(applied[key], dict | list)
        }
    return copy.deepcopy(live)


def _is_named(items: object) -> bool:
    return isinstance(items, list) and all(isinstance(one, dict) and "name" in one for one in items)


class VirtualSurroundings:
    """Surroundings whose time passes only when somebody sleeps.

    Attributes:
        lines: what was said.
        each_second: called after each sleep with the time in seconds.
    """

    def __init__(self, each_second: Callable[[float], None] = lambda _: None) -> None:
        self.lines: list[str] = []
        self.each_second = each_second
        self.time_s = 0.0

    def surroundings(self) -> Surroundings:
        return Surroundings(say=self.lines.append, now_s=lambda: self.time_s, sleep=self._sleep)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def _sleep(self, for_s: float) -> None:
        self.time_s += for_s
        self.each_second(self.time_s)


def roll(
    cluster: FakeCluster, name: str, *, ready: bool = True, revision: str = "1", namespace: str = "edgewise"
) -> None:
    """Play the controllers: give a Deployment its ReplicaSet and pods."""
    deployment = cluster.objects["Deployment", namespace, name]
    replicas = deployment["spec"].get("replicas", 1)
    deployment["metadata"].setdefault("annotations", {})["deployment.kubernetes.io/revision"] = revision
    deployment["status"] = {"observedGeneration": 1, "availableReplicas": replicas if ready else 0}
    template = deployment["spec"]["template"]
    owner = {"kind": "Deployment", "name": name, "uid": deployment["metadata"]["uid"]}
    replica_set = f"{name}-{revision}"
    cluster.put(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": replica_set,
                "namespace": namespace,
                "annotations": {"deployment.kubernetes.io/revision": revision},
                "ownerReferences": [owner],
            },
            "spec": {"template": copy.deepcopy(template)},
        }
    )
    for number in range(replicas):
        cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{replica_set}-{number}",
                    "namespace": namespace,
                    "labels": dict(template["metadata"]["labels"]),
                    "ownerReferences": [{"kind": "ReplicaSet", "name": replica_set, "uid": "of-the-set"}],
                },
                "spec": {**copy.deepcopy(template["spec"]), "nodeName": "node1"},
                "status": {
                    "phase": "Running",
                    "hostIP": "10.0.0.1",
                    "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
                    "containerStatuses": [],
                },
            }
        )
