"""What happens when, printed for a person who watches, and kept for the report."""

import subprocess
import threading
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


class Told:
    """A command in the background; what it prints is said as it comes."""

    def __init__(self, timeline: Timeline, name: str, words: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self._timeline = timeline
        self._name = name
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._timeline.say(f"{self._name}: {line.rstrip()}")
        self.process.stdout.close()

    def wait(self, timeout_s: float = 100.0) -> int:
        """Returns: its exit code. Raises: TimeoutExpired: it goes on."""
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        return code

    def close(self) -> None:
        """End it, if it has not."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


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
