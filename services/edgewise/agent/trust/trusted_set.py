"""What a site trusts, as one whole: the chain of roots, timestamp, snapshot, targets, and the documents that every decision needs.

It lies in one file that is replaced, so that it is whole or absent, and it is verified each time it is read: whoever changes the file makes
it worthless and no more. Whether it is fresh is another question: what has expired may be read, and nothing new is installed by it.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import MetaFile, Root, Snapshot, Targets, Timestamp

from edgewise.core.errors import EdgewiseError, InvalidArgumentError, PermissionDeniedError
from edgewise.protocols.documents import time_s
from edgewise.protocols.trusted_documents import decode_desired_keys, decode_policy
from edgewise.trust.keys import VerifyingKey
from edgewise.trust.tuf_files import (
    DESIRED_KEYS,
    MAX_ROOT_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_TARGETS_BYTES,
    MAX_TIMESTAMP_BYTES,
    POLICY,
    SIGNED_FIELD,
    check_content,
    check_signed,
    check_successor,
    read,
)

_FORMAT: Final = "edgewise-trusted/1"


@dataclass(frozen=True, slots=True)
class TrustedBytes:
    """Files as they came.

    Attributes:
        roots: all of them, the pinned one first.
    """

    roots: Sequence[bytes]
    timestamp: bytes
    snapshot: bytes
    targets: bytes
    policy: bytes
    desired_keys: bytes

    def encoded(self) -> bytes:
        """All of them as one file."""
        rest = {name: base64.b64encode(getattr(self, name)).decode() for name in self.__slots__ if name != "roots"}
        return json.dumps(
            {"format": _FORMAT, "roots": [base64.b64encode(root).decode() for root in self.roots], **rest}
        ).encode()

    @classmethod
    def decoded(cls, content: bytes) -> "TrustedBytes":
        """What `encoded` made.

        Raises: InvalidArgumentError: it is none.
        """
        try:
            value = json.loads(content)
            if value["format"] != _FORMAT:
                raise InvalidArgumentError(f"expected the format {_FORMAT}")
            rest = {name: base64.b64decode(value[name], validate=True) for name in cls.__slots__ if name != "roots"}
            return cls(roots=[base64.b64decode(root, validate=True) for root in value["roots"]], **rest)
        except (ValueError, KeyError, TypeError, binascii.Error, RecursionError):
            raise InvalidArgumentError("what is trusted cannot be read") from None


class TrustedSet:
    """Verified files, and what they say.

    Args:
        files: to be verified, each by the one before it, and the first root by nothing: its caller knows its digest.

    Attributes:
        files: as they came.
        root, timestamp, snapshot, targets: what they say.
        floors: by model, the version below which no site runs it.
        desired_keys: who may sign desired states.
        signed_s: when the hub signed the timestamp, seconds since the epoch; 0.0 when it did not say.

    Raises: EdgewiseError: the files do not verify, or do not belong together.
    """

    def __init__(self, files: TrustedBytes) -> None:
        self.files = files
        self.root = _last_root(files.roots)
        timestamp = read(files.timestamp, Timestamp, what="timestamp.json", max_bytes=MAX_TIMESTAMP_BYTES)
        check_signed(self.root, timestamp, what="timestamp.json")
        self.timestamp = timestamp.signed
        snapshot = read(files.snapshot, Snapshot, what="snapshot.json", max_bytes=MAX_SNAPSHOT_BYTES)
        check_signed(self.root, snapshot, what="snapshot.json")
        _check_named(self.timestamp.snapshot_meta, files.snapshot, snapshot.signed, what="snapshot.json")
        self.snapshot = snapshot.signed
        targets = read(files.targets, Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES)
        check_signed(self.root, targets, what="targets.json")
        _check_named(self.snapshot.meta.get("targets.json"), files.targets, targets.signed, what="targets.json")
        self.targets = targets.signed
        for path, content in ((POLICY, files.policy), (DESIRED_KEYS, files.desired_keys)):
            target = self.targets.targets.get(path)
            if target is None:
                raise PermissionDeniedError(f"the signed targets name no {path}")
            check_content(target, content)
        self.floors = decode_policy(files.policy)
        self.desired_keys = [VerifyingKey(key) for key in decode_desired_keys(files.desired_keys)]
        self.signed_s = _signed_s(self.timestamp)

    @property
    def versions(self) -> dict[str, int]:
        """By role."""
        return {signed.type: signed.version for signed in self._all()}

    def expired(self, now: datetime) -> Root | Timestamp | Snapshot | Targets | None:
        """The first of the four that has expired; None when all are fresh."""
        return next((signed for signed in self._all() if signed.is_expired(now)), None)

    def same_signers(self, other: "TrustedSet") -> bool:
        """Whether versions of both count on: after a key was replaced, numbers may begin anew."""
        roles = (Timestamp.type, Snapshot.type, Targets.type)
        return all(set(self.root.roles[role].keyids) == set(other.root.roles[role].keyids) for role in roles)

    def _all(self) -> tuple[Root, Timestamp, Snapshot, Targets]:
        return self.root, self.timestamp, self.snapshot, self.targets


def _last_root(roots: Sequence[bytes]) -> Root:
    if not roots:
        raise InvalidArgumentError("there is no root")
    first = read(roots[0], Root, what="the pinned root", max_bytes=MAX_ROOT_BYTES)
    check_signed(first.signed, first, what="the pinned root")
    root = first.signed
    for content in roots[1:]:
        following = read(content, Root, what="a root", max_bytes=MAX_ROOT_BYTES)
        check_successor(root, following, what="a root")
        root = following.signed
    return root


def _check_named(named: MetaFile | None, content: bytes, signed: Snapshot | Targets, *, what: str) -> None:
    """Refuse what the file before it does not name."""
    try:
        if named is None or named.version != signed.version:
            raise LengthOrHashMismatchError
        named.verify_length_and_hashes(content)
    except LengthOrHashMismatchError:
        raise PermissionDeniedError(f"{what} is not the one that belongs to the rest") from None


def _signed_s(timestamp: Timestamp) -> float:
    text = timestamp.unrecognized_fields.get(SIGNED_FIELD)
    try:
        return time_s(text) if isinstance(text, str) else 0.0
    except EdgewiseError:
        return 0.0
