"""Reads what a status is made of; what may not be read is left out and said."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from edgewise.agent.kubernetes.applyset import PARENT, is_member, members_of, selector
from edgewise.agent.kubernetes.containers import LogWanted
from edgewise.agent.kubernetes.models import ServedModel, rest_port, served_model, speaks_tls, told_model
from edgewise.agent.kubernetes.objects import GroupKind, Object, Ref, labels_of, ref_of
from edgewise.agent.kubernetes.pods import is_ready, logs_wanted
from edgewise.agent.kubernetes.port import Cluster, ClusterError, ClusterLostError, ForbiddenError, Resource
from edgewise.agent.kubernetes.resources import resource_of
from edgewise.agent.kubernetes.workloads import WORKLOADS, pods_of

NAMESPACE: Final = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
POD: Final = Resource("", "v1", "Pod", "pods", namespaced=True)
SERVICE: Final = Resource("", "v1", "Service", "services", namespaced=True)
CONFIG_MAP: Final = Resource("", "v1", "ConfigMap", "configmaps", namespaced=True)
EVENT: Final = Resource("", "v1", "Event", "events", namespaced=True)
REPLICA_SET: Final = Resource("apps", "v1", "ReplicaSet", "replicasets", namespaced=True)
APPS: Final = tuple(Resource("apps", "v1", kind, f"{kind.lower()}s", namespaced=True) for kind in WORKLOADS)

LOG_LINES: Final = 200
MAX_PODS_READ: Final = 4
"""Of each workload: a hundred pods that all fail tell the same a hundred times."""
MAX_PODS_ASKED: Final = 50
_PART_OF: Final = "app.kubernetes.io/part-of"


@dataclass(slots=True)
class Observation:
    """A namespace as it was found.

    Attributes:
        parent: of the set that `edgewise k8s install` made; None when there is none.
        namespace_item: None when there is no such namespace, or it may not be read.
        logs: by pod and container.
        served: what pods answered about their model, by pod.
        missing: what the installation held and is gone.
        notes: what could not be read, for people.
    """

    namespace: str
    namespace_item: Object | None = None
    parent: Object | None = None
    workloads: list[Object] = field(default_factory=list)
    replica_sets: list[Object] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    services: list[Object] = field(default_factory=list)
    config_maps: dict[str, Object] = field(default_factory=dict)
    events: list[Object] = field(default_factory=list)
    logs: dict[tuple[str, LogWanted], str] = field(default_factory=dict)
    served: dict[str, ServedModel] = field(default_factory=dict)
    missing: list[Ref] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def observe(
    cluster: Cluster, namespace: str, *, only: frozenset[Ref] | None = None, ask_models: bool = True
) -> Observation:
    """Read a namespace.

    Args:
        cluster: its API.
        namespace: the namespace.
        only: workloads and Services that count; None takes those that belong to Edgewise.
        ask_models: ask model servers which versions they serve.
    Raises:
        ClusterError: workloads or pods cannot be read.
    """
    seen = Observation(namespace)
    _try(seen, lambda: setattr(seen, "namespace_item", cluster.read(NAMESPACE, "", namespace)))
    everything = [item for resource in APPS for item in cluster.list(resource, namespace)]
    seen.pods = cluster.list(POD, namespace)
    services: list[Object] = []
    _try(seen, lambda: services.extend(cluster.list(SERVICE, namespace)))
    _try(seen, lambda: seen.replica_sets.extend(cluster.list(REPLICA_SET, namespace)))
    _try(seen, lambda: seen.events.extend(cluster.list(EVENT, namespace)))
    _try(
        seen,
        lambda: seen.config_maps.update(
            (item["metadata"]["name"], item) for item in cluster.list(CONFIG_MAP, namespace)
        ),
    )
    seen.parent = seen.config_maps.get(PARENT)
    seen.workloads = _ours(everything, namespace, only)
    seen.services = _ours(services, namespace, only)
    if only is None:
        _look_for_members(cluster, seen)
    pods = [pods_of(workload, seen.pods) for workload in seen.workloads]
    for some in pods:
        failing = [pod for pod in some if logs_wanted(pod)]
        if not _read_logs(cluster, seen, failing[:MAX_PODS_READ]):
            break
    if ask_models:
        _ask_models(cluster, seen, [pod for some in pods for pod in some])
    return seen


def _ours(items: list[Object], namespace: str, only: frozenset[Ref] | None) -> list[Object]:
    if only is not None:
        return [item for item in items if ref_of(item) in only]
    installed = [item for item in items if is_member(item, namespace)]
    # What an agent makes beside a Deployment is that one's.
    owners = {item["metadata"].get("uid") for item in installed}
    installed += [
        item for item in items if owners & {one.get("uid") for one in _owners(item)} and item not in installed
    ]
    # What was applied by other means is looked at as well.
    return installed or [item for item in items if labels_of(item).get(_PART_OF) == "edgewise"]


def _owners(item: Object) -> list[Object]:
    return item["metadata"].get("ownerReferences") or []


def _look_for_members(cluster: Cluster, seen: Observation) -> None:
    """Find out what somebody else has deleted."""
    wanted = members_of(seen.parent)
    for kind in sorted({ref.group_kind for ref in wanted}):

        def look(kind: GroupKind = kind) -> None:
            resource = resource_of(cluster, kind)
            if resource is None:
                return
            where = seen.namespace if resource.namespaced else ""
            there = {ref_of(item) for item in cluster.list(resource, where, labels=selector(seen.namespace))}
            wanted_here = {ref for ref in wanted if ref.group_kind == kind}
            seen.missing += sorted(wanted_here - there)

        _try(seen, look)


def _read_logs(cluster: Cluster, seen: Observation, pods: list[Object]) -> bool:
    """Read the logs of some pods.

    Returns: whether logs may be read.
    """
    for pod in pods:
        name = pod["metadata"]["name"]
        for one in logs_wanted(pod):

            def read(name: str = name, one: LogWanted = one) -> None:
                seen.logs[name, one] = cluster.log(
                    seen.namespace, name, one.container, previous=one.previous, lines=LOG_LINES
                )

            if not _try(seen, read):
                return False
    return True


def _ask_models(cluster: Cluster, seen: Observation, pods: list[Object]) -> None:
    asked = 0
    for pod in pods:
        name = pod["metadata"]["name"]
        told, port = told_model(pod, seen.config_maps), rest_port(pod)
        if not told.name or port is None or not is_ready(pod) or pod["metadata"].get("deletionTimestamp"):
            continue
        asked += 1
        if asked > MAX_PODS_ASKED:
            seen.notes.append(f"only {MAX_PODS_ASKED} pods were asked which versions they serve")
            return
        try:
            answer = cluster.ask_pod(seen.namespace, name, port, f"/v1/models/{told.name}", tls=speaks_tls(pod))
        except ForbiddenError as error:
            seen.notes.append(f"pods were not asked which versions they serve: {error.message}")
            return
        except ClusterError as error:
            # One pod that does not answer tells nothing of the next, but each may take its time.
            seen.notes.append(f"pod {name} was not asked which versions it serves: {error.message}")
            if isinstance(error, ClusterLostError):
                return
            continue
        served = served_model(answer.status, answer.body)
        if served is not None:
            seen.served[name] = served


def _try(seen: Observation, read: Callable[[], None]) -> bool:
    """Read what a status can do without."""
    try:
        read()
    except ClusterLostError:
        raise
    except ClusterError as error:
        if error.message not in seen.notes:
            seen.notes.append(error.message)
        return False
    return True
