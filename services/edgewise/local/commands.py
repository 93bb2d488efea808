"""Runs commands as a user would type them."""

import signal
import subprocess
import sys

from edgewise.core.errors import FailedPreconditionError


def edgewise(*words: str, quiet: bool = False) -> int:
    """Run `edgewise` with what it prints shown.

    Args:
        quiet: its standard error is not shown.
    Returns: its exit code.
    Raises: BrokenPipeError: whoever reads standard output has gone.
    """
    errors = subprocess.DEVNULL if quiet else None
    code = subprocess.run([sys.executable, "-m", "edgewise", *words], check=False, stderr=errors).returncode  # noqa: S603
    if code == 128 + signal.SIGPIPE:
        raise BrokenPipeError
    return code


def printed_by(*words: str) -> str:
    """What `edgewise` prints on standard output.

    Raises: FailedPreconditionError: it failed; it has said why on standard error.
    """
    done = subprocess.run([sys.executable, "-m", "edgewise", *words], check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603
    if done.returncode:
        raise FailedPreconditionError(f"`edgewise {' '.join(words[:2])} ...` failed with exit code {done.returncode}")
    return done.stdout
