"""`edgewise hub init`: keys, the first signed metadata, the first token. What was cut short is gone on with by the next try."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.core.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from edgewise.hub.control.actors import Actor, Role
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.state_directory import KeyKind, StateDirectory
from edgewise.hub.store.store import Store
from edgewise.hub.trust.repository import Repository
from edgewise.protocols.trusted_documents import decode_desired_keys, encode_desired_keys, encode_policy
from edgewise.trust.offline import OfflineTrust
from edgewise.trust.tuf_files import DESIRED_KEYS, POLICY

ADMIN: Final = "admin"
_ACTOR: Final = Actor("hub init")


@dataclass(frozen=True, slots=True)
class Begun:
    """How far a hub is.

    Attributes:
        token: of its first administrator; "" while it waits for what the offline keys sign.
    """

    token: str


def begin(state: StateDirectory, *, url: str, database: str, offline: Path | None, signed: Path | None) -> Begun:
    """Make a hub.

    Args:
        url: under which sites reach it; "" for whatever they come by.
        database: its URL; "" for SQLite in the directory.
        offline: where to make the offline keys, for who has one machine only; None elsewhere.
        signed: a copy of what the machine with the offline keys signed; None while there is none.
    Raises:
        AlreadyExistsError: there is a hub already.
        EdgewiseError: what is given does not fit.
    """
    with state.held():
        _make_keys(state, url)
        if (state.tuf / "metadata" / "timestamp.json").exists():
            raise AlreadyExistsError(
                f"{state.root} holds a hub already; start it with edgewise hub serve --state {state.root}. "
                f"A lost token is replaced by: edgewise hub token create NAME --role admin --state {state.root}"
            )
        trust = _offline(state, offline) if offline is not None else _signed(signed)
        if trust is None:
            return Begun("")
        contents = _contents(trust)
        key = state.keys(KeyKind.DESIRED)[0]
        if key.public_hex not in decode_desired_keys(contents.get(DESIRED_KEYS, b"{}")):
            raise FailedPreconditionError(
                f"{trust.directory} was signed for another hub: its {DESIRED_KEYS} does not name {key.public_hex}, "
                f"which is in {state.public_keys}"
            )
        token = replace_token(database or state.default_database, state, ADMIN, Role.ADMIN)
        Repository.created(
            state.tuf,
            *state.keys(KeyKind.ONLINE),
            roots=trust.root_files(),
            targets=trust.targets_file(),
            contents=contents,
        )
        return Begun(token)


def make_offline_trust(directory: Path, public_keys: Mapping[KeyKind, str]) -> OfflineTrust:
    """Make the offline keys, and what they sign first: who may sign desired states, and a policy without floors.

    Raises: AlreadyExistsError: there are such keys already.
    """
    first = {POLICY: encode_policy({}), DESIRED_KEYS: encode_desired_keys([public_keys[KeyKind.DESIRED]])}
    return OfflineTrust.created(directory, public_keys[KeyKind.ONLINE], first)


def replace_token(database: str, state: StateDirectory, name: str, role: Role) -> str:
    """A token of that name, in place of one that there may be; for who holds the directory.

    Raises: UnavailableError: the database cannot be opened.
    """
    plane = ControlPlane(Store(database), state.keys(KeyKind.DESIRED)[0])
    try:
        if any(token.name == name for token in plane.tokens()):
            plane.revoke_token(name, _ACTOR)
        return plane.create_token(name, role, actor=_ACTOR)
    finally:
        plane.close()


def _make_keys(state: StateDirectory, url: str) -> None:
    for kind in KeyKind:
        if not state.keys(kind):
            state.make_key(kind)
    state.write_public_keys()
    if url or not state.settings.exists():
        state.write_settings(url)


def _offline(state: StateDirectory, directory: Path) -> OfflineTrust:
    """New offline keys, or those that a try before this one made."""
    if state.root.resolve() in (directory.resolve(), *directory.resolve().parents):
        raise FailedPreconditionError(
            f"--with-offline-keys {directory} lies in the hub's own directory, where offline keys are never kept; name another one"
        )
    newest = {kind: state.keys(kind)[0].public_hex for kind in KeyKind}
    try:
        return make_offline_trust(directory, newest)
    except AlreadyExistsError:
        return OfflineTrust.opened(directory)


def _signed(directory: Path | None) -> OfflineTrust | None:
    if directory is None:
        return None
    if any((directory / name).exists() for name in ("root.key", "targets.key")):
        raise FailedPreconditionError(
            f"{directory} holds the offline keys themselves; bring its folders metadata and targets here, and no key"
        )
    for name in ("metadata", "targets"):
        if not (directory / name).is_dir():
            raise NotFoundError(
                f"--signed {directory}: there is no folder {name} in it; bring the folders metadata and targets of the machine with the offline keys"
            )
    return OfflineTrust.opened(directory)


def _contents(trust: OfflineTrust) -> dict[str, bytes]:
    return {path: trust.content(path) for path in trust.targets().targets}
