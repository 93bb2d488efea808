"""Files of web servers, over the standard library.

What was cut is resumed only where the server can say that the file is still the same: a strong ETag or a date goes along as
If-Range, and a server that has another file by now sends all of it (RFC 9110, sections 13.1.5 and 14).
"""

import base64
import http.client
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from edgewise import __version__
from edgewise.agent.fetching.port import Body, Kind, Offer, Piece, TimeLimits, TransferError
from edgewise.agent.fetching.retries import retry_after_s
from edgewise.agent.fetching.uris import HttpUri
from edgewise.core.errors import (
    EdgewiseError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)

CHUNK_BYTES = 1 << 18
MAX_REDIRECTS = 10
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which another try makes sense."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:(\d{1,18})|\*)")


@dataclass(slots=True)
class _Seen:
    """What the first answer said about the file.

    Attributes:
        validator: for If-Range; "" when the server gave none that is strong.
    """

    total_bytes: int | None
    validator: str


class HttpSource:
    """One file of a web server.

    Args:
        ca: certificates (PEM) to trust in place of the system's.

    Raises:
        InvalidArgumentError: `ca` holds no certificates.
    """

    def __init__(self, uri: HttpUri, *, limits: TimeLimits, ca: Path | None = None) -> None:
        self._shown = uri.shown
        parts = urlsplit(uri.url)
        user, at, host = parts.netloc.rpartition("@")
        self._url = urlunsplit(parts._replace(netloc=host, path=parts.path or "/"))
        self._authorization = ""
        if at:
            name, _, password = user.partition(":")
            credentials = f"{unquote(name)}:{unquote(password)}".encode()
            self._authorization = f"Basic {base64.b64encode(credentials).decode()}"
        self._opener = _opener(limits, tls_context(ca))
        self._seen: _Seen | None = None

    def offer(self) -> Offer:
        """See `Source`."""
        name = unquote(urlsplit(self._url).path).rpartition("/")[2]
        return Offer(Kind.FILE, (Piece(name or "the file"),))

    def open(self, piece: Piece, start_bytes: int) -> Body:  # noqa: ARG002  (there is one piece)
        """See `Source`."""
        if start_bytes and (self._seen is None or not self._seen.validator):
            start_bytes = 0
        response = self._ask(start_bytes)
        try:
            return self._body(response, start_bytes)
        except BaseException:
            response.close()
            raise

    def close(self) -> None:
        """See `Source`."""
        self._opener.close()

    def _ask(self, start_bytes: int) -> Any:
        # Bytes as they lie there: an encoding would be part of what the digest is taken of.
        request = urllib.request.Request(self._url, headers={"Accept-Encoding": "identity"})  # noqa: S310  (http and https only)
        request.add_header("User-Agent", f"edgewise/{__version__}")
        if start_bytes and self._seen is not None:
            request.add_header("Range", f"bytes={start_bytes}-")
            request.add_header("If-Range", self._seen.validator)
        if self._authorization:
            # Not for whoever the server redirects to.
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            return self._opener.open(request)
        except EdgewiseError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise connection_error(error, self._shown) from error

    def _body(self, response: Any, start_bytes: int) -> Body:
        status: int = response.status
        headers = response.headers
        if status == HTTPStatus.PARTIAL_CONTENT and start_bytes:
            found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
            total = int(found[3]) if found and found[3] else None
            seen = self._seen
            known = seen.total_bytes if seen is not None else None
            if found and int(found[1]) == start_bytes and (None in {total, known} or total == known):
                return Body(
                    start_bytes, known if total is None else total, _chunks(response, self._shown), response.close
                )
            self._seen = None
            raise TransferError(f"{self._shown}: the server sent another part of the file than was asked for")
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start_bytes:
            self._seen = None
            raise TransferError(f"{self._shown}: the file is shorter than it was; it is fetched anew")
        if status != HTTPStatus.OK:
            raise status_error(status, self._shown, headers.get("Retry-After"))
        length = headers.get("Content-Length", "")
        chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        total = int(length) if _LENGTH.fullmatch(length) and not chunked else None
        self._seen = _Seen(total, _strong_validator(headers))
        return Body(0, total, _chunks(response, self._shown), response.close)


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """What servers are checked against: the system's certificates, or those of `ca`.

    Raises:
        InvalidArgumentError: `ca` holds none.
    """
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise InvalidArgumentError(f"--ca {ca} holds no certificates that can be read; expected a PEM file") from error


def connection_error(error: Exception, shown: str) -> EdgewiseError:
    """What a try that failed below HTTP means."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return UnavailableError(
            f"{shown}: the server's certificate is not trusted ({reason.verify_message}); name its authority with --ca FILE"
        )
    if isinstance(reason, TimeoutError):
        return TransferError(f"{shown}: the server kept silent for too long")
    if isinstance(reason, socket.gaierror):
        return TransferError(f"{shown}: the host's name has no address ({reason.strerror})")
    if isinstance(reason, OSError) and reason.strerror:
        return TransferError(f"{shown}: {reason.strerror}")
    if isinstance(reason, http.client.IncompleteRead | http.client.RemoteDisconnected | ConnectionError | EOFError):
        return TransferError(f"{shown}: the connection was cut")
    return TransferError(f"{shown}: the server does not speak HTTP as expected, or the connection broke")


def status_error(status: int, shown: str, retry_after: str | None) -> EdgewiseError:
    """What an HTTP status that brings no file means."""
    phrase = f"{status} {http.client.responses.get(status, '')}".strip()
    if status in BUSY:
        return TransferError(
            f"{shown}: the server answered {phrase}",
            retry_after_s=retry_after_s(retry_after, wall_clock_s=time.time()),
        )
    match status:
        case 401 | 403 | 407:
            return PermissionDeniedError(
                f"{shown}: the server answered {phrase}; does it want credentials, has a signed URL expired?"
            )
        case 404 | 410:
            return NotFoundError(f"{shown}: the server answered {phrase}; is the path right?")
        case _:
            return FailedPreconditionError(f"{shown}: the server answered {phrase}; expected 200 and the file")


def _strong_validator(headers: Any) -> str:
    tag: str = headers.get("ETag", "").strip()
    if tag.startswith('"'):
        return tag
    # A date is strong when the server's clock was past it by a second at least: nothing can have changed within it.
    date, modified = headers.get("Date"), headers.get("Last-Modified")
    if tag or not date or not modified:
        return ""
    passed_s = retry_after_s(date, wall_clock_s=retry_after_s(modified, wall_clock_s=0.0) or 0.0)
    return str(modified) if passed_s is not None and passed_s >= 1 else ""


def _chunks(response: Any, shown: str) -> Iterator[bytes]:
    while True:
        try:
            chunk: bytes = response.read1(CHUNK_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise connection_error(error, shown) from error
        if not chunk:
            return
        yield chunk


def _opener(limits: TimeLimits, context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """Opens HTTP and HTTPS only, through the proxies that the environment names, and gives every status as an answer."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(limits),
        _Https(limits, context),
        _Redirects(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Http(urllib.request.HTTPHandler):
    def __init__(self, limits: TimeLimits) -> None:
        super().__init__()
        self._limits = limits

    def http_open(self, req: urllib.request.Request) -> Any:
        limits = self._limits

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                self.timeout = limits.connect_s
                super().connect()
                self.sock.settimeout(limits.stall_s)

        return self.do_open(Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, limits: TimeLimits, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._limits = limits
        self._tls = context

    def https_open(self, req: urllib.request.Request) -> Any:
        limits = self._limits

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                self.timeout = limits.connect_s
                super().connect()
                self.sock.settimeout(limits.stall_s)

        return self.do_open(Connection, req, context=self._tls)


class _Redirects(urllib.request.BaseHandler):
    """Follows redirects, but never from HTTPS to what anyone on the way can change."""

    handler_order = 900

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        if response.status not in _REDIRECTS:
            return response
        count = getattr(request, "redirects", 0) + 1
        location = response.headers.get("Location", "")
        response.close()
        target = urllib.parse.urljoin(request.full_url, location)
        shown = HttpUri(request.full_url).shown
        scheme = urlsplit(target).scheme
        if not location or scheme not in {"http", "https"}:
            raise FailedPreconditionError(f"{shown}: the server redirects to what is no http(s) URL")
        if count > MAX_REDIRECTS:
            raise FailedPreconditionError(f"{shown}: the server redirects more than {MAX_REDIRECTS} times")
        if request.type == "https" and scheme == "http":
            raise FailedPreconditionError(
                f"{shown}: the server redirects from https to {HttpUri(target).shown}, which anyone on the way could change"
            )
        # Authorization is an unredirected header, so it does not go along.
        following = urllib.request.Request(target, headers=dict(request.headers))  # noqa: S310  (the scheme was checked)
        following.redirects = count  # type: ignore[attr-defined]  # goes with this request from handler to handler
        return self.parent.open(following)

    https_response = http_response
