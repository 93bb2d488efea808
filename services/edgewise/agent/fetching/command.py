"""`edgewise fetch` as a process: lines for a pod's log, signals, exit codes."""

import os
import sys
import time
from pathlib import Path

from edgewise.agent.fetching.digests import digest_of_path
from edgewise.agent.fetching.disk import disk_errors
from edgewise.agent.fetching.fetch import FetchRequest, fetch
from edgewise.agent.fetching.stops import Stopped, stoppable


def run_fetch(request: FetchRequest, *, unverified: bool) -> int:
    """Fetch, and say how it goes: on standard error while it lasts, in one line on standard output at its end.

    Args:
        unverified: whether nobody checks the digest, by wish.

    SIGTERM and SIGINT end the process with 143 and 130, the directory as it was.

    Returns: 0.
    Raises:
        EdgewiseError: the version is not there.
    """
    started_s = time.monotonic()
    try:
        with stoppable():
            if unverified and not request.wanted:
                _say("the checksum is not checked (--unverified); whoever can change the source can change the model")
            fetched = fetch(request, _say)
    except Stopped as stopped:
        _say(f"stopped by {stopped.signal.name}; {request.directory} is as it was before")
        # At once: threads that wait for a server would be waited for.
        os._exit(128 + stopped.signal)
    how = "is there already" if fetched.already else "is there"
    checked = "" if request.wanted else " unverified"
    print(  # noqa: T201  (the command's result)
        f"edgewise: {request.directory} {how}: {request.uri.shown} sha256={fetched.digest}{checked} "
        f"bytes={fetched.size_bytes} files={fetched.files} seconds={time.monotonic() - started_s:.1f}"
    )
    if not request.directory.name.isdecimal():
        _say(f"the model server reads directories whose name is a number; {request.directory.name!r} is none")
    return 0


def print_digest(path: Path) -> int:
    """Print what `--sha256` takes for a file or a directory.

    Returns: 0.
    Raises:
        EdgewiseError: it cannot be read, or nothing of the kind can be fetched.
    """
    with disk_errors(path):
        print(digest_of_path(path))  # noqa: T201  (the command's result)
    return 0


def _say(line: str) -> None:
    print(f"edgewise: {line}", file=sys.stderr, flush=True)  # noqa: T201  (a pod's log)
