"""Brings the missing chunks of a file from the hub: over links that break, no faster and no more than allowed, never more than asked."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from edgewise.agent.site.allowance import DailyQuota, TokenBucket
from edgewise.agent.site.partial_file import PartialFile, WrongContentError
from edgewise.core.errors import EdgewiseError, UnavailableError
from edgewise.core.releases import Piece

_WRONG_AT_MOST: Final = 3
_MEASURED_BYTES: Final = 1 << 16
_QUOTA_LOOK_S: Final = 30.0
_SMOOTHING: Final = 0.3
_log = logging.getLogger(__name__)


class AbandonedError(EdgewiseError):
    """Nobody wants it any more; what came stays for later."""


class Blobs(Protocol):
    """Where bytes come from."""

    def blob(self, sha256: str, start: int, end: int) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes [start, end) of a blob, as they come; never more of them.

        Raises:
            UnavailableError: they do not come, or stop coming; another try makes sense.
            NotFoundError, PermissionDeniedError: there is no such blob, or not for us.
        """
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """With a link.

    Attributes:
        window_s, least_bytes: when fewer bytes come in such a time, another connection is tried.
        base_s, cap_s: the bound of the first delay after a failure, which doubles, and its greatest.
    """

    window_s: float = 60.0
    least_bytes: int = 16384
    base_s: float = 0.5
    cap_s: float = 30.0

    def delay_s(self, failures: int, draw: float) -> float:
        """How long to wait after so many failures in a row.

        Args:
            draw: uniform in [0, 1).
        Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (full jitter).
        """
        return float(draw * min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 32)))


class Transfer:
    """One at a time.

    Args:
        pause: waits for so many seconds, or until the process ends.
        wanted: whether what is being fetched is still asked for.
        now_s: a monotonic clock.

    Attributes:
        bytes_per_s: how fast it went lately; None before anything came.
        is_waiting: whether nothing is asked for now, since the link was away or the quota is used up.
    """

    def __init__(
        self,
        blobs: Blobs,
        bucket: TokenBucket,
        quota: DailyQuota,
        *,
        pause: Callable[[float], None],
        wanted: Callable[[], bool],
        patience: Patience,
        random: Random,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bytes_per_s: float | None = None
        self.is_waiting = False
        self._blobs = blobs
        self._bucket = bucket
        self._quota = quota
        self._pause = pause
        self._wanted = wanted
        self._patience = patience
        self._random = random
        self._now_s = now_s

    def fetch(self, partial: PartialFile, on_bytes: Callable[[int], None]) -> None:
        """Have every chunk of a file.

        Args:
            on_bytes: is told how many more bytes are there, checked.
        Raises:
            AbandonedError: nobody wants it any more.
            WrongContentError: it came three times, and was something else each time.
            EdgewiseError: the hub does not have it, or the disk refuses.
        """
        wrong = 0
        try:
            for piece in partial.missing():
                wrong = self._piece(partial, piece, on_bytes, wrong)
        finally:
            self._quota.keep()

    def _piece(self, partial: PartialFile, piece: Piece, on_bytes: Callable[[int], None], wrong: int) -> int:
        """Returns: how often what came was wrong."""
        coming = _Coming(partial, piece, on_bytes)
        failures = 0
        while not coming.is_complete:
            before = coming.position
            try:
                self._connection(coming)
                failures = 0
            except WrongContentError as error:
                wrong += 1
                coming.begin_chunk_anew()
                if wrong >= _WRONG_AT_MOST:
                    raise WrongContentError(f"{error.message}, {wrong} times") from error
                _log.warning("%s; it is asked for again", error.message)
            except UnavailableError as error:
                # What moves on is no failure, however often it stops.
                failures = 1 if coming.position > before else failures + 1
                if failures > 1:
                    _log.info("%s", error.message)
                self._wait(self._patience.delay_s(failures, self._random.random()))
        return wrong

    def _connection(self, coming: "_Coming") -> None:
        """As much as one answer brings."""
        self._wait_for_quota()
        start = coming.position
        most = [start + one for one in (self._quota.left_bytes(), self._bucket.at_once_bytes) if one is not None]
        end = min([coming.end, *most])
        began_s = window_s = self._now_s()
        in_window = 0
        with self._blobs.blob(coming.sha256, start, end) as parts:
            for part in parts:
                self._check_wanted()
                self._quota.take(len(part))
                coming.take(part)
                in_window += len(part)
                wait_s = self._bucket.take(len(part))
                if wait_s:
                    self._pause(wait_s)
                    window_s += wait_s
                now_s = self._now_s()
                if now_s - window_s >= self._patience.window_s:
                    if in_window < self._patience.least_bytes:
                        raise UnavailableError(f"the hub sent {in_window} bytes in {now_s - window_s:.0f} s")
                    window_s, in_window = now_s, 0
        self._measure(coming.position - start, self._now_s() - began_s)

    def _wait_for_quota(self) -> None:
        self._check_wanted()
        told = False
        while self._quota.left_bytes() == 0:
            if not told:
                _log.info("the quota of this day is used up; it goes on tomorrow (UTC)")
                told = True
            self._wait(_QUOTA_LOOK_S)

    def _wait(self, seconds: float) -> None:
        ends_s = self._now_s() + seconds
        self.is_waiting = True
        try:
            while (left_s := ends_s - self._now_s()) > 0:
                self._check_wanted()
                self._pause(min(left_s, 1.0))
            self._check_wanted()
        finally:
            self.is_waiting = False

    def _check_wanted(self) -> None:
        if not self._wanted():
            raise AbandonedError("nobody wants it any more")

    def _measure(self, count: int, seconds: float) -> None:
        if count < _MEASURED_BYTES or seconds <= 0.0:
            return
        speed = count / seconds
        known = self.bytes_per_s
        self.bytes_per_s = speed if known is None else known + _SMOOTHING * (speed - known)


class _Coming:
    """A piece of a file on its way: bytes that make up chunks.

    Attributes:
        position: of the next byte in the file.
    """

    def __init__(self, partial: PartialFile, piece: Piece, on_bytes: Callable[[int], None]) -> None:
        self.sha256 = partial.file.sha256
        self.position = piece.start
        self.end = piece.end
        self._partial = partial
        self._chunks = partial.file.chunks
        self._number = piece.first
        self._last = piece.last
        self._begun = bytearray()
        self._on_bytes = on_bytes

    @property
    def is_complete(self) -> bool:
        return self._number == self._last

    def take(self, part: bytes) -> None:
        """The next bytes.

        Raises: WrongContentError: they complete a chunk that is not what it should be.
        """
        self.position += len(part)
        self._begun += part
        while self._number < self._last and len(self._begun) >= (size := self._chunks[self._number].size_bytes):
            before = self._partial.there_bytes
            self._partial.put(self._number, bytes(self._begun[:size]))
            del self._begun[:size]
            self._number += 1
            self._on_bytes(self._partial.there_bytes - before)

    def begin_chunk_anew(self) -> None:
        """What came of the present chunk is wrong."""
        self.position -= len(self._begun)
        self._begun.clear()
