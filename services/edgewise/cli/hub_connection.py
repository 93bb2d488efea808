"""What the commands that ask a hub have in common: which hub, which token, and answers for programs."""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.core.errors import InvalidArgumentError
from edgewise.core.rollout.selectors import check_label

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands
    from edgewise.hub.console.client import HubClient

ENVIRONMENT = """\
The hub and the token come from --hub and --token-file; else from EDGEWISE_HUB and EDGEWISE_HUB_TOKEN; else from
~/.config/edgewise/hub.toml (url, token or token_file, ca).
"""


def add_verb(verbs: "Commands", name: str, summary: str, description: str = "") -> argparse.ArgumentParser:
    """Add a verb whose description keeps its lines."""
    return verbs.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_connection(command: argparse.ArgumentParser) -> None:
    """Add what says which hub is asked."""
    hub = command.add_argument_group("hub")
    hub.add_argument("--hub", metavar="URL", help="such as https://hub.example:8600 ($EDGEWISE_HUB)")
    hub.add_argument("--token-file", type=Path, metavar="FILE", help="that holds the token ($EDGEWISE_HUB_TOKEN)")
    hub.add_argument(
        "--ca", type=Path, metavar="FILE", help="certificates (PEM) to trust ($EDGEWISE_HUB_CA; the system's)"
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    command.add_argument("--json", action="store_true", help="for programs, all of it")


def connect(arguments: argparse.Namespace) -> "HubClient":
    """The hub that is meant."""
    from edgewise.hub.console.client import HubClient
    from edgewise.hub.console.connection import find_connection

    return HubClient(find_connection(arguments.hub, arguments.token_file, arguments.ca, os.environ))


def print_json(value: object) -> None:
    """Print an answer, or several, for programs."""
    print(json.dumps(_plain(value), indent=2))


def add_yes(command: argparse.ArgumentParser) -> None:
    """Add `--yes`, for what `check_asked` and `confirmed` ask."""
    command.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")


def check_asked(command: argparse.ArgumentParser, *, yes: bool) -> None:
    """End with 2 where a question would reach nobody: before anything is done."""
    if not (yes or (sys.stdin.isatty() and sys.stdout.isatty())):
        command.error("there is no terminal to ask on, so nothing was done; say --yes to do it without a question")


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the person agrees."""
    if yes:
        return True
    try:
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        print()
        return False


def label(word: str) -> tuple[str, str]:
    """A label as KEY=VALUE."""
    key, equals, value = word.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"found {word!r}, expected KEY=VALUE, such as region=eu")
    try:
        check_label(key, value)
    except InvalidArgumentError as error:
        raise argparse.ArgumentTypeError(error.message) from None
    return key, value


def duration_s(word: str) -> float:
    """A duration such as 90s, 5m, 1h, or seconds."""
    from edgewise.protocols.rollout_specification import parse_duration_s

    found_s = parse_duration_s(f"{word}s" if word.replace(".", "", 1).isdecimal() else word)
    if found_s is None:
        raise argparse.ArgumentTypeError(f'found {word!r}, expected a duration such as "90s", "5m" or "1h"')
    return found_s


def release_name(word: str) -> tuple[str, int]:
    """A release as MODEL/VERSION."""
    from edgewise.core.versions import MAX_VERSION, is_model_name

    model, _, version = word.rpartition("/")
    if not is_model_name(model) or not version.isdecimal() or not 1 <= int(version) <= MAX_VERSION:
        raise argparse.ArgumentTypeError(f"found {word!r}, expected MODEL/VERSION, such as pets/2")
    return model, int(version)


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "items"):
        return {str(name): _plain(one) for name, one in value.items()}
    return value
