"""Has the files of releases on the disk: fetched, checked, and in place by one rename, or not at all.

    downloads/HEX.part, HEX         a file that comes, and one that is whole
    models/MODEL/.VERSION.staging   a version that is put together
    models/MODEL/.VERSION.release   what is to be in it, from before it appears on
    models/MODEL/VERSION            the version

Model servers pass over names with a dot in front. One thread works; the others ask and look.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from edgewise.agent.fetching.digests import digest_of_file
from edgewise.agent.fetching.disk import check_room, disk_error
from edgewise.agent.site.allowance import DailyQuota, TokenBucket
from edgewise.agent.site.partial_file import KnownChunks, PartialFile, WrongContentError
from edgewise.agent.site.port import StageView, Trust
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.site.transfer import AbandonedError, Blobs, Patience, Transfer
from edgewise.agent.site.version_files import Stamps, VersionFiles
from edgewise.core.errors import EdgewiseError, InternalError, ResourceExhaustedError, UnavailableError
from edgewise.core.releases import Release, ReleaseFile, Variant
from edgewise.core.rollout.orders import Order

CHECKED_S: Final = 30.0
"""Files whose stamps are the same are not read again within so long."""
UNASKED_S: Final = 10.0
"""What nobody has asked for in so long is not wanted any more."""
AGAIN_S: Final = 300.0
"""After so long it is tried again what went wrong for other reasons than the link."""
ROOM_LOOK_S: Final = 5.0
_log = logging.getLogger(__name__)

_Key = tuple[str, int, str]


@dataclass(slots=True)
class _Known:
    """What is known of one release here.

    Attributes:
        work: what is to be done: "fetch", "check", or "".
        asked_s: when it was last asked for.
        checked: when, and how the files looked then.
        again_s: when a problem is worth another try.
        needed_bytes: the room that was lacking; 0 when that was not the problem.
    """

    order: Order
    work: str = ""
    asked_s: float = 0.0
    checked: tuple[float, Stamps] | None = None
    problem: str = ""
    again_s: float = 0.0
    needed_bytes: int = 0
    bytes_done: int = 0
    bytes_total: int = 0


class DiskStaging:
    """See `Staging`.

    Args:
        tier: of the site: which variant of a release it runs.
        reserve_bytes: of the disk stay free.
        wake: called when something came about.
        now_s: a monotonic clock.
    """

    def __init__(
        self,
        state: StateDirectory,
        trust: Trust,
        blobs: Blobs,
        *,
        tier: str,
        bucket: TokenBucket,
        quota: DailyQuota,
        reserve_bytes: int,
        pause: Callable[[float], None],
        wake: Callable[[], None],
        patience: Patience | None = None,
        random: Random | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._trust = trust
        self._tier = tier
        self._reserve_bytes = reserve_bytes
        self._wake = wake
        self._now_s = now_s
        self._random = random or Random()  # noqa: S311  (spreads tries in time)
        self._patience = patience or Patience()
        self._changed = threading.Condition()
        self._known: dict[_Key, _Known] = {}
        self._at_work: _Key | None = None
        self._superfluous: dict[str, frozenset[int]] = {}
        self._failures = 0
        self._stopped = False
        self._versions = VersionFiles(state)
        self._transfer = Transfer(
            blobs,
            bucket,
            quota,
            pause=pause,
            wanted=self._is_wanted,
            patience=self._patience,
            random=self._random,
            now_s=now_s,
        )

    @property
    def bytes_per_s(self) -> float | None:
        """How fast it came lately; None before anything did."""
        return self._transfer.bytes_per_s

    @property
    def is_working(self) -> bool:
        """Whether a release is being fetched or checked at this moment; not while its link or its quota is waited for."""
        with self._changed:
            return self._at_work is not None and not self._transfer.is_waiting

    # ---- asking; from any thread

    def look(self, order: Order) -> StageView:
        """See `Staging`."""
        with self._changed:
            known = self._of(order)
            self._try_again(known)
            present = self._versions.is_there(order.model, order.version, order.manifest_sha256)
            return StageView(
                present=present,
                checked=present and self._is_checked(known),
                busy=bool(known.work),
                problem=known.problem,
                bytes_done=known.bytes_done,
                bytes_total=known.bytes_total,
            )

    def fetch(self, order: Order) -> None:
        """See `Staging`."""
        self._ask(order, "fetch")

    def check(self, order: Order) -> None:
        """See `Staging`."""
        self._ask(order, "check")

    def keep_only(self, model: str, versions: frozenset[int]) -> None:
        """See `Staging`."""
        if self._versions.others(model, versions):
            with self._changed:
                self._superfluous[model] = versions
                self._changed.notify_all()

    # ---- working; one thread

    def run(self) -> None:
        """Work until it is stopped."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._superfluous or self._next() is not None)
                if self._stopped:
                    return
            if not self.work():
                self._wait(self._patience.delay_s(self._failures, self._random.random()))

    def stop(self) -> None:
        """Work no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def work(self) -> bool:
        """Do one thing that was asked for, if there is one.

        Returns: whether it was done, well or not; false when the link was away.
        """
        with self._changed:
            key = self._at_work = self._next()
            known = self._known[key] if key is not None else None
            superfluous, self._superfluous = self._superfluous, {}
        try:
            for model, versions in superfluous.items():
                self._versions.remove_others(model, versions)
            if known is not None:
                self._do(known)
        except OSError as error:
            self._failed(known, disk_error(error, self._state.root))
        except AbandonedError:
            self._done(known)
        except UnavailableError as error:
            # No fault of the release: the link is away, or the hub.
            _log.info("%s", error.message)
            self._failures += 1
            return False
        except EdgewiseError as error:
            self._failed(known, error)
        except Exception:  # noqa: BLE001  (there is more to be brought)
            _log.exception("a release could not be brought")
            self._failed(known, InternalError("a fault of the agent, whose log says more"))
        finally:
            with self._changed:
                self._at_work = None
        self._failures = 0
        return True

    def _do(self, known: _Known) -> None:
        if known.work == "check":
            self._check(known)
        else:
            self._fetch(known)
        self._done(known)

    def _check(self, known: _Known) -> None:
        order = known.order
        release = self._release(order)
        stamps = self._versions.stamps(order.model, order.version)
        wrong = self._versions.first_change(order.model, order.version, release.variant(self._tier))
        if wrong:
            _log.error("%s/%d: %s; it is thrown away and fetched anew", order.model, order.version, wrong)
            self._versions.remove(order.model, order.version)
            return
        known.checked = (self._now_s(), stamps)

    def _fetch(self, known: _Known) -> None:
        order = known.order
        release = self._release(order)
        variant = release.variant(self._tier)
        if not self._versions.is_there(order.model, order.version, order.manifest_sha256):
            if self._versions.exists(order.model, order.version):
                self._versions.recognize(order, release, variant)
            else:
                self._bring(known, release, variant)
        known.checked = (self._now_s(), self._versions.stamps(order.model, order.version))

    def _bring(self, known: _Known, release: Release, variant: Variant) -> None:
        order = known.order
        downloads = self._state.downloads
        files = {file.sha256: file for file in variant.files}
        lacking = [file for file in files.values() if not _is_whole(downloads / file.sha256)]
        self._check_room(known, files, lacking)
        chunks = KnownChunks(self._versions.known_files(order.model, files.values()))
        known.bytes_total = sum(file.size_bytes for file in lacking)
        known.bytes_done = 0
        for file in lacking:
            with PartialFile(downloads, file) as partial:
                _fill(partial, chunks)
                known.bytes_total -= partial.there_bytes
        for file in lacking:
            self._bring_file(known, file, chunks)
        self._versions.publish(order, release, variant)

    def _bring_file(self, known: _Known, file: ReleaseFile, chunks: KnownChunks) -> None:
        def count(more: int) -> None:
            known.bytes_done += more

        with PartialFile(self._state.downloads, file) as partial:
            _fill(partial, chunks)
            self._transfer.fetch(partial, count)
            partial.finish()

    def _check_room(self, known: _Known, files: dict[str, ReleaseFile], lacking: list[ReleaseFile]) -> None:
        """Refuse before the first byte what would not fit.

        Raises: ResourceExhaustedError: the disk has too little room.
        """
        known.needed_bytes = self._reserve_bytes
        for file in lacking:
            part = self._state.downloads / f"{file.sha256}.part"
            # A file with holes has less on the disk than its length says.
            there = part.stat().st_blocks * 512 if part.exists() else 0
            known.needed_bytes += max(0, file.size_bytes - there)
        try:
            check_room(self._state.root, known.needed_bytes)
        except ResourceExhaustedError:
            self._versions.remove_downloads(but=frozenset(files))
            check_room(self._state.root, known.needed_bytes)

    def _release(self, order: Order) -> Release:
        """What is to be there: from beside the version when that is what the order means, otherwise from who may say so."""
        found = self._versions.release(order)
        return found or self._trust.manifest(order.model, order.version, order.manifest_sha256)

    # ---- what is known

    def _of(self, order: Order) -> _Known:
        key = (order.model, order.version, order.manifest_sha256)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(order)
        return known

    def _ask(self, order: Order, work: str) -> None:
        with self._changed:
            known = self._of(order)
            known.asked_s = self._now_s()
            for key, other in self._known.items():
                if key[0] == order.model and other is not known:
                    other.work = ""
            if not known.work and not known.problem:
                known.work = work
                self._changed.notify_all()

    def _next(self) -> _Key | None:
        """The oldest question of those that are still asked."""
        waiting = [(known.asked_s, key) for key, known in self._known.items() if known.work and self._is_asked(known)]
        return min(waiting)[1] if waiting else None

    def _is_asked(self, known: _Known) -> bool:
        return self._now_s() - known.asked_s <= UNASKED_S

    def _is_wanted(self) -> bool:
        with self._changed:
            known = self._known.get(self._at_work) if self._at_work is not None else None
            return not self._stopped and known is not None and bool(known.work) and self._is_asked(known)

    def _is_checked(self, known: _Known) -> bool:
        if known.checked is None:
            return False
        at_s, stamps = known.checked
        fresh = self._now_s() - at_s <= CHECKED_S
        return fresh and stamps == self._versions.stamps(known.order.model, known.order.version)

    def _done(self, known: _Known | None) -> None:
        if known is None:
            return
        with self._changed:
            known.work = ""
        self._wake()

    def _failed(self, known: _Known | None, error: EdgewiseError) -> None:
        _log.warning("%s", error.message)
        if known is None:
            return
        with self._changed:
            known.problem = error.message
            known.again_s = self._now_s() + (ROOM_LOOK_S if isinstance(error, ResourceExhaustedError) else AGAIN_S)
            if not isinstance(error, ResourceExhaustedError):
                known.needed_bytes = 0
            if isinstance(error, WrongContentError):
                known.checked = None
        self._done(known)

    def _try_again(self, known: _Known) -> None:
        """A problem is over when there is room again, or after some time."""
        if not known.problem or self._now_s() < known.again_s:
            return
        known.again_s = self._now_s() + ROOM_LOOK_S
        if known.needed_bytes:
            try:
                check_room(self._state.root, known.needed_bytes - known.bytes_done)
            except (ResourceExhaustedError, OSError):
                return
        known.problem = ""

    def _wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, seconds)


def _is_whole(path: Path) -> bool:
    """Whether a file is what its name says; one that is not is thrown away."""
    if not path.exists():
        return False
    if digest_of_file(path) == path.name:
        return True
    path.unlink()
    return False


def _fill(partial: PartialFile, chunks: KnownChunks) -> None:
    """Take from this disk what is on it."""
    for number, chunk in partial.lacks():
        content = chunks.read(chunk)
        if content is None:
            continue
        try:
            partial.put(number, content)
        except WrongContentError:
            chunks.forget(chunk)
