"""In which order objects are applied and deleted."""

from collections.abc import Iterable
from typing import Final

from edgewise.agent.kubernetes.objects import Object, Ref, ref_of

_FIRST: Final = (
    "Namespace",
    "ResourceQuota",
    "LimitRange",
    "PriorityClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    # Before the pods that they are about: a pod is never reachable by what may not reach it, and never misses its Service.
    "NetworkPolicy",
    "Service",
)
_LAST: Final = (
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "PodMonitor",
    "ServiceMonitor",
    "PrometheusRule",
    "Ingress",
)
_RANKS: Final = {kind: rank for rank, kind in enumerate(_FIRST)} | {
    kind: len(_FIRST) + 1 + rank for rank, kind in enumerate(_LAST)
}


def _rank(ref: Ref) -> tuple[int, str, str, str, str]:
    return _RANKS.get(ref.kind, len(_FIRST)), ref.kind, ref.group, ref.namespace, ref.name


def apply_order(objects: Iterable[Object]) -> list[Object]:
    """What others stand on first: Namespaces, then quotas, accounts and configuration, then Services, then workloads.

    What refers to workloads (autoscalers, budgets, monitors) comes last; equals in the order of their names.
    """
    return sorted(objects, key=lambda item: _rank(ref_of(item)))


def delete_order(refs: Iterable[Ref]) -> list[Ref]:
    """The opposite of `apply_order`: nothing loses what it stands on while it runs."""
    return sorted(refs, key=_rank, reverse=True)
