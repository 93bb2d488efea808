"""The TUF repository that the hub gives out, and signs with its online key.

A reader sees one state of it at any moment: what timestamp.json names was there before it was named, and timestamp.json is replaced last.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tuf.api.metadata import Root, Snapshot, TargetFile, Targets, Timestamp

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from edgewise.hub.trust.acceptance import (
    ONLINE_ROLES,
    chain,
    check_carried,
    check_document,
    check_keys,
    check_names,
    check_unexpired,
    is_signed,
)
from edgewise.hub.trust.repository_files import RepositoryFiles
from edgewise.hub.trust.signing import SNAPSHOT_LIFE_S, TIMESTAMP_LIFE_S, Signing
from edgewise.trust.keys import SigningKey
from edgewise.trust.tuf_files import (
    MAX_ROOT_BYTES,
    MAX_TARGETS_BYTES,
    check_content,
    check_signed,
    check_successor,
    checked_target_path,
    moment,
    read,
    release_of,
    stored_path,
)

MOST_LEAP: Final = 1 << 20
"""By how many versions a site may say that it is ahead: more is no backup that was restored, and would use the numbers up."""

_NO_VERSIONS: Final[Mapping[str, int]] = {}


class Repository:
    """Metadata and target files on the disk, and the online keys that sign.

    May be read from any thread; changes wait for one another.

    Args:
        directory: where it lies.
        keys: online keys; the root says which of them count. Two while the key is being replaced.
        clock: the wall clock, seconds since the epoch.

    Raises: FailedPreconditionError: nothing has been put there yet, see `created`.
    """

    def __init__(self, directory: Path, *keys: SigningKey, clock: Callable[[], float] = time.time) -> None:
        self._files = RepositoryFiles(directory)
        self._keys = keys
        self._clock = clock
        self._lock = threading.Lock()
        if not self._files.begun:
            raise FailedPreconditionError(
                f"{directory} holds no TUF repository yet; give it the first root.json and targets.json"
            )

    @classmethod
    def created(
        cls,
        directory: Path,
        *keys: SigningKey,
        roots: Sequence[bytes],
        targets: bytes,
        contents: Mapping[str, bytes],
        clock: Callable[[], float] = time.time,
    ) -> "Repository":
        """Begin with what an operator signed; a beginning that was cut short is made anew.

        Args:
            roots: all of them, from version 1.
            targets: targets.json.
            contents: of the target files that it names, by path.
        Raises:
            AlreadyExistsError: there is a repository already.
            InvalidArgumentError, FailedPreconditionError, PermissionDeniedError: what is given does not fit together.
        """
        files = RepositoryFiles(directory)
        if files.begun:
            raise AlreadyExistsError(f"{directory} holds a TUF repository already")
        root = chain(roots)
        now = moment(clock())
        check_unexpired(root, now, what="the newest root")
        check_keys(root, keys)
        metadata = read(targets, Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES)
        check_signed(root, metadata, what="targets.json")
        check_unexpired(metadata.signed, now, what="targets.json")
        check_names(metadata.signed)
        for path, target in metadata.signed.targets.items():
            if path not in contents:
                raise FailedPreconditionError(f"targets.json names {path}, and its content is not given")
            check_content(target, contents[path])
            check_document(path, contents[path])
        files.clear()
        for path, target in metadata.signed.targets.items():
            files.write_content(target, contents[path])
        for version, content in enumerate(roots, 1):
            files.write(f"{version}.root.json", content)
        files.write(f"{metadata.signed.version}.targets.json", targets)
        signing = Signing(files, keys, clock())
        signing.stamp(signing.snapshot(metadata.signed.version, 1), 1)
        return cls(directory, *keys, clock=clock)

    def put_target(self, path: str, content: bytes) -> str:
        """Keep the content of a target file, which a targets.json is to name afterwards.

        Args:
            path: the target's, such as releases/pets/2.json.
        Returns: its SHA-256.
        Raises: InvalidArgumentError: the path is none, or the content is not what belongs there.
        """
        checked_target_path(path)
        check_document(path, content)
        target = TargetFile.from_data(path, content, ["sha256"])
        with self._lock:
            self._files.write_content(target, content)
        return target.hashes["sha256"]

    def examine_targets(self, content: bytes) -> dict[str, bytes]:
        """Look at a targets.json as `accept_targets` does, and change nothing.

        Returns: contents of the releases that it adds, by path.
        Raises: as `accept_targets`.
        """
        if content == self._files.targets():
            return {}
        metadata = read(content, Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES)
        root, there, new = self.root(), self.targets(), metadata.signed
        check_signed(root, metadata, what="targets.json")
        if new.version <= there.version:
            raise FailedPreconditionError(
                f"targets.json has version {new.version}, and version {there.version} is in force; sign on top of that one"
            )
        now = moment(self._clock())
        check_unexpired(root, now, what="the root")
        check_unexpired(new, now, what="targets.json")
        check_names(new)
        return self._added(there, new)

    def accept_targets(self, content: bytes) -> dict[str, bytes]:
        """Let a targets.json be what sites follow. The one that is in force is accepted again, and nothing happens.

        Returns: contents of the releases that it adds, by path.
        Raises:
            InvalidArgumentError: it is none.
            PermissionDeniedError: it is not signed as the root asks for.
            FailedPreconditionError: it is older, expired, or names files that have not been put here.
            AlreadyExistsError: it changes a release.
        """
        with self._lock:
            added = self.examine_targets(content)
            if content != self._files.targets():
                new = read(content, Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES).signed
                check_keys(self.root(), self._keys)
                self._files.write(f"{new.version}.targets.json", content)
                self._publish(new.version)
            return added

    def accept_root(self, content: bytes) -> str:
        """Let a root follow on the present one. One that is here already is accepted again, and nothing happens.

        Returns: what has to be done next, for people; "" for nothing.
        Raises:
            InvalidArgumentError: it is none.
            PermissionDeniedError: it is not signed by the keys of both roots.
            FailedPreconditionError: it is not the next, is expired, or names online keys that this hub does not hold.
        """
        with self._lock:
            following = read(content, Root, what="the new root", max_bytes=MAX_ROOT_BYTES)
            root, new = self.root(), following.signed
            if new.version <= root.version and content == self._files.read(f"{new.version}.root.json"):
                return ""
            check_successor(root, following, what="the new root")
            check_unexpired(new, moment(self._clock()), what="the new root")
            check_keys(new, self._keys)
            if not (is_signed(new, self._files.timestamp()) and is_signed(new, self._files.snapshot())):
                # Signed with all online keys, so that it holds under both roots: no moment is without a whole repository.
                self._publish(self.targets().version)
            self._files.write(f"{new.version}.root.json", content)
            targets = read(self._files.targets(), Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES)
            if is_signed(new, targets):
                return ""
            return "sites install nothing until a targets.json is here that is signed with the new targets key"

    def renew(self) -> bool:
        """Sign anew what has lived for half of its life, or is not signed as the root asks for.

        Returns: whether anything was signed.
        Raises: FailedPreconditionError: the root names online keys that this hub does not hold.
        """
        with self._lock:
            root, now_s = self.root(), self._clock()
            check_keys(root, self._keys)
            timestamp, snapshot = self._files.timestamp(), self._files.snapshot()
            if (
                not is_signed(root, timestamp)
                or not is_signed(root, snapshot)
                or snapshot.signed.expires < moment(now_s + SNAPSHOT_LIFE_S / 2)
            ):
                self._publish(self.targets().version)
            elif timestamp.signed.expires < moment(now_s + TIMESTAMP_LIFE_S / 2):
                signing = Signing(self._files, self._keys, now_s)
                signing.stamp(timestamp.signed.snapshot_meta, timestamp.signed.version + 1)
            else:
                return False
            return True

    def carried(self, until_s: float) -> bytes:
        """Sign a timestamp.json for a bundle, see `CARRIED_FIELD`: of the version and the snapshot of the one that is in force, which is
        signed anew for it, so that of two bundles the later one has the greater version.

        Args:
            until_s: when it expires, seconds since the epoch.
        Raises: FailedPreconditionError: root or targets expire before that; or the root names online keys that this hub does not hold.
        """
        with self._lock:
            root, now_s = self.root(), self._clock()
            check_keys(root, self._keys)
            check_carried(root, self.targets(), now_s, until_s)
            timestamp, snapshot = self._files.timestamp(), self._files.snapshot()
            if not is_signed(root, snapshot) or snapshot.signed.expires < moment(until_s):
                # That a snapshot lives longer is no danger: what holds a site is its timestamp.
                self._publish(self.targets().version, until_s=until_s)
            else:
                signing = Signing(self._files, self._keys, now_s)
                signing.stamp(timestamp.signed.snapshot_meta, timestamp.signed.version + 1)
            here = self._files.timestamp().signed
            return Signing(self._files, self._keys, now_s).carried(here.snapshot_meta, here.version, until_s)

    def raise_versions(self, seen: Mapping[str, int]) -> str:
        """Go beyond what sites have seen: after an older backup was restored, they refuse what this hub has.

        Args:
            seen: the greatest versions by role that any site has reported.
        Returns: what only an operator can put right, for people; "" for nothing.
        Raises: FailedPreconditionError: the root names online keys that this hub does not hold.
        """
        with self._lock:
            here = self.versions()
            ahead = {role: seen[role] - version for role, version in here.items() if seen.get(role, 0) > version}
            for role, leap in ahead.items():
                if leap > MOST_LEAP:
                    return (
                        f"a site reports version {seen[role]} of {role}, {leap} beyond this hub's, "
                        "which no backup explains; it is not followed: look at that site"
                    )
            if any(role in ahead for role in ONLINE_ROLES):
                check_keys(self.root(), self._keys)
                self._publish(here[Targets.type], seen)
        offline = [role for role in (Root.type, Targets.type) if role in ahead]
        if not offline:
            return ""
        return (
            f"sites have seen newer versions of {' and '.join(f'{role} ({seen[role]})' for role in offline)} than this hub has "
            f"({', '.join(str(here[role]) for role in offline)}), and install nothing until the newest are handed in: "
            "they lie on the machine with the offline keys"
        )

    def root(self) -> Root:
        """The newest root."""
        return self._files.root()

    def targets(self) -> Targets:
        """The targets.json that is in force."""
        return read(self._files.targets(), Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES).signed

    def versions(self) -> dict[str, int]:
        """Of the metadata that is in force, by role."""
        timestamp = self._files.timestamp().signed
        return {
            Root.type: self.root().version,
            Timestamp.type: timestamp.version,
            Snapshot.type: timestamp.snapshot_meta.version,
            Targets.type: self.targets().version,
        }

    def read(self, name: str) -> bytes:
        """A metadata file as sites ask for it, such as timestamp.json or 3.root.json.

        Raises: NotFoundError: there is none of that name.
        """
        return self._files.read(name)

    def target(self, path: str) -> bytes:
        """A target file as sites ask for it, such as releases/pets/9f86....2.json.

        Raises: NotFoundError: there is none of that name.
        """
        return self._files.stored(path)

    def content(self, path: str) -> bytes:
        """Of a target file that targets.json names, such as releases/pets/2.json.

        Raises: NotFoundError: it names none.
        """
        target = self.targets().targets.get(path)
        if target is None:
            raise NotFoundError(f"targets.json names no {path[:200]!r}")
        return self._files.stored(stored_path(target))

    def _added(self, there: Targets, new: Targets) -> dict[str, bytes]:
        added: dict[str, bytes] = {}
        for path, target in new.targets.items():
            before = there.targets.get(path)
            if before == target:
                continue
            if before is not None and release_of(path):
                raise AlreadyExistsError(
                    f"targets.json changes {path}; releases never change: give it the next version"
                )
            try:
                content = self._files.stored(stored_path(target))
            except NotFoundError:
                raise FailedPreconditionError(
                    f"targets.json names {path}, and its content has not been put here: put it first"
                ) from None
            check_content(target, content)
            check_document(path, content)
            if release_of(path):
                added[path] = content
        return added

    def _publish(self, targets_version: int, beyond: Mapping[str, int] = _NO_VERSIONS, *, until_s: float = 0.0) -> None:
        """Sign a snapshot and a timestamp, in this order."""
        here = self._files.timestamp().signed
        signing = Signing(self._files, self._keys, self._clock())
        version = max(here.snapshot_meta.version, beyond.get(Snapshot.type, 0)) + 1
        snapshot = signing.snapshot(targets_version, version, until_s)
        signing.stamp(snapshot, max(here.version, beyond.get(Timestamp.type, 0)) + 1)
        self._files.prune()
