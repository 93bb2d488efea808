"""Latencies to three significant digits beside locust's two, by engine and row. What workers counted is added up by the master."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgewise.study.histogram import HOUR_US, HdrHistogram

CLOSED = "closed"
OPEN = "open"
Row = tuple[str, str, str]
"""Engine, request type, name: the last two as in locust's tables."""

_WAITING = 4096


def three_digits_ms(latency_ms: float) -> float:
    """A latency to three significant digits, but no finer than ten microseconds: for locust's tables in place of its two digits."""
    if latency_ms < 1000.0:
        return round(latency_ms, 0 if latency_ms >= 100.0 else 1 if latency_ms >= 10.0 else 2)
    return float(round(latency_ms, 2 - math.floor(math.log10(latency_ms))))


class Latencies:
    """Of one row.

    Args:
        sent_on: `take` is called every few seconds, and no quantile is asked for.

    Attributes:
        requests, failures: all of them; a request without a latency counts here only.
    """

    __slots__ = ("_histogram", "_sent_on", "_waiting_us", "failures", "requests")

    def __init__(self, *, sent_on: bool = False) -> None:
        self._sent_on = sent_on
        self.requests = 0
        self.failures = 0
        self._histogram = HdrHistogram(highest=HOUR_US)
        self._waiting_us: list[int] = []

    def add(self, latency_ms: float | None, *, failed: bool) -> None:
        self.requests += 1
        self.failures += failed
        if latency_ms is not None:
            self._waiting_us.append(min(HOUR_US, max(0, round(latency_ms * 1000.0))))
            if len(self._waiting_us) >= _WAITING and not self._sent_on:
                self._count()

    def take(self) -> tuple[int, int, bytes]:
        """Requests, failures and latencies in microseconds (int64) since it was taken last; for one who sends them on."""
        taken = self.requests, self.failures, np.array(self._waiting_us, np.int64).tobytes()
        self.requests = self.failures = 0
        self._waiting_us = []
        return taken

    def put(self, requests: int, failures: int, latencies_us: bytes) -> None:
        """Add what `take` gave."""
        self.requests += requests
        self.failures += failures
        self._histogram.record(np.frombuffer(latencies_us, np.int64))

    def quantile_ms(self, ratio: float) -> float:
        """The smallest latency that at least this share of the requests does not exceed; nan when there is none."""
        self._count()
        return self._histogram.quantile(ratio) / 1000.0

    def _count(self) -> None:
        self._histogram.record(np.array(self._waiting_us, np.int64))
        self._waiting_us = []


class Figures:
    """Latencies by row, and what the open-loop engine says of itself.

    Args:
        sent_on: as of `Latencies`.

    Attributes:
        rows: by engine, request type and name.
        lag: how late the engine was to send, all rows together.
    """

    def __init__(self, *, sent_on: bool = False) -> None:
        self._sent_on = sent_on
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        self.rows: dict[Row, Latencies] = {}
        self.lag = Latencies(sent_on=self._sent_on)

    def add(self, row: Row, latency_ms: float | None, *, failed: bool) -> None:
        latencies = self.rows.get(row)
        if latencies is None:
            latencies = self.rows[row] = Latencies(sent_on=self._sent_on)
        latencies.add(latency_ms, failed=failed)

    def take(self) -> dict[str, Any]:
        """All of it as a message for the master, and begin again."""
        return {"rows": [[*row, *one.take()] for row, one in self.rows.items()], "lag": self.lag.take()}

    def put(self, message: Mapping[str, Any]) -> None:
        """Add what `take` of a worker gave."""
        for engine, kind, name, *taken in message["rows"]:
            self.rows.setdefault((engine, kind, name), Latencies()).put(*taken)
        self.lag.put(*message["lag"])
