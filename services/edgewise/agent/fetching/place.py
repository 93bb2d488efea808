"""The directory that a version goes to, and what lies beside it.

    models/pets/1                  the version: absent, or whole
    models/pets/.1.fetch/lock      held by the fetch that works on it
    models/pets/.1.fetch/staging   what it has so far; removed by the next one if it was killed
    models/pets/.1.fetch/record.json   what the version is, from before it appears on

Model servers pass over names with a dot in front. All is on one file system, so that a rename lets the version appear.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewise.agent.fetching.digests import digest_of_file, digest_of_tree, files_below
from edgewise.agent.fetching.port import Kind
from edgewise.agent.fetching.tree import Written
from edgewise.agent.fetching.uris import check_filled
from edgewise.core.errors import EdgewiseError, FailedPreconditionError, InvalidArgumentError
from edgewise.trust.durable_files import sync_directory

_RECORD_FORMAT = 1
_MAX_RECORD_BYTES = 64 << 20
_LOCK_POLL_S = 0.05
_LOCK_TOLD_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Record:
    """What a version is.

    Attributes:
        uri: where it came from, without secrets.
        digest: what `--sha256` takes for it.
        files: size, time of the last change (ns since the epoch) and SHA-256 of each, by name.
    """

    uri: str
    digest: str
    kind: Kind
    files: Mapping[str, tuple[int, int, str]]


def version_directory(text: str) -> Path:
    """Read the DIR argument.

    Returns: an absolute path.
    Raises:
        InvalidArgumentError: a part of it was not filled in, or it can be no version's.
    """
    check_filled(text, what="DIR", key="MODEL_NAME or MODEL_VERSION")
    path = Path(os.path.abspath(text))  # noqa: PTH100  (links above it stay links)
    # `/models/$(MODEL_NAME)/$(MODEL_VERSION)` with an empty value is another directory, not a wrong one.
    if "//" in text or (text.endswith("/") and not path.name.isdecimal()):
        raise InvalidArgumentError(
            f"DIR is {text!r}, where a part is empty; expected DIR/MODEL/VERSION, such as /models/pets/1. "
            "Is MODEL_NAME or MODEL_VERSION empty in the ConfigMap model-source?"
        )
    if not path.name:
        raise InvalidArgumentError(f"DIR is {text!r}; expected DIR/MODEL/VERSION, such as /models/pets/1")
    return path


class Place:
    """Where one version goes.

    Args:
        directory: absolute.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.beside = directory.parent / f".{directory.name}.fetch"
        self.staging = self.beside / "staging"
        self._record_path = self.beside / "record.json"

    # ---- what is there

    def present(self, digest: str, uri: str) -> Record | None:
        """What the directory holds, if that is what is wanted.

        Args:
            digest: what is wanted; "" for whatever the URI names.
            uri: where it would come from.

        Returns: None when there is nothing yet.
        Raises:
            FailedPreconditionError: it holds something else, or can hold no version.
            OSError: it cannot be read.
        """
        directory = self.directory
        if directory.is_symlink():
            raise FailedPreconditionError(f"{directory} is a link; name the directory itself, or remove the link")
        if not directory.exists():
            return None
        if not directory.is_dir():
            raise FailedPreconditionError(
                f"{directory} is a file; expected the directory of a version, or nothing there"
            )
        if directory.is_mount():
            raise self._mounted()
        if next(directory.iterdir(), None) is None:
            return None
        record = self._read_record()
        if record is not None and (record.digest == digest if digest else record.uri == uri):
            changed = self._first_change(record)
            if changed:
                raise FailedPreconditionError(
                    f"{directory} is not as it was fetched: {changed}; remove the directory to fetch it again"
                )
            return record
        return self._recognized(digest, uri, record)

    def _mounted(self) -> FailedPreconditionError:
        return FailedPreconditionError(
            f"{self.directory} is a mount point, which cannot appear whole; name a directory in it, "
            f"such as {self.directory / 'pets' / '1'}"
        )

    def _recognized(self, digest: str, uri: str, record: Record | None) -> Record:
        """What was put there by someone else, if it has the digest."""
        directory = self.directory
        rather = (
            f"remove it, or fetch to another directory: a version never changes, a new one has a new number ({uri})"
        )
        if record is not None and not self._first_change(record):
            what = f"SHA-256 {record.digest}, from {record.uri}"
            raise FailedPreconditionError(f"{directory} holds another version ({what}); {rather}")
        found = ""
        if digest:
            files = self._files_there(files_below(directory))
            tree = digest_of_tree((name, file[2]) for name, file in files.items())
            alone = next(iter(files.values()))[2] if len(files) == 1 else ""
            for kind, each in ((Kind.DIRECTORY, tree), (Kind.FILE, alone)):
                if each == digest:
                    return Record(uri, digest, kind, files)
            found = f" (SHA-256 {tree} as a directory)"
        raise FailedPreconditionError(f"{directory} holds files of which nothing is known here{found}; {rather}")

    def _first_change(self, record: Record) -> str:
        """How the directory differs from its record; "" when it does not."""
        try:
            names = files_below(self.directory)
        except EdgewiseError as error:
            return error.message
        if sorted(names) != sorted(record.files):
            odd = min(set(names) ^ set(record.files))
            return f"{odd} is {'new' if odd in names else 'missing'}"
        for name, (size_bytes, changed_ns, digest) in record.files.items():
            path = self.directory / name
            status = path.stat()
            # A copy of a volume has other times and the same bytes.
            if (status.st_size, status.st_mtime_ns) != (size_bytes, changed_ns) and digest_of_file(path) != digest:
                return f"{name} was changed"
        return ""

    def _files_there(self, names: list[str]) -> dict[str, tuple[int, int, str]]:
        found = {}
        for name in names:
            path = self.directory / name
            status = path.stat()
            found[name] = (status.st_size, status.st_mtime_ns, digest_of_file(path))
        return found

    def _read_record(self) -> Record | None:
        try:
            with self._record_path.open("rb") as file:
                found = json.loads(file.read(_MAX_RECORD_BYTES))
            if found["format"] != _RECORD_FORMAT:
                return None
            files = {
                str(file["path"]): (int(file["bytes"]), int(file["mtime_ns"]), str(file["sha256"]))
                for file in found["files"]
            }
            return Record(str(found["uri"]), str(found["digest"]), Kind(found["kind"]), files)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            # Without it the version is recognized by its bytes, or not at all.
            return None

    # ---- bringing a version there

    @contextlib.contextmanager
    def locked(self, say: Callable[[str], None], check_deadline: Callable[[], None]) -> Iterator[None]:
        """Be the only one who works on this directory; what a killed one left is removed, before and after.

        Args:
            check_deadline: raises when the time for waiting is over.

        Raises:
            OSError: the disk refuses.
        """
        self._make_beside()
        descriptor = os.open(self.beside / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            told_s = float("-inf")
            while not _lock(descriptor):
                if time.monotonic() - told_s >= _LOCK_TOLD_EVERY_S:
                    say(f"another fetch works on {self.directory}; waiting for it")
                    told_s = time.monotonic()
                time.sleep(_LOCK_POLL_S)
                check_deadline()
            self._clear()
            try:
                self.staging.mkdir()
                yield
            finally:
                self._clear()
        finally:
            # The file stays: a lock on a file that is gone would keep nobody out.
            os.close(descriptor)

    def tidy(self) -> None:
        """Remove what a fetch left that was killed after its version had appeared; where that cannot be done, leave it."""
        if not self.staging.exists():
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(self.beside / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if _lock(descriptor):
                    self._clear()
            finally:
                os.close(descriptor)

    def publish(self, version: Path, *, uri: str, digest: str, kind: Kind, files: Mapping[str, Written]) -> None:
        """Let a staged version appear: its files are on the disk, its directories are made to be.

        The record comes first. If the process is killed between the two, it describes a version that is not there.

        Raises:
            FailedPreconditionError: the directory holds something by now.
            OSError: the disk refuses.
        """
        listed = [
            {
                "path": name,
                "bytes": file.size_bytes,
                "mtime_ns": (version / name).stat().st_mtime_ns,
                "sha256": file.sha256,
            }
            for name, file in sorted(files.items())
        ]
        record = {"format": _RECORD_FORMAT, "uri": uri, "digest": digest, "kind": kind.value, "files": listed}
        # In the staging directory, so that a killed one leaves nothing that nobody removes.
        draft = self.staging / "record.json"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._record_path)
        sync_directory(self.beside)
        try:
            version.rename(self.directory)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise FailedPreconditionError(f"{self.directory} was filled by someone else meanwhile") from error
            if error.errno in {errno.EBUSY, errno.EXDEV}:
                # A directory of the same disk that is mounted in its own place is told from others only now.
                raise self._mounted() from error
            raise
        sync_directory(self.directory.parent)

    def _make_beside(self) -> None:
        missing = [path for path in (self.beside, *self.beside.parents) if not path.exists()]
        for path in reversed(missing):
            # Two fetches may make the same parents at once.
            path.mkdir(mode=0o700 if path == self.beside else 0o777, exist_ok=True)
            sync_directory(path.parent)

    def _clear(self) -> None:
        if self.staging.is_symlink() or self.staging.is_file():
            self.staging.unlink()
        elif self.staging.exists():
            shutil.rmtree(self.staging)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
