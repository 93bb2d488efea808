"""What the router's estimates cost for each request, in nanoseconds and as a multiple of the cheapest thing that could be done.

    python loadtests/bench_quantiles.py [--records 200000] [--rounds 7]

That cheapest thing is a method that puts the latency into a ring of 16. Each round measures it beside every other, so
that a machine whose speed drifts spoils the ratios least; the median round counts. The loop itself is taken off, and time that
others had on the processor is not counted.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from edgewise.core.routing.budgets import HedgeBudget, RetryBudget
from edgewise.core.routing.concurrency import ConcurrencyLimit
from edgewise.core.routing.quantiles import LatencyQuantiles

Call = Callable[[float, float], object]


class Ring:
    """Keeps the last 16 latencies."""

    __slots__ = ("_count", "_ring")

    def __init__(self) -> None:
        self._ring = [0.0] * 16
        self._count = 0

    def record(self, seconds: float, _now_s: float) -> None:
        self._ring[self._count & 15] = seconds
        self._count += 1


def loop_s(call: Call, latencies_s: Sequence[float], times_s: Sequence[float]) -> float:
    started_s = time.process_time()
    for latency_s, now_s in zip(latencies_s, times_s, strict=True):
        call(latency_s, now_s)
    return time.process_time() - started_s


def empty_s(latencies_s: Sequence[float], times_s: Sequence[float]) -> float:
    started_s = time.process_time()
    for _ in zip(latencies_s, times_s, strict=True):
        pass
    return time.process_time() - started_s


def calls(latencies_s: Sequence[float], times_s: Sequence[float]) -> dict[str, Call]:
    known = LatencyQuantiles()
    for latency_s, now_s in zip(latencies_s, times_s, strict=True):
        known.record(latency_s, now_s)
    limit = ConcurrencyLimit(256)
    hedges = HedgeBudget(0.01)
    retries = RetryBudget()

    def hedge(_latency_s: float, _now_s: float) -> None:
        hedges.request_seen()

    return {
        "ring of 16": Ring().record,
        "LatencyQuantiles.record": LatencyQuantiles().record,
        "LatencyQuantiles.log_survival": lambda latency_s, _now_s: known.log_survival(latency_s),
        "LatencyQuantiles.recently": lambda _latency_s, now_s: known.recently(now_s),
        "ConcurrencyLimit.answered": lambda latency_s, now_s: limit.answered(latency_s, 13, now_s),
        "HedgeBudget.request_seen": hedge,
        "RetryBudget.request_seen": lambda _latency_s, now_s: retries.request_seen(now_s),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    draws = random.Random(1)
    latencies_s = [0.060 + draws.expovariate(200.0) for _ in range(args.records)]
    for rate_per_s in (200, 20_000):
        times_s = [number / rate_per_s for number in range(args.records)]
        rounds: dict[str, list[float]] = {}
        for _ in range(args.rounds):
            loop = empty_s(latencies_s, times_s)
            for name, call in calls(latencies_s, times_s).items():
                cost_s = loop_s(call, latencies_s, times_s) - loop
                rounds.setdefault(name, []).append(cost_s / args.records * 1e9)
        ring_ns = rounds["ring of 16"]
        print(f"{rate_per_s} requests/s: ns a call (quartiles), ratio to a ring (quartiles)")
        for name, found_ns in rounds.items():
            ratios = [ns / ring for ns, ring in zip(found_ns, ring_ns, strict=True)]
            ns_low, ns_mid, ns_high = statistics.quantiles(found_ns, n=4)
            low, mid, high = statistics.quantiles(ratios, n=4)
            print(f"  {name:32} {ns_mid:7.0f} ({ns_low:.0f} to {ns_high:.0f}) {mid:8.2f} ({low:.2f} to {high:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
