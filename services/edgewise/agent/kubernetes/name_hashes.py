"""The suffix that kustomize gives the name of a generated ConfigMap, so that new content is a new name and rolls the pods."""

import hashlib
import json
from typing import Final

from edgewise.agent.kubernetes.objects import Object, config_maps_used, containers_of, pod_spec_of

_LENGTH: Final = 10
_LETTERS: Final = str.maketrans("013ae", "ghkmt")


def config_map_hash(item: Object) -> str:
    """The suffix of a ConfigMap's name.

    Args:
        item: the ConfigMap; `data` and `binaryData` count.
    Returns: ten letters and digits.
    Source: sigs.k8s.io/kustomize, api/hasher: SHA-256 of JSON, with vowels and digits like vowels replaced. The name has its
        place in that JSON but is looked up where it never is, so it counts as "".
    """
    said: Object = {"data": item.get("data") or "", "kind": "ConfigMap", "name": ""}
    if item.get("binaryData"):
        said["binaryData"] = item["binaryData"]
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Go's encoder writes these as escapes, so that JSON can stand in HTML.
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH].translate(_LETTERS)


def plain_name(item: Object) -> str:
    """The name of a ConfigMap without its hash; the name itself when it ends in none."""
    name: str = item["metadata"]["name"]
    plain, dash, suffix = name.rpartition("-")
    return plain if dash and len(suffix) == _LENGTH and suffix == config_map_hash(item) else name


def rename_config_map(objects: list[Object], item: Object, new_name: str) -> None:
    """Give a ConfigMap another name, in place, with every reference that pods of its namespace make to it."""
    metadata = item["metadata"]
    old_name = metadata["name"]
    metadata["name"] = new_name
    for user in objects:
        spec = pod_spec_of(user)
        same_namespace = user["metadata"].get("namespace") == metadata.get("namespace")
        if spec is None or not same_namespace or old_name not in config_maps_used(spec):
            continue
        for reference in _references(spec):
            if reference.get("name") == old_name:
                reference["name"] = new_name


def _references(pod_spec: Object) -> list[Object]:
    found: list[Object | None] = []
    for container in containers_of(pod_spec):
        found.extend(source.get("configMapRef") for source in container.get("envFrom") or [])
        found.extend(
            (variable.get("valueFrom") or {}).get("configMapKeyRef") for variable in container.get("env") or []
        )
    for volume in pod_spec.get("volumes") or []:
        found.append(volume.get("configMap"))
        found.extend(source.get("configMap") for source in (volume.get("projected") or {}).get("sources") or [])
    return [reference for reference in found if reference]
