"""What the hub looks at before it lets metadata and target files be what sites follow."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, PermissionDeniedError
from edgewise.protocols.documents import time_text
from edgewise.protocols.release_manifest import decode_release
from edgewise.protocols.trusted_documents import decode_desired_keys, decode_policy
from edgewise.trust.keys import SigningKey
from edgewise.trust.tuf_files import (
    DESIRED_KEYS,
    MAX_ROOT_BYTES,
    MAX_TARGET_BYTES,
    POLICY,
    Signed,
    check_signed,
    check_successor,
    read,
    release_of,
    stored_path,
)

ONLINE_ROLES: Final = (Snapshot.type, Timestamp.type)
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86400.0


def chain(roots: Sequence[bytes]) -> Root:
    """The last of roots that follow on one another from version 1.

    Raises: InvalidArgumentError, FailedPreconditionError, PermissionDeniedError: they do not.
    """
    if not roots:
        raise InvalidArgumentError("no root is given; expected all of them from version 1")
    first = read(roots[0], Root, what="the first root", max_bytes=MAX_ROOT_BYTES)
    if first.signed.version != 1:
        raise FailedPreconditionError(
            f"the first root has version {first.signed.version}; expected all roots from version 1"
        )
    check_signed(first.signed, first, what="the first root")
    root = first.signed
    for content in roots[1:]:
        following = read(content, Root, what=f"root {root.version + 1}", max_bytes=MAX_ROOT_BYTES)
        check_successor(root, following, what=f"root {root.version + 1}")
        root = following.signed
    return root


def check_keys(root: Root, keys: Sequence[SigningKey]) -> None:
    """Refuse a root under which this hub could not sign.

    Raises: FailedPreconditionError: it is such.
    """
    if not root.consistent_snapshot:
        raise FailedPreconditionError("the root is without consistent snapshots, which this hub needs")
    held = {key.key_id for key in keys}
    for role in ONLINE_ROLES:
        if len(held.intersection(root.roles[role].keyids)) < root.roles[role].threshold:
            raise FailedPreconditionError(
                f"version {root.version} of the root asks for other online keys ({role}) than this hub holds: "
                f"{', '.join(sorted(key.public_hex for key in keys)) or 'none'}"
            )


def check_unexpired(signed: Root | Targets, now: datetime, *, what: str) -> None:
    """Refuse what sites would refuse.

    Raises: FailedPreconditionError: it has expired.
    """
    if signed.is_expired(now):
        raise FailedPreconditionError(
            f"{what} has expired at {signed.expires:%Y-%m-%dT%H:%M:%SZ}; renew it on the machine with the offline keys"
        )


def check_carried(root: Root, targets: Targets, now_s: float, until_s: float) -> None:
    """Refuse a bundle that would be good for longer than what operators signed. Policy and manifests live as long as targets.json.

    Raises: FailedPreconditionError: it is such; the message says what expires first, and for how long a bundle can be good.
    """
    first = min((root, targets), key=lambda signed: signed.expires)
    left_s = first.expires.timestamp() - now_s
    if until_s - now_s <= left_s:
        return
    renew = "have it renewed on the machine with the offline keys (edgewise hub trust renew)"
    if left_s < _HOUR_S:
        raise FailedPreconditionError(
            f"no bundle can be signed: {first.type}.json expires at {first.expires:%Y-%m-%dT%H:%M:%SZ}; {renew}"
        )
    raise FailedPreconditionError(
        f"a bundle cannot be valid until {time_text(until_s)}: {first.type}.json expires before, "
        f"at {first.expires:%Y-%m-%dT%H:%M:%SZ}; ask for {_shown_life(left_s)} at most, or {renew}"
    )


def _shown_life(life_s: float) -> str:
    """In whole days or hours, not longer than it is."""
    return f"{life_s // _DAY_S:.0f}d" if life_s >= _DAY_S else f"{life_s // _HOUR_S:.0f}h"


def check_names(targets: Targets) -> None:
    """Refuse targets that sites could not follow.

    Raises: InvalidArgumentError, FailedPreconditionError: they are such.
    """
    for path in (POLICY, DESIRED_KEYS):
        if path not in targets.targets:
            raise FailedPreconditionError(f"targets.json names no {path}, which every site needs")
    for path, target in targets.targets.items():
        stored_path(target)
        if target.length > MAX_TARGET_BYTES:
            raise InvalidArgumentError(
                f"targets.json: {path} has {target.length} bytes; {MAX_TARGET_BYTES} is the most"
            )


def check_document(path: str, content: bytes) -> None:
    """Refuse content that sites could not read.

    Raises: InvalidArgumentError: it is such.
    """
    if len(content) > MAX_TARGET_BYTES:
        raise InvalidArgumentError(f"{path} has {len(content)} bytes; {MAX_TARGET_BYTES} is the most")
    release = release_of(path)
    if release is not None:
        found = decode_release(content)
        if (found.model, found.version) != release:
            raise InvalidArgumentError(f"{path} holds the manifest of {found.name}")
    elif path == POLICY:
        decode_policy(content)
    elif path == DESIRED_KEYS:
        decode_desired_keys(content)


def is_signed(root: Root, metadata: Metadata[Signed]) -> bool:
    """Whether enough of the keys that a root names for it signed this."""
    try:
        check_signed(root, metadata, what="")
    except PermissionDeniedError:
        return False
    return True
