"""A release as JSON: the same bytes for the same release, and nothing believed that is not right."""

import json

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.releases import Chunk, Release, ReleaseFile, Variant
from edgewise.protocols import release_manifest
from edgewise.protocols.release_manifest import decode_release, encode_release

FILE = ReleaseFile("model.onnx", 30, "a" * 64, (Chunk(10, "b" * 64), Chunk(20, "c" * 64)))
RELEASE = Release(
    "pets",
    2,
    "2026-11-23T10:00:00Z",
    {"edge": Variant((FILE,)), "cloud": Variant((FILE,))},
    "Grüße",
    {"data": "sha256:1"},
)


def test_there_and_back():
    assert decode_release(encode_release(RELEASE)) == RELEASE


def test_the_same_release_is_the_same_bytes():
    other = Release(
        RELEASE.model, 2, RELEASE.created, dict(reversed(RELEASE.variants.items())), RELEASE.notes, RELEASE.lineage
    )
    assert encode_release(other) == encode_release(RELEASE)
    assert b": " not in encode_release(RELEASE)


def changed(*path, to):
    value = json.loads(encode_release(RELEASE))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return json.dumps(value).encode()


EDGE = ("variants", "edge", "files")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "the manifest is not JSON"),
        (b"[" * 100_000, "the manifest is not JSON"),
        (b"[]", "the manifest is no JSON object"),
        (
            changed("format", to="edgewise-release/9"),
            "format: found 'edgewise-release/9', expected edgewise-release/1",
        ),
        (changed("model", to="../pets"), "model: found '../pets', expected 1 to 128 letters"),
        (changed("model", to=None), "model: missing, expected a string"),
        (changed("version", to=0), r"version: found 0, expected a whole number in 1\.\."),
        (changed("version", to=True), "version: found true, expected a whole number"),
        (changed("created", to=5), "created: found 5, expected a string"),
        (changed("variants", to={}), "release pets/2 has no files"),
        (changed("variants", "fog", to={"files": []}), "found the tier 'fog', expected any, cloud or edge"),
        (changed(*EDGE, to=[]), "variants.edge.files: found 0 files, expected 1 to"),
        (
            changed(*EDGE, 0, "path", to="../../etc/passwd"),
            r'files\[0\].path holds the name .* leads out of the directory with "\.\."',
        ),
        (changed(*EDGE, 0, "path", to="/etc/passwd"), "which is absolute"),
        (changed(*EDGE, 0, "path", to=""), "path: found .*, expected a relative path"),
        (changed(*EDGE, 0, "path", to="a//b"), "path: found .*, expected a relative path"),
        (changed(*EDGE, 0, "size", to=31), "model.onnx: its chunks are not 31 bytes together"),
        (changed(*EDGE, 0, "size", to=-1), r"variants.edge.files\[0\].size: found -1, expected a whole number"),
        (changed(*EDGE, 0, "sha256", to="A" * 64), r"files\[0\].sha256: found .*, expected a SHA-256"),
        (changed(*EDGE, 0, "chunks", to={}), r"files\[0\].chunks: found a table, expected a list"),
        (changed(*EDGE, 0, "chunks", 0, to=[0, "b" * 64]), r"chunks\[0\]: found .*, expected \[size, sha256\]"),
        (changed(*EDGE, 0, "chunks", 0, to=[10, "b"]), r"chunks\[0\]: found .* a SHA-256"),
        (
            changed(*EDGE, to=[json.loads(encode_release(RELEASE))["variants"]["edge"]["files"][0]] * 2),
            "two have the same path",
        ),
    ],
)
def test_what_is_no_release_is_refused_with_its_place(content, said):
    with pytest.raises(InvalidArgumentError, match=said):
        decode_release(content)


def test_endless_data_is_not_read(monkeypatch):
    monkeypatch.setattr(release_manifest, "MAX_MANIFEST_BYTES", 100)
    with pytest.raises(InvalidArgumentError, match="100 is the most"):
        decode_release(encode_release(RELEASE))
