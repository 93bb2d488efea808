"""What is under way in one direction of one connection, and in one direction of the whole link."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

from edgewise.link.faults import Fault, Held, Kind
from edgewise.link.timetable import SLACK_S, Clock, Timetable
from edgewise.link.wire import Wire, next_retransmission_s

LANE_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""What one connection may have under way each way, like TCP's window; then its sender is not read any more."""
WAY_LIMIT_BYTES: Final = 256 * 1024 * 1024
"""The same for all connections of the link together."""
_RELIEF_S: Final = 0.005
_NEVER: Final = math.inf


class Ending(Enum):
    """How a connection ends, travelling behind its last bytes."""

    FIN = auto()
    RESET = auto()


class Source(Protocol):
    """Where a lane's bytes come from."""

    def hold(self, reason: int) -> None:
        """Read no further, until every reason has gone."""

    def release(self, reason: int) -> None:
        """A reason has gone."""


class Sink(Protocol):
    """Where a lane's bytes go."""

    def write(self, data: bytes) -> None:
        """Pass them on."""

    def end(self) -> None:
        """There will be no more."""

    def reset(self) -> None:
        """The other side was reset."""


LANE_FULL: Final = 1
WAY_FULL: Final = 2
FROZEN: Final = 4


class Way:
    """One direction of the link, with all its lanes.

    Attributes:
        wire: decides when bytes arrive.
        timetable, clock: when that is.
        fault: the one that strikes in this direction; None when all is well.
        stopped: nothing arrives.
        lanes: of the open connections.
        queued_bytes: taken and not yet passed on.
        passed_bytes, dropped_bytes: since the start.
    """

    def __init__(
        self, wire: Wire, timetable: Timetable, clock: Clock, call_later: Callable[..., asyncio.TimerHandle]
    ) -> None:
        self.wire = wire
        self.timetable = timetable
        self.clock = clock
        self.fault: Fault | None = None
        self.stopped = False
        self.lanes: set[Lane] = set()
        self.queued_bytes = 0
        self.passed_bytes = 0
        self.dropped_bytes = 0
        self._call_later = call_later
        self._waiting: set[Source] = set()
        self._relief: asyncio.TimerHandle | None = None

    def change(self, fault: Fault | None) -> None:
        """Put a fault in this direction, or none, in the place of another, or none."""
        before, self.fault = self.fault, fault
        self.stopped = fault is not None and fault.kind in (Kind.BLACKHOLE, Kind.FREEZE)
        now_s = self.clock()
        for lane in list(self.lanes):
            if fault is not None and fault.kind is Kind.BLACKHOLE:
                lane.swallow(now_s, fault.held)
            elif before is not None:
                lane.heal(now_s, before.held)

    def wait(self, source: Source, now_s: float) -> None:
        """Let a sender wait while there is too much under way."""
        if self._crowded(now_s):
            self._waiting.add(source)
            source.hold(WAY_FULL)
            if self._relief is None:
                self._relief = self._call_later(_RELIEF_S, self._relieve)

    def close(self) -> None:
        """Set no further timer."""
        if self._relief is not None:
            self._relief.cancel()

    def _crowded(self, now_s: float) -> bool:
        wire = self.wire
        return self.queued_bytes > WAY_LIMIT_BYTES or (
            not wire.straight and wire.queued_bytes(now_s) > wire.queue_limit_bytes
        )

    def _relieve(self) -> None:
        self._relief = None
        if self._crowded(self.clock()):
            self._relief = self._call_later(_RELIEF_S, self._relieve)
            return
        waiting, self._waiting = self._waiting, set()
        for source in waiting:
            source.release(WAY_FULL)


class Lane:
    """One direction of one connection: a queue of pieces with the times at which they arrive.

    A piece that a fault has swallowed never arrives; such pieces are always the last ones, since order is kept.

    Args:
        way: the direction.
        source: what sends.
        not_before_s: when the first byte can arrive.

    Attributes:
        sink: what receives; None while there is no connection to it.
        opposite: the lane of the same connection in the other direction.
        said_bytes: since the other side last said something.
        lost: bytes were dropped for good.
    """

    __slots__ = (
        "_armed_s",
        "_blocked",
        "_ended",
        "_gone",
        "_last_s",
        "_pieces",
        "_queued_bytes",
        "_silent",
        "_swallowed_s",
        "_turn_s",
        "lost",
        "opposite",
        "said_bytes",
        "sink",
        "source",
        "way",
    )

    def __init__(self, way: Way, source: Source, not_before_s: float) -> None:
        self.way = way
        self.source = source
        self.sink: Sink | None = None
        self.opposite: Lane
        self.said_bytes = 0
        self.lost = False
        self._pieces: deque[tuple[float, bytes | Ending]] = deque()
        self._queued_bytes = 0
        self._last_s = not_before_s
        self._turn_s = 0.0
        self._armed_s = _NEVER
        self._swallowed_s = 0.0
        self._silent = False
        self._blocked = True
        self._ended: Ending | None = None
        self._gone = False
        way.lanes.add(self)

    # --- from the source ---

    def take(self, data: bytes) -> None:
        """Take bytes that the source sent."""
        way = self.way
        size = len(data)
        self.said_bytes += size
        self.opposite.said_bytes = 0
        if self._ended or self._gone:
            return
        if way.fault is None and way.wire.straight and not (self._pieces or self._blocked) and self.sink is not None:
            way.passed_bytes += size
            self.sink.write(data)
            return
        now_s = way.clock()
        self._queue(data, now_s)
        if self._queued_bytes > LANE_LIMIT_BYTES:
            self.source.hold(LANE_FULL)
        way.wait(self.source, now_s)

    def finish(self, ending: Ending) -> None:
        """Take note that the source sends no more; a reset may follow on an orderly end."""
        if self._gone or self._ended is ending or self._ended is Ending.RESET:
            return
        self._ended = ending
        self._queue(ending, self.way.clock())

    # --- to the sink ---

    def connect(self, sink: Sink) -> None:
        """Pass on to `sink` from now on."""
        self.sink = sink
        self.unblock()

    def block(self) -> None:
        """The sink takes no more for now."""
        self._blocked = True

    def unblock(self) -> None:
        """The sink takes again."""
        self._blocked = False
        self._arm()

    def due(self, at_s: float, now_s: float) -> None:
        """The timetable's call."""
        if at_s == self._armed_s:
            self._armed_s = _NEVER
            self._deliver(now_s)

    # --- faults ---

    def swallow(self, now_s: float, held: Held) -> None:
        """Let nothing that is under way arrive."""
        self._silent = False
        if held is Held.DROP:
            self._drop()
        elif self._pieces:
            if self._pieces[-1][0] != _NEVER:
                self._swallowed_s = now_s
            self._pieces = deque((_NEVER, what) for _, what in self._pieces)
        self._armed_s = _NEVER

    def heal(self, now_s: float, held: Held) -> None:
        """Send again what was swallowed."""
        self._silent = False
        swallowed = []
        while self._pieces and self._pieces[-1][0] == _NEVER:
            swallowed.append(self._pieces.pop()[1])
        sent_s = now_s
        if held is Held.BACKOFF and swallowed:
            sent_s = next_retransmission_s(self._swallowed_s, now_s, self.way.wire.conditions.rtt_s)
        while swallowed:
            what = swallowed.pop()
            if not isinstance(what, Ending):
                self._count(-len(what))
            self._queue(what, now_s, sent_s - now_s)
        self._arm()

    def discard(self) -> None:
        """Forget what is under way: nobody is there to take it."""
        self._drop()
        self._gone = True
        self._armed_s = _NEVER
        self.way.lanes.discard(self)

    # --- inside ---

    def _is_open(self) -> bool:
        """Whether no fault swallows what comes now."""
        fault = self.way.fault
        if fault is None:
            return True
        if fault.kind is Kind.STALL_ABOVE and not self._silent:
            self._silent = self.said_bytes > (fault.bytes or 0)
        return not self._silent and fault.kind is not Kind.BLACKHOLE

    def _queue(self, what: bytes | Ending, now_s: float, later_s: float = 0.0) -> None:
        way = self.way
        if not self._is_open():
            if way.fault is not None and way.fault.held is Held.DROP:
                self.lost = True
                way.dropped_bytes += 0 if isinstance(what, Ending) else len(what)
                return
            if not self._pieces or self._pieces[-1][0] != _NEVER:
                self._swallowed_s = now_s
            self._pieces.append((_NEVER, what))
            if not isinstance(what, Ending):
                self._count(len(what))
            return
        if isinstance(what, Ending):
            self._last_s = max(self._last_s, now_s + way.wire.conditions.delay_s)
            self._pieces.append((self._last_s, what))
        else:
            self._count(len(what))
            arrivals = way.wire.send(now_s, len(what), self._last_s - later_s)
            begin = 0
            for size, at_s in arrivals:
                piece = what if size == len(what) else what[begin : begin + size]
                self._pieces.append((at_s + later_s, piece))
                begin += size
            self._last_s = self._pieces[-1][0]
        self._arm()

    def _arm(self) -> None:
        """Ask to be called for the first piece."""
        if self._blocked or self.way.stopped or not self._pieces:
            return
        at_s = max(self._pieces[0][0], self._turn_s) if self.way.fault is not None else self._pieces[0][0]
        if at_s == _NEVER or at_s >= self._armed_s:
            return
        now_s = self.way.clock()
        if at_s <= now_s + SLACK_S:
            self._deliver(now_s)
        else:
            self._armed_s = at_s
            self.way.timetable.add(at_s, self)

    def _deliver(self, now_s: float) -> None:
        """Pass on what has arrived."""
        way = self.way
        pieces = self._pieces
        fault = way.fault
        drip_bytes = fault.bytes if fault is not None and fault.kind is Kind.DRIP else None
        while pieces and not self._blocked and not way.stopped and self.sink is not None:
            at_s, what = pieces[0]
            if at_s > now_s + SLACK_S:
                break
            if isinstance(what, Ending):
                pieces.popleft()
                self._arrive(what)
                continue
            if drip_bytes is not None:
                if self._turn_s > now_s + SLACK_S:
                    break
                assert fault is not None  # noqa: S101 - it drips
                self._turn_s = now_s + (fault.interval_ms or 0.0) / 1000
                if len(what) > drip_bytes:
                    pieces[0] = (at_s, what[drip_bytes:])
                    what = what[:drip_bytes]
                    self._pass(what)
                    break
            pieces.popleft()
            self._pass(what)
        self._arm()

    def _pass(self, data: bytes) -> None:
        assert self.sink is not None  # noqa: S101 - seen to by _deliver
        self._count(-len(data))
        self.way.passed_bytes += len(data)
        self.sink.write(data)

    def _arrive(self, ending: Ending) -> None:
        assert self.sink is not None  # noqa: S101 - seen to by _deliver
        if ending is Ending.FIN:
            self.sink.end()
        else:
            self.sink.reset()

    def _count(self, more_bytes: int) -> None:
        """Keep the books, and let the source go on when there is room again."""
        self.way.queued_bytes += more_bytes
        self._queued_bytes += more_bytes
        if more_bytes < 0 and self._queued_bytes <= LANE_LIMIT_BYTES // 2:
            self.source.release(LANE_FULL)

    def _drop(self) -> None:
        if self._pieces:
            self.lost = True
        dropped = self._queued_bytes
        self._pieces.clear()
        self.way.dropped_bytes += dropped
        self._count(-dropped)
