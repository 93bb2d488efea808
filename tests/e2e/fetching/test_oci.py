"""`edgewise fetch oci://...` from Debian's registry."""

import base64
import json

import pytest

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# The package's own default for files, which are no archives.
TAR = "application/vnd.oci.image.layer.v1.tar"
FILE = "application/octet-stream"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "models/pets/1"


@pytest.fixture
def registry(start_registry):
    return start_registry()


def titled(files, kind=FILE):
    return [(kind, name, content) for name, content in files.items()]


@pytest.mark.parametrize("kind", [FILE, TAR])
def test_layers_with_titles_are_files(registry, kind, files, command, target, files_in):
    digest = registry.push("models/pets", "v1", titled(files, kind))
    done = command(f"oci://{registry.address}/models/pets:v1", target, "--insecure", "--sha256", digest)
    assert (done.code, done.err) == (0, "")
    assert files_in(target) == files


def test_a_digest_in_the_uri_is_checked(registry, files, command, target, files_in):
    digest = registry.push("pets", "v1", titled(files))
    done = command(f"oci://{registry.address}/pets@sha256:{digest}", target, "--insecure")
    assert (done.code, done.err) == (0, "")
    assert f"sha256={digest} bytes" in done.out
    assert files_in(target) == files
    # Known by its digest, whichever way it was named: nothing is asked for.
    again = command("oci://127.0.0.1:1/pets", target, "--sha256", digest)
    assert "is there already" in again.out


def test_what_oras_pushes_of_a_directory(registry, files, command, target, files_in, tmp_path, monkeypatch):
    from oras.client import OrasClient

    for name, content in files.items():
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    pushed = OrasClient(insecure=True).push(files=["pets"], target=f"{registry.address}/pets:v1", quiet=True)
    digest = pushed.headers["Docker-Content-Digest"].removeprefix("sha256:")
    done = command(f"oci://{registry.address}/pets:v1", target, "--insecure", "--sha256", digest)
    assert (done.code, done.err) == (0, "")
    assert files_in(target) == files


def test_an_archive_as_the_only_file(registry, files, pack, command, target, files_in):
    registry.push("pets", "latest", [(FILE, "pets-1.tar.gz", pack(files, "pets/"))])
    assert command(f"oci://{registry.address}/pets", target, "--insecure", "--unverified").code == 0
    assert files_in(target) == files


def test_hostile_titles_and_layers(registry, files, pack, command, target, tmp_path):
    for layers, message in (
        ([(FILE, "../../escaped", b"x"), *titled(files)], "leads out of the directory"),
        ([(LAYER, "", pack({"../../escaped": b"x"}))], "leads out of the directory"),
        ([(LAYER, "", b"no archive")], "is no archive, as its type says"),
        ([(FILE, "", b"x")], "has no title"),
        ([*titled(files), (FILE, "model.onnx", b"x")], "'model.onnx' twice"),
        ([], "has 0 layers"),
    ):
        registry.push("pets", "bad", layers)
        done = command(f"oci://{registry.address}/pets:bad", target, "--insecure", "--unverified")
        assert done.code == 1
        assert message in done.err
        assert not target.exists()
    assert not list(tmp_path.rglob("escaped"))


def test_a_layer_that_was_changed_in_the_registry(registry, files, command, target, tmp_path):
    digest = registry.push("pets", "v1", titled(files))
    blobs = [path for path in tmp_path.rglob("data") if path.stat().st_size == len(files["model.onnx"])]
    blobs[0].write_bytes(bytes(len(files["model.onnx"])))
    done = command(f"oci://{registry.address}/pets@sha256:{digest}", target, "--insecure")
    assert done.code == 1
    assert "model.onnx has the SHA-256" in done.err
    assert not target.exists()


def test_a_wrong_digest_is_known_before_anything_is_fetched(registry, files, command, target):
    digest = registry.push("pets", "v1", titled(files))
    done = command(f"oci://{registry.address}/pets:v1", target, "--insecure", "--sha256", "00" * 32)
    assert done.code == 1
    assert f"has a manifest with the SHA-256 {digest}, expected {'00' * 32}" in done.err


def test_what_is_not_there(registry, files, command, target):
    registry.push("pets", "v1", titled(files))
    for name in ("pets:v2", "cats:v1"):
        done = command(f"oci://{registry.address}/{name}", target, "--insecure", "--unverified")
        assert done.code == 1
        assert "404 Not Found; is the path right?" in done.err
    done = command(f"oci://{registry.address}/pets:v1", target, "--unverified")
    assert done.code == 1
    assert "does not speak TLS; add --insecure" in done.err


def test_credentials_of_docker(start_registry, files, command, target, files_in, tmp_path):
    registry = start_registry(user="models")
    registry.push("pets", "v1", titled(files))
    words = (f"oci://{registry.address}/pets:v1", target, "--insecure", "--unverified")
    home = {"HOME": str(tmp_path / "home")}
    done = command(*words, environment=home)
    assert done.code == 1
    assert f"the registry {registry.address} wants credentials" in done.err
    assert "config.json" in done.err

    def configure(password):
        auth = base64.b64encode(f"models:{password}".encode()).decode()
        (tmp_path / "docker").mkdir(exist_ok=True)
        (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {registry.address: {"auth": auth}}}))
        return {**home, "DOCKER_CONFIG": str(tmp_path / "docker")}

    done = command(*words, environment=configure("wrong"))
    assert done.code == 1
    assert "refused the credentials" in done.err
    assert "wrong" not in done.err
    assert command(*words, environment=configure("secret")).code == 0
    assert files_in(target) == files


def test_tls(start_registry, authority, files, command, target, files_in):
    certificate, key = authority.leaf("registry")
    registry = start_registry(tls=(certificate, key, authority.certificate))
    digest = registry.push("pets", "v1", titled(files))
    words = (f"oci://{registry.address}/pets@sha256:{digest}", target)
    done = command(*words)
    assert done.code == 1
    assert "certificate is not trusted" in done.err
    assert command(*words, "--ca", authority.certificate).code == 0
    assert files_in(target) == files


def test_a_cut_layer_is_resumed(registry, files, target, monkeypatch, files_in):
    from edgewise.agent.fetching.fetch import FetchRequest, fetch
    from edgewise.agent.fetching.oci_source import OciSource
    from edgewise.agent.fetching.port import TransferError
    from edgewise.agent.fetching.retries import RetryPolicy
    from edgewise.agent.fetching.uris import parse_uri

    registry.push("pets", "v1", titled(files))
    chunks, opened, starts = OciSource._chunks, OciSource.open, []

    def cut(source, response):
        for chunk in chunks(source, response):
            yield chunk
            if len(starts) == 1:
                raise TransferError("cut")

    def open_(source, piece, start_bytes):
        body = opened(source, piece, start_bytes)
        starts.append(body.start_bytes)
        return body

    monkeypatch.setattr(OciSource, "_chunks", cut)
    monkeypatch.setattr(OciSource, "open", open_)
    uri = parse_uri(f"oci://{registry.address}/pets:v1")
    fetch(FetchRequest(uri, target, insecure=True, policy=RetryPolicy(3, base_s=0.001, cap_s=0.001)), print)
    assert 0 < starts[1] < len(files["model.onnx"])
    assert files_in(target) == files
