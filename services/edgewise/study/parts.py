"""Processes that a study starts: the commands that a user would type, each with its log, its cores and its end.

A part ends with the study whatever becomes of it: SIGTERM and then SIGKILL by pid when the study closes, and by the kernel when the
study itself was killed.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgewise.core.errors import CancelledError, InternalError, InvalidArgumentError, UnavailableError

HOST: Final = "127.0.0.1"
READY_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 10.0
_LOOK_INTERVAL_S: Final = 0.01
_LOG_LINES: Final = 12
_LOG_BYTES: Final = 8192
_PR_SET_PDEATHSIG: Final = 1
_REFUSED: Final = re.compile(rb" is END at [^:]*: (.*)\n")
_LAUNCH: Final = (
    "import ctypes, os, sys\n"
    f"ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGTERM)})\n"
    "parent, cores, words = int(sys.argv[1]), sys.argv[2], sys.argv[3:]\n"
    "if os.getppid() != parent: sys.exit(1)\n"
    "if cores: os.sched_setaffinity(0, {int(core) for core in cores.split(',')})\n"
    "os.execv(words[0], words)\n"
)
"""Runs in the new process before the command does: asks the kernel for a signal when the study dies (between fork and exec Python
cannot do that safely in a process with threads), and takes the cores, which every later thread inherits."""


class Part:
    """One process, `edgewise WORDS...`.

    Args:
        name: of its log, and for people.
        words: the command line behind `edgewise`.
        log: the file that takes both its outputs; what is there stays.
        cpus: the cores that it may use; empty for all.

    Attributes:
        ports: where it listens, by the names of its ready line, such as "rest" and "grpc"; empty before `wait_ready`.
    """

    def __init__(self, name: str, words: Sequence[str], log: Path, cpus: Sequence[int] = ()) -> None:
        self.name = name
        self.log = log
        self.ports: Mapping[str, int] = {}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            self._begin = sink.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                launch_words([sys.executable, "-m", "edgewise", *words], cpus),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                # Ctrl-C in the terminal is for the study, which then stops its parts in their order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, below zero by a signal; None while it runs."""
        return self._process.poll()

    def wait_ready(self, stop: threading.Event | None = None, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait for its ready line.

        Raises:
            UnavailableError: it ended, says that it cannot load its model, or is not ready in time; the message has its
                reason or the last lines of its log.
            CancelledError: `stop` was set.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            ended = not self.running
            written = self._written()
            found = re.search(rb"^edgewise: ready (.*)\n", written, re.MULTILINE)
            if found:
                self.ports = ports_of(found[1].decode(errors="replace"))
                return
            if ended:
                raise UnavailableError(self.obituary())
            # A model server goes on trying, and would be waited for until the end.
            refused = _REFUSED.search(written)
            if refused:
                raise UnavailableError(f"{self.name} cannot serve its model: {refused[1].decode(errors='replace')}")
            if time.monotonic() > until_s:
                raise UnavailableError(f"{self.name} was not ready within {timeout_s:g} s{self._last_lines()}")
            if stop is not None and stop.is_set():
                raise CancelledError("the study was stopped")
            time.sleep(_LOOK_INTERVAL_S)

    def obituary(self) -> str:
        """Says of a process that has ended how, and what it wrote last."""
        return f"{self.name} has ended with {ending(self._process.poll())}{self._last_lines()}"

    def ask_to_stop(self) -> None:
        """Send SIGTERM, unless it has ended."""
        if self.running:
            self._process.terminate()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM, and SIGKILL when it runs for longer than `timeout_s` after that; returns when it has ended."""
        self.ask_to_stop()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self.running:
            self._process.kill()
        self._process.wait()

    def _written(self) -> bytes:
        with contextlib.suppress(OSError), self.log.open("rb") as source:
            source.seek(self._begin)
            return source.read()
        return b""

    def _last_lines(self) -> str:
        lines = self._written()[-_LOG_BYTES:].decode(errors="replace").strip().splitlines()[-_LOG_LINES:]
        if not lines:
            return f"; its log {self.log} is empty"
        return f"; the end of its log, {self.log}:\n" + "\n".join(f"    {line}" for line in lines)


def launch_words(words: Sequence[str], cpus: Sequence[int] = ()) -> list[str]:
    """The command line that runs `words` on some cores, and ends them with this process.

    The kernel counts the death of the thread that starts it: start parts on the main thread.
    """
    return [sys.executable, "-S", "-E", "-c", _LAUNCH, str(os.getpid()), ",".join(map(str, cpus)), *words]


def ports_of(line: str) -> dict[str, int]:
    """The ports in a ready line, by name: `rest=http://127.0.0.1:8501 grpc=127.0.0.1:8500` has rest and grpc."""
    return {name: int(port) for name, port in re.findall(r"(\w+)=(?:\w+://)?[^ =]*:(\d+)(?= |$)", line)}


def ending(code: int | None) -> str:
    """How a process ended, for people."""
    if code is None:
        return "nothing: it runs"
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def run_edgewise(words: Sequence[str], log: Path, stop: threading.Event | None = None) -> int:
    """Run `edgewise WORDS...` to its end.

    Args:
        log: takes its output.
        stop: ends it when set.
    Returns: its exit code.
    Raises: CancelledError: it was stopped.
    """
    part = Part(f"edgewise {' '.join(words[:3])}", words, log)
    try:
        while part.running:
            if stop is not None and stop.is_set():
                raise CancelledError("the study was stopped")
            time.sleep(_LOOK_INTERVAL_S)
    finally:
        part.stop()
    return part.exit_code or 0


def ask(address: tuple[str, int], method: str, path: str, said: Any = None, timeout_s: float = 10.0) -> Any:
    """One HTTP request with JSON both ways.

    Raises:
        UnavailableError: nobody answers there.
        InvalidArgumentError: the answer is 400; the message is what it says.
        InternalError: any other answer than 200 with JSON.
    """
    status, body = fetch(address, method, path, None if said is None else json.dumps(said).encode(), timeout_s)
    where = f"{method} http://{address[0]}:{address[1]}{path}"
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if status == http.HTTPStatus.OK and told is not None:
        return told
    reason = told.get("error") if isinstance(told, dict) else None
    text = f"{where} was answered {status}" + (f": {reason}" if reason else "")
    raise InvalidArgumentError(text) if status == http.HTTPStatus.BAD_REQUEST else InternalError(text)


def fetch(
    address: tuple[str, int], method: str, path: str, body: bytes | None = None, timeout_s: float = 10.0
) -> tuple[int, bytes]:
    """One HTTP request.

    Returns: status and body.
    Raises: UnavailableError: nobody answers there.
    """
    connection = http.client.HTTPConnection(*address, timeout=timeout_s)
    headers = {} if body is None else {"content-type": "application/json"}
    with contextlib.closing(connection):
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UnavailableError(f"no answer from http://{address[0]}:{address[1]}{path}: {reason}") from None
