"""One run as the engine is told it, and what is said of it when it has ended."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.study import arrivals
from edgewise.study.cells import Run
from edgewise.study.engine.job import Recording
from edgewise.study.engine.ledger import LATE
from edgewise.study.progress import run_text
from edgewise.study.results import RunResult
from edgewise.study.scenario import Arrivals, Scenario

_SHOWN_ERROR: Final = 300


def schedule(scenario: Scenario, run: Run, warmup_s: float, trace: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """When the requests of a run are due: those of the warm-up, at the cell's rate, and behind them those that count.

    Returns: int64 [n], nanoseconds after the start, rising.
    """
    settings = scenario.run
    rate = run.cell.rate
    shape = arrivals.parse_shape(settings.shape)
    counted = arrivals.schedule(settings.arrivals, rate, settings.duration_s, shape, run.seed, trace)
    if warmup_s <= 0:
        return counted
    # A draw of its own, so that the requests that count are the same however long the warm-up is.
    kind: Arrivals = "constant" if settings.arrivals == "constant" else "poisson"
    before = arrivals.schedule(kind, rate, warmup_s, arrivals.parse_shape("constant"), run.seed + 1)
    return np.concatenate((before, counted + round(warmup_s * 1e9)))


def question_order(questions_count: int, requests: int, seed: int) -> NDArray[np.uint16]:
    """Which question each request asks: all of them in an order drawn anew for each round.

    Returns: uint16 [requests].
    """
    generator = np.random.default_rng(seed)
    rounds = -(-requests // questions_count)
    order = [generator.permutation(questions_count) for _ in range(rounds)]
    return np.concatenate([*order, np.empty(0, np.int64)])[:requests].astype(np.uint16)


def tells(result: RunResult) -> bool:
    """Whether a run says something of what was asked: predictions, or patience that ran out, as on a link that is overloaded.

    One whose requests were all refused, or answered with errors, was asked in the wrong way or the wrong place.
    """
    return bool(result.counts["ok"]) or not result.requests or set(result.errors) == {LATE}


def why(result: RunResult) -> str:
    """The commonest error of a run, for people."""
    if not result.errors:
        states = ", ".join(f"{count} {name}" for name, count in result.counts.items() if count)
        return states or "nothing was asked"
    text, count = max(result.errors.items(), key=lambda error: error[1])
    return f"{text[:_SHOWN_ERROR]} ({count} times)"


def ended_text(place: int, of: int, result: RunResult, left_s: float) -> str:
    """A run that has ended, for people."""
    counts = (result.requests, sum(result.counts.values()), result.requests - result.counts["ok"])
    text = run_text(place, of, result.run.name, counts=counts, left_s=left_s)
    if not result.counts["ok"]:
        return text
    return f"{text}; p50 {result.quantiles_ms[0.5]:.1f} ms, p99 {result.quantiles_ms[0.99]:.1f} ms"


def run_metadata(run: Run) -> dict[str, str]:
    """What a run's records say of it."""
    cell = {word: str(getattr(run.cell, word)) for word in run.cell.__slots__}
    return {"run": run.name, **cell, "repeat": str(run.repeat), "seed": str(run.seed)}


def engine_text(recording: Recording) -> str:
    """Where the engine ran, for people."""
    cores = ", ".join(map(str, recording.cpus))
    return f"{recording.scheduling or 'normal'} priority" + (f", core {cores}" if cores else "")
