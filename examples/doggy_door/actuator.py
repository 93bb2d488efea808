"""What opens and shuts the door. Each `tell` is a heartbeat as well: when they stop, the door falls shut by itself.

`FileActuator` is for real locks: a process of its own (`lock_keeper`) holds the file, so that a door program that was killed or hangs holds nothing open;
and the keeper says that it has done what it was told, so that one that hangs holds nothing open either.
`TerminalActuator` says on the terminal what a lock would do, `DryActuator` remembers it; nothing is behind them that could stay open.
"""

import contextlib
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Protocol, Self

from doggy_door.lines import Lines

KEEPER = Path(__file__).with_name("lock_keeper.py")
STOP_S = 5.0
START_S = 30.0
"""Until a keeper is there; a small computer that is busy takes its time."""


class ActuatorError(Exception):
    """The lock cannot be moved, or nothing is known of it."""


class Actuator(Protocol):
    """Moves the lock."""

    def tell(self, *, is_open: bool) -> None:
        """Have the lock so, for as long as a heartbeat lasts.

        Raises:
            ActuatorError: it cannot be told.
        """
        ...

    def close(self) -> None:
        """Shut, and let go."""
        ...


class DryActuator:
    """Moves nothing.

    Attributes:
        moves: what a lock would have done, in order; True for open.
    """

    def __init__(self) -> None:
        self.moves: list[bool] = []
        self.is_open = False

    def tell(self, *, is_open: bool) -> None:
        """Note a move."""
        if is_open is not self.is_open:
            self.is_open = is_open
            self.moves.append(is_open)

    def close(self) -> None:
        """Shut."""
        self.tell(is_open=False)


class TerminalActuator:
    """Writes a line whenever a lock would move; where it cannot be written, no lock has failed."""

    def __init__(self, out: Lines) -> None:
        self._out = out
        self._is_open = False

    def tell(self, *, is_open: bool) -> None:
        """Say a move."""
        if is_open is not self._is_open:
            self._is_open = is_open
            self._out.say("door: >>> OPEN <<<" if is_open else "door: ||| SHUT |||")

    def close(self) -> None:
        """Shut."""
        self.tell(is_open=False)


class FileActuator:
    """Writes to a file that a lock follows: an output of the kernel's (`/sys/class/leds/NAME/brightness`, `/sys/class/gpio/gpioN/value`), or any other.

    Args:
        path: the file; it has to be there.
        opened, shut: what is written to it.
        heartbeat_s: the lock falls shut when nothing was told for so long, and a keeper that needs longer for a word is killed.

    Raises:
        ActuatorError: the file is not there, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        opened: str = "1",
        shut: str = "0",
        heartbeat_s: float = 2.0,
    ) -> None:
        if not path.is_file():
            raise ActuatorError(f"the lock's file {path} is not there; create it, or have the kernel offer it")
        self._path = path
        self._shut = shut
        self._heartbeat_s = heartbeat_s
        words = ["--file", str(path), "--open", opened, "--shut", shut, "--heartbeat-s", str(heartbeat_s)]
        # Unbuffered: a heartbeat that waits in a buffer is none.
        self._keeper = subprocess.Popen(  # noqa: S603 - this interpreter, and a file beside this one
            [sys.executable, "-I", str(KEEPER), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        try:
            self._await_answer(START_S)
        except ActuatorError:
            self.close()
            raise

    def tell(self, *, is_open: bool) -> None:
        """Tell the keeper, which holds on for one heartbeat; returns when it has done so.

        Raises:
            ActuatorError: there is no keeper any more, or it did not do so within a heartbeat; the lock was shut without it.
        """
        assert self._keeper.stdin is not None  # noqa: S101 - as it was started
        try:
            # A keeper that does not read would hold the door program up.
            if not select.select([], [self._keeper.stdin], [], 0)[1]:
                raise ActuatorError(self._hang("takes no more words"))
            self._keeper.stdin.write(b"open\n" if is_open else b"shut\n")
        except OSError:
            raise ActuatorError(self._death()) from None
        self._await_answer(self._heartbeat_s)

    def close(self) -> None:
        """Let the keeper go, which shuts; where it does not, shut without it."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._await_end()
        for pipe in (self._keeper.stdout, self._keeper.stderr):
            if pipe is not None:
                pipe.close()
        if self._keeper.returncode != 0:
            self._shut_without_keeper()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _await_answer(self, seconds: float) -> None:
        assert self._keeper.stdout is not None  # noqa: S101 - as it was started
        if not select.select([self._keeper.stdout], [], [], seconds)[0]:
            raise ActuatorError(self._hang(f"did not answer within {seconds:g} s"))
        if not self._keeper.stdout.read(1):
            raise ActuatorError(self._death())

    def _await_end(self) -> None:
        """The keeper ends, or is made to; one that even then stays hangs in the kernel, and nothing more can be done."""
        try:
            self._keeper.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._kill()

    def _kill(self) -> None:
        self._keeper.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(STOP_S)

    def _death(self) -> str:
        """Why there is no keeper any more; the lock is shut here, since it cannot do so."""
        self._await_end()
        code = self._keeper.returncode
        said = b"" if self._keeper.stderr is None or code is None else self._keeper.stderr.read(500)
        reason = said.decode(errors="replace").strip() or f"its keeper ended with code {code}"
        return f"the lock cannot be moved: {reason}{self._shut_without_keeper()}"

    def _hang(self, reason: str) -> str:
        """The keeper lives and does nothing. It is killed before the lock is shut here, so that it cannot open it afterwards."""
        self._kill()
        return f"the lock cannot be moved: its keeper {reason} and was killed{self._shut_without_keeper()}"

    def _shut_without_keeper(self) -> str:
        """What came of it, for a message. In a thread, since what the keeper hung in may well hang here."""
        came = [f"; it could not be shut either: writing to it takes longer than {STOP_S:g} s"]
        writing = threading.Thread(target=self._write_shut, args=(came,), daemon=True)
        writing.start()
        writing.join(STOP_S)
        return came[-1]

    def _write_shut(self, came: list[str]) -> None:
        try:
            self._path.write_text(self._shut)
        except OSError as error:
            came.append(f"; it could not be shut either: {error.strerror or error}")
        else:
            came.append("; it was shut")
