"""A web server that misbehaves on command, versions to fetch, and fetches that wait for nothing."""

import functools
import hashlib
import http.server
import io
import os
import ssl
import tarfile
import threading
from dataclasses import dataclass, field

import pytest

from edgewise.agent.fetching.fetch import FetchRequest, fetch
from edgewise.agent.fetching.port import TimeLimits
from edgewise.agent.fetching.retries import RetryPolicy
from edgewise.agent.fetching.uris import parse_uri

ONNX = b"\x08\x0a" + b"an ONNX file begins like this; " * 100


@dataclass
class Step:
    """How one request is answered.

    Attributes:
        status, headers: in place of the usual ones.
        cut_after_bytes, stall_after_bytes: of the body.
        ignore_range: whether all of the file is sent, whatever is asked for.
        content: what the file is from now on.
        wrong_range: whether another part is sent than was asked for.
        unsized: no Content-Length: the end of the connection is the end of the file.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut_after_bytes: int | None = None
    stall_after_bytes: int | None = None
    ignore_range: bool = False
    content: bytes | None = None
    wrong_range: bool = False
    unsized: bool = False
    chunked: bool = False


@dataclass
class Asked:
    path: str
    headers: dict[str, str]


class WebServer:
    """Files, and a list of steps: each GET takes the first one, later ones are answered as they should be.

    Attributes:
        content: what lies where `files`, by path, names nothing else.
        asked: the GETs so far.
    """

    def __init__(self, tls=None):
        self.content = b""
        self.files = {}
        self.etag = True
        self.steps = []
        self.asked = []
        self.over = threading.Event()
        self.stalled = threading.Event()
        handler = functools.partial(_Handler, self)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        scheme = "https" if tls else "http"
        self.port = self._server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def at(self, path):
        return self.files.get(path, self.content)

    def stop(self):
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, place, *rest):
        self.place = place
        super().__init__(*rest)

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        content = self.place.at(self.path)
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")
        self.end_headers()

    def do_GET(self):
        place = self.place
        place.asked.append(Asked(self.path, {name.title(): value for name, value in self.headers.items()}))
        step = place.steps.pop(0) if place.steps else Step()
        if step.content is not None:
            place.content = step.content
        content = place.at(self.path)
        self.close_connection = True
        if step.status:
            self.send_response(step.status)
            for name, value in {"Content-Length": "0", **step.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start = 0
        asked = self.headers.get("Range")
        current = self.headers.get("If-Range") in {None, tag} and self.headers.get("If-Match") in {None, tag}
        if asked and current and not step.ignore_range:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            if step.wrong_range:
                start = max(0, start - 7)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        if step.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not step.unsized:
            self.send_header("Content-Length", str(len(body)))
        if place.etag:
            self.send_header("ETag", tag)
            self.send_header("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")
        for name, value in step.headers.items():
            self.send_header(name, value)
        self.end_headers()
        ends = step.cut_after_bytes if step.cut_after_bytes is not None else step.stall_after_bytes
        part = body if ends is None else body[:ends]
        if step.chunked:
            self.wfile.write(b"%x\r\n%b" % (len(body), part) + (b"\r\n0\r\n\r\n" if part == body else b""))
        else:
            self.wfile.write(part)
        self.wfile.flush()
        if step.stall_after_bytes is not None:
            place.stalled.set()
            place.over.wait(60)


@pytest.fixture
def web():
    server = WebServer()
    yield server
    server.stop()


@pytest.fixture
def start_web():
    """Starts further servers."""
    servers = []

    def start(**options):
        servers.append(WebServer(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def step():
    return Step


def packed(files):
    """A tar.gz of files given as bytes by name."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


@dataclass
class Version:
    """A model version: its files, and the same as an archive."""

    files: dict[str, bytes]
    archive: bytes

    @property
    def sha256(self):
        return hashlib.sha256(self.archive).hexdigest()


@pytest.fixture(scope="session")
def version():
    files = {"model.onnx": ONNX + os.urandom(300_000), "model.toml": b"# settings\n", "labels/en.txt": b"cat\ndog\n"}
    return Version(files, packed(files))


class Fetches:
    """Fetches to `directory` that retry without waiting, and what they said."""

    def __init__(self, directory):
        self.directory = directory
        self.said = []

    def __call__(self, uri, sha256="", *, to=None, **options):
        options = {
            "limits": TimeLimits(5.0, 5.0),
            "policy": RetryPolicy(retries=3, base_s=0.001, cap_s=0.002),
            "timeout_s": 60.0,
        } | options
        request = FetchRequest(parse_uri(str(uri)), to or self.directory, sha256, **options)
        return fetch(request, self.said.append)

    def nothing_is_left(self):
        """No version, no half of one, and nothing that it was made of."""
        assert not self.directory.exists()
        beside = self.directory.parent / f".{self.directory.name}.fetch"
        assert {path.name for path in beside.iterdir()} <= {"lock"} if beside.exists() else True


@pytest.fixture
def fetches(tmp_path):
    return Fetches(tmp_path / "models" / "pets" / "1")


def files_in(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if not path.is_dir()}


@pytest.fixture(scope="session")
def tools():
    """Helpers for tests that cannot import this file."""

    class Tools:
        onnx = ONNX
        pack = staticmethod(packed)
        files_in = staticmethod(files_in)
        sha256 = staticmethod(lambda data: hashlib.sha256(data).hexdigest())

    return Tools
