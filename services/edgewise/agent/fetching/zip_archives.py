"""Unpacking zip archives: files and directories, links to files among them, and nothing else."""

import stat
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from edgewise.agent.fetching.archives import broken
from edgewise.agent.fetching.tar_archives import target_of
from edgewise.agent.fetching.tree import Tree
from edgewise.core.errors import FailedPreconditionError

_CHUNK_BYTES = 1 << 18
_MAX_LINK_BYTES = 4096
_ENCRYPTED = 0x1
_UNIX = 3
# The others take as much memory as the archive says.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def unpack_zip(file: BinaryIO, tree: Tree, shown: str) -> None:
    """Unpack what `file` holds. Modes and times are left behind.

    Raises:
        FailedPreconditionError: it is truncated, too large, or holds what a model version does not.
        zipfile.BadZipFile, ValueError, zlib.error: it is damaged.
        OSError: the disk refuses.
    """
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        # The table of contents is at the end; a beginning without an end is what a cut leaves.
        raise broken(shown, truncated=True) from error
    links: list[tuple[str, str]] = []
    with archive:
        for member in archive.infolist():
            _take(archive, member, tree, links, shown)
    tree.link_all(links)


def _take(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, tree: Tree, links: list[tuple[str, str]], shown: str
) -> None:
    mode = member.external_attr >> 16 if member.create_system == _UNIX else 0
    kind = stat.S_IFMT(mode)
    if member.is_dir():
        tree.add_directory(member.filename)
    elif member.flag_bits & _ENCRYPTED:
        raise FailedPreconditionError(f"{shown} is encrypted; pack it without a password")
    elif member.compress_type not in _METHODS:
        raise FailedPreconditionError(
            f"{shown} holds {member.filename!r} compressed by method {member.compress_type}; expected deflate or none"
        )
    elif kind == stat.S_IFLNK:
        with archive.open(member) as content:
            link = content.read(_MAX_LINK_BYTES).decode("utf-8", "surrogateescape")
        links.append((member.filename, target_of(member.filename, link, shown)))
    elif kind in {0, stat.S_IFREG}:
        tree.write(member.filename, _content(archive, member))
    else:
        raise FailedPreconditionError(
            f"{shown} holds {member.filename!r}, neither a file nor a directory; expected files and directories"
        )


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(member) as content:
        while chunk := content.read(_CHUNK_BYTES):
            yield chunk
