"""wrk as the load generator: closed loop over kept-alive connections, one request in flight on each.

It looks at the status of an answer and not at its body, so the mean size of the answers is compared with that of one
that was looked at.
"""

import json
import os
import resource
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench_serve.processes import cpu_s

from bench_gateway import programs

SCRIPT = Path(__file__).parent / "wrk.lua"
ERRORS = ("connect", "read", "write", "status", "timeout")
LEAST_SIZE, MORE_BYTES = 0.98, 128
"""An answer may be cut off at the end of a run; its head may say more under load than it did before."""


class WrkError(Exception):
    """wrk did not do what it was asked to."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk is to do.

    Attributes:
        body: the file that is posted.
        answer_bytes: size of a right answer with its head.
        pids: whose CPU seconds are read at both ends.
    """

    port: int
    path: str
    body: Path
    connections: int
    seconds: int
    answer_bytes: int
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of it.

    Attributes:
        p50_ms, p99_ms: p99 is as wrk gives it, which adds what a stall would have kept from being asked.
        wrk_cpu_s, watched_cpu_s: CPU seconds of wrk and of `Load.pids` from start to end.
        problem: why the numbers do not count; "" when they do.
    """

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    wrk_cpu_s: float
    watched_cpu_s: float
    problem: str


def run(load: Load, cpus: Iterable[int]) -> Loaded:
    """Load a proxy.

    Raises: WrkError: wrk failed.
    """
    cores = ",".join(str(cpu) for cpu in sorted(cpus))
    command = ["taskset", "-c", cores, programs.debian("wrk"), "-t1", f"-c{load.connections}", f"-d{load.seconds}s"]
    command += ["--timeout", "5s", "-s", str(SCRIPT), f"http://127.0.0.1:{load.port}{load.path}"]
    children, watched = resource.getrusage(resource.RUSAGE_CHILDREN), cpu_s(load.pids)
    started_s = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=load.seconds + 30,
        env={**os.environ, "BENCH_BODY": str(load.body)},
    )  # fmt: skip
    if time.monotonic() - started_s > load.seconds + 3:
        raise WrkError(f"wrk took {time.monotonic() - started_s:.1f} s for a load of {load.seconds} s")
    watched_cpu_s = cpu_s(load.pids) - watched
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wrk_cpu_s = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise WrkError(f"wrk ended with code {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    told = json.loads(lines[-1])
    return Loaded(
        requests=told["requests"],
        requests_per_s=told["requests"] / (told["duration_us"] / 1e6),
        p50_ms=told["p50_us"] / 1e3,
        p99_ms=told["p99_us"] / 1e3,
        wrk_cpu_s=wrk_cpu_s,
        watched_cpu_s=watched_cpu_s,
        problem=_problem(told, load.answer_bytes),
    )


def _problem(told: dict[str, int], answer_bytes: int) -> str:
    errors = ", ".join(f"{told[kind]} {kind}" for kind in ERRORS if told[kind])
    if errors:
        return f"errors among {told['requests']} requests: {errors}"
    if not told["requests"]:
        return "no answer came within the window"
    mean = told["bytes"] / told["requests"]
    if not LEAST_SIZE * answer_bytes <= mean <= answer_bytes + MORE_BYTES:
        return f"the answers had {mean:.0f} bytes on average, a right one has {answer_bytes}"
    return ""
