"""Unpacking tar archives: files and directories, links to files among them, and nothing else."""

import posixpath
import tarfile
from collections.abc import Iterator
from typing import IO, cast

from edgewise.agent.fetching.archives import BoundedReads, broken
from edgewise.agent.fetching.tree import Tree
from edgewise.core.errors import FailedPreconditionError

_CHUNK_BYTES = 1 << 18
_BLOCK_BYTES = 512
_KINDS = {
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
}


def unpack_tar(file: BoundedReads, tree: Tree, shown: str, *, links_allowed: bool = True) -> None:
    """Unpack what `file` holds. Owners, modes and times are left behind: no file comes out setuid or unreadable.

    Args:
        links_allowed: links to other files of the archive are taken, and become those files.
    Raises:
        FailedPreconditionError: it is truncated, too large, or holds what a model version does not.
        tarfile.TarError, EOFError, ValueError, zlib.error: it is damaged.
        OSError: the disk refuses.
    """
    links: list[tuple[str, str]] = []
    with tarfile.open(mode="r:", fileobj=cast("IO[bytes]", file)) as archive:
        while (member := archive.next()) is not None:
            # tarfile keeps every member it has seen; a long archive of nothing is to cost no memory.
            archive.members = []  # type: ignore[attr-defined]  # an attribute of its own, missing in the stubs
            _take(archive, member, tree, links, shown)
        # The end is a block of zeros. tarfile takes a cut between two files, and a header that is none, for the end as well.
        if file.last_read != bytes(_BLOCK_BYTES):
            raise broken(shown, truncated=len(file.last_read) < _BLOCK_BYTES)
    _read_rest(file, shown)
    if links and not links_allowed:
        raise FailedPreconditionError(f"{shown} holds {links[0][0]!r}, a link; expected files alone")
    tree.link_all(links)


def _take(
    archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Tree, links: list[tuple[str, str]], shown: str
) -> None:
    if member.isdir():
        tree.add_directory(member.name)
    elif member.issparse():
        raise FailedPreconditionError(f"{shown} holds the sparse file {member.name!r}; pack it without --sparse")
    elif member.isreg():
        tree.write(member.name, _content(archive, member, shown))
    elif member.islnk():
        links.append((member.name, member.linkname))
    elif member.issym():
        links.append((member.name, target_of(member.name, member.linkname, shown)))
    else:
        kind = _KINDS.get(member.type, "neither a file nor a directory")
        raise FailedPreconditionError(f"{shown} holds {member.name!r}, {kind}; expected files and directories")


def target_of(name: str, link: str, shown: str) -> str:
    """What a symbolic link points to, relative to the archive's top.

    Raises:
        FailedPreconditionError: it leads out of the archive.
    """
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
    if link.startswith("/") or target == ".." or target.startswith(("../", "/")):
        raise FailedPreconditionError(f"{shown} holds {name!r}, a link to {link!r}, which leads out of it")
    return target


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, shown: str) -> Iterator[bytes]:
    content = archive.extractfile(member)
    left_bytes = member.size
    while content is not None and left_bytes > 0:
        chunk = content.read(min(_CHUNK_BYTES, left_bytes))
        if not chunk:
            raise broken(shown, truncated=True)
        left_bytes -= len(chunk)
        yield chunk


def _read_rest(file: BoundedReads, shown: str) -> None:
    """What follows the end: padding, and in a gzip file the check of all that came before, which is made on reading it."""
    for _ in range(64):
        if not file.read(_CHUNK_BYTES):
            return
    raise FailedPreconditionError(f"{shown} goes on for more than 16 MB after its last file; expected one archive")
