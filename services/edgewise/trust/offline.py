"""The operator's offline keys: what a person signs with them, on a machine that is not the hub.

    DIR/root.key, DIR/targets.key       private keys; root.key may lie elsewhere while it is not needed
    DIR/metadata/1.root.json, 2.root.json, ...
    DIR/metadata/targets.json           the newest that was signed here
    DIR/targets/...                     contents of target files, by digest

Every change ends in one file that is replaced; what a killed command left is put right by the next.
"""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from tuf.api.metadata import Root, Snapshot, TargetFile, Targets, Timestamp

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from edgewise.trust.durable_files import make_directory, sync_directory, write_durably
from edgewise.trust.keys import SigningKey
from edgewise.trust.tuf_files import (
    MAX_ROOT_BYTES,
    MAX_TARGET_BYTES,
    MAX_TARGETS_BYTES,
    check_content,
    checked_target_path,
    moment,
    public_key,
    read,
    release_of,
    sign,
    stored_path,
)

LIFE_S: Final = 365 * 86400.0
"""How long root and targets are valid once they are signed."""

_ROOT_NAME: Final = re.compile(r"([1-9][0-9]*)\.root\.json")


class OfflineTrust:
    """A directory of offline keys and what they signed.

    Use `created` or `opened`. Methods that sign read the keys they need and keep none.

    Attributes:
        directory: where it lies.
    """

    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self.directory = directory
        self._clock = clock
        self._metadata = directory / "metadata"
        self._contents = directory / "targets"

    @classmethod
    def created(
        cls,
        directory: Path,
        online_public_hex: str,
        targets: Mapping[str, bytes],
        *,
        clock: Callable[[], float] = time.time,
    ) -> "OfflineTrust":
        """Make keys, the first root and the first targets.

        Args:
            online_public_hex: of the hub's key, which is to sign snapshots and timestamps.
            targets: contents by path: the policy and the keys that may sign desired states.
            clock: the wall clock, seconds since the epoch.
        Raises:
            AlreadyExistsError: there is such a directory already.
            InvalidArgumentError: the key is none, or a path is none.
        """
        trust = cls(directory, clock)
        online = public_key(online_public_hex)
        with trust._alone():
            if trust._root_versions():
                raise AlreadyExistsError(f"{directory} holds trust already; open it, or name another directory")
            keys = {role: trust._first_key(role) for role in (Root.type, Targets.type)}
            root = Root(expires=trust._expiry())
            for role, key in keys.items():
                root.add_key(public_key(key.public_hex), role)
            for role in (Snapshot.type, Timestamp.type):
                root.add_key(online, role)
            trust._write_targets(Targets(expires=trust._expiry()), targets, (), [keys[Targets.type]])
            trust._write_root(root, [keys[Root.type]])
        return trust

    @classmethod
    def opened(cls, directory: Path, *, clock: Callable[[], float] = time.time) -> "OfflineTrust":
        """Open what `created` made, and finish what was cut short.

        Raises: NotFoundError: there is none.
        """
        trust = cls(directory, clock)
        if not trust._root_versions():
            raise NotFoundError(
                f"{directory} holds no trust; expected metadata/1.root.json, targets.key and root.key in it"
            )
        if os.access(directory, os.W_OK):
            with trust._changing():
                pass
        return trust

    def add_targets(self, targets: Mapping[str, bytes], *, remove: Collection[str] = ()) -> bytes:
        """Add target files or replace them, and sign.

        Args:
            targets: contents by path; none renews the signature.
            remove: paths that are to be targets no more.
        Returns: targets.json, its version one greater.
        Raises:
            InvalidArgumentError: a path is none, or content is too long.
            AlreadyExistsError: a release of that name is there with other content: releases never change.
            NotFoundError: what is to be removed is not there.
        """
        with self._changing():
            signed = self.targets()
            signed.version += 1
            signed.expires = self._expiry()
            return self._write_targets(signed, targets, remove, [self._key(Targets.type)])

    def rotate_root(self) -> list[bytes]:
        """Replace the root key by a new one.

        Returns: all roots, the new one last; it is signed with both keys.
        """
        with self._changing():
            old = self._key(Root.type)
            new = self._next_key(Root.type)
            self._write_root(self._successor({Root.type: new.public_hex}), [old, new])
            self._settle()
        return self.root_files()

    def rotate_targets(self) -> list[bytes]:
        """Replace the targets key by a new one.

        What is in `targets_file` after that is signed with both keys, so that it holds before the new root and after it: hand it to the hub
        first, and the root then.

        Returns: all roots, the new one last.
        """
        with self._changing():
            root_key, old = self._key(Root.type), self._key(Targets.type)
            new = self._next_key(Targets.type)
            signed = self.targets()
            signed.version += 1
            signed.expires = self._expiry()
            self._write_targets(signed, {}, (), [old, new])
            self._write_root(self._successor({Targets.type: new.public_hex}), [root_key])
            self._settle()
        return self.root_files()

    def rotate_online(self, public_hex: str) -> list[bytes]:
        """Let another key of the hub sign snapshots and timestamps.

        Returns: all roots, the new one last.
        Raises: InvalidArgumentError: it is no key.
        """
        with self._changing():
            keys = dict.fromkeys((Snapshot.type, Timestamp.type), public_hex)
            self._write_root(self._successor(keys), [self._key(Root.type)])
        return self.root_files()

    def renew_root(self) -> list[bytes]:
        """Sign the root anew with the same keys, before it expires.

        Returns: all roots, the new one last.
        """
        with self._changing():
            self._write_root(self._successor({}), [self._key(Root.type)])
        return self.root_files()

    def root(self) -> Root:
        """The newest root."""
        return read(self.root_files()[-1], Root, what="the newest root", max_bytes=MAX_ROOT_BYTES).signed

    def root_files(self) -> list[bytes]:
        """All roots, from version 1."""
        return [self._read(f"{version}.root.json") for version in self._root_versions()]

    def targets(self) -> Targets:
        """What targets.json says."""
        return read(self.targets_file(), Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES).signed

    def targets_file(self) -> bytes:
        """targets.json as it was signed last."""
        return self._read("targets.json")

    def content(self, path: str) -> bytes:
        """Of a target file.

        Raises:
            NotFoundError: there is no such target.
            FailedPreconditionError: what lies there is not what was signed.
        """
        target = self.targets().targets.get(path)
        if target is None:
            raise NotFoundError(f"targets.json names no {path}")
        try:
            content = (self._contents / stored_path(target)).read_bytes()
        except OSError as error:
            raise FailedPreconditionError(f"the content of {path} cannot be read: {error.strerror}") from error
        check_content(target, content)
        return content

    def _write_targets(
        self, signed: Targets, contents: Mapping[str, bytes], remove: Collection[str], keys: list[SigningKey]
    ) -> bytes:
        for path in remove:
            if signed.targets.pop(path, None) is None:
                raise NotFoundError(f"targets.json names no {path}, so it cannot be removed")
        added = [self._target(signed, path, content) for path, content in contents.items()]
        signed.targets.update({target.path: target for target in added})
        content = sign(signed, keys)
        if len(content) > MAX_TARGETS_BYTES:
            raise InvalidArgumentError(
                f"targets.json would have {len(content)} bytes; {MAX_TARGETS_BYTES} is the most: remove releases that no site needs"
            )
        for target in added:
            write_durably(self._contents / stored_path(target), contents[target.path])
        write_durably(self._metadata / "targets.json", content)
        return content

    @staticmethod
    def _target(signed: Targets, path: str, content: bytes) -> TargetFile:
        checked_target_path(path)
        if len(content) > MAX_TARGET_BYTES:
            raise InvalidArgumentError(f"{path} has {len(content)} bytes; {MAX_TARGET_BYTES} is the most")
        target = TargetFile.from_data(path, content, ["sha256"])
        there = signed.targets.get(path)
        if release_of(path) and there is not None and there.hashes != target.hashes:
            raise AlreadyExistsError(
                f"{path} was released with other content; releases never change: give it the next version"
            )
        return target

    def _successor(self, keys: Mapping[str, str]) -> Root:
        """The next root, with these public keys in these roles."""
        root = self.root()
        root.version += 1
        root.expires = self._expiry()
        for role, public_hex in keys.items():
            key = public_key(public_hex)
            for there in [each for each in root.roles[role].keyids if each != key.keyid]:
                root.revoke_key(there, role)
            root.add_key(key, role)
        return root

    def _write_root(self, root: Root, keys: list[SigningKey]) -> None:
        write_durably(self._metadata / f"{root.version}.root.json", sign(root, keys))

    def _key(self, role: str) -> SigningKey:
        """The key that the newest root names.

        Raises: FailedPreconditionError: it is not there, or another lies in its place.
        """
        key = SigningKey.read(self.directory / f"{role}.key")
        root = self.root()
        if key.key_id not in root.roles[role].keyids:
            raise FailedPreconditionError(
                f"{self.directory / f'{role}.key'} is not the key that version {root.version} of the root names for {role}"
            )
        return key

    def _first_key(self, role: str) -> SigningKey:
        """A new key, or the one that a killed command left: a key is never thrown away unasked."""
        path = self.directory / f"{role}.key"
        if not path.exists():
            SigningKey.generated().write(path)
        return SigningKey.read(path)

    def _next_key(self, role: str) -> SigningKey:
        """A new key, written down before anything is signed with it."""
        key = SigningKey.generated()
        key.write(self.directory / f"{role}.key.next")
        return key

    def _settle(self) -> None:
        """Take a new key over where the root names it, and drop it where no root does."""
        root = self.root()
        for role in (Root.type, Targets.type):
            for name in (f".{role}.key.new", f".{role}.key.next.new"):
                # Half written, or a second name of a key that its owner means to take away.
                (self.directory / name).unlink(missing_ok=True)
            path = self.directory / f"{role}.key.next"
            if not path.exists():
                continue
            if SigningKey.read(path).key_id in root.roles[role].keyids:
                path.replace(self.directory / f"{role}.key")
            else:
                path.unlink()
            sync_directory(self.directory)

    def _read(self, name: str) -> bytes:
        path = self._metadata / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise FailedPreconditionError(f"{path} cannot be read: {error.strerror}") from error

    def _root_versions(self) -> list[int]:
        names = [path.name for path in self._metadata.iterdir()] if self._metadata.is_dir() else []
        return sorted(int(found[1]) for found in map(_ROOT_NAME.fullmatch, names) if found)

    def _expiry(self) -> datetime:
        return moment(self._clock() + LIFE_S)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the directory, with what was cut short put right."""
        with self._alone():
            self._settle()
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the directory against other commands.

        Raises: FailedPreconditionError: another one is at work in it, or the disk refuses.
        """
        try:
            make_directory(self.directory)
            with (self.directory / ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
        except BlockingIOError:
            raise FailedPreconditionError(
                f"another command is at work in {self.directory}; wait until it has ended"
            ) from None
        except OSError as error:
            raise FailedPreconditionError(f"{self.directory} cannot be written: {error.strerror}") from error
