"""`edgewise hub token`: create, list, revoke; over the API of a hub that runs, or in the directory of one that does not."""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.hub_connection import add_connection, add_json, add_verb, connect, duration_s, print_json

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

ROLES = ("viewer", "operator", "admin")
DESCRIPTION = """\
Tokens of people and programs. A viewer looks; an operator releases, labels and rolls out as well; an admin lets sites and people in too.

  edgewise hub token create olga --role operator --hub https://hub.example.com --token-file admin.token
  edgewise hub token create admin --role admin --state /var/lib/edgewise/hub

The second form is for the machine of a hub that does not run: it needs no token, and replaces one of that name.
"""


def add_to(verbs: "Commands") -> None:
    """Add the verb to the parser of `edgewise hub`."""
    token = add_verb(verbs, "token", "make, list and revoke tokens of people", DESCRIPTION)
    actions = token.add_subparsers(dest="action", metavar="{create,list,revoke}", required=True)
    create = add_verb(actions, "create", "make a token, and print it this once")
    create.add_argument("name", metavar="NAME", help="whose it is; the audit log says it")
    create.add_argument("--role", choices=ROLES, required=True, help="what it opens")
    create.add_argument("--expires", type=duration_s, metavar="TIME", help="such as 90d or 12h (never)")
    create.add_argument("--state", type=Path, metavar="DIR", help="of a hub that does not run, in place of --hub")
    create.add_argument("--database", default="", metavar="URL", help="with --state (SQLite in DIR)")
    add_connection(create)
    create.set_defaults(run=partial(_create, create))
    listed = add_verb(actions, "list", "list tokens, without their secrets")
    add_json(listed)
    add_connection(listed)
    listed.set_defaults(run=_list)
    revoke = add_verb(actions, "revoke", "have a token open nothing any more")
    revoke.add_argument("name", metavar="NAME", help="of the token")
    add_connection(revoke)
    revoke.set_defaults(run=_revoke)


def _create(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from edgewise.hub.control.actors import Role

    role = Role(arguments.role)
    if arguments.state is None:
        with connect(arguments) as client:
            print(client.create_token(arguments.name, role, arguments.expires))
        return 0
    if arguments.hub is not None:
        command.error("--state DIR and --hub URL exclude each other")
    if arguments.expires is not None:
        command.error("--expires is for a hub that runs; one made with --state lasts until it is revoked")
    from edgewise.hub.beginning import replace_token
    from edgewise.hub.state_directory import StateDirectory

    state = StateDirectory(arguments.state)
    state.url()
    with state.held():
        database = arguments.database or os.environ.get("EDGEWISE_HUB_DATABASE", "") or state.default_database
        print(replace_token(database, state, arguments.name, role))
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.text_tables import columns
    from edgewise.protocols.documents import time_text

    with connect(arguments) as client:
        tokens = client.tokens()
    if arguments.json:
        print_json(list(tokens))
        return 0
    rows = [
        (
            one.name,
            one.role.value,
            time_text(one.created_s),
            one.created_by,
            time_text(one.expires_s) if one.expires_s else "never",
        )
        for one in tokens
    ]
    print("\n".join(columns([("NAME", "ROLE", "CREATED", "BY", "EXPIRES"), *rows])))
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        client.revoke_token(arguments.name)
    print(f"the token {arguments.name} opens nothing any more")
    return 0
