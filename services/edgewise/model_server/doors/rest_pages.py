"""REST answers that are about the server, not about a prediction: metrics, API description, the page for people."""

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgewise.net.distribution import METRICS_TYPE
from edgewise.net.exchange import Exchange, Header

if TYPE_CHECKING:
    from edgewise.model_server.service import Service

JSON: Final[Header] = (b"content-type", b"application/json")
_HTML: Final[Header] = (b"content-type", b"text/html; charset=utf-8")


class Pages:
    """Answers by path; methods other than GET and HEAD are refused.

    Attributes:
        open_to_all: paths that are answered without an API key.
    """

    open_to_all: Final = frozenset((b"/", b"/docs", b"/openapi.json"))

    def __init__(self, service: "Service") -> None:
        metrics = service.metrics
        self._pages: dict[bytes, Callable[[], tuple[tuple[Header, ...], bytes]]] = {
            b"/metrics": lambda: (((b"content-type", METRICS_TYPE),), metrics.exposition()),
            b"/openapi.json": self._openapi,
            b"/docs": self._page,
            b"/": self._page,
        }
        path, tensorflow = service.options.monitoring_path, metrics.tensorflow
        if path and tensorflow is not None:
            self._pages[path.encode()] = lambda: (((b"content-type", METRICS_TYPE),), tensorflow.exposition())
        self._with_keys = service.api_keys is not None
        self._document = b""
        self._page_answer: tuple[tuple[Header, ...], bytes] | None = None

    def __contains__(self, path: bytes) -> bool:
        return path in self._pages

    def answer(self, exchange: Exchange) -> None:
        """Answer a path that is in here."""
        if exchange.method not in (b"GET", b"HEAD"):
            exchange.respond(405, (JSON, (b"allow", b"GET, HEAD")), b'{"error":"this path takes GET and HEAD only"}')
            return
        headers, body = self._pages[exchange.path]()
        exchange.respond(200, headers, body)

    def _openapi(self) -> tuple[tuple[Header, ...], bytes]:
        if not self._document:
            from edgewise.model_server.doors import openapi  # noqa: PLC0415  (made once someone asks)

            self._document = openapi.document(with_keys=self._with_keys)
        return (JSON,), self._document

    def _page(self) -> tuple[tuple[Header, ...], bytes]:
        if self._page_answer is None:
            page = Path(__file__).with_name("docs_page.html").read_bytes()
            self._page_answer = (_HTML, (b"content-security-policy", _policy(page))), page
        return self._page_answer


def _policy(page: bytes) -> bytes:
    """What a browser may load for the page: its own script and style, pictures that it makes itself, this server."""

    def allowed(tag: bytes) -> bytes:
        found = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
        return b" ".join(b"'sha256-%b'" % base64.b64encode(hashlib.sha256(text).digest()) for text in found)

    return (
        b"default-src 'none'; connect-src 'self'; img-src blob: data:; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'; script-src %b; style-src %b" % (allowed(b"script"), allowed(b"style"))
    )
