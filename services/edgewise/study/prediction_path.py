"""What the way to the cloud and back does to a request, as the link emulator makes it (docs/link.md)."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.queueing import Stage, transfer_s
from edgewise.study import prediction_spread
from edgewise.study.prediction_spread import Spread
from edgewise.study.results import Calibration, NetworkProfile

SEGMENT_BYTES: Final = 1448
"""Payload of a full TCP segment."""
# Bytes arrive in pieces of about this time.
_PIECE_MS: Final = 2.0
_LEAST_TIMER_MS: Final = 200.0
_MOST_TRIES: Final = 6
# Waking up for a delay that is over costs this much a way (docs/link.md, "How exact, and what it costs").
_WAKING_MS: Final = 0.2
_JITTER_STEPS: Final = 64


@dataclass(frozen=True, slots=True)
class Way:
    """One direction.

    Attributes:
        name: "uplink" or "downlink".
        transfer_ms: how long a message of mean size occupies it; 0 without a limit of bandwidth.
        size_scv: of the messages.
        delays_ms, delay_masses: jitter and repaired losses of a message, with their probabilities.
    """

    name: str
    transfer_ms: float
    size_scv: float
    delays_ms: NDArray[np.float64]
    delay_masses: NDArray[np.float64]

    @property
    def mean_delay_ms(self) -> float:
        """Of jitter and repaired losses."""
        return float(self.delays_ms @ self.delay_masses)

    def stage(self) -> Stage | None:
        """As a queue; None when nothing can queue there."""
        return Stage(self.name, (1e3 / self.transfer_ms,), self.size_scv) if self.transfer_ms else None


@dataclass(frozen=True, slots=True)
class Path:
    """Both directions.

    Attributes:
        rtt_ms: of an empty message, what waking up for its arrival costs included.
    """

    up: Way
    down: Way
    rtt_ms: float
    path_spread_ms: float

    @property
    def fixed_ms(self) -> float:
        """Mean of everything but the queues."""
        ways = (self.up, self.down)
        return self.rtt_ms + sum(way.transfer_ms + way.mean_delay_ms for way in ways)

    def spread(self, step_ms: float) -> Spread:
        """Distribution of everything but the queues; sizes of messages are taken as their mean."""
        both = [prediction_spread.of_values(way.delays_ms, way.delay_masses, step_ms) for way in (self.up, self.down)]
        return both[0].plus(both[1]).moved(self.rtt_ms + self.up.transfer_ms + self.down.transfer_ms)


def path_of(calibration: Calibration, profile: NetworkProfile, base_rtt_ms: float = 0.0) -> Path:
    """What a profile does to the requests of a calibration.

    Args:
        base_rtt_ms: round trip that was there already during the calibration.
    """
    up = _way("uplink", calibration.request_bytes, calibration.request_bytes_scv, profile.up_kbit_s, profile)
    down = _way("downlink", calibration.response_bytes, 0.0, profile.down_kbit_s, profile)
    waking_ms = 2 * _WAKING_MS if profile.rtt_ms > 0 else 0.0
    return Path(up, down, max(0.0, profile.rtt_ms - base_rtt_ms) + waking_ms, profile.path_spread_ms)


def _way(name: str, size_bytes: int, size_scv: float, kbit_s: float, profile: NetworkProfile) -> Way:
    jitter = _jitter(size_bytes, kbit_s, profile.jitter_ms, profile.rtt_ms / 2)
    repair = _repair(size_bytes, profile.rtt_ms, profile.loss_ratio)
    delays_ms = jitter[0][:, None] + repair[0][None, :]
    masses = jitter[1][:, None] * repair[1][None, :]
    return Way(name, 1e3 * transfer_s(size_bytes, kbit_s), size_scv, delays_ms.ravel(), masses.ravel())


def _jitter(
    size_bytes: int, kbit_s: float, jitter_ms: float, delay_ms: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What jitter adds to the arrival of a message's last byte: values, probabilities.

    Each piece has its own draw, uniform in ±jitter, and none overtakes: the message is there when the latest of its pieces
    is, those sent before the last having had a start of one piece's time each.
    """
    if jitter_ms <= 0:
        return np.zeros(1), np.ones(1)
    pieces, piece_ms = 1, 0.0
    if kbit_s > 0:
        piece_bytes = max(SEGMENT_BYTES, int(kbit_s * 125 * _PIECE_MS / 1e3))
        pieces = -(-size_bytes // piece_bytes)
        piece_ms = 1e3 * transfer_s(piece_bytes, kbit_s)
    edges = np.linspace(-jitter_ms, jitter_ms, _JITTER_STEPS + 1)
    below = np.ones_like(edges)
    for before in range(pieces):
        if before * piece_ms >= 2 * jitter_ms:
            break
        below *= np.clip((edges + before * piece_ms + jitter_ms) / (2 * jitter_ms), 0.0, 1.0)
    # No delay is shorter than none.
    values = np.maximum((edges[1:] + edges[:-1]) / 2, -delay_ms)
    return values, np.diff(below)


def _repair(size_bytes: int, rtt_ms: float, loss_ratio: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the repair of lost segments adds to a message: values, probabilities.

    A lone segment waits for the retransmission timer, the last of several for the tail loss probe, any other for what arrives
    behind it; what is lost again waits for the timer, doubled each time (RFC 6298, RFC 8985, as `edgewise.link.wire` has it).
    """
    if loss_ratio <= 0:
        return np.zeros(1), np.ones(1)
    segments = -(-max(1, size_bytes) // SEGMENT_BYTES)
    timer_ms = rtt_ms + _LEAST_TIMER_MS
    last = loss_ratio * (1 - loss_ratio) ** (segments - 1)
    whole = (1 - loss_ratio) ** segments
    first_waits = {0.0: whole}
    for wait_ms, chance in (
        ((timer_ms, last),) if segments == 1 else ((min(2 * rtt_ms, timer_ms), last), (rtt_ms, 1 - whole - last))
    ):
        again_ms, chance_left, next_ms = wait_ms, chance, timer_ms
        for tries in range(_MOST_TRIES + 1):
            ends = chance_left * (1 - loss_ratio) if tries < _MOST_TRIES else chance_left
            first_waits[again_ms] = first_waits.get(again_ms, 0.0) + ends
            chance_left -= ends
            again_ms += next_ms
            next_ms *= 2
    values = np.array(list(first_waits))
    masses = np.array(list(first_waits.values()))
    return values, masses / math.fsum(masses)
