"""`python loadtests/bench_capture.py [--quick]`."""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from bench_capture import report
from bench_capture.gateways import AGAIN, OFF, WAYS, Gateway, start
from bench_capture.report import Round, Slice
from edgewise.study.arrivals import CONSTANT, schedule
from edgewise.study.engine.job import Asking, Job, Question, State
from edgewise.study.engine.process import Engine

RESULT = Path(__file__).parents[1] / "results" / "bench-capture.md"
_WARM_S = 2.0
_SETTLE_S = 1.5
_QUESTIONS = 16
_MB = 1 << 20


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_capture", description="Measure what capture costs a gateway.")
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--starts", type=int, default=6, help="how often all gateways are started anew (default 6)")
    parser.add_argument("--rounds", type=int, default=5, help="after each start (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="for how long each time (default 4)")
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second to each gateway (default 300)")
    parser.add_argument("--kilobytes", type=int, default=50, help="of a picture (default 50)")
    parser.add_argument("--bound-mb", type=int, default=256, help="of each spool (default 256)")
    parser.add_argument("--directory", type=Path, help="where spools are made (default: where temporary files are)")
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.starts, arguments.rounds, arguments.seconds = 1, 2, 3.0
    if min(arguments.starts, arguments.rounds, arguments.seconds, arguments.kilobytes) < 1 or arguments.rate <= 0:
        parser.error("at least one start, one round, one second, one kilobyte, and a rate above 0")
    return arguments


def main() -> int:
    """Run the bench. Returns: the exit code; 1 when a bar was missed."""
    arguments = _arguments()
    # Everything that was started is a child that this program ends; a plain SIGTERM would leave it behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cpus = sorted(os.sched_getaffinity(0))
    own = {cpus[-1]}
    others = set(cpus) - own or own
    if others == own:
        print("only one core: the gateways share it with everything else")
    os.sched_setaffinity(0, others)
    began_s, load = time.monotonic(), os.getloadavg()[0]
    found: list[Round] = []
    captured: dict[str, Counter[str]] = {}
    for turn in range(arguments.starts):
        with tempfile.TemporaryDirectory(prefix="edgewise-bench-capture-", dir=arguments.directory) as name:
            children, gateways = start(Path(name), cpus=others, gateway_cpus=own, bound_bytes=arguments.bound_mb * _MB)
            try:
                found += _rounds(Load(arguments, tuple(others)), gateways, turn)
                for gateway in gateways.values():
                    captured.setdefault(gateway.name, Counter()).update(_counts(gateway.captured()))
            finally:
                for child in reversed(children):
                    child.stop()
    text = report.markdown(found, captured, arguments, load=load, elapsed_s=time.monotonic() - began_s)
    arguments.out.write_text(text)
    print("\n" + text)
    return int(not all(bar.is_reached for bar in report.bars(found)))


def _counts(said: dict[str, Any]) -> Counter[str]:
    counts = Counter({"accepted": said["accepted"]} if said["enabled"] else {})
    for one in said.get("dropped", ()):
        counts[one["reason"]] += one["count"]
    return counts


class Load:
    """What the gateways are asked.

    Args:
        arguments: of the command.
        cpus: for the engines.
    """

    def __init__(self, arguments: argparse.Namespace, cpus: tuple[int, ...]) -> None:
        draws = random.Random(11)
        self.arguments = arguments
        self._cpus = cpus
        self._pictures = tuple(Question(draws.randbytes(arguments.kilobytes * 1000)) for _ in range(_QUESTIONS))

    def ask(self, engine: Engine, gateway: Gateway, seed: int, seconds: float) -> Slice:
        """Ask one gateway for some seconds."""
        due_ns = schedule("poisson", self.arguments.rate, seconds, CONSTANT, seed)
        index = np.arange(len(due_ns), dtype=np.uint16) % len(self._pictures)
        path = "/v1/models/pets:predict"
        asking = Asking("http", "127.0.0.1", gateway.port, path, self._pictures, content_type="image/jpeg")
        before_s, loop_before_s = gateway.cpu_s()
        recording = engine.run(Job(asking, due_ns, index, cpus=self._cpus))
        # What was taken is written meanwhile; and the gateway's own housekeeping is in it for all alike.
        time.sleep(_SETTLE_S)
        after_s, loop_after_s = gateway.cpu_s()
        ok = recording.state == State.OK
        taken_ms = (recording.ended_ns[ok] - recording.due_ns[ok]) / 1e6
        p50_ms, p99_ms = np.quantile(taken_ms, (0.5, 0.99), method="inverted_cdf")
        return Slice(
            len(due_ns),
            int((~ok).sum()),
            (after_s - before_s) / len(due_ns) * 1e6,
            (loop_after_s - loop_before_s) / len(due_ns) * 1e6,
            float(p50_ms),
            float(p99_ms),
        )


def _rounds(load: Load, gateways: dict[str, Gateway], turn: int) -> list[Round]:
    draws = random.Random(turn)
    arguments = load.arguments
    found = []
    with ExitStack() as stack:
        engines = [stack.enter_context(Engine()) for _ in range(3)]
        pool = stack.enter_context(ThreadPoolExecutor(3))

        def together(way: str, seed: int, seconds: float) -> dict[str, Slice]:
            # Which of them is asked by which engine, and with which arrivals, is another one each time.
            order = draws.sample([OFF, AGAIN, way], 3)
            seeds = range(seed, seed + 3)
            parts = pool.map(load.ask, engines, [gateways[name] for name in order], seeds, [seconds] * 3)
            return dict(zip(order, parts, strict=True))

        for way in WAYS:
            together(way, 1, _WARM_S)
        for number in range(arguments.rounds):
            seed = 100 + 10 * (turn * arguments.rounds + number)
            one = {way: together(way, seed, arguments.seconds) for way in draws.sample(list(WAYS), len(WAYS))}
            found.append({way: one[way] for way in WAYS})
            shown = ", ".join(f"{way}: {parts[way].cpu_us:.0f} us" for way, parts in found[-1].items())
            print(f"start {turn + 1}, round {number + 1}: {shown}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
