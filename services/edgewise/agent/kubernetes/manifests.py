"""YAML as kustomize renders it to API objects, refused with the place of what is wrong."""

import re
from typing import Any, Final

import yaml

from edgewise.agent.kubernetes.objects import Object, ref_of
from edgewise.core.errors import InvalidArgumentError

MAX_BYTES: Final = 8 << 20
"""Far above what an installation renders to, far below what hurts to parse."""
MAX_ALIASES: Final = 100
"""Aliases of aliases grow without bound when they are written out; kustomize writes none."""
MAX_DEPTH: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9:._-]{0,251}[A-Za-z0-9])?")


class _Loader(yaml.CSafeLoader):
    """YAML without dates: what looks like one is text in every API object, and JSON has no other way to say it."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def parse_manifests(text: str, source: str) -> list[Object]:
    """Read API objects.

    Args:
        text: YAML documents, or JSON; a `List` counts as what it lists, an empty document as nothing.
        source: what the text is called in messages, such as "overlay cloud" or a file's name.
    Raises:
        InvalidArgumentError: not YAML, not API objects, nothing at all, one object twice, or too much.
    """
    if len(text) > MAX_BYTES:
        raise InvalidArgumentError(f"{source} holds {len(text)} characters; expected manifests of at most {MAX_BYTES}")
    try:
        _check_shape(text, source)
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise InvalidArgumentError(f"{source} is not YAML: {_place(error)}") from None
    except (RecursionError, ValueError, OverflowError):
        # Deep nesting, and numbers that look like ones but are none.
        raise InvalidArgumentError(f"{source} is not YAML that can be read as API objects") from None
    objects: list[Object] = []
    for number, document in enumerate(documents, 1):
        objects.extend(_objects(document, f"{source}, document {number}"))
    if not objects:
        raise InvalidArgumentError(f"{source} holds no API object")
    seen = set()
    for item in objects:
        ref = ref_of(item)
        if ref in seen:
            raise InvalidArgumentError(f"{source} holds {ref} twice; expected each object once")
        seen.add(ref)
    return objects


def _check_shape(text: str, source: str) -> None:
    """Refuse what grows when it is read: aliases of aliases, and nesting, which the parser takes quadratic time for."""
    aliases = depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        aliases += isinstance(event, yaml.AliasEvent)
        if aliases > MAX_ALIASES:
            raise InvalidArgumentError(f"{source} has more than {MAX_ALIASES} YAML aliases")
        if depth > MAX_DEPTH:
            raise InvalidArgumentError(f"{source} is nested more than {MAX_DEPTH} deep; expected API objects")


def _objects(document: Any, where: str) -> list[Object]:
    if document is None:
        return []
    if not isinstance(document, dict):
        raise InvalidArgumentError(
            f"{where} is {_shown(document)}; expected an API object with apiVersion, kind and metadata"
        )
    for key in ("apiVersion", "kind"):
        if not isinstance(document.get(key), str) or not document[key]:
            raise InvalidArgumentError(
                f"{where} has no {key}; expected an API object with apiVersion, kind and metadata"
            )
    kind = document["kind"]
    if kind == "Kustomization":
        raise InvalidArgumentError(
            f"{where} is a Kustomization, which kustomize reads; name its directory with --overlay instead"
        )
    if kind == "List":
        items = document.get("items") or []
        return [item for listed in items for item in _objects(listed, where)]
    _check_metadata(document, f"{where} ({kind})")
    return [document]


def _check_metadata(document: Object, where: str) -> None:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgumentError(f"{where} has the metadata.name {name!r}; expected a name")
    namespace = metadata.get("namespace")
    if namespace is not None and not isinstance(namespace, str):
        raise InvalidArgumentError(f"{where} {name} has the namespace {namespace!r}; expected a name in quotes")
    for key in ("labels", "annotations"):
        pairs = metadata.get(key) or {}
        if not isinstance(pairs, dict) or not all(isinstance(word, str) for pair in pairs.items() for word in pair):
            raise InvalidArgumentError(f"{where} {name} has {key} that are not all text; quote their values")


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
