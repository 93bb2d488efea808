"""Which release the pods of a Deployment fetch: the ConfigMap that says it, and the fields of a pod template that name the ConfigMap.

The manifests have an init container read MODEL_URI and the like from a ConfigMap whose name ends in a hash of its content. A release is one
ConfigMap more; the template's references to it, and an annotation for people, are all that a rollout changes. So an undo is the former
references, and whoever applies the manifests again is told that these fields are the agent's.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from edgewise.agent.kubernetes.model_source import NAME, SHA256, URI, VERSION
from edgewise.agent.kubernetes.models import told_model
from edgewise.agent.kubernetes.name_hashes import config_map_hash
from edgewise.agent.kubernetes.objects import Object, at
from edgewise.core.errors import FailedPreconditionError

RELEASE: Final = "edgewise.dev/release"
"""On a pod template: MODEL/VERSION, for people."""
RELEASES_OF: Final = "edgewise.dev/releases-of"
"""On the ConfigMaps: whose they are."""
MANAGED_BY: Final = "edgewise-agent"
_KEYS: Final = (NAME, VERSION, URI, SHA256)
_NO_NAME: Final = re.compile(r"[^a-z0-9-]+")
_LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class Source:
    """What a pod template says of its model.

    Attributes:
        container: the init container that fetches.
        maps: the ConfigMap that each variable is read from, by the variable's name.
        release: the annotation; "" for none.
    """

    container: str
    maps: Mapping[str, str]
    release: str = ""


def source_of(template: Object, deployment: str) -> Source:
    """What a pod template says of its model.

    Raises: FailedPreconditionError: it is not as the manifests have it.
    """
    for container in at(template, "spec", "initContainers") or []:
        maps = {variable["name"]: reference["name"] for variable, reference in _references(container)}
        if URI in maps:
            missing = [key for key in _KEYS if key not in maps]
            if missing:
                break
            return Source(container["name"], maps, str(at(template, "metadata", "annotations", RELEASE) or ""))
    raise FailedPreconditionError(
        f"the pods of Deployment {deployment} have no init container that reads {', '.join(_KEYS)} from a ConfigMap; "
        "releases are set where deploy/k8s/base/model-server has them"
    )


def told_version(template: Object, config_maps: Mapping[str, Object]) -> tuple[str, int]:
    """Model and version that a pod template (or a pod) names; ("", 0) where it names none."""
    told = told_model(template, config_maps)
    return told.name, int(told.version) if told.version.isdecimal() else 0


def release_map(deployment: Object, model: str, version: int, uri: str, sha256: str) -> Object:
    """The ConfigMap of a release; it goes when the Deployment does."""
    metadata = deployment["metadata"]
    item: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "namespace": metadata["namespace"],
            "labels": {**agent_labels(metadata["name"]), RELEASES_OF: metadata["name"]},
            "ownerReferences": [owned_by(deployment)],
        },
        "immutable": True,
        "data": {NAME: model, VERSION: str(version), URI: uri, SHA256: sha256},
    }
    word = _NO_NAME.sub("-", model.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    item["metadata"]["name"] = f"release-{f'{word}-' if word else ''}{version}-{config_map_hash(item)}"
    return item


def agent_labels(name: str) -> dict[str, str]:
    """By which what the agent made is found."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "model-server",
        "app.kubernetes.io/part-of": "edgewise",
        "app.kubernetes.io/managed-by": MANAGED_BY,
    }


def owned_by(deployment: Object) -> Object:
    """The reference by which something goes when the Deployment does."""
    return {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
        "uid": deployment["metadata"]["uid"],
    }


def fields_for(deployment: Object, source: Source) -> Object:
    """The fields of a Deployment that make its pods fetch from a source, and no other: for server-side apply."""
    metadata = deployment["metadata"]
    variables = [
        {"name": variable, "valueFrom": {"configMapKeyRef": {"name": name, "key": variable}}}
        for variable, name in sorted(source.maps.items())
        if variable in _KEYS
    ]
    template: Object = {"spec": {"initContainers": [{"name": source.container, "env": variables}]}}
    if source.release:
        template["metadata"] = {"annotations": {RELEASE: source.release}}
    return {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": {"template": template},
    }


def template_with(template: Object, source: Source) -> Object:
    """A pod template with another source."""
    changed = copy.deepcopy(template)
    for container in at(changed, "spec", "initContainers") or []:
        if container["name"] == source.container:
            for variable, reference in _references(container):
                reference["name"] = source.maps.get(variable["name"], reference["name"])
    changed.setdefault("metadata", {}).setdefault("annotations", {})[RELEASE] = source.release
    return changed


def _references(container: Object) -> Iterator[tuple[Object, Object]]:
    """Each variable that says something of the model, with where it is read."""
    for variable in container.get("env") or []:
        reference = at(variable, "valueFrom", "configMapKeyRef")
        # The key has the variable's name in the manifests; one that has another is somebody else's idea.
        if reference and variable.get("name") in _KEYS and reference.get("key") == variable["name"]:
            yield variable, reference
