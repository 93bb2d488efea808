"""What happens when, printed for a person who watches, and kept for the report."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Found = TypeVar("Found")


class Timeline:
    """Lines with the seconds since the suite began.

    Attributes:
        sections: title and lines of each part, for the report.
    """

    def __init__(self) -> None:
        self.begun_s = time.monotonic()
        self.sections: list[tuple[str, list[str]]] = []

    def section(self, title: str) -> None:
        """A new part of the story."""
        self.sections.append((title, []))
        print(f"\n\033[1m[{self._now():6.1f} s] {title}\033[0m", flush=True)

    def say(self, text: str) -> None:
        """A line of it."""
        self._write(f"[{self._now():6.1f} s] {text}")

    def show(self, text: str) -> None:
        """What a command printed, or a table, as it is."""
        for line in text.rstrip().splitlines():
            self._write(f"           {line}")

    def wait(self, what: str, found: Callable[[], Found], timeout_s: float = 60.0, pause_s: float = 0.1) -> Found:
        """The first true value of `found()`.

        Args:
            what: names what is waited for, in the story and in the failure.

        Raises: AssertionError: it does not come about.
        """
        begun_s = time.monotonic()
        while not (value := found()):
            assert time.monotonic() - begun_s < timeout_s, f"waited {timeout_s:.0f} s in vain: {what}"
            time.sleep(pause_s)
        self.say(f"{what}: after {time.monotonic() - begun_s:.1f} s")
        return value

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Say how long something took."""
        begun_s = time.monotonic()
        yield
        self.say(f"{what}: {time.monotonic() - begun_s:.1f} s")

    def _now(self) -> float:
        return time.monotonic() - self.begun_s

    def _write(self, line: str) -> None:
        print(line, flush=True)
        if self.sections:
            self.sections[-1][1].append(line)


def table(heads: list[str], rows: list[list[Any]]) -> str:
    """Columns, numbers to the right."""
    cells = [heads, *[[f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)
