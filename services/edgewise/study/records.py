"""Raw records: one Parquet file a run, one row a request, written whole or not at all."""

import base64
import binascii
import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.study.engine.job import OTHER_ANSWER, Recording, State
from edgewise.trust.durable_files import sync_directory

VERSION: Final = "1"
MAX_ROWS: Final = 100_000_000
MAX_ANSWER_BYTES: Final = 1 << 30
"""Of all distinct answers of one run together."""
MAX_METADATA_BYTES: Final = 1 << 30

_VERSION_KEY: Final = b"edgewise.records.version"
_RECORDING_KEY: Final = b"edgewise.recording"
_ANSWERS_KEY: Final = b"edgewise.answers"
_METADATA_KEY: Final = b"edgewise.metadata"
_STATES_KEY: Final = b"edgewise.states"

_COLUMNS: Final[Mapping[str, tuple[type[np.generic], int | None]]] = {
    "due_ns": (np.int64, None),
    "sent_ns": (np.int64, -1),
    "ended_ns": (np.int64, -1),
    "state": (np.uint8, None),
    "code": (np.int16, -1),
    "question": (np.uint16, None),
    "answer": (np.uint16, OTHER_ANSWER),
    "site": (np.uint8, None),
    "attempts": (np.uint8, None),
    "version": (np.int32, None),
}
"""The type of each column, and the value that is null in the file: whoever reads it with another tool and averages
`ended_ns - due_ns` then leaves out what never ended, which -1 would not."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write(path: Path, recording: Recording, metadata: Mapping[str, str]) -> None:
    """Write the records of a run: the file is there and complete afterwards, or it is as it was before.

    Args:
        path: of the Parquet file; its directory exists.
        metadata: kept with the records, for people and for `read`.
    Raises:
        InvalidArgumentError: the recording's columns do not fit together.
        FailedPreconditionError: the disk is full or cannot be written, or pyarrow is not installed.
    """
    pyarrow, parquet = _pyarrow()
    rows = _checked(recording, "the recording")
    columns = {}
    for name, (kind, nothing) in _COLUMNS.items():
        values = np.ascontiguousarray(getattr(recording, name), dtype=kind)
        columns[name] = pyarrow.array(values, mask=None if nothing is None else values == kind(nothing))
    table = pyarrow.table(columns)
    about = _file_metadata(pyarrow, recording, metadata)
    times = {name for name, (kind, _) in _COLUMNS.items() if kind is np.int64}
    with (
        whole_file(path, needed_bytes=20 * rows + sum(map(len, about.values()))) as file,
        parquet.ParquetWriter(
            file,
            table.schema,
            compression="zstd",
            use_dictionary=[name for name in _COLUMNS if name not in times],
            column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
            # Arrow's own copy of the schema; the types of Parquet say all.
            store_schema=False,
            write_page_checksum=True,
        ) as writer,
    ):
        writer.write_table(table, row_group_size=1 << 20)
        writer.add_key_value_metadata(about)


def read(path: Path) -> tuple[Recording, dict[str, str]]:
    """Read what `write` wrote.

    Returns: the recording, and its metadata.
    Raises:
        NotFoundError: there is no such file.
        InvalidArgumentError: the file is damaged, or holds no records of ours.
        FailedPreconditionError: the file cannot be opened, or pyarrow is not installed.
    """
    pyarrow, parquet = _pyarrow()
    try:
        with path.open("rb") as file:
            return _read(path, pyarrow, parquet, file)
    except FileNotFoundError:
        raise NotFoundError(f"there are no records at {path}") from None
    except (pyarrow.ArrowException, ValueError) as error:
        raise InvalidArgumentError(f"{path} is damaged or no Parquet file; measure its run again") from error
    except OSError as error:
        # Arrow reports what it cannot decompress as an OSError without a number.
        if error.errno is None:
            raise InvalidArgumentError(f"{path} is damaged or no Parquet file; measure its run again") from error
        raise FailedPreconditionError(f"{path} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def whole_file(path: Path, *, needed_bytes: int = 0) -> Iterator[BinaryIO]:
    """A file to write that takes the name `path` when the block ends well, and leaves nothing behind when it does not.

    Args:
        needed_bytes: about what it will take, for the message when there is no room.
    Raises:
        FailedPreconditionError: the disk is full, or the directory is missing or cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise FailedPreconditionError(_why_not_written(path, needed_bytes, error)) from error


def _why_not_written(path: Path, needed_bytes: int, error: OSError) -> str:
    if error.errno not in _FULL:
        return f"{path} cannot be written: {error.strerror or 'the disk refuses it'}"
    try:
        free = f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB are free"
    except OSError:
        free = "the free space is unknown"
    needed = f", about {max(needed_bytes / 1e6, 0.1):.1f} MB are needed" if needed_bytes else ""
    why = "the disk is full" if error.errno == errno.ENOSPC else "a quota or the limit of file sizes is reached"
    return f"{path} was not written: {why} ({free}{needed}); make room, then go on with --resume"


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - the server starts without it
        from pyarrow import parquet  # noqa: PLC0415 - as above
    except ImportError:
        raise FailedPreconditionError("records need pyarrow: install edgewise with the extra `study`") from None
    return pa, parquet


def _checked(recording: Recording, what: str) -> int:
    """The number of rows of a recording whose columns fit together."""
    rows = int(recording.due_ns.size)
    for name in _COLUMNS:
        column: NDArray[Any] = getattr(recording, name)
        if column.shape != (rows,):
            raise InvalidArgumentError(f"{what} has {rows} due times, but {column.size} values in the column {name}")
    if rows == 0:
        return 0
    if int(recording.due_ns.min()) < 0 or bool((np.diff(recording.due_ns) < 0).any()):
        raise InvalidArgumentError(f"{what} has due times that do not rise from 0")
    if int(recording.state.max()) > max(State):
        raise InvalidArgumentError(
            f"{what} has the state {int(recording.state.max())}; states are 0..{int(max(State))}"
        )
    if bool((recording.ended_ns[recording.state == State.OK] < 0).any()):
        raise InvalidArgumentError(f"{what} has requests that were answered but never ended")
    if int(recording.site.max()) >= len(recording.sites):
        raise InvalidArgumentError(f"{what} names site {int(recording.site.max())} of {len(recording.sites)}")
    answers = recording.answer[recording.answer != OTHER_ANSWER]
    if answers.size and int(answers.max()) >= len(recording.answers):
        raise InvalidArgumentError(f"{what} names answer {int(answers.max())} of {len(recording.answers)}")
    return rows


def _file_metadata(pyarrow: ModuleType, recording: Recording, metadata: Mapping[str, str]) -> dict[bytes, bytes]:
    bodies = b"".join(recording.answers)
    if len(bodies) > MAX_ANSWER_BYTES:
        raise InvalidArgumentError(
            f"the distinct answers take {len(bodies)} bytes, records hold {MAX_ANSWER_BYTES}: "
            "ask fewer distinct questions, or a model with smaller answers"
        )
    # Other tools expect text in a file's metadata.
    packed = base64.b64encode(pyarrow.compress(bodies, codec="zstd", asbytes=True))
    about = {
        "sites": recording.sites,
        "errors": recording.errors,
        "started_wall_s": recording.started_wall_s,
        "cpu_s": recording.cpu_s,
        "stopped": recording.stopped,
        "opened": recording.opened,
        "resent": recording.resent,
        "waited_s": recording.waited_s,
        "scheduling": recording.scheduling,
        "cpus": list(recording.cpus),
        "answer_bytes": [len(answer) for answer in recording.answers],
    }
    return {
        _VERSION_KEY: VERSION.encode(),
        _STATES_KEY: json.dumps({state.name.lower(): int(state) for state in State}).encode(),
        _RECORDING_KEY: json.dumps(about, allow_nan=False).encode(),
        _METADATA_KEY: json.dumps(dict(metadata)).encode(),
        _ANSWERS_KEY: packed,
    }


def _read(path: Path, pyarrow: ModuleType, parquet: ModuleType, file: BinaryIO) -> tuple[Recording, dict[str, str]]:
    source = parquet.ParquetFile(file, thrift_string_size_limit=MAX_METADATA_BYTES, page_checksum_verification=True)
    found: dict[bytes, bytes] = source.metadata.metadata or {}
    if _VERSION_KEY not in found:
        raise InvalidArgumentError(f"{path} is a Parquet file, but holds no records of a study")
    if found[_VERSION_KEY] != VERSION.encode():
        raise InvalidArgumentError(
            f"{path} holds records of version {found[_VERSION_KEY].decode(errors='replace')}; this program reads version {VERSION}"
        )
    _check_columns(path, pyarrow, source)
    table = source.read(columns=list(_COLUMNS))
    columns: dict[str, NDArray[Any]] = {}
    for name, (kind, nothing) in _COLUMNS.items():
        column = table.column(name)
        if column.null_count and nothing is None:
            raise InvalidArgumentError(f"{path} has empty fields in the column {name}")
        if column.null_count:
            column = column.fill_null(pyarrow.scalar(nothing, column.type))
        columns[name] = np.array(column.to_numpy(), dtype=kind, copy=True)
    try:
        about = json.loads(found[_RECORDING_KEY])
        metadata = {str(key): str(value) for key, value in json.loads(found[_METADATA_KEY]).items()}
        recording = Recording(
            **columns,
            answers=_answers(pyarrow, found[_ANSWERS_KEY], [int(size) for size in about["answer_bytes"]]),
            sites=[str(site) for site in about["sites"]],
            errors={str(text): int(count) for text, count in about["errors"].items()},
            started_wall_s=float(about["started_wall_s"]),
            cpu_s=float(about["cpu_s"]),
            stopped=bool(about["stopped"]),
            opened=int(about.get("opened", 0)),
            resent=int(about.get("resent", 0)),
            waited_s=float(about.get("waited_s", 0.0)),
            scheduling=str(about.get("scheduling", "")),
            cpus=tuple(int(cpu) for cpu in about.get("cpus", [])),
        )
    except (KeyError, ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise InvalidArgumentError(f"{path} is damaged: what it says about its recording cannot be read") from error
    _checked(recording, str(path))
    return recording, metadata


def _check_columns(path: Path, pyarrow: ModuleType, source: Any) -> None:
    if source.metadata.num_rows > MAX_ROWS:
        raise InvalidArgumentError(f"{path} has {source.metadata.num_rows} rows; records have at most {MAX_ROWS}")
    missing = sorted(set(_COLUMNS) - set(source.schema_arrow.names))
    if missing:
        raise InvalidArgumentError(
            f"{path} lacks the columns {', '.join(missing)}: it is damaged, or was not written by us"
        )
    for name, (kind, _) in _COLUMNS.items():
        stored = source.schema_arrow.field(name).type
        if stored != pyarrow.from_numpy_dtype(np.dtype(kind)):
            raise InvalidArgumentError(f"{path} has the column {name} as {stored}, not as {np.dtype(kind).name}")


def _answers(pyarrow: ModuleType, packed: bytes, sizes: list[int]) -> list[bytes]:
    total = sum(sizes)
    if total > MAX_ANSWER_BYTES or any(size < 0 for size in sizes):
        raise ValueError("answers out of bounds")
    bodies: bytes = pyarrow.decompress(
        base64.b64decode(packed, validate=True), decompressed_size=total, codec="zstd", asbytes=True
    )
    return [bodies[start:end] for start, end in pairwise(accumulate(sizes, initial=0))]
