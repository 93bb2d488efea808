"""Child processes that are told what to do by lines of JSON, and end when they are told or when we do."""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ANSWER_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 5.0


_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


def _end_with_parent() -> None:
    """Let the kernel end this process when the thread that started it ends, however that may be."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class ChildError(Exception):
    """A child that did not start, died or does not answer; the message carries the end of its log."""


class Child:
    """A process with a conversation on its standard input and output.

    Args:
        command: exec'ed as it is.
        log: where its errors go (and its output, when it does not converse); None: to ours.
        talks: it converses.
    """

    def __init__(
        self, command: list[str], *, log: Path | None = None, env: Mapping[str, str] | None = None, talks: bool = True
    ) -> None:
        self.command = command
        self.log = log
        self._buffer = b""
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("ab")) if log else None
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else (output or subprocess.DEVNULL),
                stderr=output if talks else subprocess.STDOUT if output else subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - it calls one function of the C library
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def write(self, message: Mapping[str, Any]) -> None:
        """Send a line.

        Raises: ChildError: it is gone.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise ChildError(f"{self._name} is gone: {error}{self.log_tail()}") from error

    def read(self, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
        """Wait for its next line.

        Raises: ChildError: it ended or says nothing.
        """
        assert self.process.stdout is not None
        until_s = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, until_s - time.monotonic())):
                    raise ChildError(f"{self._name} says nothing for {timeout_s:.0f} s{self.log_tail()}")
                data = os.read(self.process.stdout.fileno(), 65_536)
                if not data:
                    raise ChildError(f"{self._name} ended with {self.process.wait()}{self.log_tail()}")
                self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a line and wait for the answer."""
        self.write(message)
        return self.read()

    def check(self) -> None:
        """Raises: ChildError: it has ended."""
        if self.process.poll() is not None:
            raise ChildError(f"{self._name} ended with {self.process.returncode}{self.log_tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """End it: the end of its input and SIGTERM, then SIGKILL."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait()
        self.stop()

    def log_tail(self) -> str:
        """The last lines of its log, on lines of their own; "" when there are none."""
        if self.log is None or not self.log.exists():
            return ""
        lines = self.log.read_text(errors="replace").splitlines()[-12:]
        return "".join(f"\n    {line}" for line in lines)

    @property
    def _name(self) -> str:
        return " ".join(self.command)[:160]
