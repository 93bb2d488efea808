"""What is printed and written at the end: exact figures beside locust's, and open loop beside closed."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swarm.figures import CLOSED, OPEN, Figures, Row, three_digits_ms

MAX_LAG_P99_MS = 1.0
"""An engine that is later than this says more about itself than about the server."""

COLUMNS = (
    "engine",
    "type",
    "name",
    "requests",
    "failures",
    "p50_ms",
    "locust_p50_ms",
    "p99_ms",
    "locust_p99_ms",
    "p99.9_ms",
    "max_ms",
)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of one engine.

    Attributes:
        locust_p50_ms, locust_p99_ms: of locust's own table for the same requests; nan where it has none.
    """

    row: Row
    requests: int
    failures: int
    p50_ms: float
    locust_p50_ms: float
    p99_ms: float
    locust_p99_ms: float
    p999_ms: float
    max_ms: float

    @property
    def cells(self) -> tuple[object, ...]:
        """In the order of `COLUMNS`."""
        numbers = (self.p50_ms, self.locust_p50_ms, self.p99_ms, self.locust_p99_ms, self.p999_ms, self.max_ms)
        return (*self.row, self.requests, self.failures, *map(_shown, numbers))


def _shown(latency_ms: float) -> str:
    return "" if math.isnan(latency_ms) else f"{three_digits_ms(latency_ms):g}"


def _times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"


def lines(figures: Figures, shown: Mapping[Row, tuple[float, float]]) -> list[Line]:
    """The table, closed loop first.

    Args:
        shown: p50 and p99 in milliseconds as locust's own table has them, by row.
    """
    found = []
    for row, one in sorted(figures.rows.items()):
        p50_ms, p99_ms = shown.get(row, (math.nan, math.nan))
        found.append(
            Line(
                row,
                one.requests,
                one.failures,
                one.quantile_ms(0.5),
                p50_ms,
                one.quantile_ms(0.99),
                p99_ms,
                one.quantile_ms(0.999),
                one.quantile_ms(1.0),
            )
        )
    return found


def rendered(table: list[Line], figures: Figures) -> str:
    """The table for people, and what it says."""
    if not table:
        return "No request was made."
    heads = ("engine", "type", "name", "requests", "failed", "p50 ms", "(locust)", "p99 ms", "(locust)", "p99.9", "max")
    cells = [heads, *([str(cell) for cell in line.cells] for line in table)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    text = ["Exact latencies (three significant digits), and what locust's table says of the same requests"]
    for row in cells:
        fitted = [
            f"{cell:<{width}}" if column < 3 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        text.append("  ".join(fitted).rstrip())
    text += _differences(table)
    if figures.lag.requests:
        lag_ms = figures.lag.quantile_ms(0.99)
        verdict = (
            ""
            if lag_ms <= MAX_LAG_P99_MS
            else (
                f"; more than {MAX_LAG_P99_MS:g} ms, so the open-loop figures are void: ask for less, or spread it over workers"
            )
        )
        text.append(f"The open-loop engine was {lag_ms:.2f} ms late at p99{verdict}.")
    return "\n".join(text)


def _differences(table: list[Line]) -> list[str]:
    """A sentence for each row that both engines asked."""
    closed = {line.row[1:]: line for line in table if line.row[0] == CLOSED}
    said = []
    for line in table:
        other = closed.get(line.row[1:])
        if line.row[0] != OPEN or other is None or not other.p99_ms or math.isnan(line.p99_ms):
            continue
        said.append(
            f"{line.row[2]}: p99 is {_shown(line.p99_ms)} ms in the open loop, from when the schedule had the request, and "
            f"{_shown(other.p99_ms)} ms in the closed one, from when a user came round to it "
            f"({_times(line.p99_ms / other.p99_ms)} times)."
        )
    return said


def write_csv(path: Path, table: list[Line]) -> None:
    """The table for programs."""
    with path.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(COLUMNS)
        writer.writerows(line.cells for line in table)
