"""Files below a directory that nothing leaves: names are checked, links are never made, sizes are bounded."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewise.agent.fetching.progress import shown_bytes
from edgewise.core.errors import FailedPreconditionError
from edgewise.core.file_names import MAX_FILES, checked_name
from edgewise.trust.durable_files import sync_directory

MAX_BYTES = 64 << 30
"""No version is larger, unpacked or not, unless the caller says so."""
FREE_RATIO_BYTES = 1 << 30
MAX_RATIO = 100
"""What an archive may unpack to: 1 GiB, or this many times its own size. Weights of one constant value compress by 1000."""


@dataclass(frozen=True, slots=True)
class Written:
    """One file that is there.

    Attributes:
        sha256: hexadecimal.
    """

    size_bytes: int
    sha256: str


class Tree:
    """A directory that is being filled.

    Args:
        root: there already, and empty.
        source: what the files come from, for messages.
        max_bytes: how large they may be together.

    Attributes:
        files: what was written, by name.
    """

    def __init__(self, root: Path, source: str, *, max_bytes: int = MAX_BYTES) -> None:
        self.root = root
        self.files: dict[str, Written] = {}
        self._source = source
        self._max_bytes = self._bound_bytes = max_bytes
        self._bytes = 0
        self._directories = {""}
        self._entries = 0

    def bound(self, max_bytes: int) -> None:
        """Let it grow by so much more; to the bound that it was made with at most."""
        self._max_bytes = min(self._bound_bytes, self._bytes + max_bytes)

    def add_directory(self, name: str) -> None:
        """Make a directory and those above it.

        Raises:
            FailedPreconditionError: the name leads elsewhere or is a file's.
        """
        self._make(checked_name(name, what=self._source))

    def claim(self, name: str) -> tuple[str, Path]:
        """Find the place of a file that someone is about to write; `written` says that it is done.

        Returns: its checked name, and where to write it: there is nothing there.
        Raises:
            FailedPreconditionError: the name leads elsewhere, or is taken.
        """
        checked = checked_name(name, what=self._source)
        if not checked:
            raise FailedPreconditionError(f"{self._source} holds a file without a name")
        if checked in self.files or checked in self._directories:
            raise FailedPreconditionError(f"{self._source} holds {checked!r} twice")
        self._make(checked.rpartition("/")[0])
        self._count()
        return checked, self.root / checked

    def written(self, name: str, written: Written) -> None:
        """Note a file that was written at the place that `claim` gave.

        Raises:
            FailedPreconditionError: all of it is too large by now.
        """
        self.files[name] = written
        self._grow(written.size_bytes)

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file.

        Raises:
            FailedPreconditionError: the name leads elsewhere or is taken, or all of it is too large by now.
            OSError: the disk refuses.
        """
        checked, path = self.claim(name)
        digest = hashlib.sha256()
        size_bytes = 0
        with path.open("xb") as file:
            for chunk in chunks:
                # Before it is written: a bomb is to cost neither disk nor time.
                self._grow(len(chunk))
                digest.update(chunk)
                file.write(chunk)
                size_bytes += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        self.files[checked] = Written(size_bytes, digest.hexdigest())

    def link_all(self, links: Sequence[tuple[str, str]]) -> None:
        """Give files that were written a second name.

        Args:
            links: name and target, both relative to `root`; a target may be another link's name.

        Raises:
            FailedPreconditionError: a name leads elsewhere or is taken, or a target is no file of this tree.
        """
        waiting = [(name, checked_name(target, what=self._source)) for name, target in links]
        while waiting:
            later = []
            for name, target in waiting:
                if target in self.files:
                    checked, path = self.claim(name)
                    path.hardlink_to(self.root / target)
                    self.files[checked] = self.files[target]
                else:
                    later.append((name, target))
            if len(later) == len(waiting):
                name, target = later[0]
                raise FailedPreconditionError(
                    f"{self._source} holds {name!r}, a link to {target!r}, which is no file in it; "
                    "pack the files that links point to (tar --dereference)"
                )
            waiting = later

    def sync(self) -> None:
        """Make the directories last; the files do already."""
        for name in sorted(self._directories, reverse=True):
            sync_directory(self.root / name)

    def _make(self, name: str) -> None:
        if name in self._directories:
            return
        if name in self.files:
            raise FailedPreconditionError(f"{self._source} holds {name!r} both as a file and as a directory")
        self._make(name.rpartition("/")[0])
        self._count()
        (self.root / name).mkdir()
        self._directories.add(name)

    def _count(self) -> None:
        self._entries += 1
        if self._entries > MAX_FILES:
            raise FailedPreconditionError(
                f"{self._source} holds more than {MAX_FILES} files and directories; expected one model version"
            )

    def _grow(self, count: int) -> None:
        self._bytes += count
        if self._bytes > self._max_bytes:
            raise FailedPreconditionError(
                f"{self._source} unpacks to more than {shown_bytes(self._max_bytes)}, the most that is taken from it; "
                "is it what was meant to be packed?"
            )
