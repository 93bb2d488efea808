"""What the gateway is told: its sites, its routes, its limits. Read from the command line and `gateway.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from edgewise.core.routing.routes import DEFAULT_ROUTE, Route
from edgewise.gateway.capture_config import CaptureConfig

NOTHING: Final = ""
DNS: Final = "dns"
KUBERNETES: Final = "kubernetes"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a site listens for one protocol.

    Attributes:
        host, port: as given; names are resolved at start and kept.
        tls: speak TLS.
        base_path: put before every path, "" or "/something".
    """

    host: str
    port: int
    tls: bool = False
    base_path: str = ""


@dataclass(frozen=True, slots=True)
class SiteTls:
    """TLS towards a site: who is believed, and who we are."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """One site.

    Attributes:
        name: unique; what `x-edgewise-site` says.
        tier: "cloud" or "edge".
        rest: its HTTP address, which also carries gRPC calls where `grpc` is None and the site is an Edgewise server.
        grpc: its gRPC address (HTTP/2), for sites that are not ours.
        tls: for addresses with TLS.
        api_key_file: holds the key that is sent as `Authorization: Bearer`.
        max_in_flight, max_queue: as in `SiteSpec`, of all workers together.
        health_path: what small probes ask; None tries what servers of these protocols have.
        discover: what finds the site's endpoints, DNS or KUBERNETES; NOTHING asks the address itself.
        port_name: of the endpoints' port in the Kubernetes API; None is "rest", or "grpc" for a site that has no `rest`.

    The limits are of each endpoint where the site has several.
    """

    name: str
    tier: str
    rest: Address | None = None
    grpc: Address | None = None
    tls: SiteTls = field(default_factory=SiteTls)
    api_key_file: Path | None = None
    max_in_flight: int = 256
    max_queue: int = 1024
    health_path: str | None = None
    discover: str = NOTHING
    port_name: str | None = None

    @property
    def address(self) -> Address:
        """The address whose host names the site: that of `rest`, else of `grpc`."""
        address = self.rest or self.grpc
        if address is None:
            raise ValueError(f"site {self.name} has no address")
        return address


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """All that can change while the gateway runs (SIGHUP).

    Attributes:
        sites: in the order of preference within a tier.
        route: for models without their own.
        routes: by model.
        capture: what is kept of the requests that pass; None keeps nothing.
    """

    sites: tuple[SiteConfig, ...]
    route: Route = DEFAULT_ROUTE
    routes: Mapping[str, Route] = field(default_factory=lambda: MappingProxyType({}))
    capture: CaptureConfig | None = None

    def share_of(self, worker: int, workers: int) -> "GatewayConfig":
        """What one of several processes takes of it: the sites' limits are for all of them together.

        Args:
            worker: which one, from 0 on.
            workers: how many there are.
        Returns: the same with `max_in_flight`, `max_queue` and the limits of capture divided. A process always gets at least 1, but
            for a queue that there is not to be at all.
        """
        return replace(
            self,
            capture=self.capture and self.capture.share_of(workers),
            sites=tuple(
                replace(
                    site,
                    max_in_flight=_share(site.max_in_flight, worker, workers),
                    max_queue=_share(site.max_queue, worker, workers),
                )
                for site in self.sites
            ),
        )


def _share(limit: int, worker: int, workers: int) -> int:
    share = limit // workers + (worker < limit % workers)
    return max(share, min(1, limit))
