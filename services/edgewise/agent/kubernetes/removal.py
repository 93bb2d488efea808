"""Takes away what an installation made, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.agent.kubernetes.applyset import NEVER_DELETED, PARENT, is_member, kinds_of, selector
from edgewise.agent.kubernetes.objects import GroupKind, Object, Ref, at, labels_of, listed, ref_of
from edgewise.agent.kubernetes.observation import APPS, CONFIG_MAP, NAMESPACE, POD, SERVICE
from edgewise.agent.kubernetes.order import delete_order
from edgewise.agent.kubernetes.port import Cluster, ClusterLostError, ForbiddenError, Resource
from edgewise.agent.kubernetes.readiness import POLL_S, Surroundings
from edgewise.agent.kubernetes.resources import resource_of
from edgewise.agent.kubernetes.workloads import WORKLOADS, pods_of
from edgewise.core.errors import FailedPreconditionError

USUAL_KINDS: Final = frozenset(
    {
        GroupKind("", "ConfigMap"),
        GroupKind("", "Secret"),
        GroupKind("", "Service"),
        GroupKind("", "ServiceAccount"),
        GroupKind("apps", "Deployment"),
        GroupKind("rbac.authorization.k8s.io", "Role"),
        GroupKind("rbac.authorization.k8s.io", "RoleBinding"),
        GroupKind("networking.k8s.io", "NetworkPolicy"),
        GroupKind("autoscaling", "HorizontalPodAutoscaler"),
        GroupKind("policy", "PodDisruptionBudget"),
    }
)
"""Looked through when the ConfigMap that names the kinds is gone."""
_PROTECTED: Final = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
_FOREGROUND: Final = frozenset({"foregroundDeletion", "kubernetes"})
_SECRET: Final = Resource("", "v1", "Secret", "secrets", namespaced=True)
_CLAIM: Final = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", namespaced=True)


@dataclass(frozen=True, slots=True)
class UninstallOptions:
    """What is taken away.

    Attributes:
        delete_namespace: the namespace too, when nothing of anybody else is in it.
        timeout_s: until everything is gone; 0 does not wait.
    """

    namespace: str
    delete_namespace: bool = False
    timeout_s: float = 120.0


def uninstall(cluster: Cluster, options: UninstallOptions, around: Surroundings) -> int:
    """Take away what `install` made, wait until it is gone, and say what still holds it.

    Args:
        cluster: where.
        options: what.
        around: the world.
    Returns: 0 when it is gone, 1 when something was still there in the end.
    Raises:
        EdgewiseError: something cannot be read or deleted, or the namespace holds what is not ours.
    """
    namespace, say = options.namespace, around.say
    if options.delete_namespace and namespace in _PROTECTED:
        raise FailedPreconditionError(f"--delete-namespace: {namespace} belongs to the cluster itself and stays")
    until_s = around.now_s() + options.timeout_s
    try:
        there = cluster.read(NAMESPACE, "", namespace) is not None
    except ForbiddenError:
        there = True
    if not there:
        say(f"there is no namespace {namespace}; nothing to take away")
        return 0
    parent = cluster.read(CONFIG_MAP, namespace, PARENT)
    kinds = kinds_of(parent) if parent is not None else set(USUAL_KINDS)
    members = _members(cluster, namespace, kinds)
    if not members and parent is None:
        others = [item for resource in APPS for item in cluster.list(resource, namespace)]
        ours = [str(ref_of(item)) for item in others if labels_of(item).get("app.kubernetes.io/part-of") == "edgewise"]
        say(
            f"nothing in namespace {namespace} was made by edgewise k8s install"
            + (f"; {listed(ours)} came otherwise and stays (kubectl delete -k OVERLAY)" if ours else "")
        )
    for ref in delete_order(members):
        resource, item = members[ref]
        cluster.delete(resource, ref.namespace, ref.name, uid=item["metadata"].get("uid") or "")
        say(f"{ref}: being deleted")
    if options.timeout_s and not _wait(cluster, members, until_s, around):
        return 1
    if parent is not None and options.timeout_s:
        cluster.delete(CONFIG_MAP, namespace, PARENT, uid=parent["metadata"].get("uid") or "")
    if options.delete_namespace:
        return _delete_namespace(cluster, options, until_s, around)
    if members and options.timeout_s:
        say(f"gone: {len(members)} objects")
    return 0


def _members(cluster: Cluster, namespace: str, kinds: set[GroupKind]) -> dict[Ref, tuple[Resource, Object]]:
    found: dict[Ref, tuple[Resource, Object]] = {}
    for kind in sorted(kinds):
        resource = resource_of(cluster, kind) if kind.kind not in NEVER_DELETED else None
        if resource is None:
            continue
        for item in cluster.list(resource, namespace if resource.namespaced else "", labels=selector(namespace)):
            if is_member(item, namespace):
                found[ref_of(item)] = (resource, item)
    return found


def _wait(cluster: Cluster, members: dict[Ref, tuple[Resource, Object]], until_s: float, around: Surroundings) -> bool:
    """Wait until all are gone.

    Returns: whether they are.
    """
    left = dict(members)
    told: dict[Ref, str] = {}
    lost = ""
    while left:
        try:
            left = _still_there(cluster, left)
            pods: dict[str, list[Object]] = {}
            for ref, (_, item) in left.items():
                if ref.kind in WORKLOADS and ref.namespace not in pods:
                    pods[ref.namespace] = cluster.list(POD, ref.namespace)
                words = _holding(item, pods.get(ref.namespace, []))
                if words and told.get(ref) != words:
                    told[ref] = words
                    around.say(f"{ref}: {words}")
            lost = ""
        except ClusterLostError as error:
            if error.message != lost:
                around.say(f"{error.message}; trying again")
            lost = error.message
        if not left:
            break
        if around.now_s() >= until_s:
            around.say("not gone in time:")
            for ref, (_, item) in left.items():
                around.say(f"  {ref}: {_holding(item, pods.get(ref.namespace, [])) or 'is still there'}")
            return False
        around.sleep(POLL_S)
    return True


def _still_there(cluster: Cluster, members: dict[Ref, tuple[Resource, Object]]) -> dict[Ref, tuple[Resource, Object]]:
    left = {}
    for ref, (resource, item) in members.items():
        now = cluster.read(resource, ref.namespace, ref.name)
        if now is not None and now["metadata"].get("uid") == item["metadata"].get("uid"):
            left[ref] = (resource, {**now, "apiVersion": resource.group_version, "kind": resource.kind})
    return left


def _holding(item: Object, pods: Sequence[Object]) -> str:
    """What keeps an object that is being deleted; empty when nothing does for long."""
    finalizers = [one for one in item["metadata"].get("finalizers") or [] if one not in _FOREGROUND]
    if finalizers:
        return (
            f"the finalizer{'' if len(finalizers) == 1 else 's'} {listed(finalizers)} "
            f"hold{'s' if len(finalizers) == 1 else ''} it: whoever set {'it' if len(finalizers) == 1 else 'them'} has to let go"
        )
    if item.get("kind") in WORKLOADS:
        left = pods_of(item, pods)
        if left:
            return f"waits for {len(left)} pod{'' if len(left) == 1 else 's'} to end"
    return ""


def _delete_namespace(cluster: Cluster, options: UninstallOptions, until_s: float, around: Surroundings) -> int:
    namespace = options.namespace
    foreign = _foreign(cluster, namespace)
    if foreign:
        shown = foreign[:8]
        more = f" and {len(foreign) - len(shown)} more" if len(foreign) > len(shown) else ""
        raise FailedPreconditionError(
            f"namespace {namespace} stays: it holds what edgewise k8s install did not make: {listed(shown)}{more}; "
            f"if all of it may go: kubectl delete namespace {namespace}"
        )
    item = cluster.read(NAMESPACE, "", namespace)
    if item is None:
        return 0
    cluster.delete(NAMESPACE, "", namespace, uid=item["metadata"].get("uid") or "")
    around.say(f"Namespace {namespace}: being deleted")
    told = ""
    while options.timeout_s:
        now = cluster.read(NAMESPACE, "", namespace)
        if now is None or now["metadata"].get("uid") != item["metadata"].get("uid"):
            around.say(f"gone: namespace {namespace}")
            return 0
        held = [
            str(condition.get("message"))
            for condition in at(now, "status", "conditions") or []
            if condition.get("status") == "True"
        ]
        words = "; ".join(held)
        if words and words != told:
            told = words
            around.say(f"Namespace {namespace}: {words}")
        if around.now_s() >= until_s:
            around.say(f"not gone in time: Namespace {namespace}{f': {words}' if words else ''}")
            return 1
        around.sleep(POLL_S)
    return 0


def _foreign(cluster: Cluster, namespace: str) -> list[str]:
    found = []
    for resource in (*APPS, POD, SERVICE, CONFIG_MAP, _SECRET, _CLAIM):
        for item in cluster.list(resource, namespace):
            ref = ref_of(item)
            given = (
                ref.name in ("kube-root-ca.crt", PARENT)
                or (ref.kind == "Secret" and item.get("type") == "kubernetes.io/service-account-token")
                or bool(item["metadata"].get("deletionTimestamp"))
                or is_member(item, namespace)
            )
            if not given:
                found.append(str(ref))
    return found
