"""What is behind a gateway's doors, with draws that are the same in each run."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from edgewise.core.routing.router import Router
from edgewise.core.routing.routes import Route
from edgewise.gateway.capture import open_capture
from edgewise.gateway.capture_config import CaptureConfig
from edgewise.gateway.carrier import Carrier
from edgewise.gateway.config import GatewayConfig, SiteConfig
from edgewise.gateway.metrics import GatewayMetrics
from edgewise.gateway.options import GatewayOptions
from edgewise.gateway.service import GatewayService
from edgewise.gateway.site import Site
from edgewise.net.api_keys import ApiKeys


@contextlib.asynccontextmanager
async def gateway_service(
    configs: Sequence[SiteConfig],
    make_site: Callable[[SiteConfig], Site],
    *,
    route: Route | None = None,
    routes: dict[str, Route] | None = None,
    api_keys: Path | None = None,
    capture: CaptureConfig | None = None,
    **options: Any,
) -> AsyncIterator[GatewayService]:
    """Router, carrier, sites and service; the carrier is for the caller to start."""
    sites = {config.name: make_site(config) for config in configs}
    for site in sites.values():
        await site.start()
    router = Router([site.spec() for site in sites.values()], now_s=time.monotonic(), draws=random.Random(1).random)
    metrics = GatewayMetrics()
    for name in sites:
        metrics.name_site(name)
    carrier = Carrier(router, sites, loop=asyncio.get_running_loop(), hooks=metrics)
    service = GatewayService(
        options=GatewayOptions(**options),
        config=GatewayConfig(tuple(configs), route or Route(), routes or {}, capture),
        router=router,
        carrier=carrier,
        sites=sites,
        metrics=metrics,
        api_keys=ApiKeys(api_keys) if api_keys is not None else None,
    )
    if capture is not None:
        service.capture = open_capture(capture, service, 0)
    try:
        yield service
    finally:
        if service.capture is not None:
            service.capture.close()
        carrier.close()
        for site in sites.values():
            await site.close()
