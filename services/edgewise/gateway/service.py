"""What both doors of the gateway share: the carrier, the routes, who may ask, and what is told of the gateway itself."""

from typing import TYPE_CHECKING

from edgewise.core.routing.routes import Route
from edgewise.gateway.config import GatewayConfig
from edgewise.gateway.metrics import GatewayMetrics
from edgewise.gateway.options import GatewayOptions
from edgewise.net.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewise.core.routing.router import Router
    from edgewise.gateway.carrier import Carrier
    from edgewise.gateway.site import Site
    from edgewise.net.api_keys import ApiKeys


class GatewayService:
    """The gateway without its doors.

    Attributes:
        options: what stays while it runs; `options.max_body_bytes`, `options.request_log`, ...
        config: what is in force now; replaced as a whole on SIGHUP.
        router, carrier: who decides, and who carries it out.
        sites: by name.
        metrics: the carrier counts requests that reach it; a door counts with `metrics.refused(error)` what does not.
        api_keys: who may ask; None lets everybody.
        draining: SIGTERM has come; not ready, though what arrives is still answered.
        max_body_bytes: of a request.
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

    def route_for(self, model: str) -> Route:
        """The rule for a model; the default one where it has none of its own."""
        return self.config.routes.get(model, self.config.route)

    def check_key(self, authorization: bytes | None, x_api_key: bytes | None) -> None:
        """Refuse who may not ask.

        Raises:
            UnauthenticatedError: no key, or an unknown one.
        """
        if self.api_keys is not None:
            self.api_keys.check(authorization, x_api_key)

    def ready(self) -> bool:
        """Whether at least one site can be asked, and the gateway is not about to stop."""
        raise NotImplementedError

    def page(self, exchange: Exchange) -> bool:
        """Answer what is asked of the gateway itself, such as `/health`, `/metrics` and `/v2/health/ready`.

        Returns: whether it was answered; False for every path that is not the gateway's own.
        """
        raise NotImplementedError

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
        raise NotImplementedError
