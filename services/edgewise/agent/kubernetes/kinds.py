"""Which kinds of the manifests a cluster does not serve, and what to do about each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from edgewise.agent.kubernetes.objects import Object, at, group_of, listed
from edgewise.agent.kubernetes.port import Resource

_HINTS: Final[Mapping[tuple[str, str], str]] = {
    ("autoscaling", "HorizontalPodAutoscaler"): "leave out the component autoscaling",
    ("policy", "PodDisruptionBudget"): "leave out the component disruption-budget",
    ("monitoring.coreos.com", "PodMonitor"): "install the Prometheus Operator first, or leave out its PodMonitor",
    (
        "monitoring.coreos.com",
        "ServiceMonitor",
    ): "install the Prometheus Operator first, or leave out its ServiceMonitor",
    (
        "monitoring.coreos.com",
        "PrometheusRule",
    ): "install the Prometheus Operator first, or leave out its PrometheusRule",
    ("cert-manager.io", "Certificate"): "install cert-manager first, or give the certificate as a Secret",
}


def resolve(
    objects: Sequence[Object], resources: Callable[[str], Sequence[Resource]]
) -> tuple[list[Resource | None], list[Object]]:
    """The cluster's resource for each object.

    Args:
        objects: the manifests.
        resources: kinds of an apiVersion as the cluster serves it.
    Returns: for each object its resource, None where the cluster has none; and the objects that have none, without those
        whose kind a CustomResourceDefinition among the manifests brings.
    """
    brought = {
        (at(item, "spec", "group"), at(item, "spec", "names", "kind"))
        for item in objects
        if item["kind"] == "CustomResourceDefinition"
    }
    found: list[Resource | None] = []
    unknown: list[Object] = []
    for item in objects:
        kind = item["kind"]
        resource = next((one for one in resources(item["apiVersion"]) if one.kind == kind), None)
        found.append(resource)
        if resource is None and (group_of(item["apiVersion"]), kind) not in brought:
            unknown.append(item)
    return found, unknown


def unknown_kinds(unknown: Iterable[Object], server_version: str, served: Iterable[str]) -> list[str]:
    """One line for each kind that a cluster does not serve.

    Args:
        unknown: the objects.
        server_version: such as "v1.20.2".
        served: every apiVersion that the cluster has.
    """
    versions = sorted(served)
    by_kind: dict[tuple[str, str], list[str]] = {}
    for item in unknown:
        by_kind.setdefault((item["apiVersion"], item["kind"]), []).append(item["metadata"]["name"])
    lines = []
    for (api_version, kind), names in sorted(by_kind.items()):
        group = group_of(api_version)
        others = [version for version in versions if group_of(version) == group]
        if not group:
            has = "the core API has no such kind"
        elif others:
            has = f"it has {listed(others)}"
        else:
            has = f"it has nothing of {group}"
        hint = _HINTS.get((group, kind))
        lines.append(
            f"{kind} {listed(sorted(names))}: this cluster ({server_version}) does not serve {kind} of {api_version}; {has}"
            + (f"; {hint}" if hint else "")
        )
    return lines
