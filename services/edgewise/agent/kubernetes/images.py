"""Which image each container runs: a registry, a tag or a whole reference in place of what the manifests say."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from edgewise.agent.kubernetes.objects import Object, containers_of, listed, pod_spec_of
from edgewise.core.errors import InvalidArgumentError

OURS: Final = "edgewise-"
"""What the names of Edgewise's own images begin with."""
_REFERENCE: Final = re.compile(
    r"(?P<repository>[a-z0-9]+([._-]+[a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>\w[\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_REGISTRY: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*", re.ASCII)
_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


def set_images(
    objects: Iterable[Object], *, registry: str | None = None, tag: str | None = None, references: Mapping[str, str]
) -> None:
    """Change the images of all workloads, in place.

    Args:
        objects: the manifests.
        registry: in front of the last part of the name of each image whose name begins with `edgewise-`.
        tag: of the same images; it replaces tag and digest.
        references: a whole reference by the last part of an image's name; goes before the other two.
    Raises:
        InvalidArgumentError: a registry, tag or reference that is none, or a name that no container has.
    Source: github.com/distribution/reference, grammar of a reference.
    """
    if registry is not None and not _REGISTRY.fullmatch(registry):
        raise InvalidArgumentError(
            f"--image-registry is {registry!r}; expected HOST[:PORT][/PATH], such as registry.example/edgewise"
        )
    if tag is not None and not _TAG.fullmatch(tag):
        raise InvalidArgumentError(f"--image-tag is {tag!r}; expected letters, digits, '.', '_' and '-'")
    for name, reference in references.items():
        if not _REFERENCE.fullmatch(reference):
            raise InvalidArgumentError(
                f"--set-image {name}={reference}: expected an image reference, such as registry.example/{name}:0.1.0 "
                f"or one that ends in @sha256: and 64 hex digits"
            )
    found: set[str] = set()
    for item in objects:
        spec = pod_spec_of(item)
        for container in containers_of(spec) if spec else ():
            image = container.get("image")
            if isinstance(image, str):
                name = image_name(image)
                found.add(name)
                container["image"] = references.get(name) or _moved(image, name, registry, tag)
    unknown = sorted(references.keys() - found)
    if unknown:
        raise InvalidArgumentError(
            f"--set-image {unknown[0]}: no container has an image of that name; there are {listed(sorted(found)) or 'none'}"
        )


def image_name(image: str) -> str:
    """The last part of an image's name, without registry, tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _moved(image: str, name: str, registry: str | None, tag: str | None) -> str:
    if not name.startswith(OURS):
        return image
    place, slash, rest = image.rpartition("/")
    if "@" in image:
        place, slash, rest = image.partition("@")[0].rpartition("/")
        rest += image[image.index("@") :]
    if registry is not None:
        place, slash = registry, "/"
    return f"{place}{slash}{name}:{tag}" if tag is not None else f"{place}{slash}{rest}"
