"""A directory, and an object store: what one of them does the other does."""

import errno
import hashlib
import os
import random
import stat
import time

import pytest
from obstore.store import MemoryStore

from edgewise.core.errors import InvalidArgumentError, NotFoundError, UnavailableError
from edgewise.hub.blobs import incoming, object_store
from edgewise.hub.blobs.directory import DirectoryBlobs
from edgewise.hub.blobs.object_store import ObjectStoreBlobs, s3_blobs
from edgewise.hub.blobs.port import CHUNK_BYTES
from edgewise.hub.blobs.urls import opened_blobs
from support.waiting import wait_for

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


def test_what_nobody_has_wanted_for_long_can_be_removed(store):
    began_s = time.time()
    put(store, CONTENT)
    (kept,) = store.kept()
    assert (kept.sha256, kept.size_bytes) == (NAME, len(CONTENT))
    assert kept.wanted_s >= began_s - 1

    assert store.remove(NAME, began_s - 10) is False
    assert store.has(NAME)
    assert store.remove(NAME, time.time() + 10) is True
    assert not store.has(NAME)
    assert list(store.kept()) == []
    assert store.remove(NAME, time.time() + 10) is False
    assert put(store, CONTENT) is True


def test_what_somebody_wants_stays(store):
    put(store, CONTENT)
    (before,) = store.kept()
    # Files and objects have times of their own: it is waited for until they move on.
    wait_for(lambda: store.want(NAME) == len(CONTENT) and next(store.kept()).wanted_s > before.wanted_s)
    (after,) = store.kept()

    assert store.remove(NAME, after.wanted_s) is False
    assert list(store.names()) == [NAME]
    assert store.remove(NAME, after.wanted_s + 1) is True
    with pytest.raises(NotFoundError, match=NAME):
        store.want(NAME)
    # What was wanted of one that is gone does not count for a later one.
    assert list(store.kept()) == []


def test_what_comes_in_again_stays(store):
    put(store, CONTENT)
    (before,) = store.kept()

    def wanted_s():
        put(store, CONTENT)
        return next(store.kept()).wanted_s

    wait_for(lambda: wanted_s() > before.wanted_s)
    assert store.remove(NAME, before.wanted_s + 0.0000001) is False


def test_what_is_on_its_way_into_an_object_store_is_not_removed(tmp_path, monkeypatch):
    store = ObjectStoreBlobs(MemoryStore(), "", spool=tmp_path / "incoming", shown="memory")
    put(store, CONTENT)
    removed = []
    real = object_store.obstore.put

    def sending(*words):
        removed.append(store.remove(NAME, time.time() + 10))
        return real(*words)

    monkeypatch.setattr(object_store.obstore, "put", sending)
    put(store, CONTENT)
    monkeypatch.undo()
    assert removed == [False]
    assert store.remove(NAME, time.time() + 10) is True


@pytest.mark.parametrize("name", ["", "x", "../" * 20, NAME.upper(), NAME + "\n", "0" * 63])
def test_names_that_are_none(store, name):
    reading, removing = (lambda bad: next(store.read(bad, 0, 1))), (lambda bad: store.remove(bad, 1.0))
    for call in (store.size_bytes, store.has, store.upload, store.want, reading, removing):
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
