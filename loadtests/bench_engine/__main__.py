"""`python loadtests/bench_engine.py [--quick]`."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench_engine import report, stalls
from bench_engine.punctuality import Kept, Load, keep, serving
from edgewise.study.engine.process import Engine

RESULT = Path(__file__).parents[1] / "results" / "bench-engine.md"
LOADS = (
    *(Load("REST JSON", rate) for rate in (500, 1000, 2000)),
    *(Load("gRPC", rate) for rate in (200, 400, 800)),
)
BEYOND = (Load("REST JSON", 4000), Load("gRPC", 2000))
"""Not asked of it; to know where it ends."""
TRIES, VOID_SHARE = 3, 0.01
STALL_S, EVERY_S, STALL_RATE = 0.2, 2.0, 200.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_engine", description="Measure the open-loop engine.")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration-s", type=float, default=4.0, help="of one rate in one round")
    parser.add_argument("--stall-rounds", type=int, default=3)
    parser.add_argument("--stall-duration-s", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds = arguments.stall_rounds = 1
        arguments.duration_s, arguments.stall_duration_s = 1.0, 6.0
    return arguments


def main() -> int:
    """Run the bench. Returns: the exit code."""
    arguments = _arguments()
    # Servers are children that this program ends; a plain SIGTERM would leave them behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cpus = sorted(os.sched_getaffinity(0))
    first, last = cpus[0], cpus[-1]
    if first == last:
        print("only one core: the engine shares it with the servers")
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as name, Engine() as engine:
        directory = Path(name)
        kept: dict[Load, list[Kept]] = {load: [] for load in (*LOADS, *BEYOND)}
        voids = 0
        with serving(directory / "models", {last}, directory) as asking:
            for number in range(arguments.rounds):
                for load, found in kept.items():
                    for _ in range(TRIES):
                        one = keep(
                            *(engine, asking[load.way], load.rate, arguments.duration_s), seed=1 + number, cpus=(first,)
                        )
                        if one.waited_ms <= VOID_SHARE * arguments.duration_s * 1e3:
                            break
                        voids += 1
                        print(f"void: {report.kept_line(load, [one])}", flush=True)
                    found.append(one)
                    print(f"round {number + 1}: {report.kept_line(load, found[-1:])}", flush=True)
        rounds = stalls.StallRounds(STALL_S, EVERY_S, STALL_RATE, arguments.stall_duration_s)
        with stalls.stalling(STALL_S, EVERY_S, {last}, directory) as port:
            for number in range(arguments.stall_rounds):
                stalls.ask_engine(engine, port, rounds, 101 + number, (first,))
                for users in (2, 20):
                    stalls.ask_locust(port, rounds, users, {first}, directory)
                stalls.ask_wrk(port, rounds, 2, {first})
                print(f"round {number + 1} of the stall test", flush=True)
    text = report.markdown(kept, LOADS, rounds, arguments, time.monotonic() - began_s)
    text += f"\nVoid and measured again (at most {TRIES - 1} times), since others had the engine's core for more than "
    text += (
        f"{VOID_SHARE:.0%} of the time: {voids} of {voids + sum(map(len, kept.values()))} measurements of its lag.\n"
    )
    arguments.out.write_text(text)
    print("\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
