"""What `edgewise gateway` can be told on its command line."""

import os
from dataclasses import dataclass
from pathlib import Path

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.routing.routes import RouteKind

MAX_WORKERS = 64


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """Settings of one gateway that stay while it runs; what may change is in `GatewayConfig`.

    Attributes:
        cloud, edge: addresses of sites, such as "http://cloud.example:8501" or "http://h:8501,grpc://h:8500", with `+dns` or
            `+kubernetes` behind http or https where each endpoint is to be asked; the first site of a tier is named after it, the
            next ones `cloud-2`, `cloud-3`, ...
        canaries: the file in which an agent says how requests are divided between versions; None follows none.
        config: gateway.toml; adds sites and routes, and is read again on SIGHUP.
        rest_port, grpc_port: 0 picks a free port; None does not listen.
        default_route: goes before `route.kind` of the config; None leaves it.
        deadline_ms: goes before `route.deadline_ms` of the config; None leaves it.
        workers: processes that share the ports.
        tls_client_ca: apps must show a certificate of this authority.
        api_keys: file of API keys; None asks for none.
        max_body_bytes: the largest request body and gRPC message.
        drain_timeout_s: the longest that SIGTERM waits for requests in flight.
        request_log: one JSON line a request on standard output.
        ready_settle_s: how long "not ready" is shown before connections are refused, so that balancers notice.
    """

    cloud: tuple[str, ...] = ()
    edge: tuple[str, ...] = ()
    config: Path | None = None
    canaries: Path | None = None
    host: str = "127.0.0.1"
    rest_port: int | None = 8080
    grpc_port: int | None = 8081
    default_route: str | None = None
    deadline_ms: float | None = None
    workers: int = 1
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    api_keys: Path | None = None
    max_body_bytes: int = 64 << 20
    drain_timeout_s: float = 30.0
    request_log: bool = False
    ready_settle_s: float = 0.25


def check_options(options: GatewayOptions) -> None:
    """Refuse what a gateway could not start with.

    Raises:
        InvalidArgumentError: something is missing, contradicts something else, or is out of range; the message names
            the argument of `edgewise gateway`.
    """
    if not (options.cloud or options.edge or options.config):
        raise InvalidArgumentError(
            "name the sites: --cloud http://HOST:PORT and --edge http://HOST:PORT, or --config FILE with [[site]] tables"
        )
    if (options.tls_cert is None) != (options.tls_key is None):
        raise InvalidArgumentError("TLS takes both --tls-cert FILE and --tls-key FILE")
    if options.tls_client_ca and not options.tls_cert:
        raise InvalidArgumentError("--tls-client-ca takes --tls-cert FILE and --tls-key FILE as well")
    if options.rest_port is None and options.grpc_port is None:
        raise InvalidArgumentError("there is nothing to listen on: name --rest-port or --grpc-port")
    if options.rest_port and options.rest_port == options.grpc_port:
        raise InvalidArgumentError(f"--rest-port and --grpc-port are both {options.rest_port}; they take two ports")
    if options.default_route is not None and options.default_route not in default_routes():
        raise InvalidArgumentError(
            f"--default-route is {options.default_route!r}; expected one of {', '.join(default_routes())}"
        )
    for name, least, most in (
        ("rest_port", 0, 65535),
        ("grpc_port", 0, 65535),
        ("workers", 1, MAX_WORKERS),
        ("max_body_bytes", 1, 1 << 40),
        ("drain_timeout_s", 0, 86_400),
        ("ready_settle_s", 0, 3600),
        ("deadline_ms", 1, 86_400_000),
    ):
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            raise InvalidArgumentError(f"--{name.replace('_', '-')} is {value}; expected {least} to {most}")
    if options.workers > 1 and not hasattr(os, "fork"):
        raise InvalidArgumentError("--workers takes a system with fork; leave it at 1")


def default_routes() -> tuple[str, ...]:
    """The routes that need no table of their own."""
    return tuple(kind.value for kind in RouteKind if kind is not RouteKind.WEIGHTS)
