"""Objects of the Kubernetes API as they travel: JSON as Python's own types, and how to speak of one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""One API object: apiVersion, kind, metadata and what the kind has besides."""


@dataclass(frozen=True, slots=True, order=True)
class GroupKind:
    """A kind without its version: what identifies objects over versions of an API."""

    group: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """The identity of an object.

    Attributes:
        group: "" for the core group.
        namespace: "" for objects of the whole cluster.
    """

    group: str
    kind: str
    namespace: str
    name: str

    @property
    def group_kind(self) -> GroupKind:
        """The kind without name and namespace."""
        return GroupKind(self.group, self.kind)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def group_of(api_version: str) -> str:
    """The API group of an apiVersion: "apps" of "apps/v1", "" of "v1"."""
    return api_version.partition("/")[0] if "/" in api_version else ""


def ref_of(item: Mapping[str, Any]) -> Ref:
    """The identity of an object that has apiVersion, kind and a name."""
    metadata = item["metadata"]
    return Ref(group_of(item["apiVersion"]), item["kind"], metadata.get("namespace") or "", metadata["name"])


def at(item: Any, *path: str | int) -> Any:
    """What lies at a path in an object; None where a step is missing.

    Args:
        item: a mapping or a sequence.
        path: keys and indices.
    """
    for step in path:
        if isinstance(step, int):
            if not isinstance(item, list) or step >= len(item):
                return None
            item = item[step]
        else:
            if not isinstance(item, Mapping):
                return None
            item = item.get(step)
    return item


def labels_of(item: Object) -> dict[str, str]:
    """The labels of an object; empty when it has none."""
    return at(item, "metadata", "labels") or {}


def annotations_of(item: Object) -> dict[str, str]:
    """The annotations of an object; empty when it has none."""
    return at(item, "metadata", "annotations") or {}


def pod_spec_of(item: Object) -> Object | None:
    """The pod specification inside a workload (or a pod); None for other kinds."""
    for path in (("spec", "template", "spec"), ("spec", "jobTemplate", "spec", "template", "spec")):
        spec = at(item, *path)
        if isinstance(spec, dict) and "containers" in spec:
            return spec
    spec = item.get("spec")
    return spec if item.get("kind") == "Pod" and isinstance(spec, dict) else None


def containers_of(pod_spec: Object) -> list[Object]:
    """Init containers and containers, in the order in which they start."""
    return [*(pod_spec.get("initContainers") or []), *(pod_spec.get("containers") or [])]


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether labels fit a selector of equalities; an empty one selects nothing, as in a Service."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def config_maps_used(pod_spec: Object) -> set[str]:
    """Names of the ConfigMaps that a pod reads: in its environment and its volumes."""
    used: set[str | None] = set()
    for container in containers_of(pod_spec):
        used.update(at(source, "configMapRef", "name") for source in container.get("envFrom") or [])
        used.update(at(variable, "valueFrom", "configMapKeyRef", "name") for variable in container.get("env") or [])
    for volume in pod_spec.get("volumes") or []:
        used.add(at(volume, "configMap", "name"))
        used.update(at(source, "configMap", "name") for source in at(volume, "projected", "sources") or [])
    return {name for name in used if name}


def secrets_used(pod_spec: Object) -> set[str]:
    """Names of the Secrets that a pod reads: in its environment, its volumes and to pull images."""
    used: set[str | None] = set()
    for container in containers_of(pod_spec):
        used.update(at(source, "secretRef", "name") for source in container.get("envFrom") or [])
        used.update(at(variable, "valueFrom", "secretKeyRef", "name") for variable in container.get("env") or [])
    for volume in pod_spec.get("volumes") or []:
        used.add(at(volume, "secret", "secretName"))
        used.update(at(source, "secret", "name") for source in at(volume, "projected", "sources") or [])
    used.update(at(secret, "name") for secret in pod_spec.get("imagePullSecrets") or [])
    return {name for name in used if name}


def listed(words: Iterable[str]) -> str:
    """Words as a sentence lists them: "a", "a and b", "a, b and c"."""
    all_words = list(words)
    if len(all_words) < 2:
        return "".join(all_words)
    return f"{', '.join(all_words[:-1])} and {all_words[-1]}"
