"""What the gateway answers about itself: health, metrics, links, and the live page."""

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from edgewise import __version__
from edgewise.core.errors import EdgewiseError
from edgewise.gateway.canary_view import own_canaries, shown_canaries
from edgewise.gateway.capture_view import own_capture, shown_capture
from edgewise.gateway.links_view import merged_view, own_view
from edgewise.gateway.numbers import Numbers, merged, own_numbers
from edgewise.net.distribution import METRICS_TYPE
from edgewise.net.exchange import Exchange, Header

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from edgewise.gateway.service import GatewayService
    from edgewise.gateway.siblings import Siblings
    from edgewise.net.exposition import Exposition

_LOG: Final = logging.getLogger(__name__)

JSON: Final[Header] = (b"content-type", b"application/json")
_FRESH: Final[Header] = (b"cache-control", b"no-store")
_METRICS: Final[tuple[Header, ...]] = ((b"content-type", METRICS_TYPE),)

Page = Callable[[Exchange], None]


class Pages:
    """Answers by path. Neither health nor the page itself needs a key; the page asks for one where the links need it.

    Attributes:
        siblings: the other worker processes; None when there are none.
    """

    def __init__(self, service: "GatewayService") -> None:
        self.siblings: Siblings | None = None
        self._service = service
        self._tasks: set[asyncio.Task[None]] = set()
        self._exposition: Exposition | None = None
        self._numbers: Numbers = {}
        self._live: tuple[tuple[Header, ...], bytes] | None = None
        self._open: dict[bytes, Page] = {
            b"/": self._live_page,
            b"/health": self._health,
            b"/v2/health/live": lambda exchange: exchange.respond(200, (JSON,), b'{"live":true}'),
            b"/v2/health/ready": self._ready,
        }
        self._closed: dict[bytes, Page] = {
            b"/metrics": self._metrics,
            b"/edgewise/v1/links": self._links,
            b"/edgewise/v1/canaries": self._canaries,
            b"/edgewise/v1/capture": self._capture,
        }
        self.answers: dict[str, Callable[[], dict[str, Any]]] = {
            "numbers": self._own_numbers,
            "links": lambda: own_view(service),
            "canaries": lambda: own_canaries(service.canaries),
            # What processes ask of each other is an object.
            "capture": lambda: {"capture": own_capture(service.capture)},
        }

    def answer(self, exchange: Exchange) -> bool:
        """Answer what is asked of the gateway itself.

        Returns: whether the path is one of these.
        """
        path = exchange.path
        page = self._open.get(path)
        if page is None:
            page = self._closed.get(path)
            if page is None:
                return False
        if exchange.method not in (b"GET", b"HEAD"):
            exchange.respond(405, (JSON, (b"allow", b"GET, HEAD")), b'{"error":"this path takes GET and HEAD only"}')
            return True
        if path in self._closed:
            try:
                self._service.check_key(exchange.headers.get(b"authorization"), exchange.headers.get(b"x-api-key"))
            except EdgewiseError as error:
                headers = (JSON, _FRESH, (b"www-authenticate", b"Bearer"))
                exchange.respond(401, headers, orjson.dumps({"error": error.message}))
                return True
        page(exchange)
        return True

    # --- health ---

    def _ready(self, exchange: Exchange) -> None:
        ready = self._service.ready()
        exchange.respond(200 if ready else 503, (JSON, _FRESH), b'{"ready":true}' if ready else b'{"ready":false}')

    def _health(self, exchange: Exchange) -> None:
        service = self._service
        ready = service.ready()
        status = "draining" if service.draining else "ok" if ready else "no site can be used"
        sites = []
        for site in service.snapshots():
            shown = {name: site[name] for name in ("name", "tier", "state")}
            if site["name"] in service.followed:
                shown["endpoints"] = sum(site["states"].values())
            sites.append(shown)
        body = orjson.dumps({"status": status, "version": __version__, "sites": sites})
        exchange.respond(200 if ready else 503, (JSON, _FRESH), body)

    # --- numbers ---

    def _own_numbers(self) -> Numbers:
        service = self._service
        return own_numbers(
            service.metrics, service.snapshots(), own_canaries(service.canaries), own_capture(service.capture)
        )

    def _metrics(self, exchange: Exchange) -> None:
        self._with_others(exchange, "numbers", self._answer_metrics)

    def _answer_metrics(self, exchange: Exchange, found: list[dict[str, Any]]) -> None:
        if self._exposition is None:
            # The Prometheus client costs 40 ms and 2 MB, which a gateway that is not scraped does not pay.
            from edgewise.net.exposition import Exposition  # noqa: PLC0415

            self._exposition = Exposition(self._families)
        self._numbers = merged(found)
        exchange.respond(200, _METRICS, self._exposition.text())

    def _families(self) -> "Iterable[Metric]":
        from edgewise.gateway.exposition import families  # noqa: PLC0415

        # The registry asks once as it takes the families in, before there are numbers.
        return families(self._numbers) if self._numbers else ()

    def _links(self, exchange: Exchange) -> None:
        self._with_others(exchange, "links", _answer_links)

    def _canaries(self, exchange: Exchange) -> None:
        self._with_others(exchange, "canaries", self._answer_canaries)

    def _answer_canaries(self, exchange: Exchange, found: list[dict[str, Any]]) -> None:
        workers = 1 if self.siblings is None else 1 + self.siblings.count
        body = orjson.dumps(shown_canaries(found, silent=workers - len(found)))
        exchange.respond(200, (JSON, _FRESH), body)

    def _capture(self, exchange: Exchange) -> None:
        self._with_others(exchange, "capture", _answer_capture)

    def _with_others(
        self, exchange: Exchange, question: str, answer: Callable[[Exchange, list[dict[str, Any]]], None]
    ) -> None:
        """Answer with what all worker processes know."""
        if self.siblings is None:
            answer(exchange, [self.answers[question]()])
            return

        async def ask(siblings: "Siblings") -> None:
            try:
                answer(exchange, [self.answers[question](), *await siblings.ask(question)])
            except Exception:  # noqa: BLE001 - whatever it is, there is an answer and the log has the rest
                _LOG.exception("asking the other workers failed")
                exchange.respond(500, (JSON,), b'{"error":"a fault of the gateway; its log says more"}')

        task = asyncio.get_running_loop().create_task(ask(self.siblings))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the page ---

    def _live_page(self, exchange: Exchange) -> None:
        if self._live is None:
            page = Path(__file__).with_name("live_page.html").read_bytes()
            headers: tuple[Header, ...] = (
                (b"content-type", b"text/html; charset=utf-8"),
                (b"content-security-policy", _policy(page)),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
                (b"cache-control", b"no-cache"),
            )
            self._live = headers, page
        exchange.respond(200, *self._live)


def _answer_links(exchange: Exchange, found: list[dict[str, Any]]) -> None:
    exchange.respond(200, (JSON, _FRESH), orjson.dumps(merged_view(found)))


def _answer_capture(exchange: Exchange, found: list[dict[str, Any]]) -> None:
    body = orjson.dumps(shown_capture([one["capture"] for one in found]))
    exchange.respond(200, (JSON, _FRESH), body)


def _policy(page: bytes) -> bytes:
    """What a browser may load for the page: its own script and style, and this server's answers."""

    def allowed(tag: bytes) -> bytes:
        found = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
        return b" ".join(b"'sha256-%b'" % base64.b64encode(hashlib.sha256(text).digest()) for text in found)

    return (
        b"default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'; script-src %b; style-src %b" % (allowed(b"script"), allowed(b"style"))
    )
