"""Why a pod is not ready, in words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.agent.kubernetes.api_answers import one_line
from edgewise.agent.kubernetes.containers import (
    INIT,
    KINDS,
    MAIN,
    NO_OBJECT,
    LogWanted,
    container_trouble,
    logs_wanted_of,
    newest_first,
    probe_words,
)
from edgewise.agent.kubernetes.objects import Object, at

_NO_MOUNT: Final = re.compile(r"MountVolume\.SetUp failed for volume \"(?P<volume>[^\"]+)\" : (?P<why>.+)", re.DOTALL)
_LOST_WITH_NODE: Final = frozenset({"NodeLost", "NodeAffinity", "Shutdown", "Terminated"})


@dataclass(frozen=True, slots=True)
class PodState:
    """What became of a pod.

    Attributes:
        ready: it takes traffic.
        leaving: it is being stopped.
        trouble: why it is not ready; empty when it is ready or nothing is wrong so far.
        doing: what it is at, when it is neither ready nor in trouble, such as "starting".
    """

    ready: bool
    leaving: bool
    trouble: str = ""
    doing: str = ""

    @property
    def words(self) -> str:
        """The state in a few words, or why there is none better."""
        return self.trouble or self.doing or ("ready" if self.ready else "not ready")


def logs_wanted(pod: Object) -> tuple[LogWanted, ...]:
    """The logs that are worth reading to say why a pod is not ready."""
    if is_ready(pod) or pod["metadata"].get("deletionTimestamp"):
        return ()
    return tuple(one for status in _statuses(pod) for one in logs_wanted_of(status))


def is_ready(pod: Object) -> bool:
    """Whether a pod takes traffic."""
    return _condition(pod, "Ready").get("status") == "True"


def restarts_of(pod: Object) -> int:
    """How often containers of a pod were started again."""
    return sum(int(status.get("restartCount") or 0) for status in _statuses(pod))


def pod_state(pod: Object, events: Sequence[Object] = (), logs: Mapping[LogWanted, str] | None = None) -> PodState:
    """What became of a pod and, when it is not ready, why.

    Args:
        pod: as the API gives it.
        events: about this pod, in any order.
        logs: what `logs_wanted` asks for, as far as it could be read.
    """
    if pod["metadata"].get("deletionTimestamp"):
        return PodState(ready=False, leaving=True, doing="stopping")
    if is_ready(pod):
        return PodState(ready=True, leaving=False)
    trouble = _node_trouble(pod) or _container_troubles(pod, events, logs or {}) or _mount_trouble(events)
    return PodState(ready=False, leaving=False, trouble=trouble, doing="" if trouble else _doing(pod, events))


def _node_trouble(pod: Object) -> str:
    """What a node, or the lack of one, has to do with it."""
    reason = at(pod, "status", "reason")
    said = one_line(str(at(pod, "status", "message") or "no reason given"), 300)
    if reason == "Evicted":
        return f"evicted from its node: {said}"
    if reason in _LOST_WITH_NODE:
        return f"lost with its node ({reason}): {said}"
    if reason and at(pod, "status", "phase") == "Failed":
        return f"refused by its node ({reason}): {said}"
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"no node takes it: {one_line(str(scheduled.get('message') or 'no reason given'))}"
    return ""


def _container_troubles(pod: Object, events: Sequence[Object], logs: Mapping[LogWanted, str]) -> str:
    """The trouble of the first container that has one."""
    for kind, key in ((INIT, "initContainerStatuses"), (MAIN, "containerStatuses")):
        for status in at(pod, "status", key) or []:
            trouble = container_trouble(kind, status, events, logs)
            if trouble:
                return trouble
    return ""


def _mount_trouble(events: Sequence[Object]) -> str:
    for event in newest_first(events):
        found = _NO_MOUNT.search(str(event.get("message"))) if event.get("reason") == "FailedMount" else None
        if not found:
            continue
        why, missing = found["why"], NO_OBJECT.search(found["why"])
        if missing:
            words = f"there is no {KINDS[missing['kind']]} {missing['name']}"
        elif "references non-existent config key" in why:
            words = f"its ConfigMap has no key {one_line(why.rpartition(': ')[2], 100)}"
        else:
            words = one_line(why, 300)
        return f"volume {found['volume']} cannot be mounted: {words}"
    return ""


def _doing(pod: Object, events: Sequence[Object]) -> str:
    """What a pod that is in no trouble is at."""
    if not at(pod, "spec", "nodeName"):
        return "waits for a node"
    for status in at(pod, "status", "initContainerStatuses") or []:
        if at(status, "state", "running") is not None:
            return f"init container {status.get('name')} runs"
    for status in at(pod, "status", "containerStatuses") or []:
        if at(status, "state", "running") is not None and not status.get("ready"):
            probe = probe_words(events, status.get("name") or "", ("Startup", "Readiness"))
            return f"container {status.get('name')} is starting{f': its {probe}' if probe else ''}"
    return "its containers are being made"


def _statuses(pod: Object) -> list[Object]:
    return [*(at(pod, "status", "initContainerStatuses") or []), *(at(pod, "status", "containerStatuses") or [])]


def _condition(pod: Object, kind: str) -> Object:
    conditions = at(pod, "status", "conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), {})
