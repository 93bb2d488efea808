"""The versions on an agent's disk: what is to be in each, whether it is, and how one appears and goes."""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from edgewise.agent.fetching.digests import digest_of_file, files_below
from edgewise.agent.site.state import StateDirectory
from edgewise.core.errors import EdgewiseError, FailedPreconditionError, InvalidArgumentError
from edgewise.core.file_names import checked_name
from edgewise.core.releases import EVERY_TIER, Release, ReleaseFile, Variant
from edgewise.core.rollout.orders import Order
from edgewise.protocols.documents import check_format, document_bytes, read_document, time_text
from edgewise.protocols.release_manifest import MAX_MANIFEST_BYTES, decode_release, encode_release
from edgewise.trust.durable_files import make_directory, sync_directory

FORMAT: Final = "edgewise-version/1"
_MAX_BYTES: Final = MAX_MANIFEST_BYTES + 65536
_VERSION: Final = re.compile(r"[1-9][0-9]{0,18}")
_LEFT_OVER: Final = re.compile(r"\.[0-9]+\.(staging|gone)")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)

Stamps = tuple[tuple[str, int, int, int, int], ...]
"""Name, size, times of the last change of content and of anything (ns), and inode of each file."""


class VersionFiles:
    """All models' versions.

    What a killed process left half done is removed.

    Raises: EdgewiseError, OSError: the disk refuses.
    """

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._releases: dict[Path, tuple[tuple[int, int, int], str, str, Release]] = {}
        for model in _directories(state.models):
            for left in _directories(model):
                if _LEFT_OVER.fullmatch(left.name):
                    shutil.rmtree(left)
        for path in state.downloads.iterdir():
            # What is part of a version by now.
            if _DIGEST.fullmatch(path.name) and path.stat().st_nlink > 1:
                path.unlink()

    # ---- what is there

    def exists(self, model: str, version: int) -> bool:
        """Whether there is a version of that number, whatever is in it."""
        return self._path(model, version).exists()

    def is_there(self, model: str, version: int, manifest_sha256: str) -> bool:
        """Whether all of this release was put there."""
        if not self._path(model, version).is_dir():
            return False
        found = self._read(self._beside(model, version))
        return found is not None and found[0] == manifest_sha256

    def models(self) -> list[str]:
        """Those of which there is a directory."""
        return sorted(path.name for path in _directories(self._state.models))

    def versions(self, model: str) -> list[int]:
        """Those of a model, the lowest first."""
        names = (path.name for path in _directories(self._state.models / model))
        return sorted(int(name) for name in names if _VERSION.fullmatch(name))

    def release(self, order: Order) -> Release | None:
        """What is to be in a version, if it is what the order means; None when that is not known here."""
        found = self._read(self._beside(order.model, order.version))
        return found[2] if found is not None and found[1] == order.manifest_sha256 else None

    def stamps(self, model: str, version: int) -> Stamps:
        """By which a change is noticed without reading; empty when the files cannot be looked at."""
        path = self._path(model, version)
        found = []
        with contextlib.suppress(OSError, EdgewiseError):
            for name in files_below(path):
                status = (path / name).lstat()
                found.append((name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
        return tuple(found)

    def first_change(self, model: str, version: int, variant: Variant) -> str:
        """How a version differs from what it should be, read byte by byte; "" when it does not."""
        path = self._path(model, version)
        try:
            names = files_below(path)
        except EdgewiseError as error:
            return error.message
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        wanted = {file.path: file for file in variant.files}
        if odd := set(names) ^ wanted.keys():
            name = min(odd)
            return f"{name} is {'not part of it' if name in names else 'missing'}"
        for name, file in wanted.items():
            if not stat.S_ISREG((path / name).lstat().st_mode):
                return f"{name} is no file"
            if digest_of_file(path / name) != file.sha256:
                return f"{name} was changed"
        return ""

    def known_files(self, model: str, wanted: Iterable[ReleaseFile]) -> Iterator[tuple[Path, ReleaseFile]]:
        """Files on this disk that have something in common with what is wanted, perhaps."""
        for file in wanted:
            blob = self._state.blobs / file.sha256
            if blob.is_file():
                yield blob, file
        for version in self.versions(model):
            found = self._read(self._beside(model, version))
            for variant in found[2].variants.values() if found is not None else ():
                for file in variant.files:
                    path = self._path(model, version) / file.path
                    if path.is_file():
                        yield path, file

    def others(self, model: str, versions: frozenset[int]) -> list[int]:
        """Versions on the disk besides these."""
        return [version for version in self.versions(model) if version not in versions]

    # ---- changing it

    def publish(self, order: Order, release: Release, variant: Variant) -> None:
        """Let a version appear, of files that are in `downloads`, whole and lasting.

        Raises:
            FailedPreconditionError: the release names files that cannot be.
            OSError: the disk refuses.
        """
        top = self._path(order.model, order.version)
        staging = top.with_name(f".{order.version}.staging")
        make_directory(top.parent)
        if staging.exists():
            shutil.rmtree(staging)
        staging.mkdir()
        directories = {staging}
        for file in variant.files:
            path = staging / _checked(file.path, release)
            for parent in reversed(path.relative_to(staging).parents):
                directory = staging / parent
                directory.mkdir(exist_ok=True)
                directories.add(directory)
            os.link(self._state.downloads / file.sha256, path)
        for directory in sorted(directories, reverse=True):
            sync_directory(directory)
        self._describe(release, order.manifest_sha256)
        staging.rename(top)
        sync_directory(top.parent)
        for digest in {file.sha256 for file in variant.files}:
            (self._state.downloads / digest).unlink(missing_ok=True)

    def recognize(self, order: Order, release: Release, variant: Variant) -> None:
        """Take what is there already for the release, if it is.

        Raises: FailedPreconditionError: it is something else.
        """
        wrong = self.first_change(order.model, order.version, variant)
        if wrong:
            raise FailedPreconditionError(
                f"{self._path(order.model, order.version)} holds other files than the release "
                f"{order.model}/{order.version} ({wrong}); a version never changes: release it with a new number"
            )
        self._describe(release, order.manifest_sha256)

    def adopt(self, model: str, version: int, source: Path) -> None:
        """Copy a version that was here before the agent. It is described as a release is, so that the next one is fetched by what it lacks.

        Raises: EdgewiseError, OSError: it cannot be read, or the disk refuses.
        """
        from edgewise.protocols.chunking import release_file  # noqa: PLC0415 - takes numpy, as nothing else of an agent does

        top = self._path(model, version)
        staging = top.with_name(f".{version}.staging")
        make_directory(top.parent)
        if staging.exists():
            shutil.rmtree(staging)
        staging.mkdir()
        directories = {staging}
        names = files_below(source)
        for name in names:
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            directories.update(staging / parent for parent in Path(name).parents)
            shutil.copyfile(source / name, path)
            path.chmod(0o444)
            _sync_file(path)
        for directory in sorted(directories, reverse=True):
            sync_directory(directory)
        if names:
            described = Variant(tuple(release_file(name, staging / name) for name in sorted(names)))
            release = Release(model, version, time_text(time.time()), {EVERY_TIER: described}, notes="adopted")
            self._describe(release, hashlib.sha256(encode_release(release)).hexdigest())
        staging.rename(top)
        sync_directory(top.parent)

    def remove(self, model: str, version: int) -> None:
        """Have a version be gone: out of sight at once, then its files.

        Raises: OSError: the disk refuses.
        """
        top = self._path(model, version)
        gone = top.with_name(f".{version}.gone")
        if gone.exists():
            shutil.rmtree(gone)
        if top.exists():
            top.rename(gone)
            sync_directory(top.parent)
            shutil.rmtree(gone)
        self._beside(model, version).unlink(missing_ok=True)

    def remove_others(self, model: str, versions: frozenset[int]) -> None:
        """Remove all versions of a model but these.

        Raises: OSError: the disk refuses.
        """
        for version in self.others(model, versions):
            _log.info("%s/%d is not needed any more; it is removed", model, version)
            self.remove(model, version)

    def remove_downloads(self, *, but: frozenset[str]) -> None:
        """Make room: what is half fetched and not asked for now.

        Args:
            but: digests of files to be kept.
        """
        for path in self._state.downloads.iterdir():
            if path.name.partition(".")[0] not in but:
                path.unlink()

    # ---- inside

    def _path(self, model: str, version: int) -> Path:
        return self._state.models / model / str(version)

    def _beside(self, model: str, version: int) -> Path:
        return self._state.models / model / f".{version}.release"

    def _describe(self, release: Release, manifest_sha256: str) -> None:
        """Note what a version is.

        Args:
            manifest_sha256: of the manifest as it was ordered; of what is noted, when nobody ordered it.
        """
        value = {"format": FORMAT, "manifest_sha256": manifest_sha256, "release": encode_release(release).decode()}
        self._state.write(self._beside(release.model, release.version), document_bytes(value))

    def _read(self, path: Path) -> tuple[str, str, Release] | None:
        """The digest of the manifest as it was ordered, the digest of what is here, and the release."""
        try:
            status = path.stat()
        except OSError:
            return None
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        known = self._releases.get(path)
        if known is not None and known[0] == stamp:
            return known[1:]
        try:
            content = self._state.read(path, _MAX_BYTES)
            top = read_document(content or b"", path.name, max_bytes=_MAX_BYTES)
            check_format(top, FORMAT)
            ordered = top.sha256("manifest_sha256")
            manifest = top.text("release", longest=_MAX_BYTES).encode()
            release = decode_release(manifest)
        except EdgewiseError as error:
            _log.error("%s; what is beside it is not believed", error.message)
            with contextlib.suppress(OSError, EdgewiseError):
                self._state.set_aside(path)
            return None
        found = (ordered, hashlib.sha256(manifest).hexdigest(), release)
        self._releases[path] = (stamp, *found)
        return found


def _checked(path: str, release: Release) -> str:
    """A name that stays in the version's directory.

    Raises: InvalidArgumentError: it does not.
    """
    try:
        name = checked_name(path, what=f"release {release.name}")
    except FailedPreconditionError as error:
        raise InvalidArgumentError(error.message) from None
    if not name:
        raise InvalidArgumentError(f"release {release.name} holds a file without a name")
    return name


def _sync_file(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _directories(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    with os.scandir(path) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
