"""What the suites around a running gateway ask it, and sites that do what a test wants."""

import concurrent.futures
import contextlib
import http.server
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from support.rest_questions import Answer, RestQuestions
from support.waiting import WAIT_S

PREDICTION = b'{"predictions":[[0.25,0.75]]}'


class Ask(RestQuestions):
    """Questions to one gateway."""

    def __init__(self, gateway, tls=None):
        super().__init__(f"{gateway.scheme}://localhost:{gateway.rest_port}", tls)
        self.gateway = gateway

    def predict(self, model="tiny", *, headers=None) -> Answer:
        return self.rest(f"/v1/models/{model}:predict", {"instances": [[0.5] * 8]}, headers=headers)

    def links(self, headers=None) -> Any:
        return self.rest("/edgewise/v1/links", headers=headers).json

    def state(self, site) -> str:
        return next(one["state"] for one in self.links()["sites"] if one["name"] == site)


@pytest.fixture(scope="session")
def ask():
    """Makes an `Ask` of a gateway."""
    return Ask


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
