"""What one installation holds: how its objects are marked, and which of them a new one no longer wants.

The marks are those of Kubernetes' ApplySets (KEP-3659), so `kubectl` understands them: a parent (here a ConfigMap) names the
kinds, each member carries the parent's id.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from edgewise.agent.kubernetes.objects import (
    GroupKind,
    Object,
    Ref,
    annotations_of,
    at,
    config_maps_used,
    labels_of,
    pod_spec_of,
    ref_of,
    secrets_used,
)

PARENT: Final = "edgewise-installation"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
EDGEWISE: Final = "edgewise"
PART_OF: Final = "applyset.kubernetes.io/part-of"
ID: Final = "applyset.kubernetes.io/id"
KINDS: Final = "applyset.kubernetes.io/contains-group-kinds"
TOOLING: Final = "applyset.kubernetes.io/tooling"
NEVER_DELETED: Final = frozenset({"Namespace", "CustomResourceDefinition", "PersistentVolumeClaim", "PersistentVolume"})
"""Kinds whose end takes along what others put there."""


def applyset_id(namespace: str, name: str = PARENT) -> str:
    """The id of the set whose parent is a ConfigMap.

    Source: KEP-3659: base64 (URL alphabet, no padding) of SHA-256 of NAME.NAMESPACE.KIND.GROUP.
    """
    digest = hashlib.sha256(f"{name}.{namespace}.ConfigMap.".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"


def selector(namespace: str) -> str:
    """The label selector of what an installation made."""
    return f"{PART_OF}={applyset_id(namespace)},{MANAGED_BY}={EDGEWISE}"


def mark(item: Object, namespace: str) -> None:
    """Mark an object as a member, in place.

    Kinds that are never deleted carry no mark: nobody may take them for something that may be pruned.
    """
    labels = item["metadata"].setdefault("labels", None) or {}
    labels[MANAGED_BY] = EDGEWISE
    if item["kind"] not in NEVER_DELETED:
        labels[PART_OF] = applyset_id(namespace)
    item["metadata"]["labels"] = labels


def parent(namespace: str, kinds: Iterable[GroupKind], members: Iterable[Ref], version: str, what: str) -> Object:
    """The parent of the set.

    Args:
        namespace: of the installation.
        kinds: of everything that carries the mark.
        members: what this installation holds.
        version: of Edgewise.
        what: was installed, for people, such as "overlay cloud".
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": PARENT,
            "namespace": namespace,
            "labels": {ID: applyset_id(namespace), MANAGED_BY: EDGEWISE},
            "annotations": {KINDS: ",".join(sorted(map(str, kinds))), TOOLING: f"edgewise/{version}"},
        },
        "data": {
            "installed": what,
            "objects": "".join(f"{ref.group_kind} {ref.namespace}/{ref.name}\n" for ref in sorted(members)),
        },
    }


def members_of(parent_item: Object | None) -> set[Ref]:
    """What the last installation held, by its parent."""
    found = set()
    for line in (at(parent_item, "data", "objects") or "").splitlines():
        kind, _, place = line.partition(" ")
        namespace, slash, name = place.partition("/")
        if slash and name:
            word, _, group = kind.partition(".")
            found.add(Ref(group, word, namespace, name))
    return found


def kinds_of(parent_item: Object | None) -> set[GroupKind]:
    """The kinds that a parent names; none without a parent."""
    words = annotations_of(parent_item or {}).get(KINDS, "")
    found = set()
    for word in filter(None, words.split(",")):
        kind, _, group = word.partition(".")
        found.add(GroupKind(group, kind))
    return found


def is_member(item: Object, namespace: str) -> bool:
    """Whether an installation made this object."""
    labels = labels_of(item)
    return (
        labels.get(PART_OF) == applyset_id(namespace)
        and labels.get(MANAGED_BY) == EDGEWISE
        and item.get("kind") not in NEVER_DELETED
    )


def prunable(
    live: Iterable[Object], wanted: Iterable[Object], namespace: str, users: Sequence[Object] = ()
) -> tuple[list[Object], list[Object]]:
    """What the last installation made and this one does not hold.

    A ConfigMap or Secret that a pod, or a ReplicaSet that can be rolled back to, still names stays: old pods keep serving and
    can be restarted, and an undo finds what it needs. A later installation takes it away.

    Args:
        live: objects of the set as the cluster has them.
        wanted: the new manifests.
        namespace: of the installation.
        users: pods and ReplicaSets of the namespace.
    Returns: what to delete, and what stays for now.
    """
    keep = {ref_of(item) for item in wanted}
    used: set[tuple[str, str]] = set()
    for user in users:
        spec = pod_spec_of(user)
        if spec is not None:
            used |= {("ConfigMap", name) for name in config_maps_used(spec)}
            used |= {("Secret", name) for name in secrets_used(spec)}
    gone: dict[Ref, Object] = {}
    stays: dict[Ref, Object] = {}
    for item in live:
        ref = ref_of(item)
        if ref in keep or not is_member(item, namespace) or item["metadata"].get("deletionTimestamp"):
            continue
        in_use = ref.group == "" and ref.namespace == namespace and (ref.kind, ref.name) in used
        (stays if in_use else gone)[ref] = item
    return list(gone.values()), list(stays.values())
