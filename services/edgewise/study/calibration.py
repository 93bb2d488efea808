"""What a target can do, found in a few seconds by asking it.

Two kinds of jobs, in turn, several times over, so that a machine that is slow for a while spoils one block and not the result:

- lone requests, evenly spaced so that none meets another: the latency to which everything else is added. First closely, then
  with pauses, since a machine that had nothing to do answers later: how much later, by the length of the pause;
- closed loops: all requests due at once over k connections, so that always k are inside. With few inside they show how those
  served together slow each other; with many, the capacity. What limits a target is not what a lone request takes: the next
  photograph is decoded while the model runs. The gaps between departures of a busy server are its service times.

Of each block a mean is taken, since means are what queues obey, and of the blocks the mean again, without those that lie far
from the others.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.calibration_bytes import request_bytes, response_bytes
from edgewise.study.calibration_loops import MOST_INSIDE, Ask, Loop, Loops
from edgewise.study.engine.job import Asking, Recording
from edgewise.study.results import Calibration

BLOCKS: Final = 5
"""Of a calibration that stands alone."""
_LEAST_SAMPLES: Final = 50
_LARGEST_FITTED: Final = 16
_FIRST: Final = 6
_LOOK_S: Final = 0.3
_MOST_S: Final = 60.0
# Of the time of a block, to lone requests that follow each other closely.
_LONE_SHARE: Final = 0.25
# These keep this many latencies apart, so that they do not meet.
_APART: Final = 1.6
_LEAST_APART: Final = 1.4
_LEAST_GAP_S: Final = 0.002
# Pauses before other lone requests, and how many of a block follow on each. What a pause costs no longer grows beyond the last.
_PAUSES: Final = ((0.012, 5), (0.03, 5), (0.1, 4))
# A pause this much longer than the one before tells something new.
_LONGER: Final = 1.5
# A block this much off, or this many standard deviations, was disturbed.
_OFF_RATIO: Final = 0.03
_OFF_DEVIATIONS: Final = 3.0
# A gap longer than this many medians is a stall of the machine and not a service time.
_STALL: Final = 5.0
# The speed of a machine is not the same some minutes later.
_LEAST_ERROR: Final = 0.01


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
    budget_s: float = 10.0,
    blocks: int = BLOCKS,
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
        blocks: how often everything is done; fewer where the same is calibrated again later (`calibration_pool`).
        seed: of the order of the questions.
    Raises:
        InvalidArgumentError: there is no question, or an argument is out of range.
        UnavailableError: the target answers with errors, or not at all.
    """
    if not asking.questions:
        raise InvalidArgumentError("there is nothing to ask; expected at least one question")
    if instances < 1 or largest_batch < 1 or blocks < 1 or not timeout_s > 0 or not budget_s > 0:
        raise InvalidArgumentError(
            f"instances {instances}, largest_batch {largest_batch}, blocks {blocks}, timeout_s {timeout_s:g}, "
            f"budget_s {budget_s:g}: expected 1 or more of the first three, and over 0 of the others"
        )
    loops = Loops(ask, asking, timeout_s, np.random.default_rng(seed))
    # Threads start, caches fill, connections open.
    loops.closed(min(_FIRST, 2 * instances), _FIRST)
    lone_s = loops.lone_s = float(np.quantile(np.diff(loops.closed(1, 2 * _FIRST).departures_s), 0.6))
    inside = _enough_inside(loops, instances, largest_batch, lone_s)
    fitted = min(largest_batch, _LARGEST_FITTED)
    few = tuple(range(2, instances + 1))
    if fitted > 1:
        few = tuple(sorted({2, fitted, 2 * fitted} - {inside}))
    pausing_s = sum((requests + 1) * (pause_s + lone_s) for pause_s, requests in _PAUSES)
    least_s, most_s = lone_s * 2 * _LEAST_SAMPLES / BLOCKS, _MOST_S / BLOCKS
    block_s = min(most_s, max((budget_s - loops.spent_s) / blocks - pausing_s, least_s))
    found = [_block(loops, inside, few, block_s) for _ in range(blocks)]
    lone_means_s = [float(block.lone_s.mean()) for block in found]
    lone_noise = _median(block.lone_noise_ratio for block in found)
    base_s = _typical(lone_means_s, lone_noise)
    if fitted > 1:
        capacity, batch = _capacity_of_batches(found, inside, fitted)
    else:
        capacity, batch = _capacity_of_instances(found, instances, base_s), 1
    recordings = [block.lone_recording for block in found]
    pauses_s = _pauses(found)
    size, size_scv = request_bytes(asking)
    return Calibration(
        target=target,
        model=model,
        protocol=protocol,
        batching=batching,
        base_ms=1e3 * base_s,
        base_samples_ms=tuple(1e3 * float(value) for block in found for value in block.lone_s),
        capacity_per_s=capacity,
        service_scv=_service_scv(found, capacity[0] if instances * largest_batch > 1 else None),
        request_bytes=size,
        response_bytes=response_bytes(asking, recordings),
        request_bytes_scv=size_scv,
        largest_batch=batch,
        capacity_error_ratio=_error_ratio([block.rate_per_s for block in found], _busy_noise(found)),
        base_error_ratio=_error_ratio(lone_means_s, lone_noise),
        pauses_ms=tuple(1e3 * pause_s for pause_s in pauses_s),
        pause_costs_ms=tuple(1e3 * cost_s for cost_s in pauses_s.values()),
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """One turn of everything.

    Attributes:
        lone_s: latencies of lone requests.
        pause_s: before each of them.
        costs_s: what those took longer that followed on a longer pause, by its length; rising.
        busy: the loop of many.
        few_per_s: rates of the loops of few, by how many were inside.
    """

    lone_s: NDArray[np.float64]
    lone_recording: Recording
    pause_s: float
    costs_s: Mapping[float, float]
    busy: Loop
    few_per_s: dict[int, float] = field(default_factory=dict)

    @property
    def rate_per_s(self) -> float:
        return self.busy.rate_per_s

    @property
    def lone_noise_ratio(self) -> float:
        """Standard error of the mean latency, as a share of it."""
        return float(self.lone_s.std() / self.lone_s.mean() / math.sqrt(self.lone_s.size))


def _enough_inside(loops: Loops, instances: int, largest_batch: int, lone_s: float) -> int:
    """How many have to be inside so that the server never lacks work: doubled until it is no faster any more."""
    # As many as a busy run has inside: more than would keep the server at work, since those that wait cost it something too.
    inside = 2 * instances + 6
    if largest_batch > 1:
        return min(MOST_INSIDE, 2 * instances * min(largest_batch, _LARGEST_FITTED) + 2)
    rate = loops.closed(inside, loops.requests(inside, _LOOK_S)).rate_per_s
    # A request spends this many service times at the target: so many fit side by side in what is not the server.
    while inside < min(MOST_INSIDE, 1.5 * lone_s * rate + instances):
        inside = min(2 * inside, MOST_INSIDE)
        rate = loops.closed(inside, loops.requests(inside, _LOOK_S)).rate_per_s
    return inside


def _block(loops: Loops, inside: int, few: Sequence[int], block_s: float) -> _Block:
    lone_s = loops.lone_s
    apart = _LONE_SHARE * block_s * BLOCKS / _LEAST_SAMPLES / lone_s
    gap_s = max(_LEAST_GAP_S, lone_s * min(_APART, max(_LEAST_APART, apart)))
    latencies, recording, gap_s = loops.lone(
        gap_s, max(_LEAST_SAMPLES // BLOCKS + 2, math.ceil(_LONE_SHARE * block_s / gap_s))
    )
    if gap_s > _LEAST_GAP_S:
        loops.lone_s = max(loops.lone_s, gap_s / _APART)
    close_s = float(latencies.mean())
    pause_s = last_s = gap_s - close_s
    costs_s: dict[float, float] = {}
    for longer_s, requests in _PAUSES:
        if longer_s >= _LONGER * last_s:
            last_s = longer_s
            rested_s, _, taken_s = loops.lone(close_s + longer_s, requests)
            if taken_s == close_s + longer_s:
                costs_s[longer_s] = float(rested_s.mean()) - close_s
    share_s = (1 - _LONE_SHARE) * block_s / (len(few) + 2)
    rates = {count: loops.closed(count, loops.requests(count, share_s)).rate_per_s for count in few}
    busy = loops.closed(inside, loops.requests(inside, 2 * share_s))
    return _Block(latencies, recording, pause_s, costs_s, busy, rates)


def _pauses(found: Sequence[_Block]) -> dict[float, float]:
    """What a lone request takes longer after pauses, in seconds of both, the short one of those that set the standard first.

    Each block compares requests of the same second. Empty where there is nothing to compare.
    """
    costs_s = {
        pause_s: _shrunk([block.costs_s[pause_s] for block in found])
        for pause_s, _ in _PAUSES
        if all(pause_s in block.costs_s for block in found)
    }
    return {_median(block.pause_s for block in found): 0.0, **costs_s} if costs_s else {}


def _shrunk(differences: Sequence[float]) -> float:
    """Their mean, drawn towards none by as much as it may be chance (James and Stein, 1961)."""
    kept = _undisturbed(differences, 0.0)
    mean = float(kept.mean())
    if kept.size < 2 or mean == 0.0:
        return 0.0
    chance = float(kept.var(ddof=1)) / kept.size
    return mean * max(0.0, 1.0 - chance / mean**2)


def _capacity_of_instances(found: Sequence[_Block], instances: int, base_s: float) -> tuple[float, ...]:
    """By how many are in service.

    With n inside and no more than there are instances nobody waits: each takes n / X(n), of which what is not service (decoding,
    the way through the server) is the same as in a full house: c / X(c), less the c / X(many) that service takes there.
    """
    most = _typical([block.rate_per_s for block in found], _busy_noise(found))
    if instances == 1:
        return (most,)
    stay_s = [base_s]
    stay_s += [count / _typical([block.few_per_s[count] for block in found]) for count in range(2, instances + 1)]
    full_s = instances / most
    if instances == 2:
        return 1 / _service_alone_s(base_s, stay_s[1], full_s), most
    beside_s = min(max(0.0, stay_s[-1] - full_s), 0.9 * min(stay_s))
    capacities: list[float] = []
    for count in range(1, instances):
        rate = count / (stay_s[count - 1] - beside_s)
        # Fewer do not get more done, and each is served no slower than in a full house.
        rate = min(max(rate, most * count / instances), most)
        capacities.append(max(rate, capacities[-1] if capacities else 0.0))
    return (*capacities, most)


def _service_alone_s(base_s: float, stay_s: float, full_s: float) -> float:
    """The service time of one of two instances while the other one is idle.

    Args:
        base_s: latency of a lone request.
        stay_s: latency in a closed loop of two.
        full_s: service time while both are busy.
    """
    low_s, high_s = full_s / 2, full_s
    for _ in range(40):
        alone_s = (low_s + high_s) / 2
        in_service_s = stay_s - base_s + alone_s
        # The other one is in service for this share of the time, and then this one gets on more slowly.
        both = in_service_s / stay_s
        if in_service_s * ((1 - both) / alone_s + both / full_s) > 1:
            high_s = alone_s
        else:
            low_s = alone_s
    return (low_s + high_s) / 2


def _capacity_of_batches(found: Sequence[_Block], inside: int, largest: int) -> tuple[tuple[float, ...], int]:
    """By the size of a batch, a batch of n taking a + d n.

    In a closed loop of k, two batches take turns: while one is run the other gathers. Whatever their sizes, a round of both takes
    2 a + d k; a line through the rounds of several k gives a and d.
    """
    loops = sorted(found[0].few_per_s)
    # A server may run smaller batches than it is allowed to, where larger ones gain nothing.
    largest = min(largest, round(_median(block.busy.together for block in found)))
    if largest <= 1:
        return (_typical([block.rate_per_s for block in found]),), 1
    # More than two full batches only wait.
    sizes = np.minimum(np.array([*loops, inside], dtype=np.float64), 2 * largest)
    rates = [_typical([block.few_per_s[count] for block in found]) for count in loops]
    rates.append(_typical([block.rate_per_s for block in found], _busy_noise(found)))
    rounds_s = sizes / np.array(rates)
    each_s, twice_s = (float(value) for value in np.polyfit(sizes, rounds_s, 1))
    fixed_s = max(0.0, twice_s / 2)
    if each_s <= 0:
        return (rates[-1],), 1
    return tuple(size / (fixed_s + each_s * size) for size in range(1, largest + 1)), largest


def _service_scv(found: Sequence[_Block], rate_alone_per_s: float | None) -> float:
    """Of the service time: of the gaps between departures of a single server that is busy, else of lone latencies.

    Sums of four gaps, so that what only delays the news of a departure, and shortens the next gap by as much, counts little.
    """
    values = []
    for block in found:
        if rate_alone_per_s is not None:
            service_s = 1 / rate_alone_per_s
            values.append(float(np.minimum(block.lone_s, _STALL * np.median(block.lone_s)).var(ddof=1) / service_s**2))
            continue
        gaps = np.diff(block.busy.departures_s)
        gaps = np.minimum(gaps, _STALL * np.median(gaps))
        together = min(4, max(1, gaps.size // 8))
        sums = np.convolve(gaps, np.ones(together), "valid")
        if sums.size > 1 and sums.mean() > 0:
            values.append(float(sums.var(ddof=1) / sums.mean() ** 2 * together))
    return float(np.median(values)) if values else 0.0


def _busy_noise(found: Sequence[_Block]) -> float:
    """Standard error of a block's rate; 0 where gaps are no service times, since several are served at once."""
    alone = not found[0].few_per_s
    return _median(block.busy.noise_ratio for block in found) if alone else 0.0


def _median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def _error_ratio(rates: Sequence[float], noise_ratio: float) -> float:
    """Standard error of `_typical`, as a share of it; never less than the service times alone would make it."""
    kept = _undisturbed(rates, noise_ratio)
    least = max(_LEAST_ERROR, noise_ratio / math.sqrt(kept.size))
    if kept.size < 2:
        return max(least, 0.5 * float(np.ptp(rates)) / float(np.median(rates)))
    return max(least, float(kept.std(ddof=1)) / float(kept.mean()) / math.sqrt(kept.size))


def _typical(values: Sequence[float], noise_ratio: float = 0.0) -> float:
    """The mean of blocks, without the disturbed ones."""
    return float(_undisturbed(values, noise_ratio).mean())


def _undisturbed(values: Sequence[float], noise_ratio: float) -> NDArray[np.float64]:
    """Blocks that lie no further from the others than their own scatter, a standard deviation over the mean, explains."""
    found = np.array(values)
    middle = float(np.median(found))
    off = np.abs(found - middle)
    # 1.4826: of normal values, the standard deviation over the median distance from the median.
    spread = max(1.4826 * float(np.median(off)), noise_ratio * middle)
    kept: NDArray[np.float64] = found[off <= max(_OFF_RATIO * middle, _OFF_DEVIATIONS * spread)]
    return kept
