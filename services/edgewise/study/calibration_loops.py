"""The jobs of a calibration: closed loops and lone requests, asked of whatever runs jobs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import UnavailableError
from edgewise.study.engine.job import Asking, Job, Recording, State

Ask = Callable[[Job], Recording]

MOST_INSIDE: Final = 64
_MOST_IN_A_LOOP: Final = 50_000
_FAILED_RATIO: Final = 0.1
# Departures closer together than this share of a lone latency left as one batch.
_TOGETHER_RATIO: Final = 0.2
# Where fewer than this share of the lone requests are alone, they are asked farther apart, this often.
_LEAST_ALONE: Final = 0.6
_WIDENINGS: Final = 4
# A busy target answers a closed loop in at most this many times what its requests take one after another.
_SLOWER: Final = 5.0


@dataclass(frozen=True, slots=True)
class Loop:
    """A closed loop.

    Attributes:
        departures_s: in their order, those that count.
        lone_s: about what a lone request takes.
    """

    departures_s: NDArray[np.float64]
    lone_s: float

    @property
    def rate_per_s(self) -> float:
        """Departures a second."""
        # What left together with the first one was made before it left.
        behind = self.departures_s.size - np.searchsorted(self.departures_s, self.departures_s[0], "right")
        return float(behind / (self.departures_s[-1] - self.departures_s[0]))

    @property
    def together(self) -> float:
        """How many leave as one batch, in the mean."""
        gaps = np.diff(self.departures_s)
        return (gaps.size + 1) / (1 + float((gaps > _TOGETHER_RATIO * self.lone_s).sum()))

    @property
    def noise_ratio(self) -> float:
        """Standard error of the rate, as a share of it, if the gaps were independent."""
        gaps = np.diff(self.departures_s)
        return float(gaps.std() / gaps.mean() / math.sqrt(gaps.size))


class Loops:
    """Asks, and refuses to go on where what comes back is not predictions.

    Args:
        ask: runs a job.
        asking: of the target.
        timeout_s: patience with a lone request.
        rng: of the order of the questions.

    Attributes:
        spent_s: what the jobs took so far.
        lone_s: about what a lone request takes; infinite as long as nobody knows.
    """

    def __init__(self, ask: Ask, asking: Asking, timeout_s: float, rng: np.random.Generator) -> None:
        self._ask = ask
        self._asking = asking
        self._timeout_s = timeout_s
        self._rng = rng
        self.spent_s = 0.0
        self.lone_s = math.inf
        self._rates: dict[int, float] = {}

    def requests(self, inside: int, length_s: float) -> int:
        """Of a loop of about that length."""
        fewer = max((count for count in self._rates if count <= inside), default=0)
        rate_per_s = inside / self.lone_s
        if fewer:
            rate_per_s = min(rate_per_s, self._rates[fewer] * (1.0 if fewer == inside else 1.5))
        return int(min(_MOST_IN_A_LOOP, max(3 * inside + 6, length_s * rate_per_s)))

    def closed(self, inside: int, requests: int) -> Loop:
        """So many requests with always `inside` under way; the way in and the way out are left off."""
        known = math.isfinite(self.lone_s)
        longest_s = _SLOWER * requests * self.lone_s if known else self._timeout_s * requests / inside
        recording = self._run(np.zeros(requests, np.int64), inside, self._timeout_s + longest_s)
        ended_s = np.sort(recording.ended_ns[recording.state == State.OK]) / 1e9
        first = min(max(inside, requests // 10), ended_s.size // 3)
        last = min(inside - 1, ended_s.size // 3)
        kept = ended_s[:0]
        if ended_s.size:
            # Cut in time and not in number: what leaves as one batch is all in or all out.
            kept = ended_s[(ended_s >= ended_s[first]) & (ended_s <= ended_s[-1 - last])]
        if kept.size < 2 or kept[-1] <= kept[0]:
            raise UnavailableError(
                f"{ended_s.size} of {requests} requests were answered at once; a speed cannot be told from that"
            )
        loop = Loop(kept, self.lone_s)
        self._rates[inside] = loop.rate_per_s
        return loop

    def lone(self, gap_s: float, requests: int) -> tuple[NDArray[np.float64], Recording, float]:
        """Latencies of evenly spaced requests that met no other one; the recording; the gap that this took.

        Raises: UnavailableError: they meet however far apart they are.
        """
        for _ in range(_WIDENINGS):
            due_ns = (np.arange(requests + 1) * gap_s * 1e9).astype(np.int64)
            recording = self._run(due_ns, MOST_INSIDE, self._timeout_s)
            ended_ns = np.where(recording.ended_ns >= 0, recording.ended_ns, due_ns + int(self._timeout_s * 1e9))
            alone = np.empty(due_ns.size, np.bool_)
            # The first one finds the target as the job before has left it.
            alone[0] = False
            alone[1:] = np.maximum.accumulate(ended_ns)[:-1] <= due_ns[1:]
            alone &= recording.state == State.OK
            if alone.sum() >= _LEAST_ALONE * requests:
                return (ended_ns - due_ns)[alone] / 1e9, recording, gap_s
            gap_s *= 2
        raise UnavailableError(
            f"requests {gap_s:.3g} s apart still meet each other; is somebody else asking, or the machine busy?"
        )

    def _run(self, due_ns: NDArray[np.int64], connections: int, timeout_s: float) -> Recording:
        count = len(self._asking.questions)
        rounds = [self._rng.permutation(count) for _ in range(-(-due_ns.size // count))]
        recording = self._ask(
            Job(
                asking=self._asking,
                due_ns=due_ns,
                question_index=np.concatenate(rounds)[: due_ns.size].astype(np.uint16),
                timeout_s=timeout_s,
                max_connections=connections,
            )
        )
        answered = int((recording.state == State.OK).sum())
        if answered < (1 - _FAILED_RATIO) * due_ns.size:
            texts = sorted(recording.errors.items(), key=lambda item: -item[1])
            why = f": {texts[0][0]} ({texts[0][1]} times)" if texts else ""
            raise UnavailableError(
                f"only {answered} of {due_ns.size} requests of the calibration got a prediction{why}"
            )
        self.spent_s += float(recording.ended_ns.max()) / 1e9
        return recording
