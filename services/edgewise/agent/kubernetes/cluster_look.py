"""Reads what a cluster shows of its model servers: two Deployments, their pods, and what the pods say of themselves."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from edgewise.agent.kubernetes.api_answers import one_line
from edgewise.agent.kubernetes.canary_deployment import answers, canary_name
from edgewise.agent.kubernetes.models import served_model
from edgewise.agent.kubernetes.objects import Object, at, config_maps_used
from edgewise.agent.kubernetes.observation import APPS, CONFIG_MAP, EVENT, POD, REPLICA_SET
from edgewise.agent.kubernetes.pod_door import PodDoor
from edgewise.agent.kubernetes.port import Cluster
from edgewise.agent.kubernetes.release_pods import Fleet, VersionPod, fleet_of
from edgewise.core.errors import UnavailableError

DEPLOYMENT: Final = APPS[0]
MAX_PODS_ASKED: Final = 4
"""Of those that do not get ready: more of them say the same."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look.

    Attributes:
        canary: the second Deployment; None while there is none.
        replica_sets, pods: of the namespace.
        config_maps: those that anything here names, by name.
    """

    main: Fleet
    canary: Fleet | None
    replica_sets: list[Object]
    pods: list[Object]
    config_maps: Mapping[str, Object]

    def asked_pods(self) -> list[VersionPod]:
        """Pods that take requests."""
        found = self.main.ready()
        if self.canary is not None and answers(self.canary.deployment):
            found += self.canary.ready()
        return found

    def templates(self) -> Iterator[Object]:
        """Whatever names a ConfigMap, or has to find it once pods are replaced or a revision is gone back to."""
        fleets = [self.main] if self.canary is None else [self.main, self.canary]
        for item in [*(fleet.deployment for fleet in fleets), *self.replica_sets]:
            yield item["spec"]["template"]
        yield from self.pods


def look_at(cluster: Cluster, namespace: str, deployment: str, door: PodDoor, config_maps: dict[str, Object]) -> Look:
    """Look.

    Args:
        deployment: of the manifests.
        config_maps: that are known, by name; those of a version never change, so they are read once. It is changed.
    Raises: UnavailableError: the cluster cannot be seen, or has no such Deployment.
    """
    main = cluster.read(DEPLOYMENT, namespace, deployment)
    if main is None:
        raise UnavailableError(
            f"there is no Deployment {deployment} in namespace {namespace}; install one, or name another"
        )
    second = cluster.read(DEPLOYMENT, namespace, canary_name(deployment))
    if second is not None and second["metadata"].get("deletionTimestamp"):
        second = None
    found = [_typed(item) for item in (main, second) if item is not None]
    replica_sets, pods = cluster.list(REPLICA_SET, namespace), cluster.list(POD, namespace)
    uids = {item["metadata"].get("uid") for item in found}
    owned = [
        item
        for item in replica_sets
        if uids & {one.get("uid") for one in item["metadata"].get("ownerReferences") or []}
    ]
    _read_config_maps(cluster, namespace, [*found, *owned], config_maps)
    fleets = [fleet_of(item, owned, pods, config_maps) for item in found]
    if not all(fleet.state.well for fleet in fleets):
        events = cluster.list(EVENT, namespace)
        fleets = [_with_failures(fleet_of(item, owned, pods, config_maps, events), door) for item in found]
    return Look(fleets[0], fleets[1] if len(fleets) > 1 else None, owned, pods, config_maps)


def _typed(item: Object) -> Object:
    """What is read by its name alone says what it is; lists do not say it of their items, nor do all servers of one object."""
    return {"apiVersion": DEPLOYMENT.group_version, "kind": DEPLOYMENT.kind, **item}


def _read_config_maps(cluster: Cluster, namespace: str, items: list[Object], config_maps: dict[str, Object]) -> None:
    used = {name for item in items for name in config_maps_used(at(item, "spec", "template", "spec") or {})}
    for name in config_maps.keys() - used:
        del config_maps[name]
    for name in used - config_maps.keys():
        item = cluster.read(CONFIG_MAP, namespace, name)
        if item is not None:
            config_maps[name] = item


def _with_failures(fleet: Fleet, door: PodDoor) -> Fleet:
    """The fleet with what its pods that do not get ready say of their version: it would not load, and will not by waiting."""
    waiting = [pod for pod in fleet.newest if not pod.state.ready and at(pod.item, "status", "podIP")]
    failures: dict[str, str] = {}
    for pod in waiting[:MAX_PODS_ASKED]:
        answer = door.get(pod.item, f"/v1/models/{fleet.model}")
        if answer is not None and (why := _load_error(answer.status, answer.body, fleet.version)):
            failures[pod.name] = why
    return replace(fleet, failures=failures)


def _load_error(status: int, body: bytes, version: int) -> str:
    """Why a version has ended, as a model server says it; "" when it has not."""
    if served_model(status, body) is None or status != 200:
        return ""
    for entry in json.loads(body)["model_version_status"]:
        message = at(entry, "status", "error_message")
        if str(at(entry, "version")) == str(version) and at(entry, "state") == "END" and message:
            return one_line(str(message), 300)
    return ""
