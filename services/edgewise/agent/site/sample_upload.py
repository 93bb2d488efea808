"""Brings what the gateway captured to the hub, whenever there is a link: one segment of the spool after the other, in pieces, by and by.

A segment leaves the spool only once the hub has said that it has it for good. Whoever was killed in between asks how far it came and goes on
there; the hub keeps each sample once, however often it is sent. Releases come first: while one is being fetched, nothing is sent.
"""

import logging
import time
from abc import abstractmethod
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from edgewise.agent.site.allowance import DailyQuota, TokenBucket
from edgewise.agent.site.sample_hub import SegmentFaultError, SegmentState, SegmentWaitsError
from edgewise.agent.site.sample_turns import SampleTurns
from edgewise.agent.site.transfer import Patience
from edgewise.core.errors import EdgewiseError, InvalidArgumentError, NotFoundError, UnavailableError
from edgewise.core.rollout.reports import SampleBacklog
from edgewise.spool import Segment

LOOK_S: Final = 5.0
"""So often the spool is looked at while there is nothing in it."""
ADOPT_S: Final = 10.0
QUOTA_LOOK_S: Final = 60.0
MOST_ANEW: Final = 3
"""So often a segment is sent whole and is another one at the hub; then it is set aside."""
PIECE_BYTES: Final = 256 << 10
_LEAST_PIECE_BYTES: Final = 16 << 10
_PATIENCE: Final = Patience(base_s=1.0, cap_s=60.0)
_USED_UP: Final = "the quota of samples of this day is used up; it goes on tomorrow (UTC)"
_log = logging.getLogger(__name__)


class Spool(Protocol):
    """What is asked of a spool: see `SpoolReader`."""

    @abstractmethod
    def adopt(self) -> int:
        """Close what dead writers left."""

    @abstractmethod
    def segments(self) -> list[Segment]:
        """What is to be sent, in order."""

    @abstractmethod
    def read(self, segment: Segment, offset: int, count: int) -> bytes:
        """Bytes of a segment. Raises: NotFoundError: it is gone."""

    @abstractmethod
    def digest(self, segment: Segment) -> str:
        """SHA-256 of all of it. Raises: NotFoundError: it is gone."""

    @abstractmethod
    def remove(self, segment: Segment) -> None:
        """It has arrived."""

    @abstractmethod
    def set_aside(self, segment: Segment) -> None:
        """It is not sent any more, and kept for people to look at."""


class Segments(Protocol):
    """What is asked of a hub: see `SampleHub`."""

    @abstractmethod
    def state(self, name: str, sha256: str) -> SegmentState:
        """How far a segment has come."""

    @abstractmethod
    def send(self, name: str, sha256: str, piece: bytes, *, offset: int, length: int) -> SegmentState:
        """Send the next piece."""


class SampleUpload:
    """Sends; in a thread of its own, which nobody waits for.

    Args:
        bucket, quota: how fast and how much.
        pause: waits for so many seconds, or until the process ends.
        is_stopped: whether it ends.
        is_fetching: whether a release is being fetched at this moment.
        now_s: a monotonic clock.

    Attributes:
        failures: in a row.
        backlog: what waits, as it was seen last; None before that. Any thread may ask.
    """

    def __init__(
        self,
        spool: Spool,
        hub: Segments,
        *,
        bucket: TokenBucket,
        quota: DailyQuota,
        pause: Callable[[float], None],
        is_stopped: Callable[[], bool],
        is_fetching: Callable[[], bool],
        random: Random,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = 0
        self.backlog: SampleBacklog | None = None
        self._spool = spool
        self._hub = hub
        self._bucket = bucket
        self._quota = quota
        self._pause = pause
        self._is_stopped = is_stopped
        self._is_fetching = is_fetching
        self._random = random
        self._now_s = now_s
        self._adopted_s = float("-inf")
        self._told = ""
        self._refused_as = ""
        self._is_quota_unwritten = False
        self._turns = SampleTurns(now_s)
        rate = bucket.rate_bytes_per_s
        # What is under way when a connection ends was for nothing, and a slow link is others' as well.
        self._piece_bytes = PIECE_BYTES if rate is None else min(PIECE_BYTES, max(_LEAST_PIECE_BYTES, int(rate / 4)))

    def run(self) -> None:
        """Until it is stopped."""
        while not self._is_stopped():
            try:
                self.once()
                self.failures = 0
                self._told = ""
                wait_s = LOOK_S
            except EdgewiseError as error:
                wait_s = self._failed(error.message)
            except Exception:  # noqa: BLE001  (the next try may go well, and the site goes on anyhow)
                _log.exception("a fault while samples are sent")
                wait_s = self._failed("a fault of the agent")
            self._pause(wait_s)

    def once(self) -> int:
        """Send what is in the spool.

        Returns: how many segments have arrived.
        Raises: EdgewiseError: the hub is away or refuses, or the spool cannot be read.
        """
        count = 0
        # What comes in meanwhile may be worth more: it is looked at anew after each.
        while not self._is_stopped() and (segment := self._next()) is not None:
            try:
                count += self._arrived(segment)
            finally:
                # A process that is killed forgets no more than a part of one segment.
                self._count(0)
            self.failures = 0
            self._told = ""
        return count

    def _next(self) -> Segment | None:
        """What is to be sent now, with what dead writers left; None where that is nothing."""
        if self._now_s() - self._adopted_s >= ADOPT_S:
            self._spool.adopt()
            self._adopted_s = self._now_s()
        waiting = self._spool.segments()
        segment = self._turns.look(waiting)
        self.backlog = SampleBacklog(len(waiting), sum(each.size_bytes for each in waiting), self._turns.held_up)
        return segment

    def _arrived(self, segment: Segment) -> bool:
        """Whether a segment is at the hub now; otherwise it is not in the spool any more, or all ends."""
        try:
            sha256 = self._spool.digest(segment)
            state = self._send(segment, sha256)
        except NotFoundError:
            if segment.name in {each.name for each in self._spool.segments()}:
                # The hub's word: it has no such path.
                raise
            return False
        except SegmentFaultError as error:
            _log.error("the segment %s of samples is set aside: %s", segment.name, error.message)
            self._spool.set_aside(segment)
            return False
        except (InvalidArgumentError, SegmentWaitsError) as error:
            # Another hub may take it, or this one when it is up to date. Thousands may be refused for the same: that is said once.
            level = logging.DEBUG if error.message == self._refused_as else logging.WARNING
            self._refused_as = error.message
            _log.log(level, "the segment %s of samples is sent again later: %s", segment.name, error.message)
            self._turns.refused(segment.name)
            return False
        if state is None:
            return False
        if state.refused:
            _log.warning("the hub could not take %d samples of the segment %s", state.refused, segment.name)
        self._spool.remove(segment)
        self._turns.arrived(segment.name)
        return True

    def _send(self, segment: Segment, sha256: str) -> SegmentState | None:
        """Send what is not at the hub yet; None where all ends before that."""
        anew = 0
        state = self._hub.state(segment.name, sha256)
        while not state.done:
            count = self._allowed()
            if not count:
                return None
            piece = self._spool.read(segment, state.offset, count)
            end = state.offset + len(piece)
            is_last = end == segment.size_bytes
            if is_last:
                self._turns.sent(segment.name)
            try:
                found = self._hub.send(segment.name, sha256, piece, offset=state.offset, length=segment.size_bytes)
            finally:
                # It was on the wire, taken or not.
                wait_s = self._bucket.take(len(piece))
                self._count(len(piece))
                self._pause_s(wait_s)
            if not found.done and found.offset != end:
                anew += is_last
                if anew >= MOST_ANEW:
                    raise SegmentFaultError(f"it was sent {anew} times, and came as another one each time")
                if found.offset == state.offset and not is_last:
                    raise UnavailableError("the hub takes nothing of the next piece")
            state = found
        return state

    def _allowed(self) -> int:
        """How many bytes may be sent now; waits until it is some, and is 0 when all ends."""
        while not self._is_stopped():
            left = self._quota.left_bytes()
            if left == 0:
                self._count(0)
                self._tell(_USED_UP)
                self._pause(QUOTA_LOOK_S)
                # Others come meanwhile, and the spool's retention goes on.
                self._next()
            elif self._is_fetching():
                self._tell("samples wait while a release is fetched or checked", logging.INFO)
                self._pause(1.0)
            else:
                if self._told == _USED_UP:
                    # Another day; it may be used up again before this segment has arrived.
                    self._told = ""
                return self._piece_bytes if left is None else min(self._piece_bytes, left)
        return 0

    def _count(self, count: int) -> None:
        """Count bytes, and write down what was counted. Where the disk does not take that it counts nevertheless, until the process ends:
        what arrives at the hub leaves the spool, which may be what fills the disk.
        """
        try:
            if count:
                self._quota.take(count)
            else:
                self._quota.keep()
        except EdgewiseError as error:
            if not self._is_quota_unwritten:
                self._is_quota_unwritten = True
                _log.warning("the quota of samples cannot be written down, and is kept in memory: %s", error.message)
        else:
            self._is_quota_unwritten &= bool(count)

    def _pause_s(self, seconds: float) -> None:
        if seconds > 0.0:
            self._pause(seconds)

    def _failed(self, why: str) -> float:
        """Say so once. Returns: for how many seconds to wait."""
        self.failures += 1
        self._tell(f"samples wait in the spool: {why}")
        return max(0.1, _PATIENCE.delay_s(self.failures, self._random.random()))

    def _tell(self, text: str, level: int = logging.WARNING) -> None:
        if text != self._told:
            self._told = text
            _log.log(level, "%s", text)
