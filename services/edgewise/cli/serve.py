"""`edgewise serve`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.values import header_name, seconds, whole

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

Run = Callable[[], int]
PORT = whole(0, 65535)


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "serve",
        help="serve models over REST and gRPC",
        description="Serve models over REST and gRPC until SIGTERM. Name --repository or --config.",
    )
    what = command.add_argument_group("what to serve")
    what.add_argument("--repository", type=Path, metavar="DIR", help="every DIR/MODEL/VERSION/ is served")
    what.add_argument("--config", type=Path, metavar="FILE", help="TensorFlow Serving model config (text proto)")
    what.add_argument(
        "--poll-interval-s",
        type=seconds(zero=True),
        default=1.0,
        metavar="S",
        help="how often the files are looked at; 0 is never (default 1)",
    )
    where = command.add_argument_group("where to listen")
    where.add_argument("--host", default="127.0.0.1", help="0.0.0.0 is every interface (default 127.0.0.1)")
    where.add_argument("--rest-port", type=PORT, default=8501, metavar="PORT", help="0 picks a free one (default 8501)")
    where.add_argument("--grpc-port", type=PORT, default=8500, metavar="PORT", help="0 picks a free one (default 8500)")
    who = command.add_argument_group("who this is, as answers say it")
    who.add_argument("--site", type=header_name, default="local", metavar="NAME", help="(default local)")
    who.add_argument("--tier", choices=("cloud", "edge"), default="edge", help="(default edge)")
    safety = command.add_argument_group("TLS and access")
    safety.add_argument("--tls-cert", type=Path, metavar="FILE", help="the server's certificate chain (PEM)")
    safety.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")
    safety.add_argument("--tls-client-ca", type=Path, metavar="FILE", help="ask clients for a certificate of this CA")
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
    limits.add_argument(
        "--threads",
        type=whole(0, 1024),
        default=0,
        metavar="N",
        help="threads of one run of a model; 0 is one per core (default 0)",
    )
    command.add_argument("--request-log", action="store_true", help="one JSON line a request on standard output")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from edgewise.model_server.options import ServeOptions
    from edgewise.model_server.server import serve

    words = {name: value for name, value in vars(arguments).items() if name not in {"run", "command"}}
    return serve(ServeOptions(**words, config_poll_interval_s=words["poll_interval_s"]))
