"""`edgewise health`: what a container's health check runs, each few seconds, so it imports and does little."""

import argparse
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from edgewise.cli.values import seconds
from edgewise.core.errors import UnavailableError

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

READY_PATH: Final = "/v2/health/ready"
_MAX_STATUS_LINE_BYTES: Final = 4096
_OK: Final = 200


class Asked(NamedTuple):
    """Where the question goes.

    Attributes:
        url: as people read it.
        tls: whether it is https.
    """

    url: str
    tls: bool
    host: str
    port: int
    path: str


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "health",
        help="ask a model server or a gateway whether it is ready",
        description="Ask a model server or a gateway whether it is ready. Exit code 0: it is; 1: it is not, or does not "
        "answer. An https certificate is not checked: nothing is sent that others should not see.",
    )
    command.add_argument(
        "url", type=_url, metavar="URL", help=f"such as http://127.0.0.1:8501; without a path, {READY_PATH} is asked"
    )
    command.add_argument(
        "--timeout-s", type=seconds(zero=False), default=3.0, metavar="S", help="for the whole answer (default 3)"
    )
    command.set_defaults(run=_run)


def _url(word: str) -> Asked:
    wrong = argparse.ArgumentTypeError(
        f"found {word!r}, expected http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:8501"
    )
    try:
        parts = urlsplit(word)
        port = parts.port
    except ValueError:
        raise wrong from None
    plain = word.isascii() and word.isprintable() and " " not in word
    if not plain or parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or parts.username:
        raise wrong
    tls = parts.scheme == "https"
    path = READY_PATH if parts.path in {"", "/"} else parts.path
    query = f"?{parts.query}" if parts.query else ""
    return Asked(
        f"{parts.scheme}://{parts.netloc}{path}{query}",
        tls,
        parts.hostname,
        port or (443 if tls else 80),
        f"{path}{query}",
    )


def _run(arguments: argparse.Namespace) -> int:
    asked: Asked = arguments.url
    try:
        status = _status(asked, arguments.timeout_s)
    except TimeoutError:
        raise UnavailableError(f"{asked.url} did not answer within {arguments.timeout_s:g} s") from None
    except OSError as error:
        # ssl's errors are OSErrors as well, some of them without text.
        raise UnavailableError(f"{asked.url} cannot be asked: {error.strerror or type(error).__name__}") from None
    if status != _OK:
        raise UnavailableError(f"{asked.url} is not ready: it answered {status}")
    print(f"{asked.url} is ready")
    return 0


def _status(asked: Asked, timeout_s: float) -> int:
    """The status of the answer.

    Raises:
        TimeoutError: it took longer than `timeout_s`.
        OSError: nobody listens, or the connection broke.
        UnavailableError: what answers does not speak HTTP/1.
    """
    ends_s = time.monotonic() + timeout_s
    with closing(_connected(asked, timeout_s)) as connection:
        host = f"[{asked.host}]" if ":" in asked.host else asked.host
        head = f"GET {asked.path} HTTP/1.1\r\nHost: {host}:{asked.port}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode("ascii"))
        answer = b""
        while b"\n" not in answer and len(answer) < _MAX_STATUS_LINE_BYTES:
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            connection.settimeout(left_s)
            piece = connection.recv(_MAX_STATUS_LINE_BYTES)
            if not piece:
                break
            answer += piece
    words = answer.partition(b"\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise UnavailableError(f"what answers at {asked.url} does not speak HTTP; name the port for REST")
    return int(words[1])


def _connected(asked: Asked, timeout_s: float) -> socket.socket:
    plain = socket.create_connection((asked.host, asked.port), timeout=timeout_s)
    if not asked.tls:
        return plain
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(plain, server_hostname=asked.host)
    except BaseException:
        plain.close()
        raise
