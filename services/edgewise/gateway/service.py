"""What both doors of the gateway share: the carrier, the routes, who may ask, and what is told of the gateway itself."""

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from edgewise.core.routing.link_state import LinkState
from edgewise.core.routing.routes import Route, RouteKind
from edgewise.gateway.canaries import Canaries
from edgewise.gateway.canary_shadow import Shadows
from edgewise.gateway.capture_fields import opted_out
from edgewise.gateway.config import GatewayConfig
from edgewise.gateway.history import History
from edgewise.gateway.links_view import USABLE
from edgewise.gateway.metrics import GatewayMetrics
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.pages import Pages
from edgewise.gateway.site_view import best_state, site_snapshot
from edgewise.net.exchange import Exchange
from edgewise.net.line_log import LineLog
from edgewise.protocols.answers import Form

if TYPE_CHECKING:
    from edgewise.core.routing.calls import Attempt
    from edgewise.core.routing.link import Link
    from edgewise.core.routing.router import Router
    from edgewise.gateway.capture import Capture, CaptureHead
    from edgewise.gateway.carrier import Carrier
    from edgewise.gateway.followed_site import FollowedSite
    from edgewise.gateway.site import Site
    from edgewise.net.api_keys import ApiKeys


class GatewayService:
    """The gateway without its doors.

    Attributes:
        options: what stays while it runs; `options.max_body_bytes`, `options.request_log`, ...
        config: what is in force now; replaced as a whole on SIGHUP.
        router, carrier: who decides, and who carries it out.
        sites: by the name of their link; a site whose endpoints are found has one for each of them.
        followed: sites whose endpoints are found, by name.
        metrics: the carrier counts requests that reach it; a door counts with `metrics.refused(error)` what does not.
        api_keys: who may ask; None lets everybody.
        draining: SIGTERM has come; not ready, though what arrives is still answered.
        max_body_bytes: of a request.
        worker: which of the worker processes this is.
        started_s: `time.monotonic()` at the start.
        history: of the sites, second by second.
        canaries: which versions of models share a site's requests, and what came of it.
        shadows: what is asked of new versions beside the apps.
        capture: keeps samples of the requests; None keeps none.
        pages: what is told of the gateway itself.
        request_log: where `account` writes.
    """

    def __init__(
        self,
        *,
        options: GatewayOptions,
        config: GatewayConfig,
        router: "Router",
        carrier: "Carrier",
        sites: "Mapping[str, Site]",
        metrics: GatewayMetrics,
        api_keys: "ApiKeys | None" = None,
        worker: int = 0,
        followed: "Mapping[str, FollowedSite] | None" = None,
    ) -> None:
        self.options = options
        self.config = config
        self.router = router
        self.carrier = carrier
        self.sites = sites
        self.metrics = metrics
        self.api_keys = api_keys
        self.draining = False
        self.max_body_bytes = options.max_body_bytes
        self.worker = worker
        self.followed = followed if followed is not None else {}
        self.started_s = time.monotonic()
        self.history = History(metrics)
        self.canaries = Canaries(carrier)
        self.shadows = Shadows()
        self.capture: Capture | None = None
        metrics.readings["edgewise_gateway_shadows_skipped_total"] = (
            "Requests that were not asked of a new version as well, since too many of them were under way.",
            lambda: self.shadows.skipped,
        )
        self.pages = Pages(self)
        self.request_log = LineLog(enabled=options.request_log)

    def route_for(self, model: str) -> Route:
        """The rule for a model; the default one where it has none of its own."""
        config = self.config
        return config.routes.get(model, config.route)

    def check_key(self, authorization: bytes | None, x_api_key: bytes | None) -> None:
        """Refuse who may not ask.

        Raises:
            UnauthenticatedError: no key, or an unknown one.
        """
        if self.api_keys is not None:
            self.api_keys.check(authorization, x_api_key)

    def ready(self) -> bool:
        """Whether at least one site can be asked, and the gateway is not about to stop."""
        return not self.draining and any(link.state in USABLE for link in self.router.links.values())

    def captured(self, model: str, form: Form | None, headers: Mapping[bytes, bytes]) -> "CaptureHead | None":
        """What takes samples of requests with such a head; None where there are to be none. See `Capture.head`.

        Raises: InvalidArgumentError: the head says of capturing what it cannot.
        """
        # Before anything else: what it says of that is held to the same words whether this is captured or not, so that switching
        # capture on makes no request fail.
        if opted_out(headers) or self.capture is None:
            return None
        return self.capture.head(model, form, headers)

    def beside(self, attempt: "Attempt") -> "list[Site]":
        """Sites of other tiers than the one that has answered, that can be asked now, and for which nothing waits.

        Only those that the request's own route may ask: `edge-only` says that what apps send stays at the edge. Of `weights`, only
        those with a share.
        """
        request, tier = attempt.request, attempt.link.tier
        route = request.route
        weights = route.weights if route.kind is RouteKind.WEIGHTS else None
        allowed = {
            (link.site, link.tier)
            for link in request.order
            if link.tier != tier and (weights is None or weights.get(link.site, 0.0) > 0.0)
        }
        links = self.router.links
        return [
            site
            for name, site in self.sites.items()
            if site.rest is not None
            and (link := links.get(name)) is not None
            and ((link.site, link.tier) in allowed and link.state is LinkState.UP and not link.queue)
        ]

    def page(self, exchange: Exchange) -> bool:
        """Answer what is asked of the gateway itself, such as `/health`, `/metrics` and `/v2/health/ready`.

        Returns: whether it was answered, or will be; False for every path that is not the gateway's own.
        """
        return self.pages.answer(exchange)

    def links(self) -> "dict[str, list[Link]]":
        """The links by site: all sites of the config, also those that have no endpoint now."""
        found: dict[str, list[Link]] = {site.name: [] for site in self.config.sites}
        for link in self.router.links.values():
            found.setdefault(link.site, []).append(link)
        return found

    def snapshots(self) -> Iterable[Mapping[str, Any]]:
        """What the router knows of each site."""
        now_s = time.monotonic()
        tiers = {site.name: site.tier for site in self.config.sites}
        return [
            site_snapshot(name, tiers.get(name, ""), [link.snapshot(now_s) for link in links])
            for name, links in self.links().items()
        ]

    def sample(self) -> None:
        """Take the second that has passed into the history."""
        self.history.sample(
            (name, str(best_state([link.state for link in links]))) for name, links in self.links().items()
        )

    def account(
        self,
        *,
        protocol: str,
        model: str,
        site: str,
        code: str,
        attempts: int,
        received_s: float,
        request_id: bytes,
        peer: str,
        degraded: str = "",
    ) -> None:
        """Write a line to the request log; a door calls it when a request ends and `options.request_log` is set.

        Args:
            protocol: "rest" or "grpc".
            model: its name, "" where it is not known.
            site: whose answer the app got, "" for none.
            code: HTTP status or gRPC status name.
            attempts: how many were made.
            received_s: `time.monotonic()` when the request's head was complete.
            request_id: the app's, b"" for none.
            peer: the app's address.
            degraded: why the answer is not what the route prefers.
        """
        self.request_log.write_line(
            {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "protocol": protocol,
                "model": model,
                "site": site,
                "code": code,
                "attempts": attempts,
                "degraded": degraded,
                "ms": round((time.monotonic() - received_s) * 1e3, 3),
                "request_id": request_id.decode("latin-1"),
                "peer": peer,
            }
        )
