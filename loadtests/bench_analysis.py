"""What the analysis of a large study costs: records on disk -> figures of each run -> figures of each cell -> summary.

    python loadtests/bench_analysis.py [--requests 10000000] [--runs 100] [--repeats 5] [--rounds 3]

Writes synthetic records (a queue's latencies, some requests lost) to a temporary directory, then analyses them in a process
of its own, once a round, run by run as `edgewise study` does; says how long each round took and how much memory it held at most. The
goal is 60 s and 2 GB for ten million requests.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgewise.study import analysis, records, summary
from edgewise.study.cells import Cell, Run
from edgewise.study.engine.job import OTHER_ANSWER, Recording, State
from edgewise.study.results import StudyResult
from edgewise.study.scenario import RunSettings

GOAL_S = 60.0
GOAL_BYTES = 2e9
RATE_PER_S = 1000.0
WARMUP_S = 0.5
QUESTIONS = 64
SEED = 7


def planned(runs: int, repeats: int) -> list[list[Run]]:
    """Runs by cell."""
    cells = math.ceil(runs / repeats)
    return [
        [Run(Cell("edge", "", "pets", "rest-image", load, load), repeat, SEED + repeat) for repeat in range(repeats)]
        for load in (RATE_PER_S + place for place in range(cells))
    ]


def recording(requests: int, seed: int) -> Recording:
    """Latencies of a queue at a utilisation of 0.7: each request waits for the backlog that it finds."""
    draws = np.random.default_rng(seed)
    due_ns = np.cumsum(draws.exponential(1e9 / RATE_PER_S, requests)).astype(np.int64)
    service_ns = draws.exponential(0.7e9 / RATE_PER_S, requests)
    idle = np.cumsum(service_ns) - due_ns
    waited_ns = idle - service_ns - np.minimum.accumulate(idle - service_ns)
    lost = draws.random(requests) < 0.001
    question = draws.integers(0, QUESTIONS, requests).astype(np.uint16)
    state = np.where(lost, State.LOST, State.OK).astype(np.uint8)
    return Recording(
        due_ns=due_ns,
        sent_ns=due_ns + draws.integers(20_000, 200_000, requests),
        ended_ns=due_ns + np.where(lost, 5e9, waited_ns + service_ns + 1e6).astype(np.int64),
        state=state,
        code=np.where(lost, -1, 200).astype(np.int16),
        question=question,
        answer=np.where(lost, OTHER_ANSWER, question).astype(np.uint16),
        site=np.zeros(requests, dtype=np.uint8),
        attempts=np.ones(requests, dtype=np.uint8),
        version=np.ones(requests, dtype=np.int32),
        answers=[f'{{"predictions": [{place}]}}'.encode() for place in range(QUESTIONS)],
        sites=["edge"],
        errors={"no answer within 5 s": int(lost.sum())},
        cpu_s=0.2 * requests / RATE_PER_S,
    )


def write_all(directory: Path, requests: int, cells: list[list[Run]]) -> int:
    """Write every run; the size on disk."""
    each = math.ceil(requests / sum(len(runs) for runs in cells))
    size_bytes = 0
    for place, run in enumerate(run for runs in cells for run in runs):
        path = directory / f"{run.name}.parquet"
        records.write(path, recording(each, place), {"run": run.name})
        size_bytes += path.stat().st_size
    return size_bytes


def analyse(directory: Path, cells: list[list[Run]]) -> StudyResult:
    """As a study does: each run's records are read for its own figures, and once more for the cell's."""
    settings = RunSettings(warmup_s=WARMUP_S)
    results = []
    for runs in cells:

        def recordings(runs: list[Run] = runs) -> Iterator[Recording]:
            for run in runs:
                yield records.read(directory / f"{run.name}.parquet")[0]

        figures = [
            analysis.run_result(
                run, each, warmup_s=WARMUP_S, settings=settings, right=lambda question, _: question % 8 > 0
            )
            for run, each in zip(runs, recordings(), strict=True)
        ]
        results.append(analysis.cell_result(runs[0].cell, figures, recordings(), warmup_s=WARMUP_S, seed=SEED))
    return StudyResult(title="bench", seed=SEED, cells=tuple(results))


def analysis_process(directory: Path, cells: list[list[Run]]) -> int:
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    result = analyse(directory, cells)
    summary.write(directory, result)
    taken = {
        "seconds": time.perf_counter() - started_s,
        "cpu_seconds": time.process_time() - started_cpu_s,
        "resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "requests": sum(run.requests for cell in result.cells for run in cell.runs),
        "ok": sum(cell.counts["ok"] for cell in result.cells),
    }
    print(json.dumps(taken))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--analyse", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    cells = planned(args.runs, args.repeats)
    if args.analyse:
        return analysis_process(args.analyse, cells)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        started_s = time.perf_counter()
        size_bytes = write_all(directory, args.requests, cells)
        print(
            f"wrote {args.requests} requests in {sum(map(len, cells))} runs of {len(cells)} cells: "
            f"{time.perf_counter() - started_s:.1f} s, {size_bytes / 1e6:.0f} MB, {size_bytes / args.requests:.1f} bytes a request"
        )
        words = ["--runs", str(args.runs), "--repeats", str(args.repeats), "--analyse", name]
        rounds = []
        for number in range(args.rounds):
            done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
            taken = json.loads(done.stdout)
            rounds.append(taken)
            print(
                f"round {number + 1}: {taken['seconds']:5.1f} s ({taken['cpu_seconds']:.1f} s of processor), "
                f"{taken['resident_bytes'] / 1e6:5.0f} MB resident at most, {taken['requests']} requests behind the warm-ups, {taken['ok']} answered"
            )
    slowest_s = max(taken["seconds"] for taken in rounds)
    largest_bytes = max(taken["resident_bytes"] for taken in rounds)
    fastest_s = min(taken["seconds"] for taken in rounds)
    print(
        f"slowest {slowest_s:.1f} s, fastest {fastest_s:.1f} s (goal {GOAL_S:.0f} s); "
        f"most memory {largest_bytes / 1e6:.0f} MB (goal {GOAL_BYTES / 1e6:.0f} MB)"
    )
    return 0 if slowest_s <= GOAL_S and largest_bytes <= GOAL_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
