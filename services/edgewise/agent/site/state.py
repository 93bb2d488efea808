"""The directory of an agent, and how what is in it is written: whole, lasting, and also when the disk has become full.

site.json              where the hub is, and who this site is
site.key, site.token   what only this site has
tuf/                   what may be believed
desired.json           the last order that was accepted
journal/               what was written down of each rollout
downloads/             files that are on their way
blobs/sha256/          files that came another way
models/                MODEL/VERSION, whole
models.config          what the model server follows
canaries.json          what the gateway follows
sequence, quota.json   numbers that may not begin anew
sample-quota.json      the same, of samples that are sent
lock                   held by the agent that runs
"""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgewise.agent.fetching.disk import disk_error, disk_errors
from edgewise.core.errors import FailedPreconditionError
from edgewise.trust.durable_files import make_directory, sync_directory, write_durably

_BALLAST_BYTES: Final = 1 << 20
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_log = logging.getLogger(__name__)


class StateDirectory:
    """The paths in it.

    Args:
        make: make what is not there.
    Raises: EdgewiseError: it cannot be made.
    """

    def __init__(self, root: Path, *, make: bool = True) -> None:
        self.root = root.absolute()
        self.site = self.root / "site.json"
        self.key = self.root / "site.key"
        self.token = self.root / "site.token"
        self.tuf = self.root / "tuf"
        self.desired = self.root / "desired.json"
        self.journal = self.root / "journal"
        self.downloads = self.root / "downloads"
        self.models = self.root / "models"
        self.blobs = self.root / "blobs" / "sha256"
        self.models_config = self.root / "models.config"
        self.canaries = self.root / "canaries.json"
        self.sequence = self.root / "sequence"
        self.quota = self.root / "quota.json"
        self.sample_quota = self.root / "sample-quota.json"
        self._ballast = self.root / ".ballast"
        with disk_errors(self.root):
            for path in (self.root, self.tuf, self.journal, self.downloads, self.models) if make else ():
                make_directory(path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only agent that works here.

        Raises: FailedPreconditionError: another one does.
        """
        with disk_errors(self.root):
            number = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FailedPreconditionError(f"another agent works in {self.root}; stop it first") from None
            self.take_ballast()
            yield
        finally:
            os.close(number)

    def take_ballast(self) -> None:
        """Keep some room for when the disk is full: going back takes a few small files."""
        if self._ballast.exists():
            return
        try:
            number = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(number, 0, _BALLAST_BYTES)
            finally:
                os.close(number)
        except OSError as error:
            _log.warning("no room could be kept for when the disk is full: %s", error.strerror)
            with contextlib.suppress(OSError):
                self._ballast.unlink()

    def write(self, path: Path, content: bytes, *, mode: int = 0o644) -> None:
        """Put a file in place of what is there, and make it last.

        Raises: EdgewiseError: the disk refuses; what was there is there still.
        """
        try:
            try:
                write_durably(path, content, mode=mode)
            except OSError as error:
                if error.errno not in _FULL or not self._ballast.exists():
                    raise
                _log.error("the disk that holds %s is full; the room that was kept is used", self.root)
                self._ballast.unlink()
                write_durably(path, content, mode=mode)
        except OSError as error:
            raise disk_error(error, path) from error

    def read(self, path: Path, max_bytes: int) -> bytes | None:
        """What a file holds, up to one byte more than is allowed; None when it is not there.

        Raises: EdgewiseError: it cannot be read.
        """
        with disk_errors(path):
            try:
                with path.open("rb") as file:
                    return file.read(max_bytes + 1)
            except FileNotFoundError:
                return None

    def remove(self, path: Path) -> None:
        """Have a file be gone.

        Raises: EdgewiseError: the disk refuses.
        """
        with disk_errors(path):
            path.unlink(missing_ok=True)
            sync_directory(path.parent)

    def set_aside(self, path: Path) -> None:
        """Move a file that cannot be used out of the way, for people to look at."""
        with disk_errors(path):
            path.replace(path.with_name(f"{path.name}.damaged"))
            sync_directory(path.parent)
