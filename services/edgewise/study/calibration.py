"""What a target can do, found in a few seconds by asking it.

Two kinds of jobs, in turn, several times over, so that a machine that is slow for a while spoils one block and not the result:

- lone requests, evenly spaced so that none meets another: the latency to which everything else is added;
- closed loops: all requests due at once over k connections, so that always k are inside. With few inside they show how those
  served together slow each other; with many, the capacity. What limits a target is not what a lone request takes: the next
  photograph is decoded while the model runs. The gaps between departures of a busy server are its service times.

Of each block a mean is taken, since means are what queues obey, and of the blocks the median, which a disturbed one does not move.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import InvalidArgumentError, UnavailableError
from edgewise.study.calibration_bytes import request_bytes, response_bytes
from edgewise.study.engine.job import Asking, Job, Recording, State
from edgewise.study.results import Calibration

Ask = Callable[[Job], Recording]

_BLOCKS: Final = 5
_LEAST_SAMPLES: Final = 50
_MOST_INSIDE: Final = 64
_LARGEST_FITTED: Final = 16
_FIRST: Final = 6
_FAILED_RATIO: Final = 0.1
# Below, batches are not worth a model of their own.
_FIXED_COST_RATIO: Final = 0.05
_MOST_S: Final = 60.0
# Of the time of a block: to lone requests, and to the busy server; the rest goes to loops of few.
_LONE_SHARE: Final = 0.45
# A gap longer than this many medians is a stall of the machine and not a service time.
_STALL: Final = 5.0
_LEAST_ERROR: Final = 0.004


def calibrate(
    ask: Ask,
    asking: Asking,
    *,
    target: str,
    model: str,
    protocol: str,
    batching: str = "",
    instances: int = 1,
    largest_batch: int = 1,
    timeout_s: float = 10.0,
    budget_s: float = 7.0,
    seed: int = 1,
) -> Calibration:
    """Learn what predictions need, by asking.

    Args:
        ask: runs a job; such as `engine.process.Engine.run`.
        asking: of the target, with its questions, without an emulated network.
        target, model, protocol, batching: of the cells that it is for.
        instances: how many requests (or batches) the target runs at once.
        largest_batch: that it runs.
        timeout_s: patience with a lone request.
        budget_s: about how long it may take; more where lone requests take over 50 ms, at most a minute.
        seed: of the order of the questions.
    Raises:
        InvalidArgumentError: there is no question, or an argument is out of range.
        UnavailableError: the target answers with errors, or not at all.
    """
    if not asking.questions:
        raise InvalidArgumentError("there is nothing to ask; expected at least one question")
    if instances < 1 or largest_batch < 1 or not timeout_s > 0 or not budget_s > 0:
        raise InvalidArgumentError(
            f"instances {instances}, largest_batch {largest_batch}, timeout_s {timeout_s:g}, budget_s {budget_s:g}: "
            "expected 1 or more of the first two, and over 0 of the others"
        )
    loops = _Loops(ask, asking, timeout_s, np.random.default_rng(seed))
    # Threads start, caches fill, connections open.
    loops.closed(min(_FIRST, 2 * instances), _FIRST)
    lone_s = float(np.median(np.diff(loops.closed(1, _FIRST).departures_s)))
    inside = _enough_inside(loops, instances, largest_batch, lone_s)
    fitted = min(largest_batch, _LARGEST_FITTED)
    few = tuple(range(1, instances + 1)) if instances > 1 else ()
    if fitted > 1:
        few = tuple(sorted({2, fitted, 2 * fitted} - {inside}))
    block_s = min(_MOST_S, max(budget_s - loops.spent_s, lone_s * 2 * _LEAST_SAMPLES)) / _BLOCKS
    found = [_block(loops, lone_s, inside, few, block_s) for _ in range(_BLOCKS)]
    if fitted > 1:
        capacity, batch = _capacity_of_batches(found, inside, fitted)
    else:
        capacity, batch = _capacity_of_instances(found, instances), 1
    recordings = [block.lone_recording for block in found]
    size, size_scv = request_bytes(asking)
    return Calibration(
        target=target,
        model=model,
        protocol=protocol,
        batching=batching,
        base_ms=1e3 * float(np.median([block.lone_s.mean() for block in found])),
        base_samples_ms=tuple(1e3 * float(value) for block in found for value in block.lone_s),
        capacity_per_s=capacity,
        service_scv=_service_scv(found, instances),
        request_bytes=size,
        response_bytes=response_bytes(asking, recordings),
        request_bytes_scv=size_scv,
        largest_batch=batch,
        capacity_error_ratio=_error_ratio([block.rate_per_s for block in found]),
    )


@dataclass(frozen=True, slots=True)
class _Loop:
    """A closed loop: departures in their order, those that count."""

    departures_s: NDArray[np.float64]

    @property
    def rate_per_s(self) -> float:
        return float((self.departures_s.size - 1) / (self.departures_s[-1] - self.departures_s[0]))


@dataclass(frozen=True, slots=True)
class _Block:
    """One turn of everything.

    Attributes:
        lone_s: latencies of lone requests.
        busy: the loop of many.
        few_per_s: rates of the loops of few, by how many were inside.
        alone: the loop of one.
    """

    lone_s: NDArray[np.float64]
    lone_recording: Recording
    busy: _Loop
    alone: _Loop | None
    few_per_s: dict[int, float] = field(default_factory=dict)

    @property
    def rate_per_s(self) -> float:
        return self.busy.rate_per_s


class _Loops:
    """Asks, and refuses to go on where what comes back is not predictions."""

    def __init__(self, ask: Ask, asking: Asking, timeout_s: float, rng: np.random.Generator) -> None:
        self._ask = ask
        self._asking = asking
        self._timeout_s = timeout_s
        self._rng = rng
        self.spent_s = 0.0

    def closed(self, inside: int, requests: int) -> _Loop:
        """So many requests with always `inside` under way; the way in and the way out are left off."""
        recording = self._run(np.zeros(requests, np.int64), inside, self._timeout_s * (1 + requests / inside))
        ended_s = np.sort(recording.ended_ns[recording.state == State.OK]) / 1e9
        first = min(max(inside, requests // 10), ended_s.size // 3)
        last = min(inside - 1, ended_s.size // 3)
        kept = ended_s[first : ended_s.size - last]
        if kept.size < 2 or kept[-1] <= kept[0]:
            raise UnavailableError(
                f"{ended_s.size} of {requests} requests were answered at once; a speed cannot be told from that"
            )
        return _Loop(kept)

    def lone(self, gap_s: float, requests: int) -> tuple[NDArray[np.float64], Recording]:
        """Latencies of evenly spaced requests, the first left off."""
        due_ns = (np.arange(requests + 1) * gap_s * 1e9).astype(np.int64)
        recording = self._run(due_ns, 4, self._timeout_s)
        kept = recording.state == State.OK
        kept[0] = False
        latency_s = (recording.ended_ns[kept] - recording.due_ns[kept]) / 1e9
        if not latency_s.size:
            raise UnavailableError("no lone request was answered in time")
        return latency_s, recording

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


def _enough_inside(loops: _Loops, instances: int, largest_batch: int, lone_s: float) -> int:
    """How many have to be inside so that the server never lacks work: doubled until it is no faster any more."""
    inside = 2 * instances + 2
    if largest_batch > 1:
        return min(_MOST_INSIDE, 2 * instances * min(largest_batch, _LARGEST_FITTED) + 2)
    rate = loops.closed(inside, _requests(inside, 0.3, 1.2 * instances / lone_s)).rate_per_s
    # A request spends this many service times at the target: so many fit side by side in what is not the server.
    while inside < min(_MOST_INSIDE, 1.5 * lone_s * rate + instances):
        inside = min(2 * inside, _MOST_INSIDE)
        rate = loops.closed(inside, _requests(inside, 0.3, rate)).rate_per_s
    return inside


def _requests(inside: int, length_s: float, rate_per_s: float) -> int:
    """Of a loop of about that length."""
    return int(min(50_000, max(3 * inside + 6, length_s * rate_per_s)))


def _block(loops: _Loops, lone_s: float, inside: int, few: Sequence[int], block_s: float) -> _Block:
    # So far apart that they do not meet, and no farther: a machine that falls asleep in between is not that of the runs.
    gap_s = min(2.0, block_s * _LONE_SHARE * _BLOCKS / _LEAST_SAMPLES / lone_s)
    gap_s = lone_s * max(1.5, gap_s)
    samples = max(3, math.ceil(_LONE_SHARE * block_s / gap_s))
    latencies, recording = loops.lone(gap_s, samples)
    left_s = (1 - _LONE_SHARE) * block_s
    share_s = left_s / (len(few) + 2)
    rates = {}
    alone = None
    for count in few:
        loop = loops.closed(count, _requests(count, share_s, count / lone_s))
        rates[count] = loop.rate_per_s
        alone = loop if count == 1 else alone
    likely_per_s = max(rates.values(), default=1.2 / lone_s)
    busy = loops.closed(inside, _requests(inside, 2 * share_s, likely_per_s))
    return _Block(latencies, recording, busy, alone, rates)


def _capacity_of_instances(found: Sequence[_Block], instances: int) -> tuple[float, ...]:
    """By how many are in service.

    With n inside and no more than there are instances nobody waits: each takes n / X(n), of which what is not service (decoding,
    the way through the server) is the same as in a full house: c / X(c), less the c / X(many) that service takes there.
    """
    most = _median(block.rate_per_s for block in found)
    if instances == 1:
        return (most,)
    stay_s = [count / _median(block.few_per_s[count] for block in found) for count in range(1, instances + 1)]
    beside_s = min(max(0.0, stay_s[-1] - instances / most), 0.9 * min(stay_s))
    capacities: list[float] = []
    for count in range(1, instances):
        rate = count / (stay_s[count - 1] - beside_s)
        # Fewer do not get more done, and each is served no slower than in a full house.
        rate = min(max(rate, most * count / instances), most)
        capacities.append(max(rate, capacities[-1] if capacities else 0.0))
    return (*capacities, most)


def _capacity_of_batches(found: Sequence[_Block], inside: int, largest: int) -> tuple[tuple[float, ...], int]:
    """By the size of a batch, a batch of n taking a + d n.

    In a closed loop of k, two batches take turns: while one is run the other gathers. Whatever their sizes, a round of both takes
    2 a + d k; a line through the rounds of several k gives a and d.
    """
    loops = sorted(found[0].few_per_s)
    sizes = np.array([*loops, inside], dtype=np.float64)
    rates = [_median(block.few_per_s[count] for block in found) for count in loops]
    rates.append(_median(block.rate_per_s for block in found))
    rounds_s = sizes / np.array(rates)
    each_s, twice_s = (float(value) for value in np.polyfit(sizes, rounds_s, 1))
    fixed_s = twice_s / 2
    if each_s <= 0 or fixed_s < _FIXED_COST_RATIO * (fixed_s + each_s):
        return (rates[-1],), 1
    return tuple(size / (fixed_s + each_s * size) for size in range(1, largest + 1)), largest


def _service_scv(found: Sequence[_Block], instances: int) -> float:
    """Of the service time: of the gaps between departures of a busy single server, else of a loop of one.

    Sums of four gaps, so that what only delays the news of a departure, and shortens the next gap by as much, counts little.
    """
    values = []
    for block in found:
        loop = block.busy if instances == 1 or block.alone is None else block.alone
        gaps = np.diff(loop.departures_s)
        gaps = np.minimum(gaps, _STALL * np.median(gaps))
        together = min(4, max(1, gaps.size // 8))
        sums = np.convolve(gaps, np.ones(together), "valid")
        if sums.size > 1 and sums.mean() > 0:
            values.append(float(sums.var(ddof=1) / sums.mean() ** 2 * together))
    return float(np.median(values)) if values else 0.0


def _error_ratio(rates: Sequence[float]) -> float:
    """Standard error of the median of the blocks' rates, as a share of it."""
    middle = float(np.median(rates))
    # 1.4826: of normal values, the standard deviation over the median distance from the median; 1.25: the median's over the mean's.
    scatter = 1.4826 * float(np.median(np.abs(np.array(rates) - middle))) / middle
    scatter = max(scatter, float(np.std(rates, ddof=1)) / middle / 2) if len(rates) > 1 else scatter
    return max(_LEAST_ERROR, 1.25 * scatter / math.sqrt(len(rates)))


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))
