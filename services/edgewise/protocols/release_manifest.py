"""A release as JSON: what is signed, and what an agent reads.

    {"format": "edgewise-release/1", "model": "pets", "version": 2, "created": "2026-11-23T10:00:00Z", "notes": "", "lineage": {},
     "variants": {"edge": {"files": [
        {"path": "model.onnx", "size": 4718592, "sha256": "9f86...", "chunks": [[65536, "60303ae2..."], ...]}]}}}

Keys are sorted and there is no white space, so the same release is the same bytes everywhere.
"""

from typing import Any, Final

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError
from edgewise.core.file_names import checked_name
from edgewise.core.releases import EVERY_TIER, TIERS, Chunk, Release, ReleaseFile, Variant
from edgewise.core.versions import MAX_VERSION
from edgewise.protocols.documents import (
    SHA256,
    SHA256_EXPECTED,
    Document,
    check_format,
    document_bytes,
    read_document,
)

FORMAT: Final = "edgewise-release/1"
MAX_MANIFEST_BYTES: Final = 64 << 20
_MAX_FILES: Final = 10_000
_MAX_BYTES: Final = 1 << 50
_LONGEST_NOTES: Final = 1 << 16


def encode_release(release: Release) -> bytes:
    """The bytes of a release."""
    value = {
        "format": FORMAT,
        "model": release.model,
        "version": release.version,
        "created": release.created,
        "notes": release.notes,
        "lineage": dict(release.lineage),
        "variants": {
            tier: {"files": [_file_value(file) for file in variant.files]} for tier, variant in release.variants.items()
        },
    }
    return document_bytes(value)


def decode_release(content: bytes) -> Release:
    """Read a release.

    Raises: InvalidArgumentError: it is none; the message says where and what would be right.
    """
    top = read_document(content, "the manifest", max_bytes=MAX_MANIFEST_BYTES)
    check_format(top, FORMAT)
    variants = top.entries("variants")
    for tier in variants:
        if tier not in (EVERY_TIER, *TIERS):
            raise top.error("variants", f"found the tier {tier!r}, expected {EVERY_TIER}, {' or '.join(TIERS)}")
    lineage = top.names("lineage")
    return Release(
        model=top.model("model"),
        version=top.integer("version", 1, MAX_VERSION),
        created=top.text("created"),
        variants={tier: _variant(variant) for tier, variant in variants.items()},
        notes=top.text("notes", "", longest=_LONGEST_NOTES),
        lineage={name: lineage.text(name) for name in lineage},
    )


def _file_value(file: ReleaseFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "size": file.size_bytes,
        "sha256": file.sha256,
        "chunks": [[chunk.size_bytes, chunk.sha256] for chunk in file.chunks],
    }


def _variant(table: Document) -> Variant:
    files = table.tables("files", ())
    if not 0 < len(files) <= _MAX_FILES:
        raise table.error("files", f"found {len(files)} files, expected 1 to {_MAX_FILES}")
    read = tuple(map(_file, files))
    paths = [file.path for file in read]
    if len(set(paths)) < len(paths):
        raise table.error("files", "two have the same path")
    return Variant(read)


def _file(table: Document) -> ReleaseFile:
    return ReleaseFile(
        path=_name(table),
        size_bytes=table.integer("size", 0, _MAX_BYTES),
        sha256=table.sha256("sha256"),
        chunks=tuple(
            _chunk(table, f"chunks[{place}]", chunk)
            for place, chunk in enumerate(table.items("chunks", "a list of [size, sha256]"))
        ),
    )


def _name(table: Document) -> str:
    path = table.text("path")
    try:
        name = checked_name(path, what=table.path("path"))
    except FailedPreconditionError as error:
        raise InvalidArgumentError(error.message) from None
    if name != path or not name:
        raise table.wrong("path", path, "a relative path without empty parts")
    return name


def _chunk(table: Document, name: str, value: object) -> Chunk:
    match value:
        case [int(size), str(digest)] if size > 0 and not isinstance(size, bool) and SHA256.fullmatch(digest):
            return Chunk(size, digest)
        case _:
            raise table.wrong(name, value, f"[size, sha256]: a size of 1 or more and {SHA256_EXPECTED}")
