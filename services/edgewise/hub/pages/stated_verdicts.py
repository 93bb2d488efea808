"""Which verdicts models can give, as the settings in their releases say: known before the first one was given."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from edgewise.core.errors import EdgewiseError
from edgewise.hub.blobs.port import BlobStore
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.pages.port import Hub
from edgewise.protocols.samples import LABEL
from edgewise.protocols.toml_files import MAX_FILE_BYTES, parse_toml

SETTINGS: Final = "model.toml"
_OTHERWISE: Final = "other"


class StatedVerdicts:
    """Of the newest release of each model; each file is read once."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._by_digest: dict[str, frozenset[str]] = {}

    async def all(self) -> frozenset[str]:
        """Those of all models together."""
        digests = await self._hub.call(newest_settings, self._hub.plane)
        known = self._by_digest
        for digest in digests:
            if digest not in known:
                found = await self._hub.in_files(_read, self._hub.blobs, digest)
                if found is not None:
                    known[digest] = found
        self._by_digest = {digest: known[digest] for digest in digests if digest in known}
        return frozenset().union(*self._by_digest.values())


def newest_settings(plane: ControlPlane) -> Sequence[str]:
    """The digests of the settings in the newest release of each model."""
    newest: dict[str, int] = {}
    for release in plane.releases():
        newest[release.model] = max(release.version, newest.get(release.model, 0))
    found = set[str]()
    for model, version in newest.items():
        for variant in plane.manifest(model, version).variants.values():
            found |= {
                file.sha256 for file in variant.files if file.path == SETTINGS and file.size_bytes <= MAX_FILE_BYTES
            }
    return sorted(found)


def verdicts_in(text: str) -> frozenset[str]:
    """The verdicts that settings name, of all their signatures: groups, and what is said where none fits. None of what cannot be read."""
    try:
        values = parse_toml(text, SETTINGS)
    except EdgewiseError:
        return frozenset()
    return frozenset(name for name in _names(values) if isinstance(name, str) and LABEL.fullmatch(name))


def _names(values: dict[str, Any]) -> Iterator[Any]:
    signatures = values.get("signatures")
    for signature in signatures.values() if isinstance(signatures, dict) else ():
        said = signature.get("postprocess") if isinstance(signature, dict) else None
        groups = said.get("groups") if isinstance(said, dict) else None
        if isinstance(said, dict) and isinstance(groups, list) and groups:
            yield from (group.get("name") for group in groups if isinstance(group, dict))
            yield said.get("otherwise", _OTHERWISE)


def _read(blobs: BlobStore, digest: str) -> frozenset[str] | None:
    try:
        content = b"".join(blobs.read(digest, 0, blobs.size_bytes(digest)))
    except EdgewiseError:
        # Labelling goes on without; the next page asks again.
        return None
    return verdicts_in(content.decode(errors="replace"))
