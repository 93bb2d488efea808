"""Why one container of a pod does not work, in words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.agent.kubernetes.api_answers import one_line
from edgewise.agent.kubernetes.logs import model_reason, reason_in
from edgewise.agent.kubernetes.objects import Object, at

INIT: Final = "init container"
MAIN: Final = "container"
NO_OBJECT: Final = re.compile(r"(?P<kind>configmap|secret) \"(?P<name>[^\"]+)\" not found")
KINDS: Final = {"configmap": "ConfigMap", "secret": "Secret"}
_PULLING: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"}
)
_NOT_MADE: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_USUAL: Final = frozenset({"ContainerCreating", "PodInitializing"})
_PROBE: Final = re.compile(r"(Startup|Readiness|Liveness) probe (?:failed|errored)(?:: (?P<answer>.*))?", re.DOTALL)
_NO_KEY: Final = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>ConfigMap|Secret) (?:\S+/)?(?P<name>\S+)")
_PULL_WORDS: Final = (
    (("not found", "manifest unknown"), "the registry has no such {what}"),
    (
        ("unauthorized", "authentication required", "denied"),
        "the registry does not let this cluster read it, or has no such repository; an imagePullSecret is missing or wrong",
    ),
    (
        ("no such host", "connection refused", "timeout", "network is unreachable"),
        "the registry cannot be reached from the node",
    ),
    (("no match for platform",), "the registry has it for other processors only"),
)


@dataclass(frozen=True, slots=True)
class LogWanted:
    """A log that would say why a container does not work.

    Attributes:
        previous: of the run before this one.
    """

    container: str
    previous: bool


def logs_wanted_of(status: Object) -> tuple[LogWanted, ...]:
    """The logs of one container that are worth reading."""
    name = status.get("name") or ""
    if at(status, "state", "terminated", "exitCode") not in (None, 0):
        return (LogWanted(name, previous=False),)
    failed_before = at(status, "lastState", "terminated", "exitCode") not in (None, 0)
    if at(status, "state", "waiting", "reason") == "CrashLoopBackOff":
        # Nothing runs: the container is the one that ended.
        return (LogWanted(name, previous=False),)
    if at(status, "state", "running") is not None and not status.get("ready"):
        now = LogWanted(name, previous=False)
        return (now, LogWanted(name, previous=True)) if failed_before else (now,)
    return ()


def container_trouble(kind: str, status: Object, events: Sequence[Object], logs: Mapping[LogWanted, str]) -> str:
    """Why a container does not work; empty when nothing is known to be wrong with it.

    Args:
        kind: INIT or MAIN.
        status: its containerStatus.
        events: about its pod.
        logs: as far as they could be read.
    """
    name = status.get("name") or "?"
    waiting = at(status, "state", "waiting") or {}
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    ended, last = at(status, "state", "terminated") or {}, at(status, "lastState", "terminated") or {}
    words = ""
    if reason in _PULLING:
        words = f"image {status.get('image')} cannot be had: {_pull_reason(reason, message, status, events)}"
    elif reason in _NOT_MADE:
        words = _config_trouble(reason, message)
    elif ended.get("exitCode") not in (0, None):
        words = _end(ended, logs.get(LogWanted(name, previous=False), ""), events, name)
    elif reason == "CrashLoopBackOff":
        words = _end(last, logs.get(LogWanted(name, previous=False), ""), events, name)
    elif reason and reason not in _USUAL:
        words = f"{reason}{f': {one_line(message)}' if message else ''}"
    elif at(status, "state", "running") is not None and not status.get("ready"):
        words = _running(kind, status, events, logs)
    return f"{kind} {name}: {words}" if words else ""


def probe_words(events: Sequence[Object], container: str, probes: Sequence[str]) -> str:
    """The newest failure of one of some probes; empty when there is none.

    Args:
        events: about the pod.
        container: whose probes.
        probes: of "Startup", "Readiness" and "Liveness".
    """
    for event in newest_first(events):
        path = at(event, "involvedObject", "fieldPath") or ""
        found = _PROBE.match(str(event.get("message") or "")) if event.get("reason") == "Unhealthy" else None
        if found and found[1] in probes and (not path or path.endswith(f"{{{container}}}")):
            return f"{found[1].lower()} probe fails: {one_line(found['answer'] or 'no answer', 200)}"
    return ""


def newest_first(events: Sequence[Object]) -> list[Object]:
    """Events, the newest first."""
    return sorted(
        events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""), reverse=True
    )


def _running(kind: str, status: Object, events: Sequence[Object], logs: Mapping[LogWanted, str]) -> str:
    """A container that runs and is not ready."""
    name, last = status.get("name") or "?", at(status, "lastState", "terminated") or {}
    if kind == MAIN:
        model = model_reason(logs.get(LogWanted(name, previous=False), ""))
        if model:
            return model
    if last.get("exitCode") not in (0, None):
        return _end(last, logs.get(LogWanted(name, previous=True), ""), events, name)
    # Until it has started, a probe that is not answered is what starting looks like.
    if kind == MAIN and status.get("started") is not False:
        probe = probe_words(events, name, ("Readiness", "Startup", "Liveness"))
        return f"runs, but its {probe}" if probe else ""
    return ""


def _pull_reason(reason: str, message: str, status: Object, events: Sequence[Object]) -> str:
    """Why an image cannot be had: what the runtime said the first time, since later only the back-off is told."""
    if reason == "ErrImageNeverPull":
        return "it is not on the node, and is never pulled"
    if reason == "InvalidImageName":
        return "that is no image's name"
    image = str(status.get("image") or "")
    told = (str(event.get("message") or "") for event in newest_first(events))
    failures = [text for text in told if "Failed to pull image" in text and image in text]
    text = message if reason == "ErrImagePull" and message else (failures or [message])[0]
    low = text.lower()
    for words, why in _PULL_WORDS:
        if any(word in low for word in words):
            inner = text.rpartition(f"{image}: ")[2].split(": ")[-2:]
            what = "digest" if "@sha256:" in image else "image or tag"
            return f"{why.format(what=what)} ({one_line(': '.join(inner), 160)})"
    return one_line(text.rpartition("rpc error: ")[2] or reason, 300)


def _config_trouble(reason: str, message: str) -> str:
    if found := _NO_KEY.search(message):
        return f"{found['kind']} {found['name']} has no key {found['key']}, which the container needs"
    if found := NO_OBJECT.search(message):
        return f"there is no {KINDS[found['kind']]} {found['name']}, which the container needs"
    return f"cannot be made ({reason}): {one_line(message, 300)}"


def _end(ended: Object, log: str, events: Sequence[Object], container: str) -> str:
    """How a run of a container ended, and why."""
    code, reason = ended.get("exitCode"), ended.get("reason")
    if reason == "OOMKilled":
        return "killed, since it took more memory than its limit (OOMKilled)"
    # By SIGTERM or SIGKILL, or in order when it was asked to.
    if code in (0, 137, 143):
        probe = probe_words(events, container, ("Liveness", "Startup"))
        if probe:
            return f"restarted because its {probe}"
    why = reason_in(log) or reason_in(str(ended.get("message") or ""))
    return f"exit {'?' if code is None else code}{f': {why}' if why else ''}"
