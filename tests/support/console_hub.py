"""A hub as the operator's commands see it: real metadata, blobs in memory, and answers that a test lays out."""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from edgewise.core.errors import Code, EdgewiseError
from edgewise.hub.trust.repository import Repository
from edgewise.protocols.documents import time_text
from edgewise.protocols.http_status import TFS_STATUS
from edgewise.protocols.trusted_documents import encode_desired_keys, encode_policy
from edgewise.trust.keys import SigningKey
from edgewise.trust.offline import OfflineTrust
from edgewise.trust.tuf_files import DESIRED_KEYS, POLICY

TOKEN = "secret-of-the-operator"


class ConsoleHub:
    """Serves in threads.

    Attributes:
        answers: by "METHOD /path": a value of JSON, bytes, or what makes one of (query, body); may raise EdgewiseError.
        asked: every request, as "METHOD /path".
        blobs: contents by digest.
        offline: what the operator has.
        desired_key: signs desired states.
        wanted: what each site is told, signed for a bundle: (until when, in seconds since the epoch) makes the envelope.
        clock: the hub's and the operator's.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.wanted: dict[str, Callable[[float], bytes]] = {}
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self.online, self.desired_key = SigningKey.generated(), SigningKey.generated()
        contents = {POLICY: encode_policy({}), DESIRED_KEYS: encode_desired_keys([self.desired_key.public_hex])}
        self.offline = OfflineTrust.created(directory / "offline", self.online.public_hex, contents, clock=clock)
        self.repository = Repository.created(
            directory / "tuf",
            self.online,
            roots=self.offline.root_files(),
            targets=self.offline.targets_file(),
            contents=contents,
            clock=clock,
        )
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def serving(self) -> Iterator["ConsoleHub"]:
        """Be there."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> bytes:
        """What is said to a request."""
        found = self.answers.get(f"{method} {path}")
        if found is not None:
            value = found(query, body) if callable(found) else found
            return value if isinstance(value, bytes) else json.dumps(value).encode()
        place, _, name = path.removeprefix("/").partition("/")
        match (method, place):
            case ("GET", "tuf"):
                kind, _, file = name.partition("/")
                return self.repository.read(file) if kind == "metadata" else self.repository.target(file)
            case (_, "blobs"):
                return self._blob(method, name.removeprefix("sha256/"), body)
            case ("PUT", "api"):
                self.repository.put_target(name.removeprefix("v1/targets/"), body)
                return b"{}"
            case ("POST", "api") if name == "v1/bundles":
                return self._bundle(json.loads(body))
            case ("POST", "api") if name == "v1/metadata/targets":
                self.repository.accept_targets(body)
                return b"{}"
        raise _Wrong(Code.NOT_FOUND, f"there is no {path}")

    def _bundle(self, asked: dict[str, Any]) -> bytes:
        until_s = self.clock() + asked["valid_for_s"]
        timestamp = self.repository.carried(until_s).decode()
        desired = None if asked["site"] is None else self.wanted[asked["site"]](until_s).decode()
        return json.dumps({"until": time_text(until_s), "timestamp": timestamp, "desired": desired}).encode()

    def _blob(self, method: str, sha256: str, body: bytes) -> bytes:
        if method == "PUT":
            if hashlib.sha256(body).hexdigest() != sha256:
                raise _Wrong(Code.INVALID_ARGUMENT, "the blob is not what its name says")
            self.blobs[sha256] = body
            return b"{}"
        if sha256 not in self.blobs:
            raise _Wrong(Code.NOT_FOUND, f"there is no blob {sha256}")
        return self.blobs[sha256]

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805  the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                path = unquote(parts.path)
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                hub.asked.append(f"{self.command} {path}")
                try:
                    if self.headers.get("authorization") != f"Bearer {TOKEN}":
                        raise _Wrong(Code.UNAUTHENTICATED, "the token is unknown")
                    status, content = 200, hub.answer(self.command, path, dict(parse_qsl(parts.query)), body)
                except (EdgewiseError, _Wrong) as error:
                    status = TFS_STATUS[error.code]
                    content = json.dumps({"error": error.message, "code": error.code.value}).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        for method in ("GET", "HEAD", "POST", "PUT", "PATCH"):
            setattr(Handler, f"do_{method}", Handler._serve)
        return Handler


class _Wrong(Exception):  # noqa: N818  it is a message
    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message
