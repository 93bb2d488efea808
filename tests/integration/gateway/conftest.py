"""What the suites around a running gateway ask it, and sites that do what a test wants."""

import concurrent.futures
import contextlib
import http.client
import http.server
import json
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

WAIT_S = 30.0
PREDICTION = b'{"predictions":[[0.25,0.75]]}'


def wait_for(predicate, timeout_s=WAIT_S):
    """The first true value of `predicate()`, asked again and again."""
    ends_s = time.monotonic() + timeout_s
    while not (found := predicate()):
        assert time.monotonic() < ends_s, "it did not come about"
        time.sleep(0.005)
    return found


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def site(self):
        return self.headers["x-edgewise-site"]


class Ask:
    """Questions to one gateway over REST, each on a connection of its own."""

    def __init__(self, gateway, tls=None):
        self.gateway = gateway
        self.tls = tls

    def rest(self, path, body=None, *, method=None, headers=None) -> Answer:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.gateway.scheme}://localhost:{self.gateway.rest_port}{path}"
        request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S, context=self.tls) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def predict(self, model="tiny", *, headers=None) -> Answer:
        return self.rest(f"/v1/models/{model}:predict", {"instances": [[0.5] * 8]}, headers=headers)

    def links(self, headers=None) -> Any:
        return self.rest("/edgewise/v1/links", headers=headers).json

    def state(self, site) -> str:
        return next(one["state"] for one in self.links()["sites"] if one["name"] == site)

    def metrics(self, headers=None) -> dict[str, float]:
        """Sums of the samples by name, and single samples as `name{label=value,...}`."""
        text = self.rest("/metrics", headers=headers).body.decode()
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
                found[f"{sample.name}{{{labels}}}"] = sample.value
        return found


@pytest.fixture(scope="session")
def ask():
    """Makes an `Ask` of a gateway."""
    return Ask


@pytest.fixture(scope="session")
def until():
    return wait_for


class Grpc:
    """Calls by full method name, with raw bytes."""

    def __init__(self, channel):
        self.channel = channel

    def call(self, method, request=b"", *, metadata=(), timeout=WAIT_S):
        """Bytes, error code (None for success), its message, and trailers by name."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        call = self.channel.unary_unary(method).future(data, timeout=timeout, metadata=metadata)
        try:
            answer = call.result()
        except grpc.RpcError as error:
            return b"", error.code(), error.details(), dict(error.trailing_metadata() or ())
        return answer, None, "", dict(call.trailing_metadata() or ())


@pytest.fixture
def grpc_calls():
    """Makes `Grpc` of a gateway (or of a channel), closed after the test."""
    channels = []

    def make(gateway_or_channel):
        channel = gateway_or_channel
        if not isinstance(channel, grpc.Channel):
            channel = grpc.insecure_channel(channel.grpc_target)
        channels.append(channel)
        return Grpc(channel)

    yield make
    for channel in channels:
        channel.close()


class PlainSite:
    """An HTTP server that is not ours: healthy, and its predictions wait while `gate` is closed.

    Attributes:
        gate: predictions wait for it.
        asked: paths and header fields of the predictions that came.
    """

    def __init__(self, context=None):
        site = self
        self.gate = threading.Event()
        self.gate.set()
        self.asked = []
        self.connections = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.say(200, b'{"ready":true}')

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"] or 0))
                if ":predict" not in self.path:
                    self.say(404, b'{"error":"no such path"}')
                    return
                site.asked.append((self.path, dict(self.headers.items())))
                site.gate.wait(WAIT_S)
                self.say(200, PREDICTION)

            def say(self, status, body):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                connection, peer = super().get_request()
                site.connections.append(connection)
                return connection, peer

            def handle_error(self, *_):
                """A gateway that goes away is no news."""

        self.server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.scheme = "http" if context is None else "https"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def url(self):
        host = "127.0.0.1" if self.scheme == "http" else "localhost"
        return f"{self.scheme}://{host}:{self.server.server_address[1]}"

    def close(self):
        """End like a process: the listener and all connections."""
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.thread.join(WAIT_S)


@pytest.fixture
def plain_site():
    """Makes `PlainSite`s, closed after the test."""
    sites = []

    def make(context: ssl.SSLContext | None = None):
        sites.append(PlainSite(context))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def in_thread():
    """Calls a function in a thread; what it makes of it is a `Future`."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        yield pool.submit


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="session")
def children_of():
    """The processes that a process has started."""
    return children


class Authority:
    """Signs leaf certificates, with the openssl command."""

    def __init__(self, directory, name):
        self.directory = directory
        self.certificate = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"
        self._request(name, "-keyout", self.key, "-out", self.certificate)

    @staticmethod
    def _request(name, *words):
        command = [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", f"/CN={name}", *map(str, words)),
        ]
        subprocess.run(command, check=True, capture_output=True)

    def leaf(self, name):
        """Paths of a certificate for localhost and of its key."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        self._request(
            name,
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-CA", self.certificate, "-CAkey", self.key, "-keyout", key, "-out", certificate),
        )
        return certificate, key


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Makes certificate authorities."""
    directory = tmp_path_factory.mktemp("authorities")
    return lambda name: Authority(directory, name)
