"""`edgewise hub prune`: removes the files that no release and no sample names."""

import argparse
from typing import TYPE_CHECKING

from edgewise.cli.hub_connection import add_connection, add_verb, connect, duration_s

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

DESCRIPTION = """\
Have a hub that runs remove the files (blobs) that no release and no sample names: what `edgewise release create` sent and did not finish. Releases stay as they
are. A file that somebody sent lately, or asked for to bring a release, stays too: --unwanted-for says for how long. It takes an admin's token.

  edgewise hub prune --dry-run --hub https://hub.example.com --token-file admin.token
"""
_LEAST_S = 3600.0


def add_to(verbs: "Commands") -> None:
    """Add the verb to the parser of `edgewise hub`."""
    prune = add_verb(verbs, "prune", "remove files that no release and no sample names", DESCRIPTION)
    prune.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    prune.add_argument(
        "--unwanted-for",
        type=_unwanted_for_s,
        default=86400.0,
        metavar="TIME",
        help="only what nobody has wanted for so long, such as 7d or 12h; 1h at least (1d)",
    )
    add_connection(prune)
    prune.set_defaults(run=_prune)


def _prune(arguments: argparse.Namespace) -> int:
    from edgewise.core.wording import counted
    from edgewise.hub.pages.words import size

    count = size_bytes = 0
    verb = "would remove" if arguments.dry_run else "removed"
    with connect(arguments) as client:
        for blob in client.prune_blobs(arguments.unwanted_for, dry_run=arguments.dry_run):
            print(f"{verb} {blob.sha256} ({size(blob.size_bytes)})", flush=True)
            count, size_bytes = count + 1, size_bytes + blob.size_bytes
    print(f"{verb} {counted(count, 'file')}, {size(size_bytes)}")
    return 0


def _unwanted_for_s(word: str) -> float:
    found_s = duration_s(word)
    if found_s < _LEAST_S:
        raise argparse.ArgumentTypeError(
            f"found {word!r}, expected 1h or more: an upload that goes on is not named yet"
        )
    return found_s
