"""A Deployment of model servers as releases see it: which version its pods are told, which of them take requests, and why others do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgewise.agent.kubernetes.objects import Object, annotations_of, at
from edgewise.agent.kubernetes.pods import PodState, pod_state, restarts_of
from edgewise.agent.kubernetes.release_source import told_version
from edgewise.agent.kubernetes.workloads import WorkloadState, is_newest, newest_owner, pods_of, workload_state

_NO_NODE: Final = "no node takes it"
_QUOTA: Final = "a quota of the namespace is used up"
_COMPLETE: Final = "NewReplicaSetAvailable"


@dataclass(frozen=True, slots=True)
class VersionPod:
    """A pod that has not been told to stop.

    Attributes:
        version: that it was told; 0 for none.
        newest: it is as the Deployment wants its pods.
    """

    item: Object
    version: int
    newest: bool
    state: PodState

    @property
    def name(self) -> str:
        """Of the pod."""
        found: str = self.item["metadata"]["name"]
        return found

    @property
    def process(self) -> str:
        """Another one for another process: numbers that it counts begin at zero."""
        return f"{self.item['metadata'].get('uid')}/{restarts_of(self.item)}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """One Deployment with its pods.

    Attributes:
        model, version: that new pods are told.
        failures: why a pod's model server could not load its version, by the pod's name, as it says itself.
    """

    deployment: Object
    model: str
    version: int
    pods: tuple[VersionPod, ...]
    state: WorkloadState
    failures: Mapping[str, str] = field(default_factory=dict)

    def ready(self, version: int | None = None) -> list[VersionPod]:
        """Pods that take requests, of a version or of all."""
        return [pod for pod in self.pods if pod.state.ready and version in (None, pod.version)]

    @property
    def newest(self) -> list[VersionPod]:
        """Pods that are as they are wanted."""
        return [pod for pod in self.pods if pod.newest]

    @property
    def replicas(self) -> int:
        """Pods that are wanted."""
        return self.state.wanted

    @property
    def rolled(self) -> bool:
        """The last change has reached all pods. One that was lost since then makes no difference: the cluster replaces it as it is."""
        if not self.observed or any(not pod.newest for pod in self.pods):
            return False
        ready = sum(pod.state.ready for pod in self.newest)
        return ready >= self.replicas or (ready > 0 and self.was_complete)

    @property
    def observed(self) -> bool:
        """Its controller has seen the last change."""
        seen = int(at(self.deployment, "status", "observedGeneration") or 0)
        return seen >= int(self.deployment["metadata"].get("generation") or 0)

    @property
    def was_complete(self) -> bool:
        """Its controller has seen all pods of the last change ready."""
        return any(
            condition.get("type") == "Progressing" and condition.get("reason") == _COMPLETE
            for condition in at(self.deployment, "status", "conditions") or []
        )

    @property
    def lacks_room(self) -> bool:
        """What is missing is missing since the cluster has no room for it, not since anything is wrong with the version."""
        missing = [pod for pod in self.newest if not pod.state.ready]
        if not self.observed or (len(self.newest) < self.replicas and _QUOTA not in self.state.trouble):
            return False
        return all(_NO_NODE in pod.state.trouble for pod in missing)

    @property
    def failure(self) -> str:
        """Why the version will not do, in the pods' own words; "" while it may yet."""
        for pod in self.newest:
            if why := self.failures.get(pod.name):
                return why
        if self.state.stuck:
            why = self.state.trouble or "no reason is known"
            return f"its pods were not ready in time ({self.state.ready} of {self.replicas}): {why}"
        if self.was_complete:
            # They were well once, so this is no way of starting.
            return next((f"pod {pod.name}: {pod.state.trouble}" for pod in self.newest if pod.state.trouble), "")
        return ""


def fleet_of(
    deployment: Object,
    replica_sets: Sequence[Object],
    pods: Sequence[Object],
    config_maps: Mapping[str, Object],
    events: Sequence[Object] = (),
) -> Fleet:
    """A Deployment with its pods.

    Args:
        replica_sets, pods, events: of its namespace.
        config_maps: those that its templates name, by name.
    """
    newest = newest_owner(deployment, replica_sets)
    own = [(pod, pod_state(pod, _about(pod, events))) for pod in pods_of(deployment, pods)]
    about = {deployment["metadata"]["name"], newest}
    state = workload_state(
        deployment, own, newest, [event for event in events if at(event, "involvedObject", "name") in about]
    )
    model, version = told_version(deployment["spec"]["template"], config_maps)
    staying = tuple(
        VersionPod(pod, told_version(pod, config_maps)[1], is_newest(pod, deployment, newest), one)
        for pod, one in own
        if not one.leaving
    )
    return Fleet(deployment, model, version, staying, state)


def template_of_version(
    deployment: Object, replica_sets: Sequence[Object], config_maps: Mapping[str, Object], model: str, version: int
) -> Object | None:
    """The pod template with which a Deployment last ran a version; None when the cluster has forgotten it."""
    uid = deployment["metadata"].get("uid")
    found: list[tuple[int, Object]] = []
    for item in replica_sets:
        owned = any(owner.get("uid") == uid for owner in item["metadata"].get("ownerReferences") or [])
        if owned and told_version(item["spec"]["template"], config_maps) == (model, version):
            revision = annotations_of(item).get("deployment.kubernetes.io/revision", "0")
            found.append((int(revision) if revision.isdecimal() else 0, item["spec"]["template"]))
    return max(found, key=lambda one: one[0])[1] if found else None


def _about(pod: Object, events: Sequence[Object]) -> list[Object]:
    name, uid = pod["metadata"]["name"], pod["metadata"].get("uid")
    return [
        event
        for event in events
        if at(event, "involvedObject", "name") == name and at(event, "involvedObject", "uid") in (uid, None)
    ]
