"""Which model and version a pod was told to serve, and which it says that it serves."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.agent.kubernetes.api_answers import one_line
from edgewise.agent.kubernetes.model_source import NAME, VERSION
from edgewise.agent.kubernetes.objects import Object, at, containers_of


@dataclass(frozen=True, slots=True)
class ToldModel:
    """What a pod was told to serve; empty where nothing says it."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What a pod says that it serves.

    Attributes:
        versions: that are AVAILABLE.
        trouble: why a version is not.
    """

    versions: tuple[str, ...]
    trouble: str = ""


def told_model(pod: Object, config_maps: Mapping[str, Object]) -> ToldModel:
    """The model that a pod's environment names.

    Args:
        pod: the pod.
        config_maps: of its namespace, by name.
    """
    said: dict[str, str] = {}
    for container in containers_of(pod.get("spec") or {}):
        for source in container.get("envFrom") or []:
            data = at(config_maps.get(at(source, "configMapRef", "name") or "", {}), "data") or {}
            prefix = source.get("prefix") or ""
            said |= {prefix + key: value for key, value in data.items() if prefix + key in (NAME, VERSION)}
        for variable in container.get("env") or []:
            if variable.get("name") not in (NAME, VERSION):
                continue
            reference = at(variable, "valueFrom", "configMapKeyRef") or {}
            value = variable.get("value") or at(
                config_maps.get(reference.get("name") or "", {}), "data", reference.get("key") or ""
            )
            if isinstance(value, str):
                said[variable["name"]] = value
    return ToldModel(said.get(NAME, ""), said.get(VERSION, ""))


def rest_port(pod: Object) -> int | None:
    """The port of a pod's REST door; None when it has none."""
    for container in at(pod, "spec", "containers") or []:
        for port in container.get("ports") or []:
            if port.get("name") == "rest":
                return int(port["containerPort"])
    return None


def speaks_tls(pod: Object) -> bool:
    """Whether a pod's REST door speaks TLS."""
    containers = at(pod, "spec", "containers") or []
    return any(str(word).startswith("--tls-cert") for one in containers for word in one.get("args") or [])


def served_model(status: int, body: bytes) -> ServedModel | None:
    """What a model server's answer about the versions of a model means.

    Args:
        status: of HTTP.
        body: as TensorFlow Serving's `GET /v1/models/M` answers.
    Returns: None when the answer tells nothing.
    """
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    entries = at(answer, "model_version_status")
    if status == 404:
        message = at(answer, "error")
        return ServedModel((), one_line(message, 200)) if isinstance(message, str) else None
    if status != 200 or not isinstance(entries, list):
        return None
    versions, troubles = [], []
    for entry in entries:
        version, state = str(at(entry, "version")), at(entry, "state")
        message = at(entry, "status", "error_message")
        if state == "AVAILABLE":
            versions.append(version)
        elif message:
            troubles.append(f"version {version} FAILED to load: {one_line(str(message), 300)}")
    return ServedModel(tuple(versions), "; ".join(troubles))
