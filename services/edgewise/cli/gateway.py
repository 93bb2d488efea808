"""`edgewise gateway`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.values import seconds, whole

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

PORT = whole(0, 65535)


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "gateway",
        help="one local endpoint in front of cloud and edge",
        description="Answer predictions from the cloud or the edge, whichever can, until SIGTERM. "
        "Name sites with --cloud, --edge or --config. SIGHUP reads the config again.",
    )
    sites = command.add_argument_group("the sites")
    for tier, example in (("cloud", "https://models.example.com"), ("edge", "http://127.0.0.1:8501")):
        sites.add_argument(
            f"--{tier}",
            action="append",
            default=[],
            metavar="URL",
            help=f"a site of this tier, such as {example}; URL,grpc://HOST:PORT where it has gRPC of its own; "
            "http+dns://NAME:PORT asks each address of the name, http+kubernetes://SERVICE.NAMESPACE:PORT each ready pod; "
            f"may be repeated: {tier}, {tier}-2, ... in the order of preference",
        )
    sites.add_argument("--config", type=Path, metavar="FILE", help="gateway.toml: more sites, routes, credentials")
    sites.add_argument(
        "--canaries",
        type=Path,
        metavar="FILE",
        help="how requests are divided between two versions of a model, as the site's agent says; followed",
    )
    routes = command.add_argument_group("routes; what is said here goes before the config's [route]")
    routes.add_argument(
        "--default-route",
        choices=("prefer-cloud", "prefer-edge", "fastest", "cascade", "cloud-only", "edge-only"),
        help="for models without a route of their own (default prefer-cloud)",
    )
    routes.add_argument(
        "--deadline-ms",
        type=_milliseconds,
        metavar="MS",
        help="for requests that name none (default 10000)",
    )
    where = command.add_argument_group("where to listen")
    where.add_argument("--host", default="127.0.0.1", help="0.0.0.0 is every interface (default 127.0.0.1)")
    where.add_argument("--rest-port", type=PORT, default=8080, metavar="PORT", help="0 picks a free one (default 8080)")
    where.add_argument("--grpc-port", type=PORT, default=8081, metavar="PORT", help="0 picks a free one (default 8081)")
    where.add_argument(
        "--workers", type=whole(1, 64), default=1, metavar="N", help="processes that share the ports (default 1)"
    )
    safety = command.add_argument_group("TLS and access, towards apps")
    safety.add_argument("--tls-cert", type=Path, metavar="FILE", help="the gateway's certificate chain (PEM)")
    safety.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")
    safety.add_argument("--tls-client-ca", type=Path, metavar="FILE", help="ask apps for a certificate of this CA")
    safety.add_argument("--api-keys", type=Path, metavar="FILE", help="lines of NAME KEY or NAME sha256:HEX")
    limits = command.add_argument_group("limits")
    limits.add_argument(
        "--max-body-bytes", type=whole(1), default=64 << 20, metavar="N", help="of a request (default 67108864, 64 MiB)"
    )
    limits.add_argument(
        "--drain-timeout-s",
        type=seconds(zero=True),
        default=30.0,
        metavar="S",
        help="the longest that SIGTERM waits for what is in flight (default 30)",
    )
    command.add_argument("--request-log", action="store_true", help="one JSON line a request on standard output")
    command.set_defaults(run=_run)


def _milliseconds(word: str) -> float:
    try:
        value_ms = float(word)
    except ValueError:
        value_ms = 0.0
    if not 1 <= value_ms <= 86_400_000:
        raise argparse.ArgumentTypeError(f"found {word!r}, expected a number of milliseconds, 1 to 86400000")
    return value_ms


def _run(arguments: argparse.Namespace) -> int:
    from edgewise.gateway.options import GatewayOptions
    from edgewise.gateway.server import gateway

    words = {name: value for name, value in vars(arguments).items() if name not in {"run", "command"}}
    words["cloud"] = tuple(words["cloud"])
    words["edge"] = tuple(words["edge"])
    return gateway(GatewayOptions(**words))
