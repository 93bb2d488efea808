"""How far a command is: one line that is written again on a terminal, a line for each step elsewhere."""

import time
from collections.abc import Callable
from typing import Final, TextIO

_REWRITE_INTERVAL_S: Final = 0.2
_PLAIN_INTERVAL_S: Final = 10.0


class Progress:
    """Writes progress; an instance is called with what is being done, how many are done, and how many there are.

    Args:
        stream: standard error.
        clock: seconds, monotonic.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._step = ""
        self._began_s = self._written_s = clock()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Tell how far a step is."""
        now_s = self._clock()
        if step != self._step:
            self._step, self._began_s = step, now_s
        elif now_s - self._written_s < (_REWRITE_INTERVAL_S if self._terminal else _PLAIN_INTERVAL_S):
            return
        elif not self._terminal and done == total:
            # What follows says so.
            return
        elif not self._terminal:
            self._written_s = now_s
            self._stream.write(f"edgewise: {self._text(done, total, now_s)}\n")
            self._stream.flush()
            return
        if self._terminal:
            self._written_s = now_s
            self._stream.write(f"\r\x1b[K{self._text(done, total, now_s)}")
            self._stream.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._terminal and self._step:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _text(self, done: int, total: int, now_s: float) -> str:
        took_s = now_s - self._began_s
        rate = f", {done / took_s:,.0f} pictures/s" if done and took_s > 1.0 else ""
        return f"{self._step}: {done:,} of {total:,}{rate}"
