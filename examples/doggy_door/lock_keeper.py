"""Holds a lock open for as long as it is told to, over and over; falls shut when the telling stops.

A process of its own, since a program that hangs or was killed can let go of nothing: what it wrote last would stay. It reads `open` and `shut`, a line
each, and writes what stands for either to a file; it answers with a byte when it is there, and with one for each line when that is done. It shuts when no
line came for `--heartbeat-s`, at the end of its input, on whatever it does not understand, and before it does anything else. Signals that ask it to end it
does not hear: they come to the door program as well, and its end is the end of the input. Needs the standard library alone, so that it starts at once.
"""

import argparse
import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path


class Grip:
    """Until when the lock is held open: the decision, without clock, file or process.

    Args:
        heartbeat_s: for so long an `open` holds.
    """

    def __init__(self, heartbeat_s: float) -> None:
        self._heartbeat_s = heartbeat_s
        self._until_s = float("-inf")

    def tell(self, word: bytes, *, now_s: float) -> None:
        """A line came; whatever is not `open` shuts."""
        self._until_s = now_s + self._heartbeat_s if word == b"open" else float("-inf")

    def left_s(self, *, now_s: float) -> float:
        """Seconds for which the lock stays open if nothing more comes; 0 where it is shut."""
        return max(0.0, self._until_s - now_s)


def keep(source: int, answers: int, path: Path, *, opened: bytes, shut: bytes, heartbeat_s: float) -> None:
    """Follow what is told until the telling ends; the lock is shut before and after.

    Args:
        source: a file descriptor to read from.
        answers: one to which a byte is written at the beginning, and one for each line.
        path: the file that the lock follows.
        opened, shut: what is written to it.
        heartbeat_s: see `Grip`.

    Raises:
        OSError: the file cannot be written.
    """
    grip = Grip(heartbeat_s)
    path.write_bytes(shut)
    is_open = False
    rest = b""
    due = 1
    try:
        while True:
            left_s = grip.left_s(now_s=time.monotonic())
            if (left_s > 0) is not is_open:
                is_open = left_s > 0
                path.write_bytes(opened if is_open else shut)
            _answer(answers, due)
            due = 0
            if not select.select([source], [], [], left_s if is_open else None)[0]:
                continue
            told = os.read(source, 4096)
            if not told:
                return
            *lines, rest = (rest + told)[-4096:].split(b"\n")
            due = len(lines)
            if lines:
                grip.tell(lines[-1].strip(), now_s=time.monotonic())
    finally:
        path.write_bytes(shut)


def _answer(answers: int, count: int) -> None:
    """Say so many times that it is done; where nobody listens, holding on to the lock in order to say it would be wrong."""
    if count and select.select([], [answers], [], 0)[1]:
        with contextlib.suppress(BrokenPipeError):
            os.write(answers, b"." * count)


def main() -> int:
    """Keep the lock that the command line names.

    Returns: the exit code; 1 when the file cannot be written.
    """
    parser = argparse.ArgumentParser(description="holds a lock open for as long as it is told to")
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--open", default="1", dest="opened")
    parser.add_argument("--shut", default="0")
    parser.add_argument("--heartbeat-s", type=float, required=True)
    given = parser.parse_args()
    # They are for the door, whose end ends the input, which ends the keeper; here they would come between it and its last word to the lock.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    words = {"opened": given.opened.encode(), "shut": given.shut.encode()}
    try:
        keep(sys.stdin.fileno(), sys.stdout.fileno(), given.file, heartbeat_s=given.heartbeat_s, **words)
    except OSError as error:
        print(f"{given.file}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
