"""`edgewise fetch s3://...` from moto's server."""

import hashlib

import pytest

from edgewise.agent.fetching.digests import digest_of_tree


@pytest.fixture
def tree_digest(files):
    return digest_of_tree((name, hashlib.sha256(content).hexdigest()) for name, content in files.items())


@pytest.fixture
def prefix(s3, files):
    for name, content in files.items():
        s3.put(f"pets/1/{name}", content)
    # What consoles make for a directory, and a neighbour whose name begins alike.
    s3.put("pets/1/labels/", b"")
    s3.put("pets/10/model.onnx", b"another version")
    return "s3://models/pets/1"


@pytest.mark.parametrize("end", ["", "/"])
def test_a_prefix(prefix, end, files, tree_digest, command, tmp_path, files_in):
    done = command(prefix + end, tmp_path / "models/pets/1", "--sha256", tree_digest)
    assert (done.code, done.err) == (0, "")
    assert files_in(tmp_path / "models/pets/1") == files


def test_an_archive(s3, files, pack, command, tmp_path, files_in):
    archive = pack(files)
    s3.put("pets-1.tar.gz", archive)
    done = command(
        "s3://models/pets-1.tar.gz", tmp_path / "models/pets/1", "--sha256", hashlib.sha256(archive).hexdigest()
    )
    assert (done.code, done.err) == (0, "")
    assert files_in(tmp_path / "models/pets/1") == files


def test_a_wrong_checksum(prefix, tree_digest, command, tmp_path):
    done = command(prefix, tmp_path / "models/pets/1", "--sha256", "00" * 32)
    assert done.code == 1
    assert f"as a list of its files with their digests, the SHA-256 {tree_digest}, expected {'00' * 32}" in done.err
    assert not (tmp_path / "models/pets/1").exists()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://models/pets/2", "there is no object s3://models/pets/2, and none below it"),
        ("s3://models/pets", "lies deeper: fetch or pack that directory"),
        ("s3://elsewhere/pets/1", "there is no such bucket"),
    ],
)
def test_what_is_not_there(prefix, uri, message, command, tmp_path):
    done = command(uri, tmp_path / "models/pets/1", "--unverified")
    assert done.code == 1
    assert message in done.err


def test_no_permission(prefix, command, tmp_path):
    done = command(prefix, tmp_path / "models/pets/1", "--unverified", environment={"AWS_SKIP_SIGNATURE": "true"})
    assert done.code == 1
    assert "the server refused the credentials" in done.err
    assert "AWS_ACCESS_KEY_ID" in done.err


def test_nobody_listens(prefix, command, tmp_path):
    words = (prefix, tmp_path / "models/pets/1", "--unverified", "--retries", "2")
    done = command(*words, environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert done.code == 1
    assert "it was tried 3 times in a row" in done.err


def test_a_cut_is_resumed_and_a_changed_object_begun_anew(s3, files, monkeypatch, tmp_path, files_in):
    """In this process, so that the connection can be cut: by whoever reads from it."""
    from edgewise.agent.fetching.fetch import FetchRequest, fetch
    from edgewise.agent.fetching.port import TransferError
    from edgewise.agent.fetching.retries import RetryPolicy
    from edgewise.agent.fetching.s3_source import S3Source
    from edgewise.agent.fetching.uris import parse_uri

    s3.put("model.onnx", files["model.onnx"])
    chunks, opened, starts = S3Source._chunks, S3Source.open, []

    def cut(source, answer):
        for chunk in chunks(source, answer):
            yield chunk
            if len(starts) == 1:
                raise TransferError("cut")
            if len(starts) == 2:
                s3.put("model.onnx", files["model.onnx"][::-1])
                raise TransferError("cut, and changed")

    def open_(source, piece, start_bytes):
        body = opened(source, piece, start_bytes)
        starts.append(body.start_bytes)
        return body

    monkeypatch.setattr(S3Source, "_chunks", cut)
    monkeypatch.setattr(S3Source, "open", open_)
    digest = hashlib.sha256(files["model.onnx"][::-1]).hexdigest()
    policy = RetryPolicy(3, base_s=0.001, cap_s=0.001)
    fetch(FetchRequest(parse_uri("s3://models/model.onnx"), tmp_path / "1", digest, policy=policy), print)
    assert starts[0] == 0
    assert 0 < starts[1] < len(files["model.onnx"])
    assert starts[2:] == [0]
    assert files_in(tmp_path / "1") == {"model.onnx": files["model.onnx"][::-1]}
