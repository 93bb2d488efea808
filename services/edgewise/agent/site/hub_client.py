"""The hub's HTTP API, as a site uses it. No answer is longer than it may be, and none takes longer than it may."""

import contextlib
import http.client
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from edgewise import __version__
from edgewise.agent.fetching.http_source import tls_context
from edgewise.core.errors import (
    EdgewiseError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from edgewise.protocols.desired_state import MAX_DESIRED_BYTES
from edgewise.protocols.documents import read_document

_CONNECT_S: Final = 10.0
_STALL_S: Final = 30.0
_POLL_SLACK_S: Final = 15.0
_MAX_ANSWER_BYTES: Final = 1 << 20
_MAX_ENVELOPE_BYTES: Final = 2 * MAX_DESIRED_BYTES + 65536
_LONGEST_MESSAGE: Final = 500
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/\d{1,18}")
_ERRORS: Final[Mapping[str, type[EdgewiseError]]] = {
    error.code: error
    for error in (
        FailedPreconditionError,
        InvalidArgumentError,
        NotFoundError,
        PermissionDeniedError,
        UnauthenticatedError,
    )
}
_BY_STATUS: Final[Mapping[int, type[EdgewiseError]]] = {
    401: UnauthenticatedError,
    403: PermissionDeniedError,
    404: NotFoundError,
}
"""A 400 that is not the hub's own says nothing of what was sent: what stands in front of a hub answers so as well."""


@dataclass(frozen=True, slots=True)
class Found:
    """A desired state as it came.

    Attributes:
        etag: with which a later question finds out whether there is another one.
    """

    envelope: bytes
    etag: str


class HubClient:
    """One hub.

    Args:
        url: of the hub.
        token: the site's; "" for none.
        ca: certificates (PEM) to trust in place of the system's.
        stall_s: how long the hub may keep silent within an answer.
    """

    def __init__(self, url: str, token: str = "", *, ca: Path | None = None, stall_s: float = _STALL_S) -> None:
        self.url = url
        self._ca = ca
        self._stall_s = stall_s
        self._client = self.client(url, token, ca=ca, stall_s=stall_s)

    @staticmethod
    def client(url: str, token: str, *, ca: Path | None, stall_s: float = _STALL_S) -> httpx.Client:
        """A client of HTTP for one thread."""
        headers = {"User-Agent": f"edgewise/{__version__}", "Accept-Encoding": "identity"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(stall_s, connect=_CONNECT_S),
            verify=tls_context(ca) if url.startswith("https:") else True,
            follow_redirects=False,
        )

    def with_token(self, token: str) -> "HubClient":
        """The same hub, asked by who has that token."""
        return HubClient(self.url, token, ca=self._ca, stall_s=self._stall_s)

    def close(self) -> None:
        """Ask no more."""
        self._client.close()

    def enroll(self, token: str, public_key: str, tier: str, labels: Mapping[str, str]) -> tuple[str, str]:
        """Become a site.

        Returns: its name, and its token.
        Raises: EdgewiseError: the hub refuses, or is away.
        """
        body = {"token": token, "public_key": public_key, "tier": tier, "labels": dict(labels)}
        content = self._ask("POST", "/api/v1/enroll", content=json.dumps(body).encode())
        try:
            top = read_document(content, "the hub's answer", max_bytes=_MAX_ANSWER_BYTES)
            return top.text("site"), top.text("site_token")
        except InvalidArgumentError:
            raise self._unusable() from None

    def root(self) -> bytes:
        """The hub's first root of trust."""
        return self._ask("GET", "/tuf/metadata/1.root.json")

    def desired(self, site: str, etag: str, wait_s: float) -> Found | None:
        """What the hub wants of a site; None when that is still what the ETag says, also after waiting.

        Raises: EdgewiseError: the hub refuses, or is away.
        """
        headers = {"If-None-Match": etag} if etag else {}
        timeout = httpx.Timeout(wait_s + _POLL_SLACK_S, connect=_CONNECT_S)
        path = f"/api/v1/sites/{quote(site, safe='')}/desired"
        with self.stream("GET", path, params={"wait_s": f"{wait_s:g}"}, headers=headers, timeout=timeout) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                return None
            self.check(answer)
            return Found(self.content(answer, _MAX_ENVELOPE_BYTES), answer.headers.get("ETag", ""))

    def report(self, site: str, envelope: bytes) -> None:
        """Tell how the site is.

        Raises: EdgewiseError: the hub refuses, or is away.
        """
        self._ask("POST", f"/api/v1/sites/{quote(site, safe='')}/reports", content=envelope)

    @contextlib.contextmanager
    def blob(self, sha256: str, start: int, end: int) -> Iterator[Iterator[bytes]]:
        """See `transfer.Blobs`."""
        headers = {"Range": f"bytes={start}-{end - 1}", "If-Range": f'"{sha256}"'}
        with self.stream("GET", f"/blobs/sha256/{sha256}", headers=headers) as answer:
            if answer.status_code == httpx.codes.OK and start == 0:
                # Whoever passes ranges over sends all of it; no more is taken than was asked for.
                pass
            elif answer.status_code == httpx.codes.PARTIAL_CONTENT:
                found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
                if not found or (int(found[1]), int(found[2])) != (start, end - 1):
                    raise UnavailableError("the hub sent another part of a file than was asked for")
            elif answer.is_success:
                raise UnavailableError("the hub sent all of a file where a part was asked for")
            else:
                self.check(answer)
            yield self._bounded(answer, end - start)

    def _bounded(self, answer: httpx.Response, count: int) -> Iterator[bytes]:
        """So many bytes of an answer, and never more."""
        parts = self._parts(answer)
        while count > 0:
            part = next(parts, b"")
            if not part:
                raise UnavailableError("the connection to the hub was cut")
            yield part[:count]
            count -= len(part)
        if answer.headers.get("Content-Length") and count == 0:
            # Read to its end, a connection can be used again.
            next(parts, b"")

    def _ask(self, method: str, path: str, *, content: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"} if content is not None else {}
        with self.stream(method, path, content=content, headers=headers) as answer:
            self.check(answer)
            return self.content(answer, _MAX_ANSWER_BYTES)

    @contextlib.contextmanager
    def stream(self, method: str, path: str, **words: Any) -> Iterator[httpx.Response]:
        """An answer while it comes.

        Raises: UnavailableError: the hub is away.
        """
        try:
            with self._client.stream(method, path, **words) as answer:
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise UnavailableError(f"the hub at {self.url} does not answer ({type(error).__name__})") from error

    def _parts(self, answer: httpx.Response) -> Iterator[bytes]:
        try:
            yield from answer.iter_raw()
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise UnavailableError(f"the connection to the hub broke ({type(error).__name__})") from error

    def content(self, answer: httpx.Response, max_bytes: int) -> bytes:
        """All of an answer, which is not longer than it may be.

        Raises: UnavailableError: it is, or the connection breaks.
        """
        found = bytearray()
        for part in self._parts(answer):
            found += part
            if len(found) > max_bytes:
                raise UnavailableError(f"the hub at {self.url} sent more than {max_bytes} bytes")
        return bytes(found)

    def check(self, answer: httpx.Response) -> None:
        """Raise what a status that is no success means."""
        if answer.is_success:
            return
        content = b""
        with contextlib.suppress(EdgewiseError, httpx.HTTPError):
            content = self.content(answer, _MAX_ANSWER_BYTES)
        raise self.refusal(answer.status_code, content)

    def refusal(self, status: int, content: bytes) -> EdgewiseError:
        """What a status that is no success means, with what came with it."""
        said, code = "", ""
        with contextlib.suppress(EdgewiseError):
            top = read_document(content, "the answer", max_bytes=_MAX_ANSWER_BYTES)
            said, code = top.text("error", ""), top.text("code", "")
        kind = _ERRORS.get(code)
        if kind is not None and said:
            # It explains itself; the status adds nothing.
            return kind(f"the hub at {self.url} refuses: {said[:_LONGEST_MESSAGE]}")
        phrase = f"{status} {http.client.responses.get(status, '')}".strip()
        message = f"the hub at {self.url} answered {phrase}" + (f": {said[:_LONGEST_MESSAGE]}" if said else "")
        return (kind or _BY_STATUS.get(status, UnavailableError))(message)

    def _unusable(self) -> UnavailableError:
        return UnavailableError(f"the hub at {self.url} gave an answer that cannot be read; is it a hub?")
