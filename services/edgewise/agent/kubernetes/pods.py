"""Why a pod is not ready, in words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.agent.kubernetes.api_answers import one_line
from edgewise.agent.kubernetes.logs import model_reason, reason_in
from edgewise.agent.kubernetes.objects import Object, at

MODEL_SERVER: Final = "model-server"
_PULLING: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"}
)
_NOT_MADE: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_PROBE: Final = re.compile(r"(Startup|Readiness|Liveness) probe (?:failed|errored)(?:: (?P<answer>.*))?", re.DOTALL)
_NO_KEY: Final = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>ConfigMap|Secret) (?:\S+/)?(?P<name>\S+)")
_NO_MAP: Final = re.compile(r"(?P<kind>configmap|secret) \"(?P<name>[^\"]+)\" not found")
_NO_MOUNT: Final = re.compile(r"MountVolume\.SetUp failed for volume \"(?P<volume>[^\"]+)\" : (?P<why>.+)", re.DOTALL)
_KINDS: Final = {"configmap": "ConfigMap", "secret": "Secret"}


@dataclass(frozen=True, slots=True)
class LogWanted:
    """A log that would say why a container does not work.

    Attributes:
        previous: of the run before this one.
    """

    container: str
    previous: bool


@dataclass(frozen=True, slots=True)
class PodState:
    """What became of a pod.

    Attributes:
        ready: it takes traffic.
        leaving: it is being stopped.
        trouble: why it is not ready; empty when it is ready or nothing is wrong so far.
        doing: what it is at, when it is neither ready nor in trouble, such as "starting".
        hopeless: no waiting will help.
    """

    ready: bool
    leaving: bool
    trouble: str = ""
    doing: str = ""
    hopeless: bool = False

    @property
    def words(self) -> str:
        """The state in a few words, or why there is none better."""
        return self.trouble or self.doing or ("ready" if self.ready else "not ready")


def logs_wanted(pod: Object) -> tuple[LogWanted, ...]:
    """The logs that are worth reading to say why a pod is not ready."""
    if is_ready(pod) or pod["metadata"].get("deletionTimestamp"):
        return ()
    wanted = []
    for status in _statuses(pod):
        waiting = at(status, "state", "waiting", "reason")
        ended = at(status, "state", "terminated", "exitCode")
        last = at(status, "lastState", "terminated", "exitCode")
        name = status.get("name") or ""
        if ended not in (None, 0):
            wanted.append(LogWanted(name, previous=False))
        elif waiting == "CrashLoopBackOff":
            # The container is the one that ended: what is running is nothing.
            wanted.append(LogWanted(name, previous=False))
        elif at(status, "state", "running") is not None and not status.get("ready"):
            wanted.append(LogWanted(name, previous=False))
            if last not in (None, 0):
                wanted.append(LogWanted(name, previous=True))
    return tuple(wanted)


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
    logs = logs or {}
    leaving = bool(pod["metadata"].get("deletionTimestamp"))
    if is_ready(pod):
        return PodState(ready=not leaving, leaving=leaving, doing="stopping" if leaving else "")
    if leaving:
        return PodState(ready=False, leaving=True, doing="stopping")
    phase = at(pod, "status", "phase")
    reason = at(pod, "status", "reason")
    if reason == "Evicted":
        return _lost(f"evicted from its node: {_said(pod)}")
    if reason in ("NodeLost", "NodeAffinity", "Shutdown", "Terminated"):
        return _lost(f"lost with its node ({reason}): {_said(pod)}")
    if reason == "UnexpectedAdmissionError" or (phase == "Failed" and reason):
        return _lost(f"refused by its node ({reason}): {_said(pod)}")
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return _lost(f"no node takes it: {one_line(str(scheduled.get('message') or 'no reason given'))}")
    for kind, statuses in (
        ("init container", at(pod, "status", "initContainerStatuses") or []),
        ("container", at(pod, "status", "containerStatuses") or []),
    ):
        for status in statuses:
            found = _container(kind, status, events, logs)
            if found is not None:
                return found
    mount = _mount_trouble(events)
    if mount:
        return _lost(mount)
    return PodState(ready=False, leaving=False, doing=_doing(pod))


def _container(kind: str, status: Object, events: Sequence[Object], logs: Mapping[LogWanted, str]) -> PodState | None:
    """The trouble of one container; None when it has none."""
    name = status.get("name") or "?"
    who = f"{kind} {name}"
    waiting = at(status, "state", "waiting") or {}
    reason, message = waiting.get("reason"), str(waiting.get("message") or "")
    if reason in _PULLING:
        return _lost(
            f"{who}: image {status.get('image')} cannot be had: {_pull_reason(reason, message, status, events)}"
        )
    if reason in _NOT_MADE:
        return _lost(f"{who}: {_config_trouble(reason, message)}", hopeless=reason == "CreateContainerConfigError")
    ended = at(status, "state", "terminated") or {}
    if ended and ended.get("exitCode") not in (0, None):
        return _lost(f"{who}: {_exit(ended)}{_why(ended, logs.get(LogWanted(name, previous=False), ''))}")
    last = at(status, "lastState", "terminated") or {}
    if reason == "CrashLoopBackOff":
        text = logs.get(LogWanted(name, previous=False), "")
        probe = _probe_trouble(events, name, ("Liveness", "Startup"))
        why = f"restarted because its {probe}" if probe and _was_killed(last) else f"{_exit(last)}{_why(last, text)}"
        return _lost(f"{who}: {why}; {_times(status)}")
    if reason and reason not in ("ContainerCreating", "PodInitializing"):
        return _lost(f"{who}: {reason}{f': {one_line(message)}' if message else ''}")
    if at(status, "state", "running") is not None and kind == "container" and not status.get("ready"):
        return _running(who, status, last, events, logs)
    return None


def _running(
    who: str, status: Object, last: Object, events: Sequence[Object], logs: Mapping[LogWanted, str]
) -> PodState | None:
    """A container that runs and is not ready."""
    name = status.get("name") or "?"
    model = model_reason(logs.get(LogWanted(name, previous=False), ""))
    if model:
        return _lost(f"{who}: {model}")
    if last.get("exitCode") not in (0, None):
        earlier = logs.get(LogWanted(name, previous=True), "")
        probe = _probe_trouble(events, name, ("Liveness", "Startup"))
        why = (
            f"was restarted because its {probe}"
            if probe and _was_killed(last)
            else f"{_exit(last)}{_why(last, earlier)}"
        )
        return _lost(f"{who}: {why}; {_times(status)}")
    probe = _probe_trouble(events, name, ("Readiness", "Startup", "Liveness"))
    # Until it has started, a probe that is not answered is what starting looks like.
    if probe and status.get("started") is not False:
        return _lost(f"{who}: runs, but its {probe}")
    if probe:
        return PodState(ready=False, leaving=False, doing=f"{who} is starting: {probe}")
    return None


def _lost(words: str, *, hopeless: bool = False) -> PodState:
    return PodState(ready=False, leaving=False, trouble=words, hopeless=hopeless)


def _pull_reason(reason: str, message: str, status: Object, events: Sequence[Object]) -> str:
    """Why an image cannot be had: what the runtime said the first time, since later only the back-off is told."""
    if reason in ("ErrImageNeverPull", "InvalidImageName"):
        return (
            "it is not on the node, and is never pulled" if reason == "ErrImageNeverPull" else "that is no image's name"
        )
    image = str(status.get("image") or "")
    texts = [message] if reason == "ErrImagePull" else []
    texts += [
        str(event.get("message") or "")
        for event in _newest_first(events)
        if "Failed to pull image" in str(event.get("message"))
    ]
    text = next((text for text in texts if text and (image in text or text == message)), message)
    low = text.lower()
    what = "digest" if "@sha256:" in image else "image or tag"
    if "not found" in low or "manifest unknown" in low:
        why = f"the registry has no such {what}"
    elif "unauthorized" in low or "authentication required" in low or "denied" in low:
        why = "the registry does not let this cluster read it, or has no such repository; an imagePullSecret is missing or wrong"
    elif "no such host" in low or "connection refused" in low or "timeout" in low or "network is unreachable" in low:
        why = "the registry cannot be reached from the node"
    elif "no match for platform" in low:
        why = "the registry has it for other processors only"
    else:
        return one_line(text.rpartition("rpc error: ")[2] or reason, 300)
    inner = text.rpartition(f"{image}: ")[2].split(": ")[-2:]
    return f"{why} ({one_line(': '.join(inner), 160)})"


def _config_trouble(reason: str, message: str) -> str:
    if found := _NO_KEY.search(message):
        return f"{found['kind']} {found['name']} has no key {found['key']}, which the container needs"
    if found := _NO_MAP.search(message):
        return f"there is no {_KINDS[found['kind']]} {found['name']}, which the container needs"
    return f"cannot be made ({reason}): {one_line(message, 300)}"


def _mount_trouble(events: Sequence[Object]) -> str:
    for event in _newest_first(events):
        if event.get("reason") != "FailedMount":
            continue
        found = _NO_MOUNT.search(str(event.get("message")))
        if not found:
            continue
        why = found["why"]
        missing = _NO_MAP.search(why)
        if missing:
            return (
                f"volume {found['volume']} cannot be mounted: there is no {_KINDS[missing['kind']]} {missing['name']}"
            )
        if "references non-existent config key" in why:
            return f"volume {found['volume']} cannot be mounted: its ConfigMap has no key {one_line(why.rpartition(': ')[2], 100)}"
        return f"volume {found['volume']} cannot be mounted: {one_line(why, 300)}"
    return ""


def _probe_trouble(events: Sequence[Object], container: str, probes: Sequence[str]) -> str:
    for event in _newest_first(events):
        path = at(event, "involvedObject", "fieldPath") or ""
        found = _PROBE.match(str(event.get("message") or "")) if event.get("reason") == "Unhealthy" else None
        if found and found[1] in probes and (not path or path.endswith(f"{{{container}}}")):
            answer = one_line(found["answer"] or "no answer", 200)
            return f"{found[1].lower()} probe fails: {answer}"
    return ""


def _exit(ended: Object) -> str:
    code, reason = ended.get("exitCode"), ended.get("reason")
    if reason == "OOMKilled":
        return "killed, since it took more memory than its limit (OOMKilled)"
    return f"exit {code}" if code is not None else "ended"


def _was_killed(ended: Object) -> bool:
    """Whether the kubelet ended it: by SIGTERM or SIGKILL, or it shut down in order when asked to."""
    return ended.get("exitCode") in (0, 137, 143) and ended.get("reason") != "OOMKilled"


def _why(ended: Object, log: str) -> str:
    why = reason_in(log) or reason_in(str(ended.get("message") or ""))
    return f": {why}" if why else ""


def _times(status: Object) -> str:
    count = int(status.get("restartCount") or 0)
    return f"restarted {count} time{'' if count == 1 else 's'}"


def _doing(pod: Object) -> str:
    if not at(pod, "spec", "nodeName"):
        return "waits for a node"
    for status in at(pod, "status", "initContainerStatuses") or []:
        if at(status, "state", "running") is not None:
            return f"init container {status.get('name')} runs"
    for status in at(pod, "status", "containerStatuses") or []:
        if at(status, "state", "running") is not None and not status.get("ready"):
            return f"container {status.get('name')} is starting"
    return "its containers are being made"


def _said(pod: Object) -> str:
    return one_line(str(at(pod, "status", "message") or "no reason given"), 300)


def _statuses(pod: Object) -> list[Object]:
    return [*(at(pod, "status", "initContainerStatuses") or []), *(at(pod, "status", "containerStatuses") or [])]


def _condition(pod: Object, kind: str) -> Object:
    conditions = at(pod, "status", "conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), {})


def _newest_first(events: Sequence[Object]) -> list[Object]:
    return sorted(
        events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""), reverse=True
    )
