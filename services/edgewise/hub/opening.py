"""Opens a hub's directory, database and blobs."""

import logging
from typing import Final

from edgewise.core.errors import FailedPreconditionError
from edgewise.hub.api.hub import Hub
from edgewise.hub.api.segment_taking import SegmentTaking
from edgewise.hub.blobs.urls import opened_blobs
from edgewise.hub.control.books import OnChange
from edgewise.hub.control.plane import ControlPlane
from edgewise.hub.options import HubOptions
from edgewise.hub.samples.segment_files import SegmentFiles
from edgewise.hub.state_directory import KeyKind, StateDirectory
from edgewise.hub.store.store import Store
from edgewise.hub.trust.repository import Repository
from edgewise.protocols.trusted_documents import decode_desired_keys
from edgewise.trust.keys import SigningKey
from edgewise.trust.tuf_files import DESIRED_KEYS

_log: Final = logging.getLogger(__name__)


def opened_hub(options: HubOptions, state: StateDirectory) -> Hub:
    """A hub that can be asked.

    Args:
        state: held by this process.
    Raises: EdgewiseError: something is missing or cannot be used; the message says what, and what would be right.
    """
    url = options.url or state.url()
    if not (state.tuf / "metadata" / "timestamp.json").exists():
        raise FailedPreconditionError(
            f"{state.root} holds a hub that is half made: it waits for what the offline keys sign. Bring it with "
            f"edgewise hub init --state {state.root} --signed COPY (edgewise hub init --help has all steps)"
        )
    repository = Repository(state.tuf, *state.keys(KeyKind.ONLINE))
    key = _desired_key(state, repository)
    blobs = opened_blobs(options.blobs, state.root)

    def open_plane(on_change: OnChange) -> ControlPlane:
        return ControlPlane(Store(options.database or state.default_database), key, on_change=on_change)

    segments = SegmentTaking(SegmentFiles(state.root / "segments"))
    return Hub(open_plane, repository, blobs, segments, url=url.rstrip("/"), retention=options.retention)


def _desired_key(state: StateDirectory, repository: Repository) -> SigningKey:
    """The newest key that sites believe.

    Raises: FailedPreconditionError: they believe none of those that are here.
    """
    believed = decode_desired_keys(repository.content(DESIRED_KEYS))
    keys = state.keys(KeyKind.DESIRED)
    for key in keys:
        if key.public_hex in believed:
            if key is not keys[0]:
                _log.warning(
                    "the newest key for desired states is not signed yet (%s); an older one is used", DESIRED_KEYS
                )
            return key
    raise FailedPreconditionError(
        f"{DESIRED_KEYS} names none of the keys for desired states in {state.root}: sites would believe nothing. "
        f"Sign a {DESIRED_KEYS} that names {keys[0].public_hex if keys else 'one of them'} with the offline keys"
    )
