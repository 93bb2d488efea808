"""`edgewise up` and `edgewise down`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands


def add_to(commands: "Commands") -> None:
    """Add the commands to the parser."""
    up = commands.add_parser(
        "up",
        help="run the whole system on this machine and show real predictions",
        description="Build the models; start a hub (port 8600), a cloud site (8501, 8500), an emulated 4g network in front of it "
        "(8521), an edge site (8511, 8510) with the gateway (8080, 8081), a second edge site (8531, 8530) with a network between "
        "it and the hub (8541), and the agents of the three; ask through the gateway what is on photographs while the network is "
        "whole, cut and healed; stop everything again.",
    )
    _add_state(up)
    up.add_argument(
        "--images",
        type=Path,
        default=Path("examples/images"),
        metavar="DIR",
        help="the photographs (default examples/images)",
    )
    up.add_argument("--keep", action="store_true", help="leave it running afterwards, until Ctrl-C")
    up.set_defaults(run=_up)
    down = commands.add_parser(
        "down", help="stop what `edgewise up` left running", description="Stop what `edgewise up` left running."
    )
    _add_state(down)
    down.set_defaults(run=_down)


def _add_state(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--state",
        type=Path,
        default=Path(".edgewise"),
        metavar="DIR",
        help="models, what hub and agents keep, logs and pid files (default .edgewise)",
    )


def _up(arguments: argparse.Namespace) -> int:
    from edgewise.local.system import up

    return up(arguments.state, arguments.images, keep=arguments.keep)


def _down(arguments: argparse.Namespace) -> int:
    from edgewise.local.system import down

    return down(arguments.state)
