"""How far a command is: one line that is written again on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from typing import Final, TextIO

from edgewise.study.progress import Progress as Lines

_PLAIN_INTERVAL_S: Final = 10.0


class Progress:
    """Writes progress; an instance is called with what is being done, how many are done, and how many there are.

    Args:
        stream: standard error.
        clock: seconds, monotonic.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = Lines(stream, clock, plain_interval_s=_PLAIN_INTERVAL_S)
        self._clock = clock
        self._step = ""
        self._began_s = 0.0

    def __call__(self, step: str, done: int, total: int) -> None:
        """Tell how far a step is."""
        now_s = self._clock()
        if step != self._step:
            self._step, self._began_s = step, now_s
            self._lines.begin(self._text(done, total, now_s))
        elif self._lines.terminal or done < total:  # elsewhere what follows says that all are done
            self._lines.update(self._text(done, total, now_s))

    def end(self) -> None:
        """Take the line away."""
        self._lines.close()

    def _text(self, done: int, total: int, now_s: float) -> str:
        took_s = now_s - self._began_s
        rate = f", {done / took_s:,.0f} pictures/s" if done and took_s > 1.0 else ""
        return f"{self._step}: {done:,} of {total:,}{rate}"
