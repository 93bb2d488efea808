"""The namespace that manifests are for, and how they are moved to another one."""

import re
from typing import Any, Final

from edgewise.agent.kubernetes.name_hashes import config_map_hash, plain_name, rename_config_map
from edgewise.agent.kubernetes.objects import Object, containers_of, listed, pod_spec_of
from edgewise.core.errors import InvalidArgumentError

DEFAULT: Final = "edgewise"
NAME_LABEL: Final = "kubernetes.io/metadata.name"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def check_namespace(name: str) -> str:
    """A namespace's name.

    Raises:
        InvalidArgumentError: not a DNS label.
    Source: RFC 1123, section 2.1, as Kubernetes takes it.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(
            f"the namespace is {name!r}; expected at most 63 of a-z, 0-9 and '-', with a letter or digit at both ends"
        )
    return name


def settle_namespace(objects: list[Object], namespaced: set[int], wanted: str | None) -> str:
    """Put every object that has a namespace into one, in place.

    Objects without one get it. When `wanted` is another than the manifests name, everything that says the old name as a
    namespace moves: metadata, subjects of bindings, the Namespace itself, selectors by its name, and host names of Services
    (`model-server.edgewise.svc`) in ConfigMaps and containers; a ConfigMap whose name ends in a hash gets the new one.

    Args:
        objects: the manifests.
        namespaced: indices of those whose kind lives in a namespace.
        wanted: None takes the one that the manifests name.
    Returns: the namespace.
    Raises:
        InvalidArgumentError: the manifests name several namespaces.
    """
    named = {objects[i]["metadata"].get("namespace") for i in namespaced} - {None, ""}
    own = {item["metadata"]["name"] for item in objects if item["kind"] == "Namespace"}
    if len(named) > 1 or (len(own) > 1 and not named):
        raise InvalidArgumentError(
            f"the manifests are for the namespaces {listed(sorted(named or own))}; one installation takes one namespace"
        )
    old = next(iter(named), None) or next(iter(own), None)
    new = check_namespace(wanted or old or DEFAULT)
    plain = {id(item): plain_name(item) for item in objects if item["kind"] == "ConfigMap"}
    hashed = {id(item) for item in objects if item["metadata"]["name"] != plain.get(id(item), item["metadata"]["name"])}
    for i in namespaced:
        objects[i]["metadata"]["namespace"] = new
    if old is None or old == new:
        return new
    hosts = re.compile(rf"(?<=[a-z0-9])\.{re.escape(old)}\.svc(?![a-z0-9-])")
    for item in objects:
        _move(item, old, new, hosts)
    for item in objects:
        if id(item) in hashed:
            rename_config_map(objects, item, f"{plain[id(item)]}-{config_map_hash(item)}")
    return new


def _move(item: Object, old: str, new: str, hosts: re.Pattern[str]) -> None:
    if item["kind"] == "Namespace" and item["metadata"]["name"] == old:
        item["metadata"]["name"] = new
        _move_selectors(item["metadata"].get("labels"), old, new)
    for subject in item.get("subjects") or []:
        if subject.get("namespace") == old:
            subject["namespace"] = new
    if item["kind"] == "NetworkPolicy":
        _move_selectors(item.get("spec"), old, new)
    if item["kind"] == "ConfigMap":
        item["data"] = _texts_moved(item.get("data") or {}, new, hosts)
    spec = pod_spec_of(item)
    for container in containers_of(spec) if spec else ():
        for key in ("command", "args", "env"):
            if container.get(key):
                container[key] = _texts_moved(container[key], new, hosts)


def _texts_moved(node: Any, new: str, hosts: re.Pattern[str]) -> Any:
    """The same with host names of the new namespace in every text."""
    if isinstance(node, str):
        return hosts.sub(f".{new}.svc", node)
    if isinstance(node, dict):
        return {key: _texts_moved(value, new, hosts) for key, value in node.items()}
    return [_texts_moved(value, new, hosts) for value in node] if isinstance(node, list) else node


def _move_selectors(node: Any, old: str, new: str) -> None:
    if isinstance(node, dict):
        if node.get(NAME_LABEL) == old:
            node[NAME_LABEL] = new
        for value in node.values():
            _move_selectors(value, old, new)
    elif isinstance(node, list):
        for value in node:
            _move_selectors(value, old, new)
