"""From a kind to the version of it that a cluster serves."""

import re
from collections.abc import Iterable

from edgewise.agent.kubernetes.objects import GroupKind, group_of
from edgewise.agent.kubernetes.port import Cluster, Resource

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")


def newest_first(group_versions: Iterable[str]) -> list[str]:
    """Versions of a group, stable ones first, then beta, then alpha, each the newest first.

    Source: Kubernetes, "Version priority" of custom resources.
    """
    return sorted(group_versions, key=_priority, reverse=True)


def resource_of(cluster: Cluster, kind: GroupKind) -> Resource | None:
    """The cluster's resource for a kind of any version; None when it has none."""
    if not kind.group:
        versions = ["v1"]
    else:
        versions = newest_first(one for one in cluster.group_versions() if group_of(one) == kind.group)
    for version in versions:
        for resource in cluster.resources(version):
            if resource.kind == kind.kind:
                return resource
    return None


def _priority(group_version: str) -> tuple[int, int, int]:
    found = _VERSION.fullmatch(group_version.rpartition("/")[2])
    if found is None:
        return -1, 0, 0
    return {None: 2, "beta": 1, "alpha": 0}[found[2]], int(found[1]), int(found[3] or 0)
