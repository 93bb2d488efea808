"""How far a workload is: what runs, what is wanted, and why the two differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.agent.kubernetes.api_answers import one_line
from edgewise.agent.kubernetes.objects import Object, annotations_of, at, labels_of, matches
from edgewise.agent.kubernetes.pods import PodState

WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet")
_REVISION: Final = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """How far a workload is.

    Attributes:
        wanted: pods.
        ready: pods of the newest revision that are ready.
        old_ready: pods of older revisions that are ready.
        old: pods of older revisions that have not been told to stop.
        well: all wanted pods are of the newest revision and ready, and no older one is left.
        trouble: why it is not well; empty while nothing is known to be wrong.
        stuck: its controller has given up, or nothing but a change of the manifests will help.
    """

    wanted: int
    ready: int
    old_ready: int
    old: int
    well: bool
    trouble: str = ""
    stuck: bool = False

    @property
    def words(self) -> str:
        """The state in one line."""
        return f"{self.count}; {self.trouble}" if self.trouble else self.count

    @property
    def count(self) -> str:
        """The state without why."""
        text = f"{self.ready} of {self.wanted} ready"
        if self.old_ready and not self.well:
            text += f", old pods keep serving: {self.old_ready} ready"
        elif self.old and not self.well:
            text += f", {self.old} old pod{'' if self.old == 1 else 's'} left"
        return f"{text}; the rollout is stuck" if self.stuck else text


def pods_of(workload: Object, pods: Sequence[Object]) -> list[Object]:
    """The pods of a workload, by its selector."""
    selector = at(workload, "spec", "selector", "matchLabels") or {}
    namespace = workload["metadata"].get("namespace")
    return [pod for pod in pods if pod["metadata"].get("namespace") == namespace and matches(selector, labels_of(pod))]


def newest_owner(workload: Object, replica_sets: Sequence[Object]) -> str:
    """The name of the ReplicaSet that a Deployment wants its pods from; "" when there is none yet."""
    revision = annotations_of(workload).get(_REVISION)
    uid = workload["metadata"].get("uid")
    owned = [
        one
        for one in replica_sets
        if any(owner.get("uid") == uid for owner in one["metadata"].get("ownerReferences") or [])
    ]
    for one in owned:
        if annotations_of(one).get(_REVISION) == revision:
            name: str = one["metadata"]["name"]
            return name
    return ""


def is_newest(pod: Object, workload: Object, newest: str) -> bool:
    """Whether a pod is of its workload's newest revision.

    Args:
        pod: of the workload.
        workload: the workload.
        newest: what `newest_owner` says; of no meaning for kinds other than Deployment.
    """
    if workload["kind"] == "Deployment":
        return any(owner.get("name") == newest for owner in pod["metadata"].get("ownerReferences") or [])
    revision = at(workload, "status", "updateRevision")
    return revision is None or labels_of(pod).get("controller-revision-hash") == revision


def workload_state(
    workload: Object,
    pods: Sequence[tuple[Object, PodState]],
    newest: str = "",
    events: Sequence[Object] = (),
) -> WorkloadState:
    """How far a workload is.

    Args:
        workload: a Deployment, StatefulSet or DaemonSet.
        pods: its pods with their states.
        newest: what `newest_owner` says.
        events: about the workload and its newest ReplicaSet.
    """
    status = workload.get("status") or {}
    wanted = _wanted(workload)
    seen = int(status.get("observedGeneration") or 0) >= int(workload["metadata"].get("generation") or 0)
    staying = [(pod, state) for pod, state in pods if not state.leaving]
    new = [(pod, state) for pod, state in staying if is_newest(pod, workload, newest)]
    old = [(pod, state) for pod, state in staying if not is_newest(pod, workload, newest)]
    ready = sum(state.ready for _, state in new)
    old_ready = sum(state.ready for _, state in old)
    well = seen and ready >= wanted and not old and len(new) == wanted and _available(workload) >= wanted
    if well:
        return WorkloadState(wanted, ready, 0, 0, well=True)
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or []}
    late = at(conditions, "Progressing", "reason") == "ProgressDeadlineExceeded"
    if not seen:
        return WorkloadState(
            wanted, ready, old_ready, old_ready, well=False, trouble="its controller has yet to see the change"
        )
    trouble = _pod_trouble(new) or _controller_trouble(conditions, events, missing=len(new) < wanted)
    if not trouble and at(workload, "spec", "paused"):
        trouble = "the rollout is paused (kubectl rollout resume)"
    return WorkloadState(wanted, ready, old_ready, len(old), well=False, trouble=trouble, stuck=late)


def _wanted(workload: Object) -> int:
    if workload["kind"] == "DaemonSet":
        return int(at(workload, "status", "desiredNumberScheduled") or 0)
    replicas = at(workload, "spec", "replicas")
    return 1 if replicas is None else int(replicas)


def _available(workload: Object) -> int:
    status = workload.get("status") or {}
    if workload["kind"] == "DaemonSet":
        return int(status.get("numberAvailable") or 0)
    if workload["kind"] == "StatefulSet":
        return int(status.get("readyReplicas") or 0)
    return int(status.get("availableReplicas") or 0)


def _pod_trouble(pods: Sequence[tuple[Object, PodState]]) -> str:
    """The troubles of pods, each once, with how many more have the same."""
    by_words: dict[str, list[str]] = {}
    for pod, state in pods:
        if state.trouble:
            by_words.setdefault(state.trouble, []).append(pod["metadata"]["name"])
    if not by_words:
        doing = [(pod, state) for pod, state in pods if state.doing and not state.ready]
        return f"pod {doing[0][0]['metadata']['name']}: {doing[0][1].doing}" if doing else ""
    parts = []
    for words, names in by_words.items():
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        parts.append(f"pod {names[0]}{more}: {words}")
    return "; ".join(parts[:3])


def _controller_trouble(conditions: Mapping[str, Object], events: Sequence[Object], *, missing: bool) -> str:
    failure = conditions.get("ReplicaFailure") or {}
    if failure.get("status") == "True":
        return _not_created(str(failure.get("message") or ""))
    if missing:
        for event in sorted(events, key=lambda one: str(one.get("lastTimestamp") or ""), reverse=True):
            if event.get("reason") == "FailedCreate":
                return _not_created(str(event.get("message") or ""))
    return ""


def _not_created(message: str) -> str:
    text = one_line(message.removeprefix("Error creating: "), 400)
    if "exceeded quota" in text:
        return f"pods are not created: a quota of the namespace is used up: {text.partition('exceeded quota: ')[2] or text}"
    if "serviceaccount" in text and "not found" in text:
        return f"pods are not created: their ServiceAccount is missing: {text}"
    return f"pods are not created: {text}"
