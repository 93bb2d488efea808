"""An S3 server in a virtual environment of its own, and Debian's OCI registry."""

import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import urllib.request

import pytest

from support import environments
from support.certificates import Authority
from support.waiting import wait_for

PASSWORD = "secret"
BCRYPT_OF_PASSWORD = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
"""The only hash that the registry reads, and nothing that is installed makes."""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextlib.contextmanager
def running(words, log, answers, environment=None):
    """A server, once it answers."""
    with log.open("wb") as sink:
        process = subprocess.Popen(words, stdout=sink, stderr=sink, env={**os.environ, **(environment or {})})
    try:

        def ready():
            assert process.poll() is None, log.read_text()
            return answers()

        wait_for(ready)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def listens(port):
    def answers():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    return answers


# ---- S3


@pytest.fixture(scope="session")
def moto_server():
    """The path of moto's server."""
    return environments.environment("fetching-s3").with_name("moto_server")


class S3:
    """A server with one bucket, `models`."""

    def __init__(self, port, store):
        self.url = f"http://127.0.0.1:{port}"
        self._store = store

    def put(self, key, content):
        self._store.put(key, content)


@pytest.fixture(scope="session")
def s3_server(moto_server, tmp_path_factory):
    port = free_port()
    log = tmp_path_factory.mktemp("s3") / "log"
    with running([str(moto_server), "-H", "127.0.0.1", "-p", str(port)], log, listens(port)):
        yield port


@pytest.fixture
def s3(s3_server, monkeypatch):
    from obstore.store import S3Store

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    url = f"http://127.0.0.1:{s3_server}"
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    authorization = (
        "AWS4-HMAC-SHA256 Credential=somebody/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    )
    request = urllib.request.Request(f"{url}/models", method="PUT", headers={"Authorization": authorization})
    urllib.request.urlopen(request).close()
    return S3(s3_server, S3Store("models", region="us-east-1", client_options={"allow_http": True}))


# ---- OCI


def registry_program():
    """Debian's registry, installed where root may; else the test is skipped with the reason."""
    try:
        environments.programs(["docker-registry"])
    except environments.InstallError as error:
        pytest.skip(str(error))
    return shutil.which("docker-registry")


class Registry:
    """A registry, and pushes to it."""

    def __init__(self, port, scheme, authorization, ca):
        self.address = f"127.0.0.1:{port}"
        self._url = f"{scheme}://{self.address}"
        self._authorization = authorization
        self._ca = ca

    def _send(self, method, url, content=b"", kind="application/octet-stream"):
        request = urllib.request.Request(url, data=content, method=method, headers={"Content-Type": kind})
        if self._authorization:
            request.add_header("Authorization", self._authorization)
        context = ssl.create_default_context(cafile=self._ca) if self._ca else None
        with urllib.request.urlopen(request, context=context) as response:
            return response.headers

    def blob(self, name, content):
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        location = self._send("POST", f"{self._url}/v2/{name}/blobs/uploads/")["Location"]
        self._send("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", content)
        return digest

    def push(self, name, tag, layers, media_type="application/vnd.oci.image.manifest.v1+json", **about):
        """Push layers of (media type, title, content); gives the manifest's digest, hexadecimal."""
        described = [
            {
                "mediaType": kind,
                "size": len(content),
                "digest": self.blob(name, content),
                **({"annotations": {"org.opencontainers.image.title": title}} if title else {}),
            }
            for kind, title, content in layers
        ]
        config = {"mediaType": "application/vnd.unknown.config.v1+json", "size": 2, "digest": self.blob(name, b"{}")}
        manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": described, **about}
        content = json.dumps(manifest).encode()
        self._send("PUT", f"{self._url}/v2/{name}/manifests/{tag}", content, media_type)
        return hashlib.sha256(content).hexdigest()


@pytest.fixture
def start_registry(tmp_path):
    """Starts registries: plain, with a password, with TLS."""
    with contextlib.ExitStack() as stack:
        program = registry_program()

        def start(*, user="", tls=None):
            port = free_port()
            home = tmp_path / f"registry-{port}"
            home.mkdir()
            config = {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(home / "storage")}},
                "http": {"addr": f"127.0.0.1:{port}", "secret": "s"},
            }
            authorization = ""
            if user:
                config["auth"] = {"htpasswd": {"realm": "models", "path": str(home / "users")}}
                (home / "users").write_text(f"{user}:{BCRYPT_OF_PASSWORD}\n")
                authorization = f"Basic {base64.b64encode(f'{user}:{PASSWORD}'.encode()).decode()}"
            if tls:
                config["http"]["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
            (home / "config.yml").write_text(json.dumps(config))
            stack.enter_context(running([program, "serve", str(home / "config.yml")], home / "log", listens(port)))
            ca = tls[2] if tls else None
            return Registry(port, "https" if tls else "http", authorization, ca)

        yield start


# ---- what is fetched


@pytest.fixture(scope="session")
def files():
    return {
        "model.onnx": b"\x08\x0a" + os.urandom(900_000),
        "model.toml": b"# settings\n",
        "labels/en.txt": b"cat\ndog\n",
    }


@pytest.fixture(scope="session")
def pack():
    def pack(files, top=""):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(top + name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return data.getvalue()

    return pack


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "authority")


class Done:
    def __init__(self, process):
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr


@pytest.fixture
def command():
    """Runs `edgewise fetch WORDS...`."""

    def run(*words, environment=None):
        return Done(
            subprocess.run(
                [sys.executable, "-m", "edgewise", "fetch", *map(str, words)],
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
                env={**os.environ, **(environment or {})},
            )
        )

    return run


@pytest.fixture(scope="session")
def files_in():
    return lambda directory: {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
