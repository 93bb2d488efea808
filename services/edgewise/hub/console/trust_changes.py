"""What an operator changes about trust: keys, floors, signatures that would expire; and handing it in at the hub."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tuf.api.metadata import Root, Targets

from edgewise.core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, PermissionDeniedError
from edgewise.hub.console.client import HubClient
from edgewise.hub.console.publishing import hand_in, hub_targets, send_contents
from edgewise.hub.console.trusted_hub import METADATA_PATH
from edgewise.hub.state_directory import KeyKind, read_public_keys
from edgewise.protocols.trusted_documents import decode_desired_keys, decode_policy, encode_desired_keys, encode_policy
from edgewise.trust.offline import OfflineTrust
from edgewise.trust.tuf_files import DESIRED_KEYS, MAX_ROOT_BYTES, MAX_TARGETS_BYTES, POLICY, check_signed, read


class Rotated(StrEnum):
    """Which key is replaced."""

    ROOT = "root"
    TARGETS = "targets"
    ONLINE = "online"
    DESIRED = "desired"


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What was handed in.

    Attributes:
        roots: how many the hub did not have.
        targets: whether targets.json was new to it.
    """

    roots: int
    targets: bool


def rotate(trust: OfflineTrust, which: Rotated, keys: Path | None, *, only: bool) -> None:
    """Replace a key.

    Args:
        keys: the hub's public-keys.json, for its own keys.
        only: of the desired key: let the new one be the only one.
    Raises: InvalidArgumentError: `keys` is missing, or not needed.
    """
    if (keys is not None) != (which in {Rotated.ONLINE, Rotated.DESIRED}):
        raise InvalidArgumentError(
            "--keys FILE goes with online and desired, whose new keys the hub made; root and targets keys are made here"
        )
    if only and which != Rotated.DESIRED:
        raise InvalidArgumentError("--only goes with desired: the other keys are replaced at once")
    changes: Mapping[Rotated, Callable[[], object]] = {
        Rotated.ROOT: trust.rotate_root,
        Rotated.TARGETS: trust.rotate_targets,
    }
    if keys is None:
        changes[which]()
        return
    newest = read_public_keys(keys)
    if which == Rotated.ONLINE:
        trust.rotate_online(newest[KeyKind.ONLINE])
        return
    new = newest[KeyKind.DESIRED]
    before = [] if only else [key for key in decode_desired_keys(trust.content(DESIRED_KEYS)) if key != new]
    trust.add_targets({DESIRED_KEYS: encode_desired_keys([new, *before])})


def renew(trust: OfflineTrust) -> None:
    """Sign root and targets anew, before they expire."""
    trust.renew_root()
    trust.add_targets({})


def set_floors(trust: OfflineTrust, floors: Mapping[str, int]) -> dict[str, int]:
    """Let no site run older versions of these models.

    Args:
        floors: by model; 0 takes a floor away.
    Returns: all floors.
    """
    present = decode_policy(trust.content(POLICY))
    after = {model: floor for model, floor in sorted({**present, **floors}.items()) if floor}
    trust.add_targets({POLICY: encode_policy(after)})
    return after


def hand_in_all(client: HubClient, trust: OfflineTrust, *, root_first: bool) -> HandedIn:
    """Hand in what was signed and the hub does not have.

    Args:
        root_first: after the targets key was stolen: what the thief signs is then worth nothing at once. Otherwise targets go first, so that
            no moment is without valid ones; where the hub cannot know their key yet, behind as many roots as it takes, with their contents
            there before.
    Raises: FailedPreconditionError: the hub follows other keys.
    """
    roots = trust.root_files()
    known = _known_roots(client, roots)
    there = hub_targets(client)
    first = len(roots)
    if not root_first:
        send_contents(client, trust, there)
        first = _first_that_holds(trust, roots, known)
    _hand_in_roots(client, roots[known:first])
    hand_in(client, trust, there)
    _hand_in_roots(client, roots[first:])
    return HandedIn(len(roots) - known, there != trust.targets_file())


def _first_that_holds(trust: OfflineTrust, roots: list[bytes], known: int) -> int:
    """With how many roots a hub that has `known` takes targets.json: keys can have been replaced twice since it was asked last."""
    targets = read(trust.targets_file(), Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES)
    for count in range(known, len(roots)):
        root = read(roots[count - 1], Root, what=f"version {count} of the root", max_bytes=MAX_ROOT_BYTES).signed
        try:
            check_signed(root, targets, what="targets.json")
        except PermissionDeniedError:
            continue
        return count
    return len(roots)


def _known_roots(client: HubClient, roots: list[bytes]) -> int:
    """How many of them the hub has."""
    for number, root in enumerate(roots, 1):
        try:
            there = client.read(f"{METADATA_PATH}{number}.root.json", max_bytes=MAX_ROOT_BYTES)
        except NotFoundError:
            return number - 1
        if there != root:
            raise FailedPreconditionError(
                f"version {number} of the root is another one at the hub: it follows other keys, or another directory has signed since"
            )
    return len(roots)


def _hand_in_roots(client: HubClient, roots: list[bytes]) -> None:
    for root in roots:
        client.post_root(root)
