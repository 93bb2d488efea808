"""Takes a bundle in at a site without a link: a file that somebody carried there, of which nothing is believed for being in it.

It is unpacked beside everything else, where no name leads out and nothing is a link. Metadata, manifests and the desired state pass the same
checks as if they had come from a hub; a blob is taken when a manifest that is signed names it and its bytes have its digest. What was
checked then moves into the agent's directory by renames, the desired state last, so that a command that is cut short can be given again.
"""

import contextlib
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadHTTPError

from edgewise.agent.fetching.archives import BoundedReads, broken
from edgewise.agent.fetching.disk import check_room, disk_errors
from edgewise.agent.fetching.progress import shown_bytes
from edgewise.agent.fetching.tar_archives import unpack_tar
from edgewise.agent.fetching.tree import Tree, Written
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.trust.releases import TrustedReleases
from edgewise.agent.trust.source import Source
from edgewise.core.errors import EdgewiseError, FailedPreconditionError, NotFoundError, PermissionDeniedError
from edgewise.core.releases import Release
from edgewise.protocols.bundles import BLOBS, DESIRED, INDEX, MAX_INDEX_BYTES, TARGETS, blob_of, decode_index
from edgewise.protocols.desired_state import MAX_DESIRED_BYTES
from edgewise.trust.durable_files import make_directory, sync_directory

BASE_URL: Final = "bundle:"
"""Where metadata of a bundle are, for who takes them for a hub's."""
_MAGIC_AT: Final = 257
_MAGIC: Final = b"ustar"
_STAGING: Final = ".import"
_MANIFEST: Final = re.compile(rf"{TARGETS}releases/([^/]+)/([0-9a-f]{{64}})\.([1-9][0-9]{{0,18}})\.json")
_PIECE_BYTES: Final = 1 << 18
_MOST_BYTES: Final = 2 * MAX_DESIRED_BYTES + 65536


@dataclass(frozen=True, slots=True)
class Imported:
    """What a site has now.

    Attributes:
        releases: names such as pets/2.
        blobs, size_bytes: of the files that were taken in, or were there.
        missing: files of those releases, for this site's tier, that are not in the bundle, by release.
        generation: of the desired state that came along; None when none did.
        hold: why nothing of it may be installed now; "" when it may.
    """

    releases: tuple[str, ...]
    blobs: int
    size_bytes: int
    missing: Mapping[str, int]
    generation: int | None
    hold: str


def import_bundle(
    file: Path, state: StateDirectory, trust: Callable[[Source], TrustedReleases], *, site: str, tier: str
) -> Imported:
    """Take in a bundle. The agent does not run at this moment; who calls holds its lock.

    Args:
        trust: makes what this site believes in, reading from a source whose base URL is `BASE_URL`.
    Raises:
        NotFoundError: there is no such file.
        InvalidArgumentError, FailedPreconditionError, PermissionDeniedError: it is no bundle, is for another site, or does not hold; nothing
            that was not checked is left.
        ResourceExhaustedError: the disk is full.
    """
    staging = state.root / _STAGING
    with disk_errors(state.root):
        _clear(staging)
        try:
            if not file.is_file():
                raise NotFoundError(f"there is no bundle {file}")
            staging.mkdir()
            return _taken(_unpacked(file, staging), state, trust, site=site, tier=tier)
        finally:
            _clear(staging)


def imported_text(done: Imported) -> str:
    """What an import has done, for people."""
    lines = [f"{', '.join(done.releases) or 'no releases'}: {done.blobs} files, {shown_bytes(done.size_bytes)}"]
    lines += [f"note: {count} files of {name} are not in the bundle" for name, count in done.missing.items()]
    if done.generation is None:
        lines.append("note: nothing in it says what this site is to do (release export --site NAME)")
    else:
        lines.append(f"the agent, once started, follows generation {done.generation} of what the hub wants")
    if done.hold:
        lines.append(f"note: nothing new will be installed: {done.hold}")
    return "\n".join(lines)


class BundleSource(Source):
    """Gives out metadata and target files of a bundle that was unpacked.

    Attributes:
        lacking: the file that was asked for last and is not there.
    """

    carries = True
    expired_means = "the bundle was good until then; export a new one"

    def __init__(self, root: Path, names: frozenset[str]) -> None:
        self._root = root
        self._names = names
        self.lacking = ""

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.removeprefix(f"{BASE_URL}/")
        self.name = url.rpartition("/")[2]
        if name not in self._names:
            self.lacking = name
            raise DownloadHTTPError(name, 404)
        with (self._root / name).open("rb") as content:
            while piece := content.read(_PIECE_BYTES):
                yield piece


@dataclass(frozen=True, slots=True)
class _Unpacked:
    """A bundle on the disk.

    Attributes:
        file: that it came in.
        root: where it lies.
        files: what it holds, by name.
    """

    file: Path
    root: Path
    files: Mapping[str, Written]

    def content(self, name: str, max_bytes: int) -> bytes | None:
        """Of one of the files, up to one byte more than is allowed; None when it is not there."""
        if name not in self.files:
            return None
        with (self.root / name).open("rb") as file:
            return file.read(max_bytes + 1)


def _unpacked(file: Path, staging: Path) -> _Unpacked:
    size_bytes = file.stat().st_size
    check_room(staging, size_bytes)
    # Nothing in it is packed, so it is not larger unpacked.
    tree = Tree(staging, str(file), max_bytes=size_bytes)
    try:
        with file.open("rb") as content:
            _check_tar(file, content.read(tarfile.BLOCKSIZE))
            content.seek(0)
            unpack_tar(BoundedReads(content), tree, str(file), links_allowed=False)
    except (EdgewiseError, OSError):
        raise
    except Exception as error:
        # tarfile raises a dozen kinds, ValueError and EOFError among them.
        raise broken(str(file), truncated=isinstance(error, EOFError)) from error
    return _Unpacked(file, staging, tree.files)


def _check_tar(file: Path, block: bytes) -> None:
    """Tell another file, given by mistake, from a bundle that is damaged.

    Args:
        block: the first of the file.
    Raises: FailedPreconditionError: it is no tar archive's.
    """
    if block[_MAGIC_AT:].startswith(_MAGIC):
        return
    raise FailedPreconditionError(f"{file} is no bundle of Edgewise; expected what `edgewise release export` wrote")


def _taken(
    bundle: _Unpacked, state: StateDirectory, trust: Callable[[Source], TrustedReleases], *, site: str, tier: str
) -> Imported:
    content = bundle.content(INDEX, MAX_INDEX_BYTES)
    if content is None:
        raise FailedPreconditionError(f"{bundle.file} is no bundle of Edgewise: it holds no {INDEX}")
    index = decode_index(content)
    if index.site not in {"", site}:
        raise PermissionDeniedError(f"{bundle.file} is a bundle for the site {index.site}, and this is {site}")
    source = BundleSource(bundle.root, frozenset(bundle.files))
    with _named(bundle.file, source):
        trusted = trust(source)
        trusted.refresh()
        releases = [trusted.manifest(*named) for named in _manifests(bundle.files)]
        envelope = bundle.content(DESIRED, _MOST_BYTES)
        generation = None if envelope is None else _generation(trusted, envelope, state)
    sizes = _wanted(releases, bundle)
    make_directory(state.blobs)
    for sha256 in sizes:
        (bundle.root / f"{BLOBS}{sha256}").replace(state.blobs / sha256)
    sync_directory(state.blobs)
    if envelope is not None:
        # Last: whoever follows it finds everything else.
        state.write(state.desired, envelope)
    return Imported(
        releases=tuple(release.name for release in releases),
        blobs=len(sizes),
        size_bytes=sum(sizes.values()),
        missing=_missing(releases, tier, state.blobs),
        generation=generation,
        hold=trusted.may_install(),
    )


def _manifests(files: Mapping[str, Written]) -> Iterator[tuple[str, int, str]]:
    """(model, version, digest) of each manifest that is there."""
    for name in sorted(files):
        if found := _MANIFEST.fullmatch(name):
            yield found[1], int(found[3]), found[2]


def _wanted(releases: list[Release], bundle: _Unpacked) -> dict[str, int]:
    """Sizes of the blobs that are there and that a manifest names.

    Raises: PermissionDeniedError: one has other bytes than its name says.
    """
    named = {
        file.sha256: file.size_bytes
        for release in releases
        for variant in release.variants.values()
        for file in variant.files
    }
    found = {}
    for name, written in bundle.files.items():
        sha256 = blob_of(name)
        if sha256 is None or sha256 not in named:
            continue
        if (written.sha256, written.size_bytes) != (sha256, named[sha256]):
            raise PermissionDeniedError(
                f"{bundle.file}: {name} has other bytes than were signed (tampered with); nothing is taken in"
            )
        found[sha256] = written.size_bytes
    return found


def _missing(releases: list[Release], tier: str, blobs: Path) -> dict[str, int]:
    """How many files of each release this site would still have to fetch."""
    found = {}
    for release in releases:
        with contextlib.suppress(NotFoundError):
            wanted = {file.sha256 for file in release.variant(tier).files}
            lacking = sum(1 for sha256 in wanted if not (blobs / sha256).exists())
            if lacking:
                found[release.name] = lacking
    return found


def _generation(trusted: TrustedReleases, envelope: bytes, state: StateDirectory) -> int:
    """Of a desired state that may be followed.

    Raises: as `TrustedReleases.open_desired`.
    """
    seen = 0
    before = state.read(state.desired, _MOST_BYTES)
    if before is not None:
        with contextlib.suppress(EdgewiseError):
            seen = trusted.open_desired(before).generation
    return trusted.open_desired(envelope, seen_generation=seen).generation


@contextlib.contextmanager
def _named(file: Path, source: BundleSource) -> Iterator[None]:
    """Say of which bundle a message is."""
    try:
        yield
    except FailedPreconditionError as error:
        if source.lacking and source.lacking.rpartition("/")[2] == source.name:
            raise FailedPreconditionError(
                f"{file} lacks {source.lacking}, which what is in it names; was it made by `edgewise release export`?"
            ) from error
        raise FailedPreconditionError(f"{file}: {error.message}") from error
    except EdgewiseError as error:
        raise type(error)(f"{file}: {error.message}") from error


def _clear(staging: Path) -> None:
    """Remove what a command left that was killed."""
    if staging.is_symlink() or staging.is_file():
        staging.unlink()
    elif staging.exists():
        shutil.rmtree(staging)
