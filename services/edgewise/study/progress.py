"""What a command says while it runs: one line that is written again and again on a terminal, plain lines elsewhere."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TextIO

_REWRITE_INTERVAL_S: Final = 0.2
_PLAIN_INTERVAL_S: Final = 30.0
_SMOOTHING: Final = 0.3


@dataclass(slots=True)
class TimeLeft:
    """Estimates how long a study still takes.

    What a run takes beyond its schedule (changing models, analysis, writing) is learned from the runs so far.

    Attributes:
        overhead_s: of a run, as believed at present.
    """

    overhead_s: float = 0.3

    def learn(self, took_s: float, scheduled_s: float) -> None:
        """A run that was to take `scheduled_s` took `took_s` with everything about it."""
        self.overhead_s += _SMOOTHING * (max(took_s - scheduled_s, 0.0) - self.overhead_s)

    def left_s(self, runs: int, scheduled_s: float) -> float:
        """For so many runs with schedules of so many seconds in all."""
        return scheduled_s + runs * self.overhead_s


class Progress:
    """Writes the progress of what takes a while: a study, a training, a dataset.

    Args:
        stream: standard error.
        clock: seconds, monotonic.
        plain_interval_s: off a terminal, at least so long is between two lines that tell where it stands.

    Attributes:
        terminal: whether one line is written again and again.
    """

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
        *,
        plain_interval_s: float = _PLAIN_INTERVAL_S,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self.terminal = stream.isatty()
        self._interval_s = _REWRITE_INTERVAL_S if self.terminal else plain_interval_s
        # Off a terminal the first line about a run can wait: there is one when it has ended.
        self._written_s = clock() if not self.terminal else -1e9
        self._rewriting = False

    def say(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        self._write(f"edgewise: {text}\n")

    def step(self, text: str) -> None:
        """A line for what takes a while; on a terminal the next one takes its place."""
        if self.terminal:
            self._rewrite(text)
        else:
            self.say(text)

    def begin(self, text: str) -> None:
        """Where what begins stands: shown at once on a terminal; elsewhere its first line can wait."""
        if self.terminal:
            self._rewrite(text)
            self._written_s = self._clock()

    def update(self, text: str) -> None:
        """Where it stands; called as often as one likes, and shown when it is due."""
        now_s = self._clock()
        if now_s - self._written_s < self._interval_s:
            return
        self._written_s = now_s
        if self.terminal:
            self._rewrite(text)
        else:
            self._write(f"edgewise: {text}\n")

    def ended(self, text: str) -> None:
        """A run has ended: the line that stays of it, off a terminal."""
        if self.terminal:
            self._rewrite(text)
        else:
            self._write(f"edgewise: {text}\n")
        self._written_s = self._clock()

    def close(self) -> None:
        """Leave the terminal on a line of its own."""
        self._clear()

    def _rewrite(self, text: str) -> None:
        width = shutil.get_terminal_size().columns
        self._write(f"\r\x1b[K{text[: width - 1]}")
        self._rewriting = True

    def _clear(self) -> None:
        if self._rewriting:
            self._write("\r\x1b[K")
            self._rewriting = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # Whoever watched has gone; the study goes on.
            pass


def duration_text(seconds: float) -> str:
    """A duration for people: "45 s", "3 min 20 s", "2 h 05 min"."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def run_text(place: int, of: int, name: str, *, counts: tuple[int, int, int], left_s: float) -> str:
    """Where a study stands within a run.

    Args:
        place, of: of the run among all, from 1.
        counts: requests sent, ended, failed.
    """
    sent, ended, failed = counts
    left = duration_text(left_s)
    return f"run {place} of {of}, {left} left: {name}: {sent} sent, {ended} ended, {failed} failed"
