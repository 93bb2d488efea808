"""`edgewise sites`: list, show, label, enroll, retire."""

import argparse
import time
from functools import partial
from typing import TYPE_CHECKING

from edgewise.cli.hub_connection import (
    ENVIRONMENT,
    add_connection,
    add_json,
    add_verb,
    add_yes,
    check_asked,
    confirmed,
    connect,
    duration_s,
    label,
    print_json,
)
from edgewise.core.errors import InvalidArgumentError
from edgewise.core.releases import TIERS

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

DESCRIPTION = f"""\
Look at the sites of a hub, give them labels, let new ones in and old ones go.

  edgewise sites list --selector 'tier=edge,region in (eu, us)'
  edgewise sites label factory-7 region=eu gpu-
  edgewise sites enroll factory-8 --tier edge --label region=eu

{ENVIRONMENT}"""
ENROLL = """\
Print one word that lets one site in, once: take it there and give it to `edgewise agent enroll`. Nobody else may see it before that.
For a site that is there already, it replaces that site's key.
"""


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "sites",
        help="look at the sites of a hub, label them, let them in and go",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    listed = add_verb(verbs, "list", "list sites")
    listed.add_argument(
        "--selector", default="", metavar="TEXT", help="labels, such as tier=edge,region!=eu (all sites)"
    )
    add_json(listed)
    add_connection(listed)
    listed.set_defaults(run=partial(_list, listed))
    shown = _named(verbs, "show", "show one site")
    add_json(shown)
    shown.set_defaults(run=_show)
    labelled = _named(verbs, "label", "set labels of a site, and take others away")
    labelled.add_argument(
        "labels", nargs="+", type=_label_change, metavar="KEY=VALUE|KEY-", help="KEY- takes the label away"
    )
    labelled.set_defaults(run=_label)
    enrolled = _named(verbs, "enroll", "let a new site in", ENROLL)
    enrolled.add_argument("--tier", choices=TIERS, default="edge", help="(default edge)")
    enrolled.add_argument(
        "--label", action="append", default=[], type=label, metavar="KEY=VALUE", help="may be repeated"
    )
    enrolled.add_argument(
        "--expires", type=duration_s, default=86400.0, metavar="TIME", help="for how long it can be used (default 1d)"
    )
    enrolled.set_defaults(run=_enroll)
    retired = _named(verbs, "retire", "let a site go for good")
    add_yes(retired)
    retired.set_defaults(run=partial(_retire, retired))


def _named(verbs: "Commands", name: str, summary: str, description: str = "") -> argparse.ArgumentParser:
    command = add_verb(verbs, name, summary, description)
    command.add_argument("site", metavar="NAME", help="of the site")
    add_connection(command)
    return command


def _list(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from edgewise.core.rollout.selectors import parse_selector
    from edgewise.hub.console.sites_text import sites_text

    try:
        parse_selector(arguments.selector)
    except InvalidArgumentError as error:
        command.error(f"argument --selector: {error.message}")
    with connect(arguments) as client:
        sites = client.sites(arguments.selector)
    if arguments.json:
        print_json(sites)
    else:
        print(sites_text(sites, time.time()))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.sites_text import site_text

    with connect(arguments) as client:
        site = client.site(arguments.site)
    if arguments.json:
        print_json(site)
    else:
        print(site_text(site, time.time()))
    return 0


def _label(arguments: argparse.Namespace) -> int:
    changes = dict(arguments.labels)
    setting = {key: value for key, value in changes.items() if value is not None}
    removing = [key for key, value in changes.items() if value is None]
    with connect(arguments) as client:
        labels = client.label_site(arguments.site, setting, removing).labels
    print(f"{arguments.site}: {', '.join(f'{key}={value}' for key, value in sorted(labels.items())) or 'no labels'}")
    return 0


def _enroll(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        print(client.enroll(arguments.site, arguments.tier, dict(arguments.label), arguments.expires))
    return 0


def _retire(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    check_asked(command, yes=arguments.yes)
    if not confirmed(f"Let {arguments.site} go for good? Its agent will be refused.", yes=arguments.yes):
        print("nothing was done")
        return 1
    with connect(arguments) as client:
        client.retire(arguments.site)
    print(f"{arguments.site} is retired")
    return 0


def _label_change(word: str) -> tuple[str, str | None]:
    if "=" not in word and word.endswith("-") and len(word) > 1:
        return word[:-1], None
    if "=" not in word:
        raise argparse.ArgumentTypeError(
            f"found {word!r}, expected KEY=VALUE, such as {word}=yes, {word}= for a label without a value, or {word}- to take it away"
        )
    return label(word)
