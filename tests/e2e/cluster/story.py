"""How a load went, as tables."""

from collections import Counter
from itertools import pairwise

from e2e.cluster.timeline import Timeline, table
from support.load_ledger import Ledger, Phase, quantile


def show_ledger(timeline: Timeline, ledger: Ledger, phases: list[Phase]) -> None:
    """What apps saw, phase by phase, and that the books close."""
    counts = ledger.counts
    parts = ", ".join(f"{counts[state]} {state}" for state in ("wrong", "error", "lost"))
    timeline.say(
        f"{ledger.scheduled} requests: {counts['ok']} right answers, {parts}; residual {ledger.residual}, "
        f"sent again on another connection {ledger.resent}, generator late by {ledger.lag_p99_ms:.1f} ms at p99"
    )
    rows = [[one.name, one.asked, one.failed, one.p50_ms, one.p99_ms, one.max_ms] for one in phases]
    timeline.show(table(["", "asked", "failed", "p50 ms", "p99 ms", "max ms"], rows))
    if ledger.failures:
        timeline.show(ledger.explain())


def phases_between(ledger: Ledger, names: list[str], marks_s: list[float]) -> list[Phase]:
    """Phases that are parted by moments of `time.monotonic()`."""
    ends = [float("-inf"), *marks_s, float("inf")]
    doors = [("REST", "rest"), ("gRPC", "grpc")]
    found = [ledger.phase(name, since, until) for name, (since, until) in zip(names, pairwise(ends), strict=True)]
    for label, door in doors:
        records = [record for record in ledger.records if record.door == door]
        if records and len(records) < len(ledger.records):
            found.append(Phase.of(f"all, {label}", records))
    return found


def show_seconds(timeline: Timeline, ledger: Ledger, origin_s: float, of: str) -> None:
    """Second by second who answered.

    Args:
        origin_s: second 0.
        of: "version" or "site".
    """
    seconds: dict[int, list[object]] = {}
    for record in ledger.records:
        seconds.setdefault(int((record.due_s - origin_s) // 1), []).append(record)
    kinds = sorted({str(getattr(record, of)) for record in ledger.records})
    rows = []
    for second, records in sorted(seconds.items()):
        counts = Counter(str(getattr(record, of)) for record in records)
        took_ms = [(record.ended_s - record.due_s) * 1e3 for record in records]
        rows.append(
            [f"{second:+d} s", *(counts[kind] for kind in kinds), quantile(took_ms, 0.5), quantile(took_ms, 0.99)]
        )
    timeline.show(table(["second", *(f"{of} {kind}" for kind in kinds), "p50 ms", "p99 ms"], rows))
