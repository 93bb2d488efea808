"""All that a hub knows in one file, and a hub made of it.

A tar file: `backup.json` first, which says what it is and how its database was laid out, then the tables as lines of JSON, the keys, the
metadata, the blobs if they were asked for, and an empty file which says that this was all. The tables are read in one transaction, of
SQLite and PostgreSQL alike, so a backup of the one can be restored to the other, and a hub may go on while it is backed up.
"""

import io
import itertools
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.core.file_names import checked_name
from edgewise.hub.blobs.port import CHUNK_BYTES, BlobStore, checked_digest
from edgewise.hub.blobs.urls import opened_blobs
from edgewise.hub.state_directory import StateDirectory
from edgewise.hub.table_copies import dump_tables, load_tables
from edgewise.protocols.documents import check_format, document_bytes, read_document, time_text
from edgewise.trust.durable_files import sync_directory

FORMAT: Final = "edgewise-hub-backup/1"
_HEAD: Final = "backup.json"
_TABLES: Final = "tables.jsonl"
_STATE: Final = "state"
_BLOBS: Final = "blobs"
_END: Final = "end"
_MAX_HEAD_BYTES: Final = 65536
_MAX_STATE_FILE_BYTES: Final = 128 << 20
_TIMESTAMP: Final = "tuf/metadata/timestamp.json"


def write_backup(file: Path, state: StateDirectory, *, database: str, blobs: str, with_blobs: bool) -> int:
    """Write a backup, whole or not at all.

    Args:
        database, blobs: where the hub has them; "" for its own directory.
    Returns: its length in bytes.
    Raises:
        AlreadyExistsError: there is such a file already.
        FailedPreconditionError: there is no hub, or the file cannot be written.
        UnavailableError: the database or the blobs cannot be read.
    """
    state.url()
    if file.exists():
        raise AlreadyExistsError(f"there is a file {file} already; a backup is never written over")
    store = opened_blobs(blobs, state.root) if with_blobs else None
    beside = file.with_name(f".{file.name}.new")
    try:
        number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "wb") as content:
            with (
                tempfile.TemporaryFile() as tables,
                tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar,
            ):
                # The database first: what the metadata names beyond it is taken from there when the hub starts.
                revision = dump_tables(database or state.default_database, tables)
                head = {"format": FORMAT, "created": time_text(time.time()), "revision": revision}
                _add_bytes(tar, _HEAD, document_bytes(head))
                _add_stream(tar, _TABLES, tables)
                for name in _state_files(state):
                    _add_bytes(tar, f"{_STATE}/{name}", (state.root / name).read_bytes())
                if store is not None:
                    _add_blobs(tar, store)
                _add_bytes(tar, _END, b"")
            content.flush()
            os.fsync(content.fileno())
        beside.replace(file)
        sync_directory(file.absolute().parent)
    except OSError as error:
        raise FailedPreconditionError(f"the backup {file} cannot be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
    return file.stat().st_size


def restore_backup(file: Path, state: StateDirectory, *, database: str, blobs: str) -> str:
    """Make a hub of a backup, whole or not at all.

    Args:
        state: a directory that is not there yet.
        database, blobs: where they go; "" for the hub's own directory. A database elsewhere has to be empty.
    Returns: when the backup was made.
    Raises:
        AlreadyExistsError: there is such a directory already, or something is in the database.
        InvalidArgumentError: the file is no backup.
        FailedPreconditionError: it cannot be read, or was made by a newer program.
    """
    if state.root.exists():
        raise AlreadyExistsError(f"there is a directory {state.root} already; a hub is never restored over another one")
    beside = StateDirectory(state.root.with_name(f".{state.root.name}.restored"))
    try:
        with (
            file.open("rb") as content,
            tarfile.open(fileobj=content, mode="r|") as tar,
            tempfile.TemporaryFile() as tables,
        ):
            members = _members(tar)
            head = read_document(
                _content(tar, *next(members), most_bytes=_MAX_HEAD_BYTES), "the backup", max_bytes=_MAX_HEAD_BYTES
            )
            check_format(head, FORMAT)
            _clear(beside.root)
            beside.root.mkdir(mode=0o700, parents=True)
            _unpack(tar, members, beside, tables, blobs)
            tables.seek(0)
            load_tables(database or beside.default_database, head.text("revision"), tables)
            sync_directory(beside.root)
            beside.root.rename(state.root)
            sync_directory(state.root.absolute().parent)
            return head.text("created")
    except (tarfile.TarError, StopIteration, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{file} is no backup of a hub, or not all of one") from error
    except OSError as error:
        raise FailedPreconditionError(
            f"{file} cannot be restored to {state.root}: {error.strerror or error}"
        ) from error
    finally:
        _clear(beside.root)


def _state_files(state: StateDirectory) -> Iterator[str]:
    """Keys, settings and metadata. The timestamp first: what it names was there before it, and whatever comes later is more."""
    yield _TIMESTAMP
    yield state.settings.name
    yield state.public_keys.name
    for path in sorted(state.root.glob("*.key")):
        yield path.name
    for path in sorted(state.tuf.rglob("*")):
        name = path.relative_to(state.root).as_posix()
        if path.is_file() and not path.name.startswith(".") and name != _TIMESTAMP:
            yield name


def _add_blobs(tar: tarfile.TarFile, store: BlobStore) -> None:
    for sha256 in store.names():
        try:
            size_bytes = store.size_bytes(sha256)
            pieces = store.read(sha256, 0, size_bytes)
            first = next(pieces, b"")
        except NotFoundError:
            # Nothing names it: it was pruned meanwhile.
            continue
        _add(tar, f"{_BLOBS}/{sha256}", size_bytes, io.BufferedReader(_Pieces(itertools.chain([first], pieces))))


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    _add(tar, name, len(content), io.BytesIO(content))


def _add_stream(tar: tarfile.TarFile, name: str, file: BinaryIO) -> None:
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    _add(tar, name, size_bytes, file)


def _add(tar: tarfile.TarFile, name: str, size_bytes: int, file: BinaryIO) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size_bytes, 0o600, 0
    tar.addfile(member, file)


class _Pieces(io.RawIOBase):
    """An iterator of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # any buffer; it is one
        if not self._left:
            self._left = memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Names and files, none of which leads elsewhere."""
    for member in tar:
        if not member.isreg():
            raise InvalidArgumentError(f"the backup holds {member.name[:80]!a}, which is no file")
        try:
            yield checked_name(member.name, what="the backup"), member
        except FailedPreconditionError as error:
            raise InvalidArgumentError(error.message) from None


def _content(tar: tarfile.TarFile, name: str, member: tarfile.TarInfo, *, most_bytes: int) -> bytes:
    file = tar.extractfile(member)
    if file is None or member.size > most_bytes:
        raise InvalidArgumentError(f"the backup holds {name} with {member.size} bytes; {most_bytes} is the most")
    return file.read()


def _unpack(
    tar: tarfile.TarFile,
    members: Iterator[tuple[str, tarfile.TarInfo]],
    state: StateDirectory,
    tables: BinaryIO,
    blobs: str,
) -> None:
    store: BlobStore | None = None
    name = ""
    for name, member in members:
        place, _, rest = name.partition("/")
        if name == _TABLES:
            _copy(tar, member, tables.write)
        elif place == _STATE and rest:
            _write(state.root / PurePosixPath(rest), _content(tar, name, member, most_bytes=_MAX_STATE_FILE_BYTES))
        elif place == _BLOBS and rest:
            store = store or opened_blobs(blobs, state.root)
            _take_blob(store, checked_digest(rest), tar, member)
        elif name != _END:
            raise InvalidArgumentError(f"the backup holds {name[:80]!a}, which no backup has")
    if name != _END:
        # A tar file that was cut off between two files looks like a whole one.
        raise tarfile.ReadError


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        path.chmod(0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _take_blob(store: BlobStore, sha256: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    upload = store.upload(sha256)
    try:
        _copy(tar, member, upload.write)
        upload.commit()
    finally:
        upload.discard()


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, write: Callable[[bytes], object]) -> None:
    file = tar.extractfile(member)
    while file is not None and (piece := file.read(CHUNK_BYTES)):
        write(piece)


def _clear(directory: Path) -> None:
    """What a try before left."""
    if directory.exists():
        shutil.rmtree(directory)
