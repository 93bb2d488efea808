"""`edgewise fetch`."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.values import seconds, whole
from edgewise.core.errors import InvalidArgumentError

if TYPE_CHECKING:
    from edgewise.cli.commands import Commands

DESCRIPTION = """\
Bring one model version to a directory: whole and checked, or not at all.

  edgewise fetch https://models.example/pets-1.tar.gz /models/pets/1 --sha256 HEX
  edgewise fetch s3://models/pets/1/ /models/pets/1 --sha256 HEX
  edgewise fetch oci://registry.example/pets@sha256:HEX /models/pets/1
  edgewise fetch --digest pets-1.tar.gz

URI is a path, file://, http(s)://, s3://BUCKET/KEY, s3://BUCKET/PREFIX/ or oci://HOST[:PORT]/NAME[:TAG|@sha256:HEX], and
names a directory with a model, an archive of one (.tar, .tar.gz, .zip), or a single file.onnx. DIR is the version's
directory; it must not be there yet, unless it holds this very version.
"""
EPILOG = """\
exit codes: 0 the version is there; 1 it is not, and why; 2 wrong arguments; 143, 130 stopped by SIGTERM, SIGINT
"""


def add_to(commands: "Commands") -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "fetch",
        help="bring one model version to a directory, checked",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("uri", nargs="?", metavar="URI", help="where the version is")
    command.add_argument("directory", nargs="?", metavar="DIR", help="where it goes, such as /models/pets/1")
    check = command.add_argument_group("what is checked")
    check.add_argument(
        "--sha256",
        metavar="HEX",
        help="of the file or archive; of a directory, of the list of its files; of oci://, of the manifest",
    )
    check.add_argument("--unverified", action="store_true", help="take what comes, whatever its checksum")
    check.add_argument(
        "--digest",
        type=Path,
        metavar="PATH",
        help="print what --sha256 takes for a local file or directory; fetch nothing",
    )
    how = command.add_argument_group("how it is fetched")
    how.add_argument("--ca", type=Path, metavar="FILE", help="certificates (PEM) to trust (default: the system's)")
    how.add_argument("--insecure", action="store_true", help="oci:// over HTTP")
    how.add_argument(
        "--timeout", type=seconds(zero=False), default=21600.0, metavar="SECONDS", help="for all of it (default 21600)"
    )
    how.add_argument(
        "--connect-timeout",
        type=seconds(zero=False),
        default=10.0,
        metavar="SECONDS",
        help="for a connection (default 10)",
    )
    how.add_argument(
        "--stall-timeout",
        type=seconds(zero=False),
        default=30.0,
        metavar="SECONDS",
        help="how long a server may keep silent (default 30)",
    )
    how.add_argument(
        "--retries", type=whole(0, 1000), default=8, metavar="N", help="tries in a row that may fail (default 8)"
    )
    how.add_argument(
        "--max-bytes",
        type=whole(1),
        default=64 << 30,
        metavar="N",
        help="the largest version that is taken (default 64 GiB)",
    )
    command.set_defaults(run=partial(_run, command))


def _run(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from edgewise.agent.fetching.command import print_digest, run_fetch
    from edgewise.agent.fetching.fetch import FetchRequest
    from edgewise.agent.fetching.place import version_directory
    from edgewise.agent.fetching.port import TimeLimits
    from edgewise.agent.fetching.retries import RetryPolicy
    from edgewise.agent.fetching.uris import checked_digest, parse_uri

    if arguments.digest is not None:
        if arguments.uri is not None:
            command.error("--digest PATH stands alone; it fetches nothing")
        return print_digest(arguments.digest)
    if arguments.uri is None or arguments.directory is None:
        command.error("expected URI and DIR, or --digest PATH")
    try:
        uri = parse_uri(arguments.uri)
        request = FetchRequest(
            uri,
            version_directory(arguments.directory),
            checked_digest(uri, arguments.sha256, unverified=arguments.unverified),
            insecure=arguments.insecure,
            ca=arguments.ca,
            limits=TimeLimits(arguments.connect_timeout, arguments.stall_timeout),
            policy=RetryPolicy(arguments.retries),
            timeout_s=arguments.timeout,
            max_bytes=arguments.max_bytes,
        )
    except InvalidArgumentError as error:
        command.error(error.message)
    return run_fetch(request, unverified=arguments.unverified)
