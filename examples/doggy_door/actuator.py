"""What opens and shuts the door. Each `tell` is a heartbeat as well: when they stop, the door falls shut by itself.

`FileActuator` is for real locks: a process of its own (`lock_keeper`) holds the file, so that a door program that was killed or hangs holds nothing open.
`TerminalActuator` says on the terminal what a lock would do, `DryActuator` remembers it; nothing is behind them that could stay open.
"""

import select
import subprocess
import sys
from pathlib import Path
from typing import Protocol, Self, TextIO

KEEPER = Path(__file__).with_name("lock_keeper.py")
STOP_S = 5.0


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
    """Writes a line whenever a lock would move."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_open = False

    def tell(self, *, is_open: bool) -> None:
        """Say a move."""
        if is_open is not self._is_open:
            self._is_open = is_open
            print("door: >>> OPEN <<<" if is_open else "door: ||| SHUT |||", file=self._out, flush=True)

    def close(self) -> None:
        """Shut."""
        self.tell(is_open=False)


class FileActuator:
    """Writes to a file that a lock follows: an output of the kernel's (`/sys/class/leds/NAME/brightness`, `/sys/class/gpio/gpioN/value`), or any other.

    Args:
        path: the file; it has to be there.
        opened, shut: what is written to it.
        heartbeat_s: the lock falls shut when nothing was told for so long.

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
        words = ["--file", str(path), "--open", opened, "--shut", shut, "--heartbeat-s", str(heartbeat_s)]
        # Unbuffered: a heartbeat that waits in a buffer is none.
        self._keeper = subprocess.Popen(  # noqa: S603 - this interpreter, and a file beside this one
            [sys.executable, "-I", str(KEEPER), *words],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def tell(self, *, is_open: bool) -> None:
        """Tell the keeper, which holds on for one heartbeat."""
        assert self._keeper.stdin is not None  # noqa: S101 - as it was started
        if self._keeper.poll() is not None:
            raise ActuatorError(self._death())
        try:
            # A keeper that does not read would hold the door program up.
            if select.select([], [self._keeper.stdin], [], 0)[1]:
                self._keeper.stdin.write(b"open\n" if is_open else b"shut\n")
        except OSError:
            raise ActuatorError(self._death()) from None

    def close(self) -> None:
        """Let the keeper go, which shuts; where it does not, shut without it."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        try:
            self._keeper.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        if self._keeper.stderr is not None:
            self._keeper.stderr.close()
        if self._keeper.returncode != 0:
            self._shut_without_keeper()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _death(self) -> str:
        """Why there is no keeper any more; the lock is shut here, since it cannot do so."""
        self._keeper.wait(STOP_S)
        said = b"" if self._keeper.stderr is None else self._keeper.stderr.read(500)
        reason = said.decode(errors="replace").strip() or f"its keeper ended with code {self._keeper.returncode}"
        return f"the lock cannot be moved: {reason}{self._shut_without_keeper()}"

    def _shut_without_keeper(self) -> str:
        try:
            self._path.write_text(self._shut)
        except OSError as error:
            return f"; it could not be shut either: {error.strerror or error}"
        return "; it was shut"
