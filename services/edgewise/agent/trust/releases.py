"""What a site believes about releases: TUF's client workflow, kept on the disk, with the clock watched.

DIR/trusted.json    the last whole state that verified; what is read without a network
DIR/metadata/       python-tuf's own memory, against which newer files are held
DIR/targets/        manifests, by digest
"""

import contextlib
import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Snapshot, TargetFile, Targets, Timestamp

from edgewise.agent.fetching.disk import disk_errors
from edgewise.agent.trust.refusals import expired, refusal
from edgewise.agent.trust.source import Source
from edgewise.agent.trust.trusted_set import TrustedBytes, TrustedSet
from edgewise.agent.trust.updater import RefreshedUpdater, make_way
from edgewise.core.errors import (
    EdgewiseError,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
)
from edgewise.core.releases import Release
from edgewise.core.rollout.orders import DesiredState
from edgewise.protocols.desired_state import MAX_DESIRED_BYTES, PAYLOAD_TYPE, decode_desired
from edgewise.protocols.documents import time_s, time_text
from edgewise.protocols.release_manifest import decode_release
from edgewise.trust.durable_files import make_directory, write_durably
from edgewise.trust.envelopes import opened
from edgewise.trust.tuf_files import (
    DESIRED_KEYS,
    MAX_ROOT_BYTES,
    MAX_TARGET_BYTES,
    MAX_TARGETS_BYTES,
    MAX_TIMESTAMP_BYTES,
    POLICY,
    check_content,
    check_signed,
    checked_target_path,
    moment,
    read,
    release_path,
    stored_path,
)

PROGRAM_MADE: Final = "2026-11-01T00:00:00Z"
"""No clock that is right shows an earlier time. Moved on with each release of the program."""
CLOCK_SLACK_S: Final = 3600.0
"""By how much a clock may be behind before nothing is installed."""
_TRUSTED: Final = "trusted.json"


class TrustedReleases:
    """The releases, floors and orders that a site believes.

    One thread refreshes at a time; everything else may be called from any thread.

    Args:
        directory: of its own; made where it is not there.
        base_url: the hub's.
        source: fetches from it.
        site: this site's name.
        root_sha256: of 1.root.json, pinned at enrolment, 64 hexadecimal digits.
        clock: the wall clock, seconds since the epoch.
    """

    def __init__(
        self,
        directory: Path,
        base_url: str,
        source: Source,
        *,
        site: str,
        root_sha256: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._url = base_url.rstrip("/")
        self._source = source
        self._site = site
        self._root_sha256 = root_sha256
        self._clock = clock
        self._memory = directory / "metadata"
        self._lock = threading.Lock()
        self._trusted = self._kept()

    def refresh(self) -> None:
        """Ask the hub for newer metadata, and believe what verifies.

        Raises:
            UnavailableError: the hub is away, or too slow; what was trusted stays trusted.
            PermissionDeniedError: what it sent is refused: not signed, older than what was seen, not what was named, too long.
            FailedPreconditionError: what it sent has expired, or this machine's clock is wrong.
            ResourceExhaustedError: the disk is full.
        """
        with self._lock, disk_errors(self._directory), self._refusals():
            pinned = self._pinned_root()
            try:
                roots = self._update(pinned)
            except (FileExistsError, IsADirectoryError, NotADirectoryError):
                # Something else lies where python-tuf keeps its files: they are worth nothing.
                _clear(self._memory)
                roots = self._update(pinned)
            self._keep(roots)
        problem = self._clock_problem()
        if problem:
            raise FailedPreconditionError(problem)

    def manifest(self, model: str, version: int, sha256: str) -> Release:
        """A release, from the disk or from the hub.

        Args:
            sha256: of the manifest, as the order says.
        Raises:
            NotFoundError: no such release is signed.
            PermissionDeniedError: another manifest is signed than the order means, or the version is below the policy's floor.
            InvalidArgumentError: this program cannot read the manifest.
            FailedPreconditionError: nothing is trusted yet.
            UnavailableError: the hub is away.
        """
        trusted = self._required()
        path = checked_target_path(release_path(model, version))
        target = trusted.targets.targets.get(path)
        if target is None:
            raise NotFoundError(f"{model}/{version} is not among the releases that are signed")
        if target.hashes.get("sha256") != sha256:
            raise PermissionDeniedError(
                f"the manifest of {model}/{version} that is signed is not the one that is ordered"
            )
        floor = self.floor(model)
        if version < floor:
            raise PermissionDeniedError(
                f"{model}/{version} is below version {floor}, the floor that the signed policy sets"
            )
        with self._lock, disk_errors(self._directory), self._refusals():
            release = decode_release(self._content(target))
        if (release.model, release.version) != (model, version):
            raise PermissionDeniedError(f"the manifest that is signed as {model}/{version} is that of {release.name}")
        return release

    def floor(self, model: str) -> int:
        """The version of a model below which this site runs none; 0 when there is no such floor, or nothing is trusted yet."""
        trusted = self._trusted
        return 0 if trusted is None else trusted.floors.get(model, 0)

    def open_desired(self, envelope: bytes, *, seen_generation: int = 0) -> DesiredState:
        """What the hub wants of this site. One that has expired is opened too, see `stale`.

        Args:
            seen_generation: the greatest that this site has followed.
        Raises:
            InvalidArgumentError: it is no desired state.
            PermissionDeniedError: it is not signed by a key that may, is another site's, or is older than what was followed.
            FailedPreconditionError: nothing is trusted yet, so nobody may sign.
        """
        trusted = self._required()
        payload = opened(
            envelope, PAYLOAD_TYPE, trusted.desired_keys, what="the desired state", max_bytes=MAX_DESIRED_BYTES
        )
        desired = decode_desired(payload)
        if desired.site != self._site:
            raise PermissionDeniedError(
                f"the desired state is that of the site {desired.site!r}, and this is {self._site!r}"
            )
        if desired.generation < seen_generation:
            raise PermissionDeniedError(
                f"the desired state has generation {desired.generation}, and {seen_generation} was followed already (rollback)"
            )
        return desired

    def stale(self, desired: DesiredState) -> str:
        """Why nothing new may be fetched or switched by a desired state; "" when it may."""
        if self._now_s() < time_s(desired.expires):
            return ""
        return (
            f"the desired state of generation {desired.generation} has expired at {desired.expires}{self._clock_hint()}"
        )

    def may_install(self) -> str:
        """Why nothing new may be fetched or switched; "" when it may. What runs goes on, and may go back, whatever this says."""
        trusted = self._trusted
        if trusted is None:
            return "nothing is trusted yet: the hub has not been reached since this site was enrolled, or what was kept is damaged"
        problem = self._clock_problem()
        if problem:
            return problem
        old = trusted.expired(moment(self._now_s()))
        if old is None:
            return ""
        return (
            f"the {old.type} metadata have expired at {time_text(old.expires.timestamp())}, "
            f"and no newer ones have come from the hub{self._clock_hint()}"
        )

    def versions(self) -> dict[str, int]:
        """Of the metadata that this site has seen, by role: the hub's must be greater to be believed. Empty before anything is trusted."""
        trusted = self._trusted
        if trusted is None:
            return {}
        versions = trusted.versions
        with contextlib.suppress(OSError, EdgewiseError):
            # A refresh that broke off may have seen more.
            content = (self._memory / "timestamp.json").read_bytes()
            seen = read(content, Timestamp, what="timestamp.json", max_bytes=MAX_TIMESTAMP_BYTES)
            check_signed(trusted.root, seen, what="timestamp.json")
            versions[Timestamp.type] = max(versions[Timestamp.type], seen.signed.version)
            versions[Snapshot.type] = max(versions[Snapshot.type], seen.signed.snapshot_meta.version)
        return versions

    def _pinned_root(self) -> bytes:
        """1.root.json, from wherever one with the pinned digest is found."""
        if self._trusted is not None:
            return self._trusted.files.roots[0]
        with contextlib.suppress(OSError):
            content = (self._memory / "root_history" / "1.root.json").read_bytes()
            if hashlib.sha256(content).hexdigest() == self._root_sha256:
                return content
        content = self._source.download_bytes(f"{self._url}/tuf/metadata/1.root.json", MAX_ROOT_BYTES)
        if hashlib.sha256(content).hexdigest() != self._root_sha256:
            raise PermissionDeniedError("the hub's 1.root.json is not the one that was pinned at enrolment")
        return content

    def _update(self, pinned: bytes) -> list[bytes]:
        """TUF's client workflow.

        Returns: the roots, from the pinned one to the newest.
        """
        make_directory(self._memory)
        now, url = moment(self._now_s()), f"{self._url}/tuf/metadata"
        if self._trusted is not None:
            make_way(self._memory, url, self._source, self._trusted.root, now)
        updater = RefreshedUpdater(self._memory, url, self._source, pinned, now)
        try:
            updater.refresh()
        except ExpiredMetadataError as error:
            name, means = self._source.name, self._source.expired_means
            raise expired(name, updater.expired_s(), means, self._clock_hint()) from error
        history = self._memory / "root_history"
        return [(history / f"{version}.root.json").read_bytes() for version in range(1, updater.root_version + 1)]

    def _keep(self, roots: list[bytes]) -> None:
        """Make what python-tuf has verified what this site trusts, whole and lasting."""
        memory = self._memory
        content = (memory / "targets.json").read_bytes()
        targets = read(content, Targets, what="targets.json", max_bytes=MAX_TARGETS_BYTES).signed.targets
        missing = [path for path in (POLICY, DESIRED_KEYS) if path not in targets]
        if missing:
            raise PermissionDeniedError(f"the signed targets name no {missing[0]}")
        files = TrustedBytes(
            roots=roots,
            timestamp=(memory / "timestamp.json").read_bytes(),
            snapshot=(memory / "snapshot.json").read_bytes(),
            targets=content,
            policy=self._content(targets[POLICY]),
            desired_keys=self._content(targets[DESIRED_KEYS]),
        )
        before = self._trusted
        if before is not None and before.files == files:
            return
        trusted = TrustedSet(files)
        if before is not None and before.same_signers(trusted):
            # python-tuf's memory may have been lost or changed; this one is held against it.
            for role, version in trusted.versions.items():
                if version < before.versions[role]:
                    raise PermissionDeniedError(
                        f"the hub's {role} metadata have version {version}, and {before.versions[role]} was seen before (rollback)"
                    )
        _put(self._directory / _TRUSTED, files.encoded())
        self._trusted = trusted

    def _content(self, target: TargetFile) -> bytes:
        """Of a target file, from the disk if it is there unchanged."""
        if target.length > MAX_TARGET_BYTES:
            raise PermissionDeniedError(
                f"{target.path} has {target.length} bytes; {MAX_TARGET_BYTES} is the most (endless data)"
            )
        stored = stored_path(target)
        place = self._directory / "targets" / stored
        with contextlib.suppress(OSError, FailedPreconditionError):
            content = place.read_bytes()
            check_content(target, content)
            return content
        content = self._source.download_bytes(f"{self._url}/tuf/targets/{stored}", target.length)
        target.verify_length_and_hashes(content)
        _put(place, content)
        return content

    def _kept(self) -> TrustedSet | None:
        """What a former process trusted, verified anew; None when it is not there or does not verify."""
        with contextlib.suppress(OSError, EdgewiseError):
            files = TrustedBytes.decoded((self._directory / _TRUSTED).read_bytes())
            if files.roots and hashlib.sha256(files.roots[0]).hexdigest() == self._root_sha256:
                return TrustedSet(files)
        return None

    def _required(self) -> TrustedSet:
        trusted = self._trusted
        if trusted is None:
            raise FailedPreconditionError(
                "nothing is trusted yet: the hub has not been reached since this site was enrolled"
            )
        return trusted

    def _known_s(self) -> float:
        """A moment that has certainly passed."""
        trusted = self._trusted
        return max(time_s(PROGRAM_MADE), 0.0 if trusted is None else trusted.signed_s)

    def _now_s(self) -> float:
        """The wall clock; where it is behind what has certainly passed, that: a clock that was set back makes nothing valid again."""
        return max(self._clock(), self._known_s())

    def _clock_problem(self) -> str:
        now_s, known_s = self._clock(), self._known_s()
        if now_s >= known_s - CLOCK_SLACK_S:
            return ""
        return (
            f"this machine's clock says {time_text(now_s)}, and it is past {time_text(known_s)} certainly; "
            "nothing new is installed until the clock is right"
        )

    def _clock_hint(self) -> str:
        ahead_s = self._source.ahead_s
        now_s = self._clock()
        if ahead_s is None or abs(ahead_s) < CLOCK_SLACK_S:
            return ""
        return f"; this machine's clock says {time_text(now_s)} and the hub's {time_text(now_s + ahead_s)}: is this machine's right?"

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Say in our words what TUF refuses."""
        try:
            yield
        except (RepositoryError, DownloadError) as error:
            raise refusal(error, self._source.name) from error


def _put(path: Path, content: bytes) -> None:
    """Write a file in place of whatever lies there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    write_durably(path, content)


def _clear(path: Path) -> None:
    """Remove whatever lies there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
