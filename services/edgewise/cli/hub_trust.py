"""`edgewise hub trust`: create, rotate, renew, floor, hand-in; for the machine with the offline keys."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.hub_connection import add_connection, add_verb, connect

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands
    from edgewise.trust.offline import OfflineTrust

DESCRIPTION = """\
What the offline keys sign. All but hand-in needs no network: sign here, then hand in, from here or from a machine with a copy of TRUST.

  edgewise hub trust create TRUST --keys public-keys.json
  edgewise hub trust floor TRUST pets=2
  edgewise hub trust renew TRUST
  edgewise hub trust rotate targets TRUST
  edgewise hub trust hand-in TRUST --hub https://hub.example.com --token-file admin.token
"""


def add_to(verbs: "Commands") -> None:
    """Add the verb to the parser of `edgewise hub`."""
    trust = add_verb(verbs, "trust", "make, replace and use the offline keys", DESCRIPTION)
    actions = trust.add_subparsers(dest="action", metavar="{create,rotate,renew,floor,hand-in}", required=True)
    create = _action(actions, "create", "make the offline keys, and sign what a hub begins with")
    create.add_argument("--keys", type=Path, required=True, metavar="FILE", help="public-keys.json of the hub")
    create.set_defaults(run=_create)
    rotate = add_verb(actions, "rotate", "replace a key by a new one")
    rotate.add_argument("which", choices=("root", "targets", "online", "desired"))
    _add_trust(rotate)
    rotate.add_argument(
        "--keys", type=Path, metavar="FILE", help="public-keys.json of the hub, with online and desired"
    )
    rotate.add_argument("--only", action="store_true", help="with desired: the old key is believed no more")
    rotate.set_defaults(run=_rotate)
    renew = _action(actions, "renew", "sign root and targets for another year")
    renew.set_defaults(run=_renew)
    floor = _action(actions, "floor", "let no site run older versions of a model")
    floor.add_argument("floors", nargs="+", type=_floor, metavar="MODEL=VERSION", help="MODEL=0 takes a floor away")
    floor.set_defaults(run=_set_floors)
    hand_in = _action(actions, "hand-in", "give the hub what was signed and it does not have")
    hand_in.add_argument(
        "--root-first",
        action="store_true",
        help="after the targets key was stolen: what the thief signs is worth nothing at once",
    )
    add_connection(hand_in)
    hand_in.set_defaults(run=_hand_in)


def _action(actions: "Commands", name: str, summary: str) -> argparse.ArgumentParser:
    command = add_verb(actions, name, summary)
    _add_trust(command)
    return command


def _add_trust(command: argparse.ArgumentParser) -> None:
    command.add_argument("trust", type=Path, metavar="TRUST", help="the directory with the offline keys")


def _floor(word: str) -> tuple[str, int]:
    from edgewise.core.versions import MAX_VERSION, is_model_name

    model, _, version = word.rpartition("=")
    if not is_model_name(model) or not version.isdecimal() or int(version) > MAX_VERSION:
        raise argparse.ArgumentTypeError(f"found {word!r}, expected MODEL=VERSION, such as pets=2")
    return model, int(version)


def _opened(arguments: argparse.Namespace) -> "OfflineTrust":
    from edgewise.trust.offline import OfflineTrust

    return OfflineTrust.opened(arguments.trust)


def _create(arguments: argparse.Namespace) -> int:
    from edgewise.hub.beginning import make_offline_trust
    from edgewise.hub.state_directory import read_public_keys

    make_offline_trust(arguments.trust, read_public_keys(arguments.keys))
    print(
        f"{arguments.trust} holds the offline keys: keep it here, and a copy locked away.\n"
        "Take its folders metadata and targets to the hub, and say there\n  edgewise hub init --state DIR --signed COPY"
    )
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.trust_changes import Rotated, rotate

    rotate(_opened(arguments), Rotated(arguments.which), arguments.keys, only=arguments.only)
    return _say_hand_in(arguments)


def _renew(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.trust_changes import renew

    renew(_opened(arguments))
    return _say_hand_in(arguments)


def _set_floors(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.trust_changes import set_floors

    floors = set_floors(_opened(arguments), dict(arguments.floors))
    print(f"floors: {', '.join(f'{model} {floor}' for model, floor in floors.items()) or 'none'}")
    return _say_hand_in(arguments)


def _hand_in(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.trust_changes import hand_in_all

    with connect(arguments) as client:
        done = hand_in_all(client, _opened(arguments), root_first=arguments.root_first)
    news = [f"{done.roots} roots"] * bool(done.roots) + ["targets.json"] * done.targets
    print(f"the hub took {' and '.join(news)}" if news else "the hub had all of it")
    return 0


def _say_hand_in(arguments: argparse.Namespace) -> int:
    print(f"Signed. It counts once the hub has it: edgewise hub trust hand-in {arguments.trust}")
    return 0
