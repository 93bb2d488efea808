"""A day's outage against the bound of a spool, on virtual time: what was kept of each priority, and how evenly over the day.

    python loadtests/simulate_spool.py --hours 24 --rate 10 --record-bytes 50000 --bound-mb 2000 --writers 2

The writer is the real one; its disk keeps sizes only. Ends with an error where the bound was exceeded, a counter does not add up, or what
was kept is not spread over the whole time.
"""

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from spool_simulator.virtual_disk import VirtualDisk

from edgewise.spool import SpoolBounds, SpoolReader, SpoolWriter
from edgewise.spool.segment_names import split_file_name

SHARES = (0.5, 0.3, 0.15, 0.05)
"""Of what is captured, for each priority from the least."""
START_S = 1.8e9


@dataclass
class Clock:
    now_s: float = 0.0

    def wall_s(self) -> float:
        return START_S + self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


@dataclass
class Outcome:
    """Of one outage; times in seconds since it began, by priority."""

    bounds: SpoolBounds
    seconds: int
    most_bytes: int = 0
    written_bytes: int = 0
    syncs: int = 0
    segments: int = 0
    offered: Counter[int] = field(default_factory=Counter)
    accepted: int = 0
    dropped: Counter[tuple[str, int]] = field(default_factory=Counter)
    kept_s: dict[int, list[float]] = field(default_factory=lambda: {each: [] for each in range(4)})

    @property
    def refused(self) -> int:
        return sum(count for (reason, _), count in self.dropped.items() if reason != "bound")

    @property
    def dropped_later(self) -> int:
        return self.dropped.total() - self.refused

    def hours(self, priority: int, parts: int = 24) -> list[int]:
        """How many samples were kept of each of so many equal parts of the time."""
        counts = Counter(min(parts - 1, int(each / self.seconds * parts)) for each in self.kept_s[priority])
        return [counts[each] for each in range(parts)]

    def longest_gap_s(self, priority: int) -> float:
        """The longest time of which nothing is kept."""
        times = [0.0, *sorted(self.kept_s[priority]), float(self.seconds)]
        return max(after - before for before, after in pairwise(times))

    def faults(self) -> list[str]:
        """What does not hold; empty where all does."""
        found = []
        if self.most_bytes > self.bounds.bytes:
            found.append(f"{self.most_bytes} bytes were on the disk, over the bound of {self.bounds.bytes}")
        kept = sum(map(len, self.kept_s.values()))
        if self.offered.total() != self.accepted + self.refused:
            found.append(f"{self.offered.total()} offered, but {self.accepted} accepted and {self.refused} refused")
        if self.accepted != kept + self.dropped_later:
            found.append(f"{self.accepted} accepted, but {kept} kept and {self.dropped_later} dropped")
        for priority in range(4):
            dropped = sum(count for (_, each), count in self.dropped.items() if each == priority)
            if self.offered[priority] != len(self.kept_s[priority]) + dropped:
                found.append(f"the counters of priority {priority} do not add up")
            found += self._uneven(priority)
        return found

    def _uneven(self, priority: int) -> list[str]:
        kept = len(self.kept_s[priority])
        # Few samples of whole segments fall where chance has them.
        if kept < 2000 or priority == self.lowest_kept:
            return []
        mean = kept / 24
        worst = max(abs(each - mean) for each in self.hours(priority)) / mean
        return [f"of priority {priority} an hour is {worst:.0%} away from the mean"] if worst > 0.5 else []

    @property
    def lowest_kept(self) -> int:
        """The priority that the bound divides; of those below nothing but the newest is there."""
        return next((each for each in range(4) if len(self.kept_s[each]) > 0.01 * self.offered[each]), 3)


def simulate(*, seconds: int, rate: float, record_bytes: int, bounds: SpoolBounds, writers: int, seed: int) -> Outcome:
    """An outage of so many seconds."""
    clock = Clock()
    disk = VirtualDisk(clock.wall_s)
    drawn = random.Random(seed)
    record = bytes(record_bytes)
    workers = [
        SpoolWriter(
            Path("virtual"), bounds, writer=f"w{number}", wall_s=clock.wall_s, monotonic_s=clock.monotonic_s, disk=disk
        )
        for number in range(writers)
    ]
    outcome = Outcome(bounds, seconds)
    total = round(seconds * rate)
    second = 0
    for number in range(total):
        clock.now_s = number / rate
        while second + 1 <= clock.now_s:
            second += 1
            for worker in workers:
                worker.flush()
                worker.tick()
        priority = drawn.choices(range(4), SHARES)[0]
        outcome.offered[priority] += 1
        drawn.choice(workers).offer(f"{drawn.getrandbits(128):032x}", priority, record)
    for worker in workers:
        worker.close()
        outcome.accepted += worker.counters.accepted
        outcome.dropped.update(worker.counters.dropped)
    for name, file in disk.files.items():
        found = split_file_name(name)
        assert found is not None
        outcome.kept_s[found[0].priority] += [moment_s - START_S for _, moment_s in file.records]
    outcome.most_bytes, outcome.written_bytes, outcome.syncs = disk.most_bytes, disk.written_bytes, disk.syncs
    outcome.segments = len(disk.files)
    lasting = SpoolReader(Path("virtual"), disk=disk).counters()
    assert (lasting.offered, lasting.accepted, lasting.dropped) == (total, outcome.accepted, outcome.dropped)
    return outcome


def report(outcome: Outcome) -> None:
    """Print it."""
    bound_bytes = outcome.bounds.bytes
    print(f"offered {outcome.offered.total():,} = accepted {outcome.accepted:,} + refused {outcome.refused:,}")
    kept = sum(map(len, outcome.kept_s.values()))
    print(f"accepted {outcome.accepted:,} = kept {kept:,} + dropped later {outcome.dropped_later:,}")
    print(f"most bytes on the disk: {outcome.most_bytes:,}, {outcome.most_bytes / bound_bytes:.1%} of the bound")
    print(
        f"bytes written: {outcome.written_bytes:,}; syncs: {outcome.syncs:,}; segments at the end: {outcome.segments:,}"
    )
    print("priority   offered      kept   share   longest gap   each 24th: least, mean, most")
    for priority in reversed(range(4)):
        offered, here = outcome.offered[priority], len(outcome.kept_s[priority])
        parts = outcome.hours(priority)
        print(
            f"{priority:8d} {offered:9,d} {here:9,d} {here / max(1, offered):7.1%} {outcome.longest_gap_s(priority):11.1f} s"
            f"   {min(parts):,d}, {sum(parts) / 24:,.1f}, {max(parts):,d}"
        )


def main() -> int:
    """Simulate, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rate", type=float, default=10.0, help="samples a second, of all writers")
    parser.add_argument("--record-bytes", type=int, default=50_000)
    parser.add_argument("--bound-mb", type=float, default=2000.0)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    started_s = time.perf_counter()
    outcome = simulate(
        seconds=round(words.hours * 3600),
        rate=words.rate,
        record_bytes=words.record_bytes,
        bounds=SpoolBounds(bytes=round(words.bound_mb * 1e6)),
        writers=words.writers,
        seed=words.seed,
    )
    report(outcome)
    faults = outcome.faults()
    print(f"simulated in {time.perf_counter() - started_s:.0f} s; " + ("; ".join(faults) or "every sum holds"))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
