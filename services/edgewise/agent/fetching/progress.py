"""Lines about a transfer that suit a pod's log."""

import time
from collections.abc import Callable

INTERVAL_S = 5.0


def shown_bytes(count: int) -> str:
    """A number of bytes for people, such as 12.3 MB."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


class Progress:
    """Counts bytes, and says every few seconds how many there are.

    Args:
        report: called with each line.
        now_s: a monotonic clock.

    Attributes:
        total_bytes: how many are expected; None while that is not known.
    """

    def __init__(self, report: Callable[[str], None], now_s: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._now_s = now_s
        self._told_s = now_s()
        self._told_bytes = 0
        self._here_bytes = 0
        self.total_bytes: int | None = None

    def add(self, count: int) -> None:
        """So many bytes more are here; fewer, when `count` is negative, because a piece begins anew."""
        self._here_bytes += count
        now_s = self._now_s()
        passed_s = now_s - self._told_s
        if passed_s < INTERVAL_S:
            return
        rate = shown_bytes(int(max(0, self._here_bytes - self._told_bytes) / passed_s))
        of = ""
        if self.total_bytes:
            of = f" of {shown_bytes(self.total_bytes)} ({100 * self._here_bytes // self.total_bytes} %)"
        self._report(f"{shown_bytes(self._here_bytes)}{of} here, {rate}/s")
        self._told_s, self._told_bytes = now_s, self._here_bytes

    def say(self, line: str) -> None:
        """Tell something else."""
        self._report(line)
