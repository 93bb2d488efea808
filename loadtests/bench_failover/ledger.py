"""The two sides of the books: what the generator saw of each request, and what the sites ran."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench_failover.load import ERROR, LOST, OK, Record

GHOST_AFTER_S: Final = 1.0
"""An execution that begins this long after the app had its end is run for nobody."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of one request at a site; times of the monotonic clock, in seconds."""

    site: str
    arrived_s: float
    began_s: float
    takes_s: float


@dataclass(slots=True)
class Ledger:
    """All requests of one run.

    Attributes:
        records: in order of their intended time.
        executions: by request id, in order of arrival.
    """

    records: list[Record]
    executions: dict[str, list[Execution]] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """Requests by state."""
        return Counter(record.state for record in self.records)

    @property
    def residual(self) -> int:
        """Requests that ended in no state or in a state that there is not; has to be zero."""
        counts = self.counts
        return len(self.records) - counts[OK] - counts[ERROR] - counts[LOST]

    @property
    def unaccounted(self) -> int:
        """Answers that name a site which has no record of running the request; has to be zero."""
        return sum(
            record.state == OK and all(run.site != record.site for run in self.executions.get(record.request_id, ()))
            for record in self.records
        )

    @property
    def duplicates(self) -> int:
        """Requests that were run more than once."""
        return sum(len(runs) > 1 for runs in self.executions.values())

    def ghosts(self) -> tuple[int, float]:
        """Requests that were run for nobody.

        Returns: how many, and the longest time in seconds between the app's end of it and its execution.
        """
        ended_s = {record.request_id: record.ended_s for record in self.records}
        late_s = [
            max(run.began_s for run in runs) - ended_s[request_id]
            for request_id, runs in self.executions.items()
            if request_id in ended_s
        ]
        ghosts = [late for late in late_s if late > GHOST_AFTER_S]
        return len(ghosts), max(ghosts, default=0.0)

    def reached_s(self, record: Record, site: str) -> float | None:
        """When a request first came to a site; None when it never ran there."""
        runs = [run for run in self.executions.get(record.request_id, ()) if run.site == site]
        return min(run.arrived_s for run in runs) if runs else None


def read(records: Path, executions: dict[str, Path]) -> Ledger:
    """Read the books.

    Args:
        executions: by site.
    """
    lines = records.read_text().splitlines()
    ledger = Ledger([Record(**json.loads(line)) for line in lines])
    for site, path in executions.items():
        for line in path.read_text().splitlines():
            request_id, arrived, began, takes = line.split()
            run = Execution(site, float(arrived), float(began), float(takes))
            ledger.executions.setdefault(request_id, []).append(run)
    return ledger
