"""`edgewise link`, `edgewise link set` and `edgewise link show`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.values import header_name, whole
from edgewise.core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands
    from edgewise.link.schedule import Schedule

CONTROL = "127.0.0.1:9001"
DESCRIPTION = f"""\
Relay TCP between clients and a server, and treat what passes as a link of the given profile would: one-way delay,
jitter, loss as the retransmission delay that it causes, bandwidth. Runs until SIGTERM.

  edgewise link --listen 127.0.0.1:9000 --to 127.0.0.1:8501 --profile 4g
  edgewise link set blackhole --direction down
  edgewise link set heal
  edgewise link show

Up is from the client to the server. `edgewise link show --profiles` lists the profiles with their sources and the faults.
The control API answers on {CONTROL} unless --control says otherwise.
"""
EPILOG = """\
What a relay cannot do: lose, reorder or cut packets (a loss is the delay that TCP would take to repair it), make the
client's connection take a round trip (its first bytes wait that long instead), or show either side the other's TCP
options, windows and congestion control. What was sent before a fault may lie in the kernels' buffers on either side.
Tests of real packet loss take network namespaces and iptables.
"""


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "link",
        help="emulate a network link between clients and a server",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--listen", type=_address, metavar="HOST:PORT", help="for clients; port 0 picks a free one")
    command.add_argument("--to", type=_address, metavar="HOST:PORT", help="the server")
    command.add_argument(
        "--profile", default="none", metavar="NAME", help="such as 4g (default none: nothing is added)"
    )
    command.add_argument("--seed", type=whole(0), metavar="N", help="repeat the draws of jitter and loss")
    command.add_argument(
        "--schedule",
        metavar="STEPS|FILE",
        help='changes after the start, such as "10s:blackhole,20s:heal"; "20s:repeat" at the end begins again',
    )
    command.add_argument("--name", type=header_name, default="link", metavar="NAME", help="for logs (default link)")
    _add_control(command, "where the control API listens; none for no control API", _control(CONTROL))
    command.set_defaults(run=_run)
    actions = command.add_subparsers(dest="action", metavar="{set,show}", title="tell and ask a running link")
    _add_set(actions)
    _add_show(actions)


def _add_set(actions: "Commands") -> None:
    told = actions.add_parser(
        "set",
        help="change a running link",
        description=(
            "Change a running link: blackhole, freeze, reset, fin, refuse, stall-accept, drip or stall-above; heal; "
            "profile NAME; delay TIME (one way, each way); rtt TIME (half of it each way); jitter TIME; loss SHARE; "
            "bandwidth RATE. A new fault takes the place of the one before; heal ends it."
        ),
    )
    told.add_argument("words", nargs="+", metavar="WHAT", help="such as blackhole, delay 60ms, bandwidth 64kbit, heal")
    told.add_argument(
        "--direction", choices=("up", "down", "both"), help="blackhole, drip, stall-above, delay, bandwidth"
    )
    told.add_argument("--bytes", metavar="N", help="drip: at a time (1); stall-above: how many still pass (1200)")
    told.add_argument("--interval", metavar="TIME", help="drip: between two times (1000ms)")
    told.add_argument(
        "--newcomers",
        choices=("silent", "accept", "refuse"),
        help="blackhole: new connections get no answer (default), are accepted and hear nothing, or are refused",
    )
    told.add_argument(
        "--held",
        choices=("deliver", "backoff", "drop"),
        help="blackhole, stall-above: what was swallowed is sent at the heal (default), or when TCP's doubling timer would, "
        "or is lost and its connections are reset",
    )
    told.add_argument("--for", dest="lasting", metavar="TIME", help="heal after this long")
    _add_control(told, "the link's control API")
    told.set_defaults(run=_set)


def _add_show(actions: "Commands") -> None:
    asked = actions.add_parser("show", help="print a running link's state as JSON", description="Print a link's state.")
    asked.add_argument("--profiles", action="store_true", help="print the profiles with their sources, and the faults")
    _add_control(asked, "the link's control API")
    asked.set_defaults(run=_show)


def _add_control(command: argparse.ArgumentParser, what: str, default: object = argparse.SUPPRESS) -> None:
    command.add_argument(
        "--control", type=_control, default=default, metavar="HOST:PORT", help=f"{what} (default {CONTROL})"
    )


def _run(arguments: argparse.Namespace) -> int:
    from edgewise.link.profiles import profile_called
    from edgewise.link.server import LinkOptions, serve_link

    if arguments.listen is None or arguments.to is None:
        raise InvalidArgumentError("name where clients connect and the server: --listen HOST:PORT --to HOST:PORT")
    if arguments.to[1] == 0:
        raise InvalidArgumentError("--to has port 0; expected the port of the server, 1 to 65535")
    profile_called(arguments.profile)
    return serve_link(
        LinkOptions(
            listen=arguments.listen,
            to=arguments.to,
            control=arguments.control,
            profile=arguments.profile,
            seed=arguments.seed,
            name=arguments.name,
            schedule=None if arguments.schedule is None else _schedule(arguments.schedule),
        )
    )


def _set(arguments: argparse.Namespace) -> int:
    from edgewise.link.changes import words_said
    from edgewise.link.control_client import set_link

    options = {
        "direction": arguments.direction,
        "bytes": arguments.bytes,
        "interval": arguments.interval,
        "newcomers": arguments.newcomers,
        "held": arguments.held,
        "for": arguments.lasting,
    }
    words = [*arguments.words, *(f"{name}={value}" for name, value in options.items() if value is not None)]
    said = words_said(words)
    return set_link(_needed(arguments.control), said)


def _show(arguments: argparse.Namespace) -> int:
    from edgewise.link.control_client import show_link

    return show_link(_needed(arguments.control), b"/profiles" if arguments.profiles else b"/state")


def _needed(control: tuple[str, int] | None) -> tuple[str, int]:
    if control is None:
        raise InvalidArgumentError(f"--control none names no link; expected one such as {CONTROL}")
    return control


def _schedule(word: str) -> "Schedule":
    from edgewise.link.schedule import parse_schedule

    if ":" in word:
        return parse_schedule(word)
    try:
        text = Path(word).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidArgumentError(
            f"--schedule {word!r} is neither a file that can be read nor steps such as 10s:blackhole,20s:heal"
        ) from None
    return parse_schedule(text)


def _control(word: str) -> tuple[str, int] | None:
    return None if word == "none" else _address(word)


def _address(word: str) -> tuple[str, int]:
    """Host and port; an IPv6 address stands in brackets."""
    host, colon, port = word.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535 or (":" in host and not bracketed):
        raise argparse.ArgumentTypeError(f"found {word!r}, expected HOST:PORT, such as 127.0.0.1:9000 or [::1]:9000")
    return (host[1:-1] if bracketed else host), int(port)
