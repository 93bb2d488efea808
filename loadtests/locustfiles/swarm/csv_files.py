"""Locust's own CSV files once more at the end: its writer comes by once a second, and what ends behind its last visit is missing."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import locust.stats
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV, StatsCSVFileWriter


class EndingWriter(StatsCSVFileWriter):
    """Locust's writer, which ends with its files: locust closes them and leaves it running, and a process that then waits for
    its workers has it come by once more.
    """

    def stats_writer(self) -> None:
        try:
            super().stats_writer()
        except ValueError:
            if not self.requests_csv_filehandle.closed:
                raise


def install() -> None:
    """Have locust write with it."""
    locust.stats.StatsCSVFileWriter = EndingWriter  # type: ignore[misc]


def write_last(environment: Any, prefix: str) -> None:
    """Write the tables of requests and of failures as they are now.

    Raises: OSError: they cannot be written.
    """
    tables = StatsCSV(environment, PERCENTILES_TO_REPORT)
    _replace(Path(f"{prefix}_stats.csv"), tables.requests_csv)
    _replace(Path(f"{prefix}_failures.csv"), tables.failures_csv)


def _replace(path: Path, write: Callable[[Any], None]) -> None:
    """A new file in the place of locust's, whose buffer may still be written to the old one."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w", newline="") as sink:
        write(csv.writer(sink))
    new.replace(path)
