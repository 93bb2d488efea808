"""A small API server over HTTP: answers what a test has laid out, and keeps what it was asked."""

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit


@dataclass
class Question:
    """One call as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, object]
Act = Callable[[Question, BaseHTTPRequestHandler], Answer | None]


@dataclass
class FakeApiServer:
    """The server, for use in a `with`.

    Attributes:
        answers: by method and path: status and JSON (or bytes), or what to do, which answers itself when it returns None.
        asked: in the order of arrival.
    """

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    answers: dict[tuple[str, str], Answer | Act] = field(default_factory=dict)
    asked: list[Question] = field(default_factory=list)

    def __enter__(self) -> Self:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                fake.answer(self)

            do_GET = do_PATCH = do_DELETE = do_POST = answer  # noqa: N815 - the names that the library calls

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that hangs up, or refuses the certificate, is what a test is about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.released = threading.Event()
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def address(self) -> str:
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        place = urlsplit(handler.path)
        length = int(handler.headers.get("content-length") or 0)
        question = Question(
            handler.command,
            place.path,
            parse_qs(place.query),
            {name.lower(): value for name, value in handler.headers.items()},
            handler.rfile.read(length),
        )
        self.asked.append(question)
        found = self.answers.get((handler.command, place.path), (404, {"kind": "Status", "message": "not found"}))
        answer = found(question, handler) if callable(found) else found
        if answer is None:
            return
        status, content = answer
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def hang(self, question: Question, handler: BaseHTTPRequestHandler) -> None:
        """Never answer."""
        self.released.wait()

    def drip(self, question: Question, handler: BaseHTTPRequestHandler) -> None:
        """Answer a byte now and then, and never come to an end."""
        handler.send_response(200)
        handler.send_header("content-length", "1000000")
        handler.end_headers()
        while not self.released.wait(0.02):
            handler.wfile.write(b" ")
            handler.wfile.flush()
