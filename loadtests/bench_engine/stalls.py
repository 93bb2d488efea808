"""The stall test: what is told of a server that freezes, against what its freezes and the schedule say it was."""

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bench_serve.processes import start
from numpy.typing import NDArray

from edgewise.study.arrivals import CONSTANT, schedule
from edgewise.study.engine.job import Asking, Job, Question
from edgewise.study.engine.process import Engine
from edgewise.study.histogram import HdrHistogram

HERE = Path(__file__).parent
RATIOS = (0.5, 0.9, 0.95, 0.99, 0.999)
MS = 1e6


@dataclass
class Told:
    """What one round found, in milliseconds by ratio; nan where it is not told."""

    requests: int
    quantiles_ms: dict[float, float]


@dataclass
class StallRounds:
    """What all rounds found.

    Attributes:
        histogram_error: the greatest relative distance of a percentile of the histogram from the exact one.
    """

    stall_s: float
    every_s: float
    rate: float
    duration_s: float
    truth: list[Told] = field(default_factory=list)
    told: dict[str, list[Told]] = field(default_factory=dict)
    histogram_error: float = 0.0


def exact(values_ns: NDArray[np.int64]) -> dict[float, float]:
    """The smallest value that at least that share does not exceed."""
    ordered = np.sort(values_ns)
    return {ratio: float(ordered[max(0, math.ceil(ratio * len(ordered)) - 1)]) / MS for ratio in RATIOS}


def truth_of(due_ns: NDArray[np.int64], start_ns: int, stalls: list[tuple[int, int]]) -> NDArray[np.int64]:
    """How long a request that comes when it is due waits: to the end of the stall that it falls into, and no time outside."""
    waits = np.zeros(len(due_ns), np.int64)
    for begin_ns, end_ns in stalls:
        inside = (due_ns + start_ns >= begin_ns) & (due_ns + start_ns < end_ns)
        waits[inside] = end_ns - start_ns - due_ns[inside]
    return waits


@contextmanager
def stalling(stall_s: float, every_s: float, cpus: set[int], directory: Path) -> Iterator[int]:
    """The port of a server that freezes."""
    command = [sys.executable, str(HERE / "stalling_server.py"), str(stall_s), str(every_s)]
    server = start("the server that stalls", command, cpus=cpus, log=directory / "stalling.log", env={}, pipes=True)
    try:
        assert server.process.stdout is not None
        line = server.process.stdout.readline()
        server.check() if not line else None
        yield int(line)
    finally:
        server.stop()
        for pipe in (server.process.stdout, server.process.stdin):
            if pipe is not None:
                pipe.close()


def _stalls(port: int) -> list[tuple[int, int]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stalls", timeout=10) as answer:
        return [tuple(each) for each in json.load(answer)]


def ask_engine(engine: Engine, port: int, rounds: StallRounds, seed: int, cpus: tuple[int, ...]) -> None:
    """One round of the engine, with the truth about it."""
    due_ns = schedule("poisson", rounds.rate, rounds.duration_s, CONSTANT, seed)
    asking = Asking("http", "127.0.0.1", port, "/", (Question(b"question"),), content_type="text/plain")
    began: list[float] = []
    job = Job(asking, due_ns, np.zeros(len(due_ns), np.uint16), cpus=cpus)
    recording = engine.run(job, on_start=began.append)
    latency_ns = recording.latency_ns()
    if len(latency_ns) != len(due_ns):
        raise RuntimeError(f"of {len(due_ns)} requests {len(latency_ns)} were answered: {recording.errors}")
    truth_ns = truth_of(due_ns, round(began[0] * 1e9), _stalls(port))
    rounds.truth.append(Told(len(due_ns), exact(truth_ns)))
    rounds.told.setdefault("engine, open loop", []).append(Told(len(due_ns), exact(latency_ns)))
    histogram = HdrHistogram()
    histogram.record(latency_ns)
    for ratio, value_ms in exact(latency_ns).items():
        error = abs(histogram.quantile(ratio) / MS / value_ms - 1)
        rounds.histogram_error = max(rounds.histogram_error, error)


def ask_locust(port: int, rounds: StallRounds, users: int, cpus: set[int], directory: Path) -> None:
    """One round of locust's own closed loop at the same rate."""
    name = f"locust, closed loop, {users} users"
    with tempfile.TemporaryDirectory(dir=directory) as out:
        command = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--headless", "--only-summary"]
        command += ["-u", str(users), "-r", str(users), "-t", f"{rounds.duration_s:g}s", "--csv", f"{out}/locust"]
        command += ["--host", f"http://127.0.0.1:{port}", "--loglevel", "WARNING"]
        env = {**os.environ, "RATE_PER_USER": str(rounds.rate / users)}
        _run(command, cpus, env)
        with Path(out, "locust_stats.csv").open(newline="") as file:
            row = next(row for row in csv.DictReader(file) if row["Name"] == "Aggregated")
    quantiles = {ratio: float(row[f"{ratio * 100:g}%"]) for ratio in RATIOS}
    rounds.told.setdefault(name, []).append(Told(int(row["Request Count"]), quantiles))


def ask_wrk(port: int, rounds: StallRounds, connections: int, cpus: set[int]) -> None:
    """One round of wrk, which asks as fast as its connections allow; nothing where it is not installed."""
    if shutil.which("wrk") is None:
        return
    command = ["wrk", "-t1", f"-c{connections}", f"-d{rounds.duration_s:g}s", "--latency", f"http://127.0.0.1:{port}/"]
    text = _run(command, cpus, dict(os.environ))
    unit_ms = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    found = {
        float(share) / 100: float(value) * unit_ms[unit]
        for share, value, unit in re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)
    }
    requests = int(re.search(r"(\d+) requests in", text)[1])
    quantiles = {ratio: found.get(ratio, math.nan) for ratio in RATIOS}
    rounds.told.setdefault(f"wrk, closed loop, {connections} connections", []).append(Told(requests, quantiles))


def _run(command: list[str], cpus: set[int], env: dict[str, str]) -> str:
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    finally:
        os.sched_setaffinity(0, mine)
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"{command[0]} ended with code {done.returncode}: {done.stderr[-1000:]}")
    return done.stdout
