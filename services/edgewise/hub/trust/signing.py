"""What the hub signs with its online keys: snapshots and timestamps."""

from collections.abc import Mapping, Sequence
from typing import Final

from tuf.api.metadata import MetaFile, Snapshot, Timestamp

from edgewise.hub.trust.repository_files import RepositoryFiles
from edgewise.protocols.documents import time_text
from edgewise.trust.keys import SigningKey
from edgewise.trust.tuf_files import CARRIED_FIELD, SIGNED_FIELD, TIMESTAMP_FILE, moment, sign

TIMESTAMP_LIFE_S: Final = 86400.0
SNAPSHOT_LIFE_S: Final = 7 * 86400.0


class Signing:
    """Signs and writes, at one moment.

    Args:
        keys: all of them sign: while one is being replaced, files hold under the old root and under the new one.
        now_s: the wall clock, seconds since the epoch.
    """

    def __init__(self, files: RepositoryFiles, keys: Sequence[SigningKey], now_s: float) -> None:
        self._files = files
        self._keys = keys
        self._now_s = now_s

    def snapshot(self, targets_version: int, version: int, until_s: float = 0.0) -> MetaFile:
        """Sign a snapshot that names a targets.json which is there.

        Args:
            until_s: it is not to expire before that; seconds since the epoch.
        Returns: what a timestamp says of it.
        """
        name = f"{targets_version}.targets.json"
        signed = Snapshot(
            version=version,
            expires=moment(max(self._now_s, until_s) + SNAPSHOT_LIFE_S),
            meta={"targets.json": MetaFile.from_data(targets_version, self._files.read(name), ["sha256"])},
        )
        content = sign(signed, self._keys)
        self._files.write(f"{version}.snapshot.json", content)
        return MetaFile.from_data(version, content, ["sha256"])

    def stamp(self, snapshot: MetaFile, version: int) -> None:
        """Sign a timestamp: from now on, sites follow that snapshot."""
        self._files.write(TIMESTAMP_FILE, self._stamped(snapshot, version, self._now_s + TIMESTAMP_LIFE_S, {}))

    def carried(self, snapshot: MetaFile, version: int, until_s: float) -> bytes:
        """Sign a timestamp for a bundle. It is given out with that alone, and agents believe it from there alone."""
        return self._stamped(snapshot, version, until_s, {CARRIED_FIELD: True})

    def _stamped(self, snapshot: MetaFile, version: int, until_s: float, fields: Mapping[str, bool]) -> bytes:
        signed = Timestamp(
            version=version,
            expires=moment(until_s),
            snapshot_meta=snapshot,
            unrecognized_fields={SIGNED_FIELD: time_text(self._now_s), **fields},
        )
        return sign(signed, self._keys)
