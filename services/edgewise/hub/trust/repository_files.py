"""The files of the hub's TUF repository: names, reading, writing whole.

DIR/metadata/N.root.json, N.targets.json    as operators signed them, offline
DIR/metadata/N.snapshot.json, timestamp.json    signed here, with the online key
DIR/targets/...                             contents of target files, the digest before the name
"""

import re
from pathlib import Path
from typing import Final

from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Timestamp

from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.trust.durable_files import sync_directory, write_durably
from edgewise.trust.tuf_files import (
    MAX_ROOT_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_TIMESTAMP_BYTES,
    TIMESTAMP_FILE,
    checked_target_path,
    read,
    stored_path,
)

_KEPT: Final = 8
"""So many snapshots and targets of before stay, for sites that are in the midst of a refresh."""
_NAME: Final = re.compile(r"timestamp\.json|([1-9][0-9]{0,18})\.(root|snapshot|targets)\.json")
_STORED_NAME: Final = re.compile(r"[0-9a-f]{64}\..+", re.DOTALL)


class RepositoryFiles:
    """A directory of metadata and target files; what is read from it was checked before it was written."""

    def __init__(self, directory: Path) -> None:
        self._metadata = directory / "metadata"
        self._contents = directory / "targets"

    @property
    def begun(self) -> bool:
        """Whether there is a whole repository."""
        return (self._metadata / TIMESTAMP_FILE).exists()

    def clear(self) -> None:
        """Remove the metadata of a beginning that was cut short."""
        for version, kind in self._names():
            (self._metadata / f"{version}.{kind}.json").unlink()

    def read(self, name: str) -> bytes:
        """A metadata file by its name.

        Raises: NotFoundError: there is none of that name.
        """
        if not _NAME.fullmatch(name):
            raise NotFoundError(
                f"there is no metadata file {name[:100]!r}; expected timestamp.json or 1.root.json and the like"
            )
        try:
            return (self._metadata / name).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"there is no metadata file {name}") from None

    def write(self, name: str, content: bytes) -> None:
        """Put a metadata file there, whole."""
        write_durably(self._metadata / name, content)

    def root(self) -> Root:
        """The newest."""
        newest = max(version for version, kind in self._names() if kind == "root")
        return read(self.read(f"{newest}.root.json"), Root, what="the root", max_bytes=MAX_ROOT_BYTES).signed

    def timestamp(self) -> Metadata[Timestamp]:
        """What is in force."""
        return read(self.read(TIMESTAMP_FILE), Timestamp, what=TIMESTAMP_FILE, max_bytes=MAX_TIMESTAMP_BYTES)

    def snapshot(self) -> Metadata[Snapshot]:
        """What is in force."""
        name = f"{self.timestamp().signed.snapshot_meta.version}.snapshot.json"
        return read(self.read(name), Snapshot, what=name, max_bytes=MAX_SNAPSHOT_BYTES)

    def targets(self) -> bytes:
        """The targets.json that is in force."""
        return self.read(f"{self.snapshot().signed.meta['targets.json'].version}.targets.json")

    def stored(self, path: str) -> bytes:
        """The content of a target file.

        Args:
            path: with the digest before the name, such as releases/pets/9f86....2.json.
        Raises: NotFoundError: there is none.
        """
        try:
            checked_target_path(path)
            if not _STORED_NAME.fullmatch(path.rpartition("/")[2]):
                raise NotFoundError(
                    "a target file's name begins with its SHA-256, such as releases/pets/9f86....2.json"
                )
            return (self._contents / path).read_bytes()
        except (InvalidArgumentError, FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFoundError(f"there is no target file {path[:200]!r}") from None

    def write_content(self, target: TargetFile, content: bytes) -> None:
        """Put the content of a target file there, whole."""
        write_durably(self._contents / stored_path(target), content)

    def prune(self) -> None:
        """Remove metadata that no refresh can still be asking for."""
        snapshot = self.snapshot().signed
        newest = {"snapshot": snapshot.version, "targets": snapshot.meta["targets.json"].version}
        old = [
            self._metadata / f"{version}.{kind}.json"
            for version, kind in self._names()
            if kind in newest and version <= newest[kind] - _KEPT
        ]
        for path in old:
            path.unlink()
        if old:
            sync_directory(self._metadata)

    def _names(self) -> list[tuple[int, str]]:
        if not self._metadata.is_dir():
            return []
        found = (_NAME.fullmatch(path.name) for path in self._metadata.iterdir())
        return [(int(each[1]), each[2]) for each in found if each and each[1]]
