r"""The digest that `--sha256` takes, of what lies on a disk.

Of a file or an archive: of its bytes. Of a directory: of one line `HEX  PATH` a file, as sha256sum prints them, the paths
relative and in byte order, so that it can be computed without this program:

    cd DIR && find -L . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from edgewise.core.errors import FailedPreconditionError, NotFoundError
from edgewise.core.file_names import MAX_DEPTH, MAX_FILES, checked_name

CHUNK_BYTES = 1 << 20


def digest_of_file(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of a file's bytes, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()


def digest_of_tree(files: Iterable[tuple[str, str]]) -> str:
    """The digest of a directory.

    Args:
        files: relative path and SHA-256 (hexadecimal) of each.
    """
    lines = sorted((path.encode(), hexadecimal) for path, hexadecimal in files)
    digest = hashlib.sha256()
    for path, hexadecimal in lines:
        digest.update(hexadecimal.encode() + b"  " + path + b"\n")
    return digest.hexdigest()


def digest_of_path(path: Path) -> str:
    """What `--sha256` takes for a file or a directory.

    Raises:
        NotFoundError, FailedPreconditionError: there is nothing, or nothing that can be fetched.
        OSError: it cannot be read.
    """
    if path.is_dir():
        return digest_of_tree([(name, digest_of_file(path / name)) for name in files_below(path)])
    if path.is_file():
        return digest_of_file(path)
    if path.exists():
        raise FailedPreconditionError(f"{path} is neither a file nor a directory")
    raise NotFoundError(f"there is no {path}")


def files_below(top: Path) -> list[str]:
    """Relative paths of all files below a directory, links followed, in byte order.

    Raises:
        FailedPreconditionError: too many files, too deep, a loop of links, a name or a kind of file that cannot be fetched.
        OSError: a directory cannot be read.
    """
    found: list[str] = []
    waiting = [(top, "", 0)]
    while waiting:
        directory, prefix, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise FailedPreconditionError(
                f"{directory} lies {depth} directories deep, where {MAX_DEPTH} is the most; do its links form a loop?"
            )
        with os.scandir(directory) as entries:
            for entry in entries:
                name = checked_name(prefix + entry.name, what=str(top))
                if entry.is_dir():
                    waiting.append((Path(entry.path), name + "/", depth + 1))
                elif entry.is_file():
                    found.append(name)
                else:
                    raise FailedPreconditionError(
                        f"{entry.path} is neither a file nor a directory, or a link to nothing; remove it"
                    )
                if len(found) > MAX_FILES:
                    raise FailedPreconditionError(
                        f"{top} holds more than {MAX_FILES} files; expected one model version"
                    )
    return sorted(found, key=str.encode)
