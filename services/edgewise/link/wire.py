"""When bytes arrive that one direction of a link was given: the decisions, on virtual time.

Nothing here reads a clock or makes a random number: `now_s` and the source of draws are passed in, so that a seed and a
list of sends give the same arrivals again. All connections of a link share a direction's wire, and with it its bandwidth;
the order within one connection is kept by handing in when its last bytes arrive.

The parts of a delay, in order:

1. Bandwidth: what is sent waits until the wire is free, then takes size / bandwidth (one queue, first in, first out).
2. Propagation: the delay, with jitter, and with the share of the path that is in use (see `Slots`).
3. Loss, as the time that TCP takes to notice and send again. Everything behind it on the same connection waits as well.

   - A segment that was sent alone, or that is all of a small message: nothing behind it tells the receiver of the gap, so
     the retransmission timer has to run out: RTT + 200 ms (RFC 6298 with Linux' least variance term).
   - The last of several: the tail loss probe, 2 × RTT (RFC 8985).
   - Any other: noticed from what arrives behind it, 1 × RTT.
   - A retransmission that is lost again waits for the timer, which doubles each time.

   One loss is charged for what is sent at one time: further gaps of the same flight are repaired along with it. The
   congestion window is not modelled: a loss delays, but it does not slow down what follows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgewise.link.profiles import Conditions, Slots

SEGMENT_BYTES: Final = 1448
"""Payload of a full segment: 1500 bytes less the headers of IPv4 and TCP with timestamps."""

_LEAST_RTO_S: Final = 0.2
_FIRST_RTO_S: Final = 1.0
_MOST_TRIES: Final = 6
# A piece takes about this long on the wire, so that a slow link lets a large body trickle instead of arriving at once.
_PIECE_S: Final = 0.002
# Rule of thumb for the buffer of a link (Villamizar and Song, 1994): bandwidth × 250 ms.
_QUEUE_S: Final = 0.25
_LEAST_QUEUE_BYTES: Final = 16 * SEGMENT_BYTES

Draw = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireConditions:
    """What one direction does to what crosses it.

    Attributes:
        delay_s, jitter_s: one way; uniform in delay ± jitter, never less than 0.
        rtt_s: of both directions, for what a loss costs.
        loss_ratio: share of the segments that are lost.
        bytes_per_s: None is unlimited.
        slots: changes of path.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    rtt_s: float = 0.0
    loss_ratio: float = 0.0
    bytes_per_s: float | None = None
    slots: Slots | None = None

    @property
    def straight(self) -> bool:
        """Whether bytes pass as they come."""
        return not (self.delay_s or self.jitter_s or self.loss_ratio or self.slots) and self.bytes_per_s is None


def both_ways(conditions: Conditions) -> tuple[WireConditions, WireConditions]:
    """The conditions of the two directions: up, down."""
    up, down = (
        WireConditions(
            delay_s=delay_ms / 1000,
            jitter_s=conditions.jitter_ms / 1000,
            rtt_s=conditions.rtt_ms / 1000,
            loss_ratio=conditions.loss_ratio,
            bytes_per_s=None if kbit_s is None else kbit_s * 125,
            slots=conditions.slots,
        )
        for delay_ms, kbit_s in (
            (conditions.delay_up_ms, conditions.up_kbit_s),
            (conditions.delay_down_ms, conditions.down_kbit_s),
        )
    )
    return up, down


class Wire:
    """One direction of a link.

    Args:
        conditions: what it is like.
        draw: gives numbers uniform in [0, 1).
        begun_s: when the first slot begins.

    Attributes:
        conditions: as given or changed.
        straight: bytes pass as they come.
    """

    __slots__ = ("_begun_s", "_draw", "_free_s", "_slot", "_slot_shift_s", "conditions", "straight")

    def __init__(self, conditions: WireConditions, draw: Draw, *, begun_s: float = 0.0) -> None:
        self.conditions = conditions
        self.straight = conditions.straight
        self._draw = draw
        self._begun_s = begun_s
        self._free_s = 0.0
        self._slot = -1
        self._slot_shift_s = 0.0

    def change(self, conditions: WireConditions, now_s: float) -> None:
        """Take other conditions for what is sent from now on; what is under way arrives as it would have."""
        self.conditions = conditions
        self.straight = conditions.straight
        self._free_s = min(self._free_s, now_s)

    def send(self, now_s: float, size_bytes: int, not_before_s: float = 0.0) -> list[tuple[int, float]]:
        """Put bytes of one connection on the wire.

        Args:
            now_s: not less than at the call before.
            size_bytes: at least 1.
            not_before_s: when the last bytes of the same connection arrive.
        Returns: the pieces in which they arrive: bytes, and when; the bytes add up to `size_bytes`, the times never go
            back and are not before `not_before_s`.
        Raises: ValueError: size_bytes < 1.
        """
        if size_bytes < 1:
            raise ValueError(f"size_bytes is {size_bytes}; there has to be a byte to send")
        conditions = self.conditions
        lost_at, repair_s = self._loss(size_bytes) if conditions.loss_ratio else (size_bytes, 0.0)
        path_s = conditions.delay_s + (self._slot_s(now_s, conditions.slots) if conditions.slots is not None else 0.0)
        rate = conditions.bytes_per_s
        piece_bytes = size_bytes if rate is None else max(SEGMENT_BYTES, int(rate * _PIECE_S))
        sent_s = now_s if rate is None else max(now_s, self._free_s)
        arrivals = []
        done = 0
        arrival_s = not_before_s
        while done < size_bytes:
            piece = min(piece_bytes, size_bytes - done)
            done += piece
            if rate is not None:
                sent_s += piece / rate
            jitter_s = conditions.jitter_s * (2 * self._draw() - 1) if conditions.jitter_s else 0.0
            due_s = max(sent_s, sent_s + path_s + jitter_s)
            if done > lost_at:
                due_s += repair_s
            arrival_s = max(arrival_s, due_s)
            arrivals.append((piece, arrival_s))
        if rate is not None:
            self._free_s = sent_s
        return arrivals

    def handshake_s(self) -> float:
        """What this direction adds to the making of a connection: the delay, and the wait for a lost SYN or its answer.

        A lost one is sent again after 1 s, then after 2 s, and so on (RFC 6298, section 2).
        """
        wait_s = self.conditions.delay_s
        timer_s = _FIRST_RTO_S
        for _ in range(_MOST_TRIES):
            if not self.conditions.loss_ratio or self._draw() >= self.conditions.loss_ratio:
                break
            wait_s += timer_s
            timer_s *= 2
        return wait_s

    def queued_bytes(self, now_s: float) -> float:
        """What waits for the wire to be free."""
        rate = self.conditions.bytes_per_s
        return 0.0 if rate is None else max(0.0, (self._free_s - now_s) * rate)

    @property
    def queue_limit_bytes(self) -> float:
        """How much may wait: bandwidth × 250 ms, at least 16 segments; whoever sends then has to wait."""
        rate = self.conditions.bytes_per_s
        return math.inf if rate is None else max(_LEAST_QUEUE_BYTES, rate * _QUEUE_S)

    def _loss(self, size_bytes: int) -> tuple[int, float]:
        """Where the first loss is, in bytes from the beginning, and what its repair takes; no loss is past the end."""
        loss_ratio = self.conditions.loss_ratio
        segments = -(-size_bytes // SEGMENT_BYTES)
        first = int(math.log1p(-self._draw()) / math.log1p(-loss_ratio))
        if first >= segments:
            return size_bytes, 0.0
        rtt_s = self.conditions.rtt_s
        timer_s = rtt_s + _LEAST_RTO_S
        if segments == 1:
            repair_s = timer_s
        elif first == segments - 1:
            repair_s = min(2 * rtt_s, timer_s)
        else:
            repair_s = rtt_s
        for _ in range(_MOST_TRIES):
            if self._draw() >= loss_ratio:
                break
            repair_s += timer_s
            timer_s *= 2
        return first * SEGMENT_BYTES, repair_s

    def _slot_s(self, now_s: float, slots: Slots) -> float:
        """What the path in use adds to the delay."""
        since_s = now_s - self._begun_s
        slot = int(since_s // slots.length_s)
        if slot != self._slot:
            self._slot = slot
            self._slot_shift_s = slots.spread_ms / 1000 * (2 * self._draw() - 1)
        phase_ms = (since_s - slot * slots.length_s) * 1000
        disturbed = phase_ms < slots.begin_ms or phase_ms >= slots.length_s * 1000 - slots.end_ms
        return self._slot_shift_s + (slots.edge_ms / 1000 if disturbed else 0.0)


def next_retransmission_s(sent_s: float, healed_s: float, rtt_s: float) -> float:
    """When TCP sends again, for the first time after a heal, what it sent into a cut.

    Args:
        sent_s: when it was sent first.
        healed_s: when the way was free again.
        rtt_s: round trip of the path.
    Returns: seconds; `sent_s` + (2^n - 1) timers for the first n that is not before `healed_s`. A timer is at most 120 s.
    Source: RFC 6298, section 5.5; Linux' TCP_RTO_MAX.
    """
    timer_s = rtt_s + _LEAST_RTO_S
    again_s = sent_s
    while again_s < healed_s:
        again_s += timer_s
        timer_s = min(2 * timer_s, 120.0)
    return again_s
