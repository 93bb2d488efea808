"""What an installation's state is: from what was read to what is said."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgewise.agent.kubernetes.models import told_model
from edgewise.agent.kubernetes.objects import Object, Ref, at, ref_of
from edgewise.agent.kubernetes.observation import Observation
from edgewise.agent.kubernetes.pods import PodState, pod_state, restarts_of
from edgewise.agent.kubernetes.services import GRPC, REST, service_trouble, ways_in
from edgewise.agent.kubernetes.workloads import is_newest, newest_owner, pods_of, workload_state


@dataclass(frozen=True, slots=True)
class PodReport:
    """One pod.

    Attributes:
        old: of an older revision than its workload wants.
        images: of its containers.
        digests: of what runs, by container; "" where it is not known yet.
        model, version: that it was told to serve; "" when it serves none.
        serves: versions that it says are AVAILABLE; None when it was not asked or did not say.
        state: in words; when it is not ready, why.
    """

    name: str
    node: str
    ready: bool
    old: bool
    leaving: bool
    restarts: int
    images: dict[str, str]
    digests: dict[str, str]
    model: str
    version: str
    serves: tuple[str, ...] | None
    state: str


@dataclass(frozen=True, slots=True)
class WorkloadReport:
    """One Deployment, StatefulSet or DaemonSet, with its pods.

    Attributes:
        count: how many pods are ready, without why.
        state: the same with why.
    """

    kind: str
    name: str
    well: bool
    wanted: int
    ready: int
    old_ready: int
    trouble: str
    count: str
    state: str
    pods: tuple[PodReport, ...]


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One Service.

    Attributes:
        trouble: why nobody answers behind it.
        reach: how to reach it, one line each.
        predicts: it has a port that predictions are asked at.
    """

    name: str
    well: bool
    trouble: str
    reach: tuple[str, ...]
    predicts: bool


@dataclass(frozen=True, slots=True)
class SiteReport:
    """An installation.

    Attributes:
        installed: what was installed, such as "overlay cloud"; "" when `edgewise k8s install` did not.
        server: the cluster's version.
        notes: what else is worth knowing, such as what may not be read.
    """

    namespace: str
    installed: str
    server: str
    well: bool
    workloads: tuple[WorkloadReport, ...]
    services: tuple[ServiceReport, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As `--output json` prints it."""
        return asdict(self)


def report(seen: Observation, server: str = "", expected: Sequence[Ref] = ()) -> SiteReport:
    """Say what an installation's state is.

    Args:
        seen: what was read.
        server: the cluster's version.
        expected: workloads that should be there.
    """
    workloads = [_workload(item, seen) for item in sorted(seen.workloads, key=ref_of)]
    there = {ref_of(item) for item in seen.workloads}
    workloads += [
        WorkloadReport(
            ref.kind,
            ref.name,
            well=False,
            wanted=0,
            ready=0,
            old_ready=0,
            trouble="is not there",
            count="is not there",
            state="is not there",
            pods=(),
        )
        for ref in expected
        if ref not in there
    ]
    services = [_service(item, seen) for item in sorted(seen.services, key=ref_of)]
    notes = [
        f"{ref} of this installation is gone; edgewise k8s install makes it again" for ref in seen.missing
    ] + seen.notes
    if at(seen.namespace_item, "metadata", "deletionTimestamp"):
        notes.insert(0, f"namespace {seen.namespace} is being deleted")
    well = (
        bool(workloads)
        and not seen.missing
        and all(one.well for one in workloads)
        and all(one.well for one in services)
    )
    return SiteReport(
        namespace=seen.namespace,
        installed=str(at(seen.parent, "data", "installed") or ""),
        server=server,
        well=well,
        workloads=tuple(workloads),
        services=tuple(services),
        notes=tuple(notes),
    )


def _workload(item: Object, seen: Observation) -> WorkloadReport:
    newest = newest_owner(item, seen.replica_sets) if item["kind"] == "Deployment" else ""
    pods = [(pod, _state(pod, seen)) for pod in pods_of(item, seen.pods)]
    about = {item["metadata"]["name"], newest}
    events = [event for event in seen.events if at(event, "involvedObject", "name") in about]
    state = workload_state(item, pods, newest, events)
    reports = [_pod(pod, pod_state_, old=not is_newest(pod, item, newest), seen=seen) for pod, pod_state_ in pods]
    reports.sort(key=lambda one: (one.old, one.leaving, one.name))
    odd = next((_mismatch(one) for one in reports if _mismatch(one)), "")
    return WorkloadReport(
        kind=item["kind"],
        name=item["metadata"]["name"],
        well=state.well and not odd,
        wanted=state.wanted,
        ready=state.ready,
        old_ready=state.old_ready,
        trouble=state.trouble or odd,
        count=state.count,
        state=f"{state.words}; {odd}" if odd and not state.trouble else state.words,
        pods=tuple(reports),
    )


def _state(pod: Object, seen: Observation) -> PodState:
    name, uid = pod["metadata"]["name"], pod["metadata"].get("uid")
    events = [
        event
        for event in seen.events
        if at(event, "involvedObject", "name") == name and at(event, "involvedObject", "uid") in (uid, None)
    ]
    logs = {wanted: text for (pod_name, wanted), text in seen.logs.items() if pod_name == name}
    return pod_state(pod, events, logs)


def _pod(pod: Object, state: PodState, *, old: bool, seen: Observation) -> PodReport:
    name = pod["metadata"]["name"]
    told = told_model(pod, seen.config_maps)
    served = seen.served.get(name)
    statuses = at(pod, "status", "containerStatuses") or []
    containers = at(pod, "spec", "containers") or []
    return PodReport(
        name=name,
        node=str(at(pod, "spec", "nodeName") or ""),
        ready=state.ready,
        old=old,
        leaving=state.leaving,
        restarts=restarts_of(pod),
        images={one["name"]: str(one.get("image") or "") for one in containers},
        digests={str(one.get("name")): _digest(str(one.get("imageID") or "")) for one in statuses},
        model=told.name,
        version=told.version,
        serves=served.versions if served else None,
        state=f"{state.words}; {served.trouble}" if served and served.trouble else state.words,
    )


def _mismatch(pod: PodReport) -> str:
    if pod.old or not pod.ready or pod.serves is None or not pod.version or pod.version in pod.serves:
        return ""
    serves = " and ".join(pod.serves) or "no version"
    return (
        f"pod {pod.name} serves {pod.model} {serves} and its ConfigMap says {pod.version}: "
        "the ConfigMap was changed and the pod was not replaced"
    )


def _service(item: Object, seen: Observation) -> ServiceReport:
    trouble = service_trouble(item, seen.pods)
    headless = at(item, "spec", "clusterIP") == "None"
    reach = () if headless else tuple(ways_in(item, seen.pods))
    predicts = any(port.get("name") in (REST, GRPC) for port in at(item, "spec", "ports") or [])
    return ServiceReport(item["metadata"]["name"], not trouble, trouble, reach, predicts)


def _digest(image_id: str) -> str:
    """The digest in an imageID, which runtimes write as REPOSITORY@DIGEST, SCHEME://... or DIGEST."""
    at_sign = image_id.rpartition("@")[2]
    return at_sign if at_sign.startswith("sha256:") else ""
