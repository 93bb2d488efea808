"""Bundles: releases in one file, for sites without a link. A tar archive whose names are the paths at which a hub gives the same files out.

    bundle.json                    what it is, first
    tuf/metadata/...               the chain of signatures: all roots, timestamp, snapshot, targets
    tuf/targets/...                policy, keys and manifests, the digest before the name
    desired.json                   what one site is told, only in a bundle for that site
    blobs/sha256/HEX               the files

Nothing in it is secret, and nothing is believed for being in it. Timestamp and desired state are signed by the hub for the bundle, and say so: a
site believes them from there alone. But for these two, the same content is the same bytes.
"""

import re
from dataclasses import dataclass
from typing import Final

from edgewise.protocols.documents import check_format, document_bytes, read_document

FORMAT: Final = "edgewise-bundle/1"
INDEX: Final = "bundle.json"
DESIRED: Final = "desired.json"
METADATA: Final = "tuf/metadata/"
TARGETS: Final = "tuf/targets/"
BLOBS: Final = "blobs/sha256/"
MAX_INDEX_BYTES: Final = 1 << 20
_BLOB: Final = re.compile(rf"{BLOBS}([0-9a-f]{{64}})")


@dataclass(frozen=True, slots=True)
class BundleIndex:
    """What a bundle says of itself.

    Attributes:
        releases: names such as pets/2.
        tier: whose variants are in it; "" for all.
        site: whose desired state is in it; "" for none.
    """

    releases: tuple[str, ...]
    tier: str = ""
    site: str = ""


def encode_index(index: BundleIndex) -> bytes:
    """The bytes of bundle.json."""
    return document_bytes({"format": FORMAT, "releases": list(index.releases), "tier": index.tier, "site": index.site})


def decode_index(content: bytes) -> BundleIndex:
    """Read bundle.json.

    Raises: InvalidArgumentError: it is none.
    """
    top = read_document(content, INDEX, max_bytes=MAX_INDEX_BYTES)
    check_format(top, FORMAT)
    releases = top.items("releases", "a list of names such as pets/2")
    if not all(isinstance(name, str) for name in releases):
        raise top.wrong("releases", releases, "a list of names such as pets/2")
    return BundleIndex(tuple(releases), top.text("tier", ""), top.text("site", ""))


def blob_of(name: str) -> str | None:
    """The digest of the blob that a name in a bundle is; None when it is none."""
    found = _BLOB.fullmatch(name)
    return found[1] if found else None
