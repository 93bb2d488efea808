"""`python loadtests/bench_rollout.py [--quick]`."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench_rollout import report
from bench_rollout.load import Apps
from bench_rollout.networks import Network
from bench_rollout.relay import Badness
from bench_rollout.reverting import SHARES, Reverted, revert
from bench_rollout.switching import Switched, TakenBackError, switch
from bench_rollout.transferring import Transferred, transfer
from bench_rollout.world import World
from edgewise.study.engine.process import Engine

RESULT = Path(__file__).parents[1] / "results" / "bench-rollout.md"
MODEL, LARGE = "net", "large"
TABLES = 10
TAKEN_BACK_AT_MOST = 2
BADNESS = Badness(bytes_per_s=3e6, every_s=5.0, away_s=0.5)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_rollout", description="Measure what a rollout costs one site.")
    parser.add_argument("--quick", action="store_true", help="one round of each, and a small release")
    parser.add_argument("--rounds", type=int, default=2, help="of the switch (default 2)")
    parser.add_argument(
        "--megabytes", type=int, default=100, help="size of the release over the bad link (default 100)"
    )
    parser.add_argument("--out", type=Path, default=RESULT, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.megabytes = 1, 20
    if arguments.rounds < 1 or arguments.megabytes < 1:
        parser.error("at least one round and one megabyte")
    return arguments


def main() -> int:
    """Run the bench. Returns: the exit code; 1 when a bar was missed."""
    arguments = _arguments()
    # Everything that was started is a child that this program ends; a plain SIGTERM would leave it behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cpus = sorted(os.sched_getaffinity(0))
    site = {cpus[-1]}
    others = set(cpus) - site or site
    if others == site:
        print("only one core: the site shares it with everything else")
    os.sched_setaffinity(0, others)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-rollout-") as name, Engine() as engine:
        world = World(Path(name), cpus=others, site_cpus=site)
        with world:
            bench = Bench(world, Apps(engine, tuple(others)))
            switch_bytes = bench.begin()
            switched, taken_back = bench.switches(arguments.rounds)
            reverted = bench.reverts()
            first, second = bench.transfers(arguments.megabytes)
    found = report.Found(switched, taken_back, reverted, first, second, BADNESS, switch_bytes)
    text = report.markdown(found, arguments, time.monotonic() - began_s)
    arguments.out.write_text(text)
    print("\n" + text)
    return int(not all(bar.is_reached for bar in found.bars()))


class Bench:
    """One run."""

    def __init__(self, world: World, apps: Apps) -> None:
        self._world = world
        self._apps = apps
        self._running = self._newest = 1

    def begin(self) -> int:
        """Have a hub and a site with version 1. Returns: bytes of a version."""
        self._world.start_hub()
        size_bytes = self._world.release(MODEL, 1, Network())
        self._world.start_site(MODEL, 1)
        return size_bytes

    def switches(self, rounds: int) -> tuple[list[Switched], list[TakenBackError]]:
        """From each version to the next; those that were taken back, too.

        Raises: TakenBackError: more often than may be by chance.
        """
        found: list[Switched] = []
        taken_back: list[TakenBackError] = []
        while len(found) < rounds:
            version = self._release(Network())
            try:
                found.append(switch(self._world, self._apps, MODEL, version))
            except TakenBackError as error:
                taken_back.append(error)
                print(f"a good version was taken back: {error.why}", flush=True)
                if len(taken_back) > TAKEN_BACK_AT_MOST:
                    raise
                continue
            self._running = version
            one = found[-1]
            print(
                f"switch {len(found)}: {one.failed} of {one.requests} failed, p99 × {one.ratio:.2f} (before, by itself: × {one.itself:.2f})",
                flush=True,
            )
        return found, taken_back

    def reverts(self) -> list[Reverted]:
        """Of a bad version for each share."""
        found = []
        for share in SHARES:
            bad = self._release(Network(fails=True))
            found.append(revert(self._world, self._apps, MODEL, (self._running, bad), share))
            one = found[-1]
            print(
                f"bad version at {share:.0%}: the gate fails after {one.failures_at_verdict} errors, back after {one.rolled_back_s:.2f} s",
                flush=True,
            )
        return found

    def _release(self, network: Network) -> int:
        """Returns: its version."""
        self._newest += 1
        self._world.release(MODEL, self._newest, network)
        return self._newest

    def transfers(self, megabytes: int) -> tuple[Transferred, Transferred]:
        """Of a large release, and of the one after it."""
        network = Network(TABLES, megabytes * 1_000_000 // TABLES, 0.1)
        found = []
        for version in (1, 2):
            size_bytes = self._world.release(LARGE, version, network)
            found.append(transfer(self._world, BADNESS, LARGE, version, size_bytes))
            one = found[-1]
            print(f"release {version}: {one.ratio:.4f} of its size on the wire, in {one.took_s:.0f} s", flush=True)
        return found[0], found[1]


if __name__ == "__main__":
    sys.exit(main())
