"""Blobs in moto's server, which speaks S3."""

import hashlib
import os
import subprocess
import urllib.request

import pytest

from edgewise.core.errors import NotFoundError, UnavailableError
from edgewise.hub.blobs.object_store import s3_blobs
from support import environments
from support.sockets import free_port
from support.waiting import wait_for

CONTENT = os.urandom(12 << 20)
NAME = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def url():
    program = environments.environment("fetching-s3").with_name("moto_server")
    port = free_port()
    server = subprocess.Popen(
        [str(program), "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"

    def answers():
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
        except OSError:
            return False
        return True

    try:
        wait_for(answers)
        urllib.request.urlopen(urllib.request.Request(f"{url}/models", method="PUT")).close()
        yield url
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def store(url, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return s3_blobs("s3://models/the/hub", tmp_path)


def test_a_blob_comes_back(store):
    upload = store.upload(NAME)
    upload.write(CONTENT)
    assert upload.commit() is True
    assert store.size_bytes(NAME) == len(CONTENT)
    assert b"".join(store.read(NAME, 0, len(CONTENT))) == CONTENT
    assert b"".join(store.read(NAME, 5 << 20, (5 << 20) + 10)) == CONTENT[5 << 20 : (5 << 20) + 10]
    assert list(store.names()) == [NAME]
    with pytest.raises(NotFoundError):
        store.size_bytes("0" * 64)


def test_what_nobody_wants_is_removed(store):
    upload = store.upload(NAME)
    upload.write(CONTENT)
    upload.commit()
    began_s = next(store.kept()).wanted_s
    wait_for(lambda: store.want(NAME) == len(CONTENT) and next(store.kept()).wanted_s > began_s)

    assert store.remove(NAME, began_s + 0.5) is False
    assert list(store.names()) == [NAME]
    assert store.remove(NAME, began_s + 86400) is True
    assert list(store.kept()) == list(store.names()) == []
    assert store.remove(NAME, began_s + 86400) is False


def test_a_bucket_that_is_not_there(store, tmp_path):
    other = s3_blobs("s3://other-models", tmp_path / "other")
    upload = other.upload(NAME)
    upload.write(CONTENT)
    with pytest.raises((UnavailableError, NotFoundError)):
        upload.commit()
    upload.discard()
    assert list((tmp_path / "other").iterdir()) == []
