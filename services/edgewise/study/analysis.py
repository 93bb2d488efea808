"""From records to figures: what one run and one cell found."""

import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgewise.core.errors import InvalidArgumentError
from edgewise.study.cells import Cell, Run
from edgewise.study.engine.job import OTHER_ANSWER, Recording, State
from edgewise.study.histogram import HOUR_NS, HdrHistogram, bucket_high, bucket_of, rank_of
from edgewise.study.results import CellResult, Estimate, RunResult, Second
from edgewise.study.scenario import RunSettings
from edgewise.study.statistics import NOTHING, Blocks, Resampled, block_count, blocks, wilson

RUN_RATIOS: Final = (0.5, 0.9, 0.95, 0.99, 0.999)
CELL_RATIOS: Final = (0.5, 0.95, 0.99)
MAX_SECONDS: Final = 3600
"""Of a timeline; a longer run is not in it."""
CDF_RATIOS: Final = (*(i / 200 for i in range(201)), 0.999, 1.0)


def run_result(
    run: Run,
    recording: Recording,
    *,
    warmup_s: float,
    settings: RunSettings,
    right: Callable[[int, bytes], bool | None] | None,
) -> RunResult:
    """The figures of one run.

    Every request that was due behind the warm-up is in exactly one of the counts; latencies are of those that were answered with a
    prediction. Late, busy and stopped engines make a run void; its figures are there all the same.

    Args:
        warmup_s: requests due before it are left out.
        settings: how the run was to be measured, and beyond which lag and share of a core it is void.
        right: whether the answer body to a question (by its index) is right; None where nobody knows. It is asked once for each
            question and distinct answer, and says False to a body that it cannot read.
    Raises:
        InvalidArgumentError: a request ended before it was due, or a latency exceeds one hour.
    """
    kept = recording.due_ns >= round(warmup_s * 1e9)
    state = recording.state[kept]
    due_ns = recording.due_ns[kept]
    sent_ns = recording.sent_ns[kept]
    ok = state == State.OK
    histogram = HdrHistogram(highest=HOUR_NS)
    histogram.record(_latency_ns(run, due_ns[ok], recording.ended_ns[kept][ok]))
    counts = np.bincount(state, minlength=len(State))
    right_count, labelled = _accuracy(recording, kept & (recording.state == State.OK), right)
    site_counts = np.bincount(recording.site[kept][ok], minlength=len(recording.sites))
    schedule_s = _schedule_s(recording, warmup_s, settings)
    lag_p99_ms = _lag_p99_ms(sent_ns[sent_ns >= 0] - due_ns[sent_ns >= 0])
    engine_share = recording.cpu_s / schedule_s
    return RunResult(
        run=run,
        requests=int(state.size),
        counts={each.name.lower(): int(counts[each]) for each in State},
        mean_ms=histogram.mean / 1e6,
        quantiles_ms=dict(zip(RUN_RATIOS, (histogram.quantiles(RUN_RATIOS) / 1e6).tolist(), strict=True)),
        max_ms=histogram.max / 1e6,
        duration_s=max(schedule_s - warmup_s, 0.0),
        lag_p99_ms=lag_p99_ms,
        engine_share=engine_share,
        void=_why_void(recording, counts, lag_p99_ms, engine_share, settings),
        sites={site: int(count) for site, count in zip(recording.sites, site_counts, strict=True) if count},
        right=right_count,
        labelled=labelled,
        errors=dict(recording.errors),
        arrival_scv=_squared_variation(np.diff(due_ns)),
    )


def cell_result(
    cell: Cell,
    runs: Sequence[RunResult],
    recordings: Iterable[Recording | None],
    *,
    warmup_s: float,
    seed: int,
    histogram: HdrHistogram | None = None,
) -> CellResult:
    """The figures of one cell over its valid runs: histograms merged, intervals from `statistics`.

    Args:
        runs: all repeats, void ones too.
        recordings: one for each of `runs`, in their order; they are taken one by one, so that a generator which reads them keeps one at
            a time in memory. Those of void runs are not looked at, and may be None.
        seed: of the bootstrap.
        histogram: an empty one to count the cell's latencies in, in nanoseconds, for who wants more of them than the result has.
    Returns: requests and counts are those of the valid runs; when no run is valid, of all of them, and every figure is nan.
    Raises:
        InvalidArgumentError: there is not one recording for each run, or a valid run has none.
    """
    histogram = HdrHistogram(highest=HOUR_NS) if histogram is None else histogram
    parts: list[Blocks] = []
    asked: set[int] = set()
    timeline = _Timeline(warmup_s)
    valid = [run for run in runs if not run.void]
    for run, recording in zip(runs, _each_of(runs, recordings), strict=True):
        if run.void:
            continue
        if recording is None:
            raise InvalidArgumentError(f"the run {run.run.name} is valid, but its records are missing")
        kept = recording.due_ns >= round(warmup_s * 1e9)
        answered = recording.state[kept] == State.OK
        latency_ns = recording.ended_ns[kept] - recording.due_ns[kept]
        histogram.record(latency_ns[answered])
        parts.append(blocks(latency_ns, answered, block_count(answered.size, len(valid))))
        timeline.add(recording)
        asked.update(np.unique(recording.question[kept][answered]).tolist())
    counted = valid or runs
    counts = {each.name.lower(): sum(run.counts.get(each.name.lower(), 0) for run in counted) for each in State}
    requests = sum(run.requests for run in counted)
    if not valid:
        nothing = dict.fromkeys(CELL_RATIOS, NOTHING)
        return CellResult(cell, tuple(runs), requests, counts, NOTHING, nothing, NOTHING, NOTHING)
    mean_ms, quantiles_ms = NOTHING, dict.fromkeys(CELL_RATIOS, NOTHING)
    if histogram.total:
        resampled = Resampled(parts, _generator(cell, seed), within=not cell.outage)
        mean_ms = resampled.mean_ms(histogram.mean / 1e6)
        quantiles_ms = {ratio: resampled.quantile_ms(histogram.quantile(ratio) / 1e6, ratio) for ratio in CELL_RATIOS}
    return CellResult(
        cell=cell,
        runs=tuple(runs),
        requests=requests,
        counts=counts,
        mean_ms=mean_ms,
        quantiles_ms=quantiles_ms,
        availability=_availability(parts, by_run=bool(cell.outage)),
        accuracy=_shared_accuracy(valid, counts["ok"], len(asked)),
        cdf_ms=tuple((histogram.quantiles(CDF_RATIOS) / 1e6).tolist()) if histogram.total else (),
        timeline=timeline.seconds(),
    )


class _Timeline:
    """What became of the requests of each second, summed over runs."""

    def __init__(self, warmup_s: float) -> None:
        self._warmup_ns = round(warmup_s * 1e9)
        self._states: Counter[tuple[int, int]] = Counter()
        self._sites: Counter[tuple[int, str]] = Counter()
        self._buckets: list[NDArray[np.int64]] = []
        self._bucket_counts: list[NDArray[np.int64]] = []

    def add(self, recording: Recording) -> None:
        """One more run."""
        kept = recording.due_ns >= self._warmup_ns
        second = (recording.due_ns[kept] - self._warmup_ns) // 1_000_000_000
        if second.size == 0 or int(second[-1]) >= MAX_SECONDS:
            return
        ok = recording.state[kept] == State.OK
        for pair, count in zip(*_tallied(second, recording.state[kept]), strict=True):
            self._states[int(pair) >> 16, int(pair) & 0xFFFF] += int(count)
        for pair, count in zip(*_tallied(second[ok], recording.site[kept][ok]), strict=True):
            self._sites[int(pair) >> 16, recording.sites[int(pair) & 0xFFFF]] += int(count)
        pairs, counts = _tallied(second[ok], bucket_of((recording.ended_ns - recording.due_ns)[kept][ok]))
        self._buckets.append(pairs)
        self._bucket_counts.append(counts)

    def seconds(self) -> tuple[Second, ...]:
        """All of them, to the last that had a request."""
        if not self._states:
            return ()
        pairs, places = np.unique(np.concatenate(self._buckets), return_inverse=True)
        counts = np.bincount(places, weights=np.concatenate(self._bucket_counts), minlength=pairs.size).astype(np.int64)
        last = max(second for second, _ in self._states)
        starts = np.searchsorted(pairs, np.arange(last + 2) << 16).tolist()
        found = []
        for second in range(last + 1):
            rows = slice(starts[second], starts[second + 1])
            p50_ms, p99_ms = _quantiles_ms(pairs[rows] & 0xFFFF, counts[rows], (0.5, 0.99))
            states = {state.name.lower(): self._states[second, state] for state in State}
            sites = {site: count for (place, site), count in sorted(self._sites.items()) if place == second}
            found.append(Second(second, states, sites, p50_ms, p99_ms))
        return tuple(found)


def _tallied(second: NDArray[np.int64], other: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each second goes with each value, which is below 65,536: the pairs as one number each, rising, and the counts."""
    return np.unique(second << 16 | other.astype(np.int64), return_counts=True)


def _quantiles_ms(buckets: NDArray[np.int64], counts: NDArray[np.int64], ratios: Sequence[float]) -> tuple[float, ...]:
    running = np.cumsum(counts)
    if running.size == 0:
        return (math.nan,) * len(ratios)
    ranks = [rank_of(ratio, int(running[-1])) for ratio in ratios]
    return tuple((bucket_high(buckets[np.searchsorted(running, ranks)]) / 1e6).tolist())


def _latency_ns(run: Run, due_ns: NDArray[np.int64], ended_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    latency_ns = ended_ns - due_ns
    if latency_ns.size and int(latency_ns.min()) < 0:
        raise InvalidArgumentError(f"the records of {run.name} are damaged: a request was answered before it was due")
    return latency_ns


def _schedule_s(recording: Recording, warmup_s: float, settings: RunSettings) -> float:
    """How long requests fell due, warm-up included; above 0."""
    due_ns = recording.due_ns[recording.sent_ns >= 0] if recording.stopped else recording.due_ns
    last_s = float(due_ns[-1]) / 1e9 if due_ns.size else 0.0
    return max(last_s, 1e-9 if recording.stopped else warmup_s + settings.duration_s)


def _lag_p99_ms(lag_ns: NDArray[np.int64]) -> float:
    if lag_ns.size == 0:
        return math.nan
    rank = rank_of(0.99, lag_ns.size)
    return max(float(np.partition(lag_ns, rank - 1)[rank - 1]) / 1e6, 0.0)


def _squared_variation(gaps: NDArray[np.int64]) -> float:
    if gaps.size < 2 or not gaps.any():
        return math.nan
    return float(gaps.var() / gaps.mean() ** 2)


def _why_void(
    recording: Recording, counts: NDArray[np.int64], lag_p99_ms: float, engine_share: float, settings: RunSettings
) -> str:
    reasons = []
    if recording.stopped:
        reasons.append("it was stopped before its schedule was over")
    elif counts[State.UNSENT]:
        reasons.append(f"requests were never sent, {counts[State.UNSENT]} of them")
    if not counts.sum():
        reasons.append("no request fell due behind the warm-up")
    # What stands before the first comma is the same for every such run, so that they can be counted.
    if lag_p99_ms > settings.max_lag_p99_ms:
        allowed = f"{settings.max_lag_p99_ms:g} ms that are allowed"
        reasons.append(f"the engine sent late, {lag_p99_ms:.2f} ms at p99, more than the {allowed}")
    if engine_share > settings.max_engine_share:
        allowed = f"{100.0 * settings.max_engine_share:g} % that are allowed"
        reasons.append(
            f"the engine was too busy, it used {100.0 * engine_share:.0f} % of its core, more than the {allowed}"
        )
    return "; ".join(reasons)


def _accuracy(
    recording: Recording, rows: NDArray[np.bool_], right: Callable[[int, bytes], bool | None] | None
) -> tuple[int, int]:
    """How many answers are right, and how many have a known right answer; an answer that the table had no room for is neither."""
    rows = rows & (recording.answer != OTHER_ANSWER)
    if right is None or not rows.any():
        return 0, 0
    pairs = recording.question[rows].astype(np.uint32) << 16 | recording.answer[rows]
    right_count = labelled = 0
    for pair, count in zip(*(column.tolist() for column in np.unique(pairs, return_counts=True)), strict=True):
        verdict = right(pair >> 16, recording.answers[pair & 0xFFFF])
        if verdict is not None:
            labelled += count
            right_count += count if verdict else 0
    return right_count, labelled


def _each_of(runs: Sequence[RunResult], recordings: Iterable[Recording | None]) -> Iterable[Recording | None]:
    """The recordings, when there is one for each run."""
    count = 0
    for recording in recordings:
        count += 1
        if count > len(runs):
            break
        yield recording
    if count != len(runs):
        raise InvalidArgumentError(
            f"a cell of {len(runs)} runs needs one recording for each, not {'more' if count > len(runs) else count}"
        )


def _generator(cell: Cell, seed: int) -> np.random.Generator:
    """Of the bootstrap of a cell: the same whichever cells are analysed beside it."""
    return np.random.default_rng([seed & 0xFFFFFFFF, zlib.crc32(cell.name.encode())])


def _availability(parts: Sequence[Blocks], *, by_run: bool) -> Estimate:
    """Requests answered over requests, with an interval for losses that come in clusters."""
    if by_run and len(parts) > 1:
        asked = np.array([part.asked.sum() for part in parts], dtype=np.float64)
        answered = np.array([part.answered.sum() for part in parts], dtype=np.float64)
    else:
        asked = np.concatenate([part.asked for part in parts]).astype(np.float64)
        answered = np.concatenate([part.answered for part in parts]).astype(np.float64)
    trials, successes = float(asked.sum()), float(answered.sum())
    if not trials:
        return NOTHING
    return wilson(successes, trials, effective_trials=_effective_trials(successes, trials, answered, asked))


def _effective_trials(
    successes: float, trials: float, answered: NDArray[np.float64], asked: NDArray[np.float64]
) -> float:
    """How many independent requests the clusters are worth: by the variance of the ratio over them against a binomial one."""
    share = successes / trials
    clusters = asked.size
    if clusters < 2 or not 0.0 < share < 1.0:
        return trials
    off = answered - share * asked
    variance = clusters / (clusters - 1.0) * float(np.dot(off, off)) / trials**2
    return min(trials, share * (1.0 - share) / variance) if variance > 0.0 else trials


def _shared_accuracy(runs: Sequence[RunResult], answers: int, questions: int) -> Estimate:
    """Right over labelled. A question asked again gets the same answer again, so it is the distinct questions that count."""
    right, labelled = sum(run.right for run in runs), sum(run.labelled for run in runs)
    if not labelled:
        return NOTHING
    return wilson(right, labelled, effective_trials=questions * labelled / answers)
