"""TUF metadata as bytes: what is signed with our keys, read strictly, checked against a root.

Source: The Update Framework, specification 1.0; python-tuf reads, writes and verifies, this module says in our words what was wrong.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import LengthOrHashMismatchError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from edgewise.core.file_names import checked_name
from edgewise.trust.keys import SigningKey, VerifyingKey

POLICY: Final = "policy.json"
DESIRED_KEYS: Final = "desired-keys.json"
MAX_ROOT_BYTES: Final = 512_000
MAX_TIMESTAMP_BYTES: Final = 16_384
MAX_SNAPSHOT_BYTES: Final = 2_000_000
MAX_TARGETS_BYTES: Final = 5_000_000
MAX_TARGET_BYTES: Final = 64 << 20
SIGNED_FIELD: Final = "x-edgewise-signed"
"""A field of our own in a timestamp: when the hub signed it. It is signed with the rest, so it says that it is not earlier than that."""
CARRIED_FIELD: Final = "x-edgewise-carried"
"""A field of our own in a timestamp that was signed for a bundle. It lives for weeks where others live for a day, so it counts only at a site
that it was carried to: sent over the network, it would let an enemy hold a site where it is for as long."""
TIMESTAMP_FILE: Final = "timestamp.json"

_LAST_S: Final = 253402300799.0
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_RELEASE: Final = re.compile(r"releases/([^/]+)/([1-9][0-9]{0,18})\.json")

Signed = TypeVar("Signed", Root, Timestamp, Snapshot, Targets)


def release_path(model: str, version: int) -> str:
    """The target that holds a release's manifest."""
    return f"releases/{model}/{version}.json"


def release_of(path: str) -> tuple[str, int] | None:
    """Model and version of a target; None when it is no release's manifest."""
    found = _RELEASE.fullmatch(path)
    return None if found is None else (found[1], int(found[2]))


def checked_target_path(path: str) -> str:
    """A target's path as it may be.

    Raises: InvalidArgumentError: it leads elsewhere, or no file can have it.
    """
    try:
        name = checked_name(path, what="the target")
    except FailedPreconditionError as error:
        raise InvalidArgumentError(error.message) from None
    if name != path or not name:
        raise InvalidArgumentError(
            "the target: expected a relative path without empty parts, such as releases/pets/2.json"
        )
    return name


def stored_path(target: TargetFile) -> str:
    """Under which name a target's content lies and is given out: its digest before its own name, as consistent snapshots have it.

    Raises: InvalidArgumentError: its path or its digest is none.
    """
    digest = target.hashes.get("sha256", "")
    if not _SHA256.fullmatch(digest):
        raise InvalidArgumentError(f"{target.path}: expected a SHA-256 of 64 hexadecimal digits in lower case")
    parent, separator, name = checked_target_path(target.path).rpartition("/")
    return f"{parent}{separator}{digest}.{name}"


def public_key(public_hex: str) -> SSlibKey:
    """An Ed25519 key as TUF writes it; its id is ours.

    Raises: InvalidArgumentError: it is none.
    """
    ours = VerifyingKey(public_hex)
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(ours.public_hex))
    return SSlibKey.from_crypto(key, ours.key_id)


def sign(signed: Signed, keys: Iterable[SigningKey]) -> bytes:
    """The bytes of metadata, signed with each key."""
    metadata = Metadata(signed)
    for key in keys:
        metadata.sign(CryptoSigner(key.private, public_key(key.public_hex)), append=True)
    return metadata.to_bytes()


def read(content: bytes, kind: type[Signed], *, what: str, max_bytes: int) -> Metadata[Signed]:
    """Read metadata of one kind; its signatures are not looked at.

    Args:
        what: as messages call it, such as "the new root".
    Raises: InvalidArgumentError: it is none.
    """
    if len(content) > max_bytes:
        raise InvalidArgumentError(f"{what} has {len(content)} bytes; {max_bytes} is the most")
    try:
        metadata: Metadata[Signed] = Metadata.from_bytes(content)
    except (DeserializationError, RecursionError):
        raise InvalidArgumentError(f"{what} is no TUF metadata that can be read") from None
    if not isinstance(metadata.signed, kind):
        raise InvalidArgumentError(f"{what} is TUF metadata of the kind {metadata.signed.type}, expected {kind.type}")
    return metadata


def check_signed(root: Root, metadata: Metadata[Signed], *, what: str) -> None:
    """Refuse metadata that not enough of those signed who may.

    Raises: PermissionDeniedError: it is such.
    """
    try:
        root.verify_delegate(metadata.signed.type, metadata.signed_bytes, metadata.signatures)
    except (UnsignedMetadataError, ValueError):
        raise PermissionDeniedError(
            f"{what} is not signed by as many of the keys as version {root.version} of the root asks for "
            f"(role {metadata.signed.type}, {root.roles[metadata.signed.type].threshold} needed)"
        ) from None


def check_successor(root: Root, following: Metadata[Root], *, what: str) -> None:
    """Refuse a root that does not follow on another.

    Raises:
        FailedPreconditionError: its version is not the next.
        PermissionDeniedError: it is not signed by the keys of both.
    """
    if following.signed.version != root.version + 1:
        raise FailedPreconditionError(
            f"{what} has version {following.signed.version}, expected {root.version + 1}, which follows on the present root"
        )
    check_signed(root, following, what=what)
    check_signed(following.signed, following, what=what)


def check_content(target: TargetFile, content: bytes) -> None:
    """Refuse content that is not a target's.

    Raises: FailedPreconditionError: length or digest differ.
    """
    try:
        target.verify_length_and_hashes(content)
    except LengthOrHashMismatchError:
        raise FailedPreconditionError(f"the content of {target.path} is not what targets.json says it is") from None


def is_carried(timestamp: Timestamp) -> bool:
    """Whether a timestamp was signed for a bundle."""
    return CARRIED_FIELD in timestamp.unrecognized_fields


def check_not_carried(content: bytes) -> None:
    """Refuse a timestamp.json that was signed for a bundle, where it came over the network. What is no timestamp is left to who reads it.

    Raises: PermissionDeniedError: it is such.
    """
    try:
        timestamp = read(content, Timestamp, what=TIMESTAMP_FILE, max_bytes=MAX_TIMESTAMP_BYTES).signed
    except InvalidArgumentError:
        return
    if is_carried(timestamp):
        raise PermissionDeniedError(
            f"the hub's {TIMESTAMP_FILE} is refused: it was signed for a bundle, which is carried, and came over the network "
            "(an old state that is held on to)"
        )


def moment(time_s: float) -> datetime:
    """Seconds since the epoch as metadata write them: in UTC, without fractions. Of a moment that no calendar has, the nearest."""
    return datetime.fromtimestamp(int(min(max(time_s, 0.0), _LAST_S)), UTC)
