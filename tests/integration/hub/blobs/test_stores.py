"""A directory, and an object store: what one of them does the other does."""

import errno
import hashlib
import os
import random
import stat

import pytest
from obstore.store import MemoryStore

from edgewise.core.errors import InvalidArgumentError, NotFoundError, UnavailableError
from edgewise.hub.blobs import incoming
from edgewise.hub.blobs.directory import DirectoryBlobs
from edgewise.hub.blobs.object_store import ObjectStoreBlobs, s3_blobs
from edgewise.hub.blobs.port import CHUNK_BYTES
from edgewise.hub.blobs.urls import opened_blobs

CONTENT = random.Random(18).randbytes(5 * CHUNK_BYTES + 17)
NAME = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(params=["directory", "objects", "objects below a prefix"])
def store(request, tmp_path):
    if request.param == "directory":
        return DirectoryBlobs(tmp_path / "blobs")
    prefix = "a/b" if "prefix" in request.param else ""
    return ObjectStoreBlobs(MemoryStore(), prefix, spool=tmp_path / "blobs" / "incoming", shown="memory")


def put(store, content, name=None):
    upload = store.upload(name or hashlib.sha256(content).hexdigest())
    try:
        for start in range(0, len(content), 100_000):
            upload.write(content[start : start + 100_000])
        return upload.commit()
    finally:
        upload.discard()


def spooled(tmp_path):
    return list((tmp_path / "blobs" / "incoming").iterdir())


def test_a_blob_comes_back(store, tmp_path):
    assert not store.has(NAME)
    assert put(store, CONTENT) is True
    assert store.has(NAME)
    assert store.size_bytes(NAME) == len(CONTENT)
    assert b"".join(store.read(NAME, 0, len(CONTENT))) == CONTENT
    for start, end in ((0, 1), (CHUNK_BYTES - 1, CHUNK_BYTES + 1), (17, len(CONTENT)), (5, 5)):
        assert b"".join(store.read(NAME, start, end)) == CONTENT[start:end]
    assert all(len(piece) <= CHUNK_BYTES for piece in store.read(NAME, 0, len(CONTENT)))
    assert put(store, CONTENT) is False
    assert spooled(tmp_path) == []


def test_all_are_listed(store):
    contents = [b"", b"a", b"b"]
    for content in contents:
        put(store, content)
    assert sorted(store.names()) == sorted(hashlib.sha256(content).hexdigest() for content in contents)


def test_what_is_not_there(store):
    with pytest.raises(NotFoundError, match=NAME):
        store.size_bytes(NAME)
    with pytest.raises(NotFoundError):
        next(store.read(NAME, 0, 1))
    assert list(store.names()) == []


def test_other_bytes_than_the_name_says(store, tmp_path):
    with pytest.raises(InvalidArgumentError, match="nothing was kept"):
        put(store, b"other", NAME)
    assert not store.has(NAME)
    assert spooled(tmp_path) == []


@pytest.mark.parametrize("name", ["", "x", "../" * 20, NAME.upper(), NAME + "\n", "0" * 63])
def test_names_that_are_none(store, name):
    for call in (store.size_bytes, store.has, store.upload, lambda bad: next(store.read(bad, 0, 1))):
        with pytest.raises(InvalidArgumentError, match="SHA-256"):
            call(name)


def test_a_full_disk(store, tmp_path, monkeypatch):
    upload = store.upload(NAME)

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(incoming.os, "fsync", full)
    upload.write(CONTENT)
    with pytest.raises(UnavailableError, match="the hub's disk is full"):
        upload.commit()
    upload.discard()
    assert not store.has(NAME)
    assert spooled(tmp_path) == []


def test_what_a_killed_hub_left_is_removed(store, tmp_path):
    upload = store.upload(NAME)
    upload.write(b"half")
    assert spooled(tmp_path)
    opened_blobs("", tmp_path)
    assert spooled(tmp_path) == []
    upload.discard()


def test_a_blob_in_a_directory_is_for_nobody_to_change(tmp_path):
    store = DirectoryBlobs(tmp_path)
    put(store, CONTENT)
    assert stat.S_IMODE((tmp_path / "sha256" / NAME[:2] / NAME).stat().st_mode) == 0o444


def test_a_blob_that_has_become_shorter(tmp_path):
    store = DirectoryBlobs(tmp_path)
    put(store, CONTENT)
    path = tmp_path / "sha256" / NAME[:2] / NAME
    path.unlink()
    path.write_bytes(CONTENT[:1000])
    with pytest.raises(UnavailableError, match="damaged"):
        b"".join(store.read(NAME, 0, len(CONTENT)))
    put(store, CONTENT)
    assert b"".join(store.read(NAME, 0, len(CONTENT))) == CONTENT


@pytest.mark.parametrize("url", ["ftp://x", "s3:/x", "s3://", "s3://UPPER", "file://relative"])
def test_urls_that_name_no_store(tmp_path, url):
    with pytest.raises(InvalidArgumentError):
        opened_blobs(url if "://" in url else f"{url}://", tmp_path)


def test_urls_of_directories(tmp_path):
    for url in (str(tmp_path / "one"), f"file://{tmp_path}/two"):
        assert put(opened_blobs(url, tmp_path), b"x")
    assert (tmp_path / "one" / "sha256").is_dir()
    assert (tmp_path / "two" / "sha256").is_dir()


def test_an_object_store_that_is_away(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store = s3_blobs("s3://models/hub", tmp_path)
    with pytest.raises(UnavailableError, match="does not answer") as caught:
        store.has(NAME)
    assert "127.0.0.1" not in caught.value.message
