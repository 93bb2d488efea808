"""Which versions of one model to load and to unload next, so that one that could answer always does.

`ModelVersions` is told what happened (files were seen, a load ended, a version drained) and says what to do. Rules:

- A wanted version loads beside those that answer; the highest number goes first.
- A version that is no longer wanted goes on answering for as long as a wanted one that could take its place does not:
  at least as many versions answer as are wanted, as far as there are any, and one answers even when none is wanted
  any more (all files gone), until the model itself is removed.
- A version that could not be loaded is tried again when its files change, or after a delay that doubles.
- The version that the label `default` names is wanted whatever the policy says, and goes on answering when its files are gone:
  nothing else may answer in its place.
- With the policy Latest, when nothing answers and every wanted version has failed, the next lower one is tried: a
  server that restarts beside a broken new version serves the last good one.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from edgewise.core.errors import Code
from edgewise.core.versions import (
    TRANSITIONS,
    Latest,
    VersionEvent,
    VersionPolicy,
    VersionState,
    VersionStatus,
    aspired,
)

RETRY_BASE_S = 5.0
RETRY_CAP_S = 300.0

# What became of versions that are gone is told for this many of them.
MAX_REMEMBERED = 32


def retry_delay_s(failures: int) -> float:
    """Delay before a version whose files did not change is tried again.

    Args:
        failures: how often in a row it failed; at least 1.
    Returns: seconds, doubling from RETRY_BASE_S up to RETRY_CAP_S.
    """
    return min(RETRY_CAP_S, RETRY_BASE_S * 2.0 ** min(failures - 1, 16))


@dataclass(slots=True)
class _Record:
    """What is known of one version."""

    version: int
    state: VersionState = VersionState.START
    files: Hashable = None
    failures: int = 0
    retry_at_s: float = 0.0
    error_code: Code | None = None
    error_message: str = ""

    def apply(self, event: VersionEvent) -> None:
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            raise ValueError(f"version {self.version} is {self.state}: {event!s} cannot happen to it")
        self.state = after


@dataclass(slots=True)
class ModelVersions:
    """The versions of one model.

    Attributes:
        policy: which versions are wanted; None once the model is removed.
        files: what lies on disk: by version, a value that differs when its files do.
        default: the version that the label `default` names; None without such a label.
    """

    policy: VersionPolicy | None
    files: dict[int, Hashable] = field(default_factory=dict)
    default: int | None = None
    _records: dict[int, _Record] = field(default_factory=dict)

    # ---- what happened

    def configure(self, policy: VersionPolicy | None) -> None:
        """The policy is this from now on; None removes the model. What has failed may be tried again at once."""
        self.policy = policy
        if policy is None:
            self.files = {}
            self.default = None
        for record in self._records.values():
            record.files = None

    def observe(self, files: Mapping[int, Hashable]) -> None:
        """These versions lie on disk.

        Args:
            files: by version, a value that differs when its files do.
        """
        self.files = dict(files)
        for version, record in self._records.items():
            if version not in self.files:
                # A version that went and comes back is new, even with the same files.
                record.files = None
        self._forget_old()

    def began_loading(self, version: int) -> None:
        """The load of `version`, which `next_loads` named, has begun."""
        record = self._records.setdefault(version, _Record(version))
        if record.state is VersionState.END:
            record.apply(VersionEvent.WANTED)
        record.apply(VersionEvent.LOAD_BEGAN)
        files = self.files.get(version)
        if record.files != files:
            record.failures = 0
        record.files = files
        record.error_code, record.error_message = None, ""

    def loaded(self, version: int) -> None:
        """`version` is in memory, warm and checked."""
        record = self._records[version]
        record.apply(VersionEvent.LOADED)
        record.failures = 0

    def failed(self, version: int, code: Code, message: str, now_s: float) -> None:
        """`version` could not be loaded, warmed or checked.

        Args:
            version: which.
            code: the kind of error.
            message: why, fit for a client to read.
            now_s: monotonic seconds.
        """
        record = self._records[version]
        record.apply(VersionEvent.FAILED)
        record.failures += 1
        record.retry_at_s = now_s + retry_delay_s(record.failures)
        record.error_code, record.error_message = code, message

    def began_unloading(self, version: int) -> None:
        """`version`, which `next_unloads` named, takes no new requests."""
        self._records[version].apply(VersionEvent.UNLOAD_BEGAN)

    def unloaded(self, version: int) -> None:
        """`version` has finished its requests and left memory."""
        self._records[version].apply(VersionEvent.UNLOADED)

    # ---- what to do

    def next_unloads(self) -> list[int]:
        """The AVAILABLE versions that are to take no new requests, lowest first."""
        available = self.available()
        if self.policy is None:
            return sorted(available)
        wanted = self.aspired()
        serving = len(available & wanted)
        keep = max(len(wanted) - serving, 0 if serving else 1)
        surplus = sorted(available - wanted - {self.default})
        return surplus[: max(len(surplus) - keep, 0)]

    def next_loads(self, now_s: float) -> list[int]:
        """The versions to load, the most urgent first."""
        if self.policy is None:
            return []
        wanted = self.aspired()
        due = [version for version in sorted(wanted, reverse=True) if self._may_load(version, now_s)]
        idle = all(record.state is VersionState.END for record in self._records.values())
        if due or not idle or not isinstance(self.policy, Latest):
            return due
        lower = [version for version in self.files if version not in wanted and self._may_load(version, now_s)]
        return [max(lower)] if lower else []

    def next_retry_s(self) -> float | None:
        """When a version that failed is tried again, in monotonic seconds; None when none waits for that."""
        waiting = [
            record.retry_at_s
            for version, record in self._records.items()
            if version in self.files and record.state is VersionState.END and record.error_code is not None
        ]
        return min(waiting, default=None) if self.policy is not None else None

    # ---- what is

    def aspired(self) -> set[int]:
        """The versions that are wanted."""
        if self.policy is None:
            return set()
        wanted = aspired(self.files, self.policy)
        return wanted | {self.default} if self.default in self.files else wanted

    def available(self) -> set[int]:
        """The versions that answer requests."""
        return {version for version, record in self._records.items() if record.state is VersionState.AVAILABLE}

    def settled(self, now_s: float) -> bool:
        """Whether every wanted version either answers or has failed, so that nothing is left to wait for."""
        loading = any(record.state is VersionState.LOADING for record in self._records.values())
        return not loading and not self.next_loads(now_s)

    def gone(self) -> bool:
        """Whether the model is removed and nothing of it is in memory or on its way there."""
        return self.policy is None and all(record.state is VersionState.END for record in self._records.values())

    def read_already(self) -> set[int]:
        """The versions whose files need not be looked at: they are in memory, and a version does not change."""
        states = (VersionState.AVAILABLE, VersionState.UNLOADING)
        return {version for version, record in self._records.items() if record.state in states}

    def failures(self) -> list[VersionStatus]:
        """The wanted versions that could not be loaded."""
        return [status for status in self.statuses() if status.error_code is not None and status.version in self.files]

    def statuses(self) -> list[VersionStatus]:
        """What is told of each version, the highest first (as in TensorFlow Serving)."""
        waiting = self.aspired()
        told: dict[int, VersionStatus] = {version: VersionStatus(version, VersionState.START) for version in waiting}
        for version, record in self._records.items():
            if version in waiting and record.state is VersionState.END and record.error_code is None:
                continue
            told[version] = VersionStatus(version, record.state, record.error_code, record.error_message)
        return [told[version] for version in sorted(told, reverse=True)]

    def _may_load(self, version: int, now_s: float) -> bool:
        record = self._records.get(version)
        if record is None:
            return True
        if record.state is not VersionState.END:
            return False
        return record.error_code is None or record.files != self.files.get(version) or now_s >= record.retry_at_s

    def _forget_old(self) -> None:
        gone = sorted(
            version
            for version, record in self._records.items()
            if record.state is VersionState.END and version not in self.files
        )
        for version in gone[: max(len(gone) - MAX_REMEMBERED, 0)]:
            del self._records[version]
