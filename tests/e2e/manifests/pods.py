"""Pods, and what one of them is made of."""

from collections.abc import Iterator, Mapping

from e2e.manifests.rendering import Object, of_kind


def workloads(objects: list[Object]) -> list[Object]:
    """What makes pods."""
    return of_kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job")


def pod_of(workload: Object) -> Object:
    """The pod's spec."""
    found: Object = workload["spec"]["template"]["spec"]
    return found


def labels_of(workload: Object) -> Mapping[str, str]:
    """The pods' labels."""
    found: Mapping[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def containers(pod: Object) -> list[Object]:
    """Those that serve."""
    return list(pod["containers"])


def all_containers(pod: Object) -> list[Object]:
    """Those that run first, too."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def ports_of(pod: Object) -> dict[str, int]:
    """Port numbers by name."""
    return {port["name"]: port["containerPort"] for container in containers(pod) for port in container.get("ports", [])}


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether labels are what a selector asks for."""
    return selector.items() <= labels.items()


def references(pod: Object) -> Iterator[tuple[str, str, str | None, bool]]:
    """What a pod reads: kind, name, key (None for all of it), and whether it may be missing."""
    kinds = (("configMap", "ConfigMap"), ("secret", "Secret"))
    for container in all_containers(pod):
        for source in container.get("envFrom", []):
            for field, kind in kinds:
                if found := source.get(f"{field}Ref"):
                    yield kind, found["name"], None, found.get("optional", False)
        for variable in container.get("env", []):
            for field, kind in kinds:
                if found := variable.get("valueFrom", {}).get(f"{field}KeyRef"):
                    yield kind, found["name"], found["key"], found.get("optional", False)
    for volume in pod.get("volumes", []):
        if found := volume.get("configMap"):
            yield "ConfigMap", found["name"], None, found.get("optional", False)
        if found := volume.get("secret"):
            yield "Secret", found["secretName"], None, found.get("optional", False)
