"""python-tuf's client workflow, with the time and the limits handed in; and what it has to forget where a timestamp was carried here."""

import contextlib
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Root, Snapshot, Timestamp
from tuf.ngclient import Updater
from tuf.ngclient.config import UpdaterConfig

from edgewise.agent.trust.source import Source
from edgewise.core.errors import EdgewiseError
from edgewise.trust.tuf_files import (
    MAX_ROOT_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_TARGETS_BYTES,
    MAX_TIMESTAMP_BYTES,
    TIMESTAMP_FILE,
    check_signed,
    is_carried,
    read,
)


class RefreshedUpdater(Updater):
    """python-tuf's, with the time handed in.

    Args:
        memory: what it remembers lies there.
        url: of the metadata.
        pinned: the first root.
    """

    def __init__(self, memory: Path, url: str, source: Source, pinned: bytes, now: datetime) -> None:
        config = UpdaterConfig(
            root_max_length=MAX_ROOT_BYTES,
            timestamp_max_length=MAX_TIMESTAMP_BYTES,
            snapshot_max_length=MAX_SNAPSHOT_BYTES,
            targets_max_length=MAX_TARGETS_BYTES,
        )
        super().__init__(str(memory), url, fetcher=source, config=config, bootstrap=pinned)
        self._trusted_set.reference_time = now

    @property
    def root_version(self) -> int:
        """Of the newest root that is trusted."""
        return self._trusted_set.root.version

    def expired_s(self) -> float | None:
        """When that expired for which a refresh failed, seconds since the epoch; None when that is not known."""
        known = self._trusted_set
        verified = (known[role] for role in (Root.type, Timestamp.type, Snapshot.type) if role in known)
        return next((one.expires.timestamp() for one in verified if one.is_expired(known.reference_time)), None)


def make_way(memory: Path, url: str, source: Source, root: Root, now: datetime) -> None:
    """Of two timestamps of one version python-tuf keeps the one that it has. Where one of them was carried here and the other one comes from
    the hub, they differ in how long they live, and the one that comes counts: a stick makes a site that had a link good for longer, and a
    site that reaches the hub again is good for no longer than any. So python-tuf forgets its own; what is trusted stays on the disk beside it,
    and versions are held against that too.

    Args:
        root: the one that is trusted.
    Raises: DownloadError: the source gives nothing out.
    """
    with contextlib.suppress(OSError, EdgewiseError):
        place = memory / TIMESTAMP_FILE
        known = read(place.read_bytes(), Timestamp, what=TIMESTAMP_FILE, max_bytes=MAX_TIMESTAMP_BYTES).signed
        if is_carried(known) == source.carries:
            return
        content = source.download_bytes(f"{url}/{TIMESTAMP_FILE}", MAX_TIMESTAMP_BYTES)
        coming = read(content, Timestamp, what=TIMESTAMP_FILE, max_bytes=MAX_TIMESTAMP_BYTES)
        check_signed(root, coming, what=TIMESTAMP_FILE)
        new = coming.signed
        same = (new.version, new.snapshot_meta) == (known.version, known.snapshot_meta)
        if same and is_carried(new) != is_carried(known) and not new.is_expired(now):
            place.unlink()
