"""`python loadtests/bench_capture.py [--quick]`."""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench_capture import report
from bench_capture.gateways import Gateway, start
from bench_capture.report import Slice
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
    parser.add_argument("--quick", action="store_true", help="three short rounds")
    parser.add_argument("--rounds", type=int, default=30, help="how often each gateway is asked (default 30)")
    parser.add_argument("--seconds", type=float, default=4.0, help="for how long each time (default 4)")
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second (default 300)")
    parser.add_argument("--kilobytes", type=int, default=50, help="of a picture (default 50)")
    parser.add_argument("--bound-mb", type=int, default=256, help="of each spool (default 256)")
    parser.add_argument("--directory", type=Path, help="where spools are made (default: where temporary files are)")
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 3, 3.0
    if arguments.rounds < 1 or arguments.seconds < 1 or arguments.rate <= 0 or arguments.kilobytes < 1:
        parser.error("at least one round, one second, one kilobyte, and a rate above 0")
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
        print("only one core: the gateway shares it with everything else")
    os.sched_setaffinity(0, others)
    began_s, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-capture-", dir=arguments.directory) as name:
        children, gateways = start(Path(name), cpus=others, gateway_cpus=own, bound_bytes=arguments.bound_mb * _MB)
        try:
            with Engine() as engine:
                found = _rounds(arguments, engine, gateways, tuple(others))
            captured = {one.name: one.captured() for one in gateways}
        finally:
            for child in reversed(children):
                child.stop()
    text = report.markdown(found, captured, arguments, load=load, elapsed_s=time.monotonic() - began_s)
    arguments.out.write_text(text)
    print("\n" + text)
    return int(not all(bar.is_reached for bar in report.bars(found)))


def _rounds(
    arguments: argparse.Namespace, engine: Engine, gateways: list[Gateway], cpus: tuple[int, ...]
) -> list[dict[str, Slice]]:
    draws = random.Random(11)
    pictures = tuple(Question(draws.randbytes(arguments.kilobytes * 1000)) for _ in range(_QUESTIONS))
    for gateway in gateways:
        _ask(arguments, engine, gateway, pictures, cpus, seed=1, seconds=_WARM_S)
    found = []
    for number in range(arguments.rounds):
        order = draws.sample(gateways, len(gateways))
        one = {}
        for gateway in order:
            # The very same arrivals for all of a round.
            one[gateway.name] = _ask(
                arguments, engine, gateway, pictures, cpus, seed=100 + number, seconds=arguments.seconds
            )
        found.append({gateway.name: one[gateway.name] for gateway in gateways})
        shown = ", ".join(f"{name}: {part.cpu_us:.0f} us, p99 {part.p99_ms:.2f} ms" for name, part in found[-1].items())
        print(f"round {number + 1}: {shown}", flush=True)
    return found


def _ask(
    arguments: argparse.Namespace,
    engine: Engine,
    gateway: Gateway,
    pictures: tuple[Question, ...],
    cpus: tuple[int, ...],
    *,
    seed: int,
    seconds: float,
) -> Slice:
    due_ns = schedule("poisson", arguments.rate, seconds, CONSTANT, seed)
    index = np.arange(len(due_ns), dtype=np.uint16) % len(pictures)
    asking = Asking("http", "127.0.0.1", gateway.port, "/v1/models/pets:predict", pictures, content_type="image/jpeg")
    before_s, loop_before_s = gateway.cpu_s()
    recording = engine.run(Job(asking, due_ns, index, cpus=cpus))
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


if __name__ == "__main__":
    sys.exit(main())
