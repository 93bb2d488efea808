"""What a person sees: the door on a terminal, and lines everywhere else."""

import importlib.util
import sys
import time
from collections import Counter, deque
from typing import Any, Protocol

from doggy_door.asking import Answer
from doggy_door.door import Door, State
from doggy_door.lines import FAULTS, Lines

LINES = 12


class View(Protocol):
    """Shows what happens. Where that cannot be written, it is told to whom the lines belong, and nothing is raised."""

    def show(self, frame: str, answer: Answer | None, door: Door, counts: Counter[str]) -> None:
        """A picture, or just the time that passed where there is none."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def line_of(frame: str, answer: Answer, door: Door) -> str:
    """A picture in a line."""
    if answer.missed:
        said = f"{'SKIPPED' if answer.is_spoiled else 'NO ANSWER'}: {answer.missed}"
    else:
        who = f"{answer.site}/{answer.tier}" if answer.site else "-"
        notes = f" {answer.degraded}" if answer.degraded else ""
        notes += f" {answer.attempts} attempts" if answer.attempts > 1 else ""
        notes += f": {answer.doubt}" if answer.doubt else ""
        said = f"{answer.seen or '':<8} dog {answer.dog:4.0%}  cat {answer.cat:4.0%}  {who} {answer.latency_s * 1e3:.0f} ms{notes}"
    text = f"{_printable(frame):<24} {door.state.upper():<5} {_printable(said)}"
    return text.rstrip()


class PlainView:
    """A line for each picture, and one for each move.

    Args:
        out: where they go.
    """

    def __init__(self, out: Lines) -> None:
        self._out = out
        self._state = State.SHUT

    def show(self, frame: str, answer: Answer | None, door: Door, counts: Counter[str]) -> None:  # noqa: ARG002 - the port's
        """Print."""
        if answer is not None:
            self._print(line_of(frame, answer, door))
        if door.state is not self._state:
            self._state = door.state
            self._print(f"{'':<24} {door.state.upper()}: {door.why}")

    def close(self) -> None:
        """Nothing is held."""

    def _print(self, text: str) -> None:
        self._out.say(f"{time.strftime('%H:%M:%S')} {text}")


class RichView:
    """The door, the last pictures, and counts, drawn over and over.

    Args:
        out: is told what could not be drawn.
    """

    def __init__(self, out: Lines) -> None:
        # Of the extra `agent`; without it there are lines.
        from rich.console import Group  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415
        from rich.panel import Panel  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        self._group, self._panel, self._text = Group, Panel, Text
        self._out = out
        self._lines: deque[str] = deque(maxlen=LINES)
        self._live: Any = Live(refresh_per_second=8, transient=False)
        self._live.start()

    def show(self, frame: str, answer: Answer | None, door: Door, counts: Counter[str]) -> None:
        """Draw."""
        if answer is not None:
            self._lines.append(line_of(frame, answer, door))
        style = {State.OPEN: "bold white on green", State.SHUT: "bold white on blue", State.VETO: "bold white on red"}[
            door.state
        ]
        told = "  ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        door_panel = self._panel(
            self._text(f"{door.state.upper()}  {door.why}", style=style), title="doggy door", subtitle=told
        )
        # Drawn by a thread of Rich's own, which may fail there as it likes.
        self._live.update(self._group(door_panel, self._text("\n".join(self._lines))))

    def close(self) -> None:
        """Leave what was drawn last."""
        # Rich leaves the program where a pipe is broken.
        try:
            self._live.stop()
        except (*FAULTS, SystemExit) as error:
            self._out.fail(error)


def view_for(out: Lines, *, is_plain: bool) -> View:
    """What suits where it is shown."""
    file = out.file
    if is_plain or not file.isatty() or file is not sys.stdout or importlib.util.find_spec("rich") is None:
        return PlainView(out)
    return RichView(out)


def _printable(text: str) -> str:
    """Without control characters: names of files and what servers say come from elsewhere."""
    return "".join(character if character.isprintable() else "?" for character in text)
