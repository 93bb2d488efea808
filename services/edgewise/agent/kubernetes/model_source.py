"""Which model version the pods fetch: the ConfigMap that says it, and how another version is put in its place."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgewise.agent.kubernetes.name_hashes import config_map_hash, plain_name, rename_config_map
from edgewise.agent.kubernetes.objects import Object, listed, ref_of
from edgewise.core.errors import InvalidArgumentError

URI: Final = "MODEL_URI"
SHA256: Final = "MODEL_SHA256"
NAME: Final = "MODEL_NAME"
VERSION: Final = "MODEL_VERSION"
_HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One model version and where it is fetched from.

    Attributes:
        uri: as `edgewise fetch` takes it.
        sha256: 64 hex digits; may begin with "sha256:".
        version: 1 or more.
        name: None keeps the name that the manifests say.
    """

    uri: str
    sha256: str
    version: int
    name: str | None = None


def set_model(objects: list[Object], wanted: ModelVersion, source: str = "model-source") -> None:
    """Have the pods fetch another model version, in place: a ConfigMap of new content under a new name.

    Args:
        objects: the manifests.
        wanted: the version.
        source: the ConfigMap's name without hash.
    Raises:
        InvalidArgumentError: the manifests have no such ConfigMap, the digest is none, or the URI has no scheme or path.
    """
    if not _HEX.fullmatch(wanted.sha256.removeprefix("sha256:")):
        raise InvalidArgumentError(
            f"--model-sha256 is {wanted.sha256!r}; expected 64 hex digits, as sha256sum prints them"
        )
    if not wanted.uri.strip():
        raise InvalidArgumentError(
            "--model-uri is empty; expected such as s3://bucket/pets/2 or oci://registry.example/pets:2"
        )
    sources = [item for item in objects if item["kind"] == "ConfigMap" and URI in (item.get("data") or {})]
    found = [item for item in sources if plain_name(item) == source]
    if len(found) != 1:
        there = listed(sorted(plain_name(item) for item in sources))
        raise InvalidArgumentError(
            f"the manifests have no ConfigMap {source} with {URI}; "
            + (
                f"there is {there}: name it with --model-source"
                if there
                else "write the model into an overlay of your own"
            )
        )
    item = found[0]
    hashed = item["metadata"]["name"] != source
    data = item["data"]
    data[URI], data[SHA256], data[VERSION] = wanted.uri, wanted.sha256, str(wanted.version)
    if wanted.name is not None:
        data[NAME] = wanted.name
    # Without a hash in its name the content of a ConfigMap would change under pods that run, and roll none of them.
    new_name = f"{source}-{config_map_hash(item)}"
    if not hashed:
        _refuse_taken(objects, item, new_name)
    rename_config_map(objects, item, new_name)


def models_said(objects: Sequence[Object]) -> dict[str, dict[str, str]]:
    """Data of each ConfigMap that names a model, by its name without hash."""
    return {
        plain_name(item): dict(item["data"])
        for item in objects
        if item.get("kind") == "ConfigMap" and URI in (item.get("data") or {})
    }


def _refuse_taken(objects: list[Object], item: Object, new_name: str) -> None:
    taken = ref_of(item)
    if any(other is not item and ref_of(other).name == new_name and other["kind"] == taken.kind for other in objects):
        raise InvalidArgumentError(f"the manifests hold two ConfigMaps {new_name}")
