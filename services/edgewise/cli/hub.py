"""`edgewise hub`: init, serve, token, trust, prune, new-key, backup, restore."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgewise.cli import hub_prune, hub_tokens, hub_trust
from edgewise.cli.hub_connection import add_verb
from edgewise.cli.values import days, whole

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

DATABASE: Final = "EDGEWISE_HUB_DATABASE"
_EXAMPLE_STATE: Final = "/var/lib/edgewise/hub"
DESCRIPTION: Final = f"""\
The control plane: releases, sites and rollouts.

  edgewise hub init --state {_EXAMPLE_STATE} --url https://hub.example.com
  edgewise hub serve --state {_EXAMPLE_STATE} --host 0.0.0.0 --tls-cert hub.pem --tls-key hub.key
  edgewise hub backup hub.backup --state {_EXAMPLE_STATE}
"""
INIT: Final = """\
Make a hub. The keys that can never be on it are made on another machine, in three steps:

  1. here                 edgewise hub init --state DIR --url https://hub.example.com
  2. the other machine    edgewise hub trust create TRUST --keys public-keys.json
  3. here                 edgewise hub init --state DIR --signed COPY

public-keys.json is in DIR; COPY holds the folders metadata and targets of TRUST, and no key. Who has one machine only, or tries it out, says
--with-offline-keys TRUST, and moves TRUST elsewhere afterwards.
"""
SERVE: Final = """\
Answer sites, people and programs, until SIGTERM. Prints a line with `ready` when it does.
"""


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "hub",
        help="the control plane: releases, sites and rollouts",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_init(verbs)
    _add_serve(verbs)
    hub_tokens.add_to(verbs)
    hub_trust.add_to(verbs)
    hub_prune.add_to(verbs)
    _add_new_key(verbs)
    _add_backup(verbs)
    _add_restore(verbs)


def add_state(command: argparse.ArgumentParser) -> None:
    """Add what says which hub of this machine is meant."""
    command.add_argument("--state", type=Path, required=True, metavar="DIR", help="the hub's directory")


def add_database(command: argparse.ArgumentParser) -> None:
    """Add what says where its database is."""
    command.add_argument(
        "--database",
        default=os.environ.get(DATABASE, ""),
        metavar="URL",
        help=f"postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE (${DATABASE}; SQLite in DIR)",
    )


def _add_init(verbs: "Commands") -> None:
    init = add_verb(verbs, "init", "make a hub", INIT)
    add_state(init)
    init.add_argument("--url", default="", metavar="URL", help="under which sites reach it")
    add_database(init)
    signed = init.add_mutually_exclusive_group()
    signed.add_argument("--signed", type=Path, metavar="COPY", help="what the machine with the offline keys signed")
    signed.add_argument("--with-offline-keys", type=Path, metavar="TRUST", help="make the offline keys here, in TRUST")
    init.set_defaults(run=_init)


def _add_serve(verbs: "Commands") -> None:
    serve = add_verb(verbs, "serve", "answer sites, people and programs", SERVE)
    add_state(serve)
    add_database(serve)
    serve.add_argument("--blobs", default="", metavar="URL", help="s3://BUCKET/PREFIX or a directory (DIR/blobs)")
    kept = serve.add_argument_group("how long samples are kept")
    kept.add_argument(
        "--sample-retention",
        type=days,
        default=30.0,
        metavar="DAYS",
        help="after they came, those without a label; 0 for good (default 30)",
    )
    kept.add_argument(
        "--labelled-retention",
        type=days,
        default=None,
        metavar="DAYS",
        help="after they were labelled (default: until they are deleted)",
    )
    where = serve.add_argument_group("where to listen")
    where.add_argument("--host", default="127.0.0.1", help="0.0.0.0 is every interface (default 127.0.0.1)")
    where.add_argument(
        "--port", type=whole(0, 65535), default=8600, metavar="PORT", help="0 picks a free one (default 8600)"
    )
    where.add_argument("--url", default="", metavar="URL", help="under which sites reach it (what init was told)")
    where.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="the certificate chain (PEM); followed when it changes"
    )
    where.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")
    where.add_argument(
        "--trusted-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="of a proxy in front, which says where requests come from (X-Forwarded-For); may be repeated",
    )
    serve.set_defaults(run=_serve)


def _add_new_key(verbs: "Commands") -> None:
    new_key = add_verb(
        verbs,
        "new-key",
        "make another key of the hub's own, before the present one is replaced",
        "Make another key beside the present one and write public-keys.json anew, for `edgewise hub trust rotate`. See docs/hub.md.",
    )
    new_key.add_argument("kind", choices=("online", "desired"), help="which")
    add_state(new_key)
    new_key.set_defaults(run=_new_key)


def _add_backup(verbs: "Commands") -> None:
    backup = add_verb(
        verbs,
        "backup",
        "write all that a hub knows to one file",
        "Write database, keys and metadata to FILE, which is then as secret as they are. The hub may be running.",
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="must not be there yet")
    add_state(backup)
    add_database(backup)
    backup.add_argument("--blobs", default="", metavar="URL", help="where its blobs are (DIR/blobs)")
    backup.add_argument(
        "--with-blobs", action="store_true", help="the files of releases and pictures of samples as well"
    )
    backup.set_defaults(run=_backup)


def _add_restore(verbs: "Commands") -> None:
    restore = add_verb(
        verbs,
        "restore",
        "make a hub of what a backup holds",
        "Make a hub in DIR, which must not be there yet, of a backup. What sites did since is learned from them.",
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="that `edgewise hub backup` wrote")
    add_state(restore)
    add_database(restore)
    restore.add_argument("--blobs", default="", metavar="URL", help="where blobs go that are in it (DIR/blobs)")
    restore.set_defaults(run=_restore)


def _init(arguments: argparse.Namespace) -> int:
    from edgewise.hub.beginning import begin
    from edgewise.hub.state_directory import StateDirectory

    state = StateDirectory(arguments.state)
    offline: Path | None = arguments.with_offline_keys
    begun = begin(state, url=arguments.url, database=arguments.database, offline=offline, signed=arguments.signed)
    if not begun.token:
        print(
            f"{state.public_keys} holds the hub's public keys: take it to the machine with the offline keys, and there say\n"
            f"  edgewise hub trust create TRUST --keys {state.public_keys.name}\n"
            "Bring the folders metadata and targets of TRUST here, and say\n"
            f"  edgewise hub init --state {state.root} --signed COPY"
        )
        return 0
    print(f"{state.root} holds a hub. The token of its administrator, which is nowhere else:\n  {begun.token}")
    if offline is not None:
        print(
            f"{offline} holds the offline keys: move it to a machine that is not the hub, keep a copy elsewhere, and give it to\n"
            "edgewise release create --trust. Who has it decides what every site runs."
        )
    print(f"Start it: edgewise hub serve --state {state.root}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from edgewise.hub.options import HubOptions
    from edgewise.hub.samples.shown import Retention
    from edgewise.hub.server import serve

    return serve(
        HubOptions(
            state=arguments.state,
            host=arguments.host,
            port=arguments.port,
            database=arguments.database,
            blobs=arguments.blobs,
            url=arguments.url,
            tls_cert=arguments.tls_cert,
            tls_key=arguments.tls_key,
            trusted_proxies=tuple(arguments.trusted_proxy),
            retention=Retention(arguments.sample_retention or None, arguments.labelled_retention or None),
        )
    )


def _new_key(arguments: argparse.Namespace) -> int:
    from edgewise.hub.state_directory import KeyKind, StateDirectory

    state = StateDirectory(arguments.state)
    state.url()
    key = state.make_key(KeyKind(arguments.kind))
    state.write_public_keys()
    print(
        f"{key.public_hex} is the newest {arguments.kind} key; {state.public_keys} names it. Restart the hub, so that it has both, and then\n"
        f"  edgewise hub trust rotate {arguments.kind} TRUST --keys {state.public_keys.name}\n"
        "on the machine with the offline keys."
    )
    return 0


def _backup(arguments: argparse.Namespace) -> int:
    from edgewise.hub.backup import write_backup
    from edgewise.hub.state_directory import StateDirectory

    size_bytes = write_backup(
        arguments.file,
        StateDirectory(arguments.state),
        database=arguments.database,
        blobs=arguments.blobs,
        with_blobs=arguments.with_blobs,
    )
    print(f"{arguments.file} holds the hub, {size_bytes} bytes. It holds the hub's keys too: keep it as you keep them.")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    from edgewise.hub.backup import restore_backup
    from edgewise.hub.state_directory import StateDirectory

    made = restore_backup(
        arguments.file, StateDirectory(arguments.state), database=arguments.database, blobs=arguments.blobs
    )
    print(
        f"{arguments.state} holds the hub as it was at {made}. Start it: edgewise hub serve --state {arguments.state}"
    )
    return 0
