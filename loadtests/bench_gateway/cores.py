"""How busy the cores are, with anything."""

import os
from collections.abc import Mapping
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def shares(busy: Mapping[int, float], elapsed_s: float) -> dict[int, float]:
    """Share of each core that was used since `busy` was taken."""
    return {cpu: (after - busy[cpu]) / elapsed_s for cpu, after in busy_s().items()}


def busy_s() -> dict[int, float]:
    """CPU seconds that each core was not idle, stolen time included."""
    busy = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(word) for word in fields[:8])
            busy[int(name[3:])] = (user + nice + system + irq + softirq + steal) / TICKS_PER_S
    return busy
