"""`edgewise agent enroll`, `edgewise agent run` and `edgewise agent status`."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgewise.cli.values import label, rate, seconds, size
from edgewise.core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

DESCRIPTION = """\
Make this machine a site of a hub, and match what the hub wants.

  edgewise agent enroll ew1.... --state /var/lib/edgewise/agent
  edgewise agent run --state /var/lib/edgewise/agent --model-server http://127.0.0.1:8501 --gateway http://127.0.0.1:8080
  edgewise agent status --state /var/lib/edgewise/agent

The model server follows DIR/models.config (edgewise serve --config DIR/models.config --poll-interval-s 0.2), the gateway
DIR/canaries.json (edgewise gateway --canaries DIR/canaries.json).
"""
_URL: Final = re.compile(r"https?://[^\s/]+/?")


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "agent",
        help="make this machine a site of a hub, and match what the hub wants",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = command.add_subparsers(dest="action", metavar="{enroll,run,status}", required=True)
    _add_enroll(actions)
    _add_run(actions)
    status = actions.add_parser("status", help="how this site is, from its directory alone")
    _add_state(status)
    status.set_defaults(run=_status)


def _add_enroll(actions: "Commands") -> None:
    told = actions.add_parser("enroll", help="become a site, once")
    told.add_argument("enrollment", metavar="ew1....", help="the word that `edgewise sites enroll` printed")
    _add_state(told)
    told.add_argument(
        "--tier", choices=("edge", "cloud"), default="edge", help="which variant runs here (default edge)"
    )
    told.add_argument(
        "--label",
        action="append",
        type=label,
        default=[],
        metavar="NAME=VALUE",
        help="such as region=eu; may be repeated",
    )
    told.add_argument(
        "--hub", metavar="URL", help="under which the hub is reached from here (default: what the word says)"
    )
    _add_ca(told)
    told.set_defaults(run=_enroll)


def _add_run(actions: "Commands") -> None:
    told = actions.add_parser("run", help="match what the hub wants, until SIGTERM")
    _add_state(told)
    here = told.add_argument_group("what runs here")
    here.add_argument(
        "--model-server",
        default="http://127.0.0.1:8501",
        metavar="URL",
        help="its REST port (default http://127.0.0.1:8501)",
    )
    gateway = here.add_mutually_exclusive_group()
    gateway.add_argument(
        "--gateway",
        default="http://127.0.0.1:8080",
        metavar="URL",
        help="its REST port (default http://127.0.0.1:8080)",
    )
    gateway.add_argument(
        "--no-gateway", action="store_true", help="apps ask the model server directly: a release takes over at once"
    )
    here.add_argument(
        "--gateway-site", default="edge", metavar="NAME", help="what the gateway calls this site (default edge)"
    )
    here.add_argument("--key-file", metavar="FILE", help="holds the API key that model server and gateway ask for")
    here.add_argument(
        "--adopt", type=Path, metavar="DIR", help="take over DIR/MODEL/VERSION, the highest of each, on the first start"
    )
    limits = told.add_argument_group("limits of what is fetched")
    limits.add_argument("--rate", type=rate, metavar="RATE", help="such as 2MB/s (default: no limit)")
    limits.add_argument("--quota", type=size, metavar="SIZE", help="for each day (UTC), such as 500MB (default: none)")
    limits.add_argument(
        "--reserve", type=size, default=256 << 20, metavar="SIZE", help="of the disk stays free (default 256MiB)"
    )
    samples = told.add_argument_group("what the gateway captures")
    samples.add_argument(
        "--samples", type=Path, metavar="DIR", help="the gateway's spool: bring its samples to the hub"
    )
    samples.add_argument(
        "--samples-rate", type=rate, metavar="RATE", help="of what is sent, such as 64kB/s (default: no limit)"
    )
    samples.add_argument(
        "--samples-quota", type=size, metavar="SIZE", help="for each day (UTC), such as 200MB (default: none)"
    )
    hub = told.add_argument_group("the hub")
    _add_ca(hub)
    hub.add_argument(
        "--poll-s", type=seconds(zero=False), default=60.0, metavar="S", help="how long one question waits (default 60)"
    )
    told.set_defaults(run=_run)


def _add_state(command: argparse.ArgumentParser) -> None:
    command.add_argument("--state", type=Path, required=True, metavar="DIR", help="the site's own directory")


def _add_ca(command: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    command.add_argument("--ca", type=Path, metavar="FILE", help="certificates (PEM) to trust (default: the system's)")


def _enroll(arguments: argparse.Namespace) -> int:
    from edgewise.agent.site.command import run_enroll

    labels = dict(arguments.label)
    return run_enroll(
        arguments.enrollment, arguments.state, tier=arguments.tier, labels=labels, ca=arguments.ca, hub=arguments.hub
    )


def _run(arguments: argparse.Namespace) -> int:
    from edgewise.agent.site.agent import AgentOptions
    from edgewise.agent.site.command import run_agent
    from edgewise.agent.site.edge_servers import api_key

    for name in ("model_server", "gateway"):
        url = getattr(arguments, name)
        if not _URL.fullmatch(url):
            raise InvalidArgumentError(
                f"--{name.replace('_', '-')}: found {url!r}, expected a URL such as http://127.0.0.1:8501"
            )
    return run_agent(
        AgentOptions(
            state=arguments.state,
            model_server=arguments.model_server,
            gateway=None if arguments.no_gateway else arguments.gateway,
            gateway_site=arguments.gateway_site,
            local_key=api_key(arguments.key_file) if arguments.key_file else "",
            rate_bytes_per_s=arguments.rate,
            quota_bytes=arguments.quota,
            reserve_bytes=arguments.reserve,
            adopt=arguments.adopt,
            samples=arguments.samples,
            samples_rate_bytes_per_s=arguments.samples_rate,
            samples_quota_bytes=arguments.samples_quota,
            ca=arguments.ca,
            poll_s=arguments.poll_s,
        )
    )


def _status(arguments: argparse.Namespace) -> int:
    from edgewise.agent.site.command import run_status

    return run_status(arguments.state)
