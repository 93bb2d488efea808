"""`edgewise release`: create, list, show, verify, export, import."""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.hub_connection import (
    ENVIRONMENT,
    add_connection,
    add_json,
    add_verb,
    connect,
    duration_s,
    print_json,
    release_name,
)
from edgewise.cli.values import whole
from edgewise.core.errors import NotFoundError
from edgewise.core.releases import EVERY_TIER, TIERS

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

DESCRIPTION = f"""\
Make releases, look at them, and take them to sites without a link.

  edgewise release create pets 2 --cloud models/cloud/pets/2 --edge models/edge/pets/2 --trust ~/edgewise-trust
  edgewise release list
  edgewise release verify pets/2 --trust ~/edgewise-trust
  edgewise release export pets/2 --site factory-7 --out /media/usb/pets-2.bundle
  edgewise release import /media/usb/pets-2.bundle --state /var/lib/edgewise/agent

{ENVIRONMENT}"""
CREATE = """\
Check the directories of a model version, cut its files into chunks, send what the hub does not have, sign the release with the targets key
in --trust and hand the signature in. Given again, it goes on where it was cut short. A release never changes: other files are another version.

Exit codes: 0 the hub has the release; 1 it has not, and why; 2 wrong arguments.
"""
VERIFY = """\
Check a release at the hub as a site would: signatures from the first root in --trust on, the manifest, every byte of every file.

Exit codes: 0 all is what was signed; 1 something is not, and what; 2 wrong arguments.
"""
EXPORT = """\
Write releases, with all that vouches for them, into one file that can be carried to a site. With --site it holds what the hub tells that site,
and is for that site alone. The hub signs it for --valid-for, which takes an operator's token: within that time the site has to take it in, and
may install what is in it.
"""
IMPORT = """\
Take in a file that `edgewise release export` wrote, at a site: everything is checked as if it had come from the hub, and nothing is taken in
where something is wrong. The agent must not run at that moment; started afterwards, it goes on with what is there.

Exit codes: 0 it is there; 1 it is not, and why; 2 wrong arguments.
"""


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "release",
        help="make releases, look at them, carry them",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_create(verbs)
    listed = add_verb(verbs, "list", "list releases")
    add_json(listed)
    add_connection(listed)
    listed.set_defaults(run=_list)
    shown = add_verb(verbs, "show", "show one release")
    shown.add_argument("release", type=release_name, metavar="MODEL/VERSION")
    add_json(shown)
    add_connection(shown)
    shown.set_defaults(run=_show)
    verified = add_verb(verbs, "verify", "check a release at the hub, byte by byte", VERIFY)
    verified.add_argument("release", type=release_name, metavar="MODEL/VERSION")
    _add_trust(verified, required=True)
    add_connection(verified)
    verified.set_defaults(run=_verify)
    _add_export(verbs)
    _add_import(verbs)


def _add_create(verbs: "Commands") -> None:
    command = add_verb(verbs, "create", "make a release of a model version", CREATE)
    command.add_argument("model", metavar="MODEL", help="its name, such as pets")
    command.add_argument("version", type=whole(1), metavar="VERSION", help="its number")
    variants = command.add_argument_group("variants", "directories of the version: one for all tiers, or one for each")
    variants.add_argument("--all", type=Path, metavar="DIR", help="for every tier")
    for tier in TIERS:
        variants.add_argument(f"--{tier}", type=Path, metavar="DIR", help=f"for {tier} sites")
    command.add_argument("--notes", default="", metavar="TEXT", help="for people")
    command.add_argument(
        "--lineage",
        action="append",
        default=[],
        type=_pair,
        metavar="KEY=VALUE",
        help="where it comes from, such as commit=4f9c2; may be repeated",
    )
    _add_trust(command, required=True)
    add_connection(command)
    command.set_defaults(run=partial(_create, command))


def _add_export(verbs: "Commands") -> None:
    command = add_verb(verbs, "export", "write releases into one file for a site without a link", EXPORT)
    command.add_argument("releases", nargs="+", type=release_name, metavar="MODEL/VERSION")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="what is written")
    command.add_argument(
        "--tier", choices=TIERS, help="only what sites of this tier need (default: that of --site, or all)"
    )
    command.add_argument("--site", metavar="NAME", help="with what the hub tells this site")
    command.add_argument(
        "--valid-for",
        type=duration_s,
        default=30 * 86400.0,
        metavar="TIME",
        help="so long the site may install what is in it, such as 90d or 12h (30d)",
    )
    _add_trust(command, required=False)
    add_connection(command)
    command.set_defaults(run=_export)


def _add_import(verbs: "Commands") -> None:
    command = add_verb(verbs, "import", "take in, at a site, what export wrote", IMPORT)
    command.add_argument("file", type=Path, metavar="FILE", help="the bundle")
    command.add_argument("--state", type=Path, required=True, metavar="DIR", help="the agent's directory")
    command.set_defaults(run=_import)


def _add_trust(command: argparse.ArgumentParser, *, required: bool) -> None:
    command.add_argument(
        "--trust", type=Path, required=required, metavar="DIR", help="the directory of the offline keys"
    )


def _create(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from edgewise.core.versions import is_model_name
    from edgewise.hub.console.meter import meter
    from edgewise.hub.console.publishing import publish
    from edgewise.hub.console.releases_text import published_text
    from edgewise.hub.releases.making import bytes_to_read, make_release
    from edgewise.protocols.documents import time_text
    from edgewise.trust.offline import OfflineTrust

    if not is_model_name(arguments.model):
        command.error(
            f"MODEL is {arguments.model!r}, expected up to 128 letters, digits, '_', '-' and '.', such as pets"
        )
    directories = _directories(command, arguments)
    with connect(arguments) as client:
        trust = OfflineTrust.opened(arguments.trust)
        with meter("reading", bytes_to_read(directories.values())) as on_bytes:
            made = make_release(
                arguments.model,
                arguments.version,
                directories,
                created=time_text(time.time()),
                notes=arguments.notes,
                lineage=dict(arguments.lineage),
                on_bytes=on_bytes,
            )
        with meter("sending", made.size_bytes) as on_bytes:
            done = publish(client, trust, made, on_bytes=on_bytes)
    print(published_text(done))
    return 0


def _directories(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> dict[str, Path]:
    found = {tier: getattr(arguments, tier) for tier in TIERS if getattr(arguments, tier) is not None}
    if (arguments.all is None) == (not found):
        command.error("expected --all DIR for every tier, or --cloud DIR and --edge DIR, or one of these two")
    return found or {EVERY_TIER: arguments.all}


def _list(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.releases_text import releases_text

    with connect(arguments) as client:
        releases = client.releases()
    if arguments.json:
        print_json(releases)
    else:
        print(releases_text(releases))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.releases_text import release_text

    with connect(arguments) as client:
        release = client.release(*arguments.release)
    if arguments.json:
        print_json(release)
    else:
        print(release_text(release))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.meter import meter
    from edgewise.hub.console.releases_text import verified_text
    from edgewise.hub.console.verifying import verify
    from edgewise.trust.offline import OfflineTrust

    trust = OfflineTrust.opened(arguments.trust)
    with connect(arguments) as client, meter("checking", None) as on_bytes:
        found = verify(client, trust, *arguments.release, on_bytes=on_bytes)
    print(verified_text(found))
    return 1 if found.faults else 0


def _export(arguments: argparse.Namespace) -> int:
    from edgewise.hub.console.exporting import export
    from edgewise.hub.console.meter import meter
    from edgewise.hub.console.releases_text import exported_text
    from edgewise.hub.console.trusted_hub import first_root
    from edgewise.trust.offline import OfflineTrust

    with connect(arguments) as client, meter("writing", None) as on_bytes:
        trusted = arguments.trust is not None
        root = OfflineTrust.opened(arguments.trust).root_files()[0] if trusted else first_root(client)
        tier = arguments.tier or (client.site(arguments.site).tier if arguments.site else None)
        done = export(
            client,
            root,
            arguments.releases,
            arguments.out,
            tier=tier,
            site=arguments.site,
            valid_for_s=arguments.valid_for,
            on_bytes=on_bytes,
        )
    print(exported_text(arguments.out, done))
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from edgewise.agent.bundles import BASE_URL, import_bundle, imported_text
    from edgewise.agent.site.identity import read_identity
    from edgewise.agent.site.state import StateDirectory
    from edgewise.agent.trust.releases import TrustedReleases

    if not (arguments.state / "site.json").exists():
        raise NotFoundError(
            f"{arguments.state} is no agent's directory; expected one that `edgewise agent enroll` made"
        )
    state = StateDirectory(arguments.state)
    with state.locked():
        identity = read_identity(state)
        done = import_bundle(
            arguments.file,
            state,
            lambda source: TrustedReleases(
                state.tuf, BASE_URL, source, site=identity.site, root_sha256=identity.root_sha256
            ),
            site=identity.site,
            tier=identity.tier,
        )
    print(imported_text(done))
    return 0


def _pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"found {word!r}, expected KEY=VALUE, such as commit=4f9c2")
    return name, value
