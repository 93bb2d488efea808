"""The contestants: how each is started between the load and the sites."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench_serve.processes import Server, free_port, start

from bench_gateway import programs
from bench_gateway.sites import Sites

DIRECT = "nothing between"
OURS, ENVOY, NGINX, HAPROXY = "edgewise gateway", "Envoy", "nginx", "HAProxy"
AIOHTTP, RELAY = "aiohttp as a proxy", "bare httptools relay"
OURS_CARRIED, OURS_HTTP2 = "edgewise gateway, HTTP/1.1 to the site", "edgewise gateway, HTTP/2 to the site"
GRPC_RELAY = "grpc.aio relay"

ENVOY_HTTP2 = """typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}"""
HTTP_HEALTH, GRPC_HEALTH = "http_health_check: {path: /health}", "grpc_health_check: {}"


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that runs, or the sites themselves.

    Attributes:
        port: HTTP/1.1, or gRPC where the stage's load is gRPC.
    """

    name: str
    server: Server
    port: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy is started.

    Attributes:
        cpus: its cores.
        directory: for its configuration and log.
    """

    sites: Sites
    cpus: frozenset[int]
    directory: Path

    def start(self, name: str, command: list[str], port: int) -> Running:
        """Start `command` as the contestant `name`."""
        log = self.directory / f"{'-'.join(name.replace('/', ' ').split())}.log"
        return Running(name, start(name, command, cpus=set(self.cpus), log=log, env={}), port)

    def configured(self, file: str, port: int, **more: object) -> str:
        """Fill in one of the configurations of baselines/."""
        values = {"PORT": port, "CLOUD_PORT": self.sites.cloud, "EDGE_PORT": self.sites.edge, **more}
        return str(programs.configuration(file, self.directory / f"proxy-{port}", values))


def _gateway(place: Place, *, http2: bool = False) -> tuple[list[str], int, int]:
    rest, grpc = free_port(), free_port()
    command = [sys.executable, "-m", "edgewise", "gateway", "--rest-port", str(rest), "--grpc-port", str(grpc)]
    for tier, port, grpc_port in (
        ("cloud", place.sites.cloud, place.sites.cloud_grpc),
        ("edge", place.sites.edge, place.sites.edge_grpc),
    ):
        address = f"http://127.0.0.1:{port}"
        command += [f"--{tier}", f"{address},grpc://127.0.0.1:{grpc_port}" if http2 else address]
    return command, rest, grpc


def ours(place: Place) -> Running:
    """`edgewise gateway` with everything that is on by default."""
    command, rest, _ = _gateway(place)
    return place.start(OURS, command, rest)


def ours_carried(place: Place) -> Running:
    """`edgewise gateway`, gRPC in front, HTTP/1.1 to the sites."""
    command, _, grpc = _gateway(place)
    return place.start(OURS_CARRIED, command, grpc)


def ours_http2(place: Place) -> Running:
    """`edgewise gateway`, gRPC in front, HTTP/2 to sites that have a gRPC address."""
    command, _, grpc = _gateway(place, http2=True)
    return place.start(OURS_HTTP2, command, grpc)


def _envoy(place: Place, codec: str, health: str) -> Running:
    port = free_port()
    path = place.configured("envoy.yaml", port, CODEC=codec, HEALTH_CHECK=health)
    command = [programs.envoy(), "-c", path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return place.start(ENVOY, command, port)


def envoy(place: Place) -> Running:
    """Envoy with one worker."""
    return _envoy(place, "", HTTP_HEALTH)


def envoy_grpc(place: Place) -> Running:
    """Envoy with one worker, HTTP/2 to the sites."""
    sites = Sites(place.sites.servers, place.sites.cloud_grpc, place.sites.edge_grpc)
    return _envoy(Place(sites, place.cpus, place.directory), ENVOY_HTTP2, GRPC_HEALTH)


def nginx(place: Place) -> Running:
    """nginx with one worker."""
    port = free_port()
    return place.start(NGINX, [programs.debian("nginx"), "-c", place.configured("nginx.conf", port)], port)


def haproxy(place: Place) -> Running:
    """HAProxy with one thread."""
    port = free_port()
    return place.start(HAPROXY, [programs.debian("haproxy"), "-f", place.configured("haproxy.cfg", port)], port)


def _python(place: Place, name: str, file: str, site_port: int) -> Running:
    port = free_port()
    return place.start(name, [sys.executable, str(programs.BASELINES / file), str(port), str(site_port)], port)


def aiohttp(place: Place) -> Running:
    """baselines/aiohttp_proxy.py."""
    return _python(place, AIOHTTP, "aiohttp_proxy.py", place.sites.cloud)


def relay(place: Place) -> Running:
    """baselines/bare_relay.py."""
    return _python(place, RELAY, "bare_relay.py", place.sites.cloud)


def grpc_relay(place: Place) -> Running:
    """baselines/grpc_relay.py."""
    return _python(place, GRPC_RELAY, "grpc_relay.py", place.sites.cloud_grpc)


Starter = Callable[[Place], Running]
REST: dict[str, Starter] = {
    OURS: ours, ENVOY: envoy, NGINX: nginx, HAPROXY: haproxy, AIOHTTP: aiohttp, RELAY: relay,
}  # fmt: skip
GRPC: dict[str, Starter] = {
    OURS_CARRIED: ours_carried, OURS_HTTP2: ours_http2, GRPC_RELAY: grpc_relay, ENVOY: envoy_grpc,
}  # fmt: skip
