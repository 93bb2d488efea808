"""The engine as others use it: a process of its own that runs one job after the other.

with Engine() as engine:
    recording = engine.run(job)

The columns of a recording lie in memory that both processes share; a job, its end and a wish to stop go through a socket.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from edgewise.core.errors import EdgewiseError, InvalidArgumentError, UnavailableError
from edgewise.study.engine.columns import Columns, create
from edgewise.study.engine.job import Job, Recording
from edgewise.study.engine.outcome import STOP, Outcome

_NO_ROWS: Final = np.empty(0, np.int64)
_NO_QUESTIONS: Final = np.empty(0, np.uint16)
_POLL_S: Final = 0.05
_PROGRESS_S: Final = 0.25
_HUNG_S: Final = 30.0
_EXIT_S: Final = 5.0
_MAX_TIMEOUT_S: Final = 86_400.0

Progress = Callable[[int, int, int], None]
"""Told how many requests were due so far, have ended, and have failed."""


class Engine:
    """A process that sends requests on schedule. Started by the first run, and again after it died.

    One run at a time.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the process; None where there is none."""
        return self._process.pid if self._process is not None else None

    def run(
        self,
        job: Job,
        on_progress: Progress | None = None,
        stop: threading.Event | None = None,
        on_start: Callable[[float], None] | None = None,
    ) -> Recording:
        """Run a job.

        Args:
            on_progress: told a few times a second, on this thread.
            stop: when it is set, nothing more is sent, and what was is given two seconds to end.
            on_start: told once, on this thread, when the schedule began or begins, in seconds of the monotonic clock.
        Returns: one row a request, each with its end.
        Raises:
            InvalidArgumentError: the job is impossible.
            UnavailableError: the process died, or the target's name cannot be looked up.
        """
        _check(job)
        requests = len(job.due_ns)
        fd = create(requests)
        try:
            columns = Columns(fd, requests)
            columns.clear()
            columns.arrays["due_ns"][:] = job.due_ns
            columns.arrays["question"][:] = job.question_index
            answer = self._ask(job, fd, columns, on_progress, stop, on_start)
        finally:
            os.close(fd)
        if isinstance(answer, EdgewiseError):
            raise answer
        return Recording(
            **columns.arrays,
            answers=answer.answers,
            sites=answer.sites,
            errors=answer.errors,
            started_wall_s=answer.started_wall_s,
            cpu_s=answer.cpu_s,
            waited_s=answer.waited_s,
            stopped=answer.stopped,
            opened=answer.opened,
            resent=answer.resent,
            scheduling=answer.scheduling,
            cpus=answer.cpus,
        )

    def close(self) -> None:
        """End the process."""
        connection, self._connection = self._connection, None
        process, self._process = self._process, None
        if connection is not None:
            connection.close()
        if process is not None:
            # It ends when the connection does.
            try:
                process.wait(_EXIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-m", "edgewise.study.engine", str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                )
            except BaseException:
                ours.close()
                raise
        self._connection = Connection(ours.detach())

    def _ask(  # noqa: PLR0917 - one caller
        self,
        job: Job,
        fd: int,
        columns: Columns,
        on_progress: Progress | None,
        stop: threading.Event | None,
        on_start: Callable[[float], None] | None,
    ) -> Outcome | EdgewiseError:
        """Hand the job over and wait for its end."""
        self._start()
        connection, process = self._connection, self._process
        if connection is None or process is None:
            raise RuntimeError("the engine was started and is not there")
        answer: Outcome | EdgewiseError | None = None
        try:
            connection.send(replace(job, due_ns=_NO_ROWS, question_index=_NO_QUESTIONS))
            send_handle(connection, fd, process.pid)
            connection.send(len(job.due_ns))
            last_s = float(job.due_ns[-1]) / 1e9 if len(job.due_ns) else 0.0
            answer = self._wait(connection, columns, last_s + job.timeout_s, on_progress, stop, on_start)
        except (EOFError, OSError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_EXIT_S)
            what = "speaks no more" if process.returncode is None else f"ended (exit code {process.returncode})"
            raise UnavailableError(f"the engine's process {what} in the middle of a run") from None
        finally:
            # Whatever comes in between, such as Ctrl-C: the next run finds a process that waits for it, or a new one.
            if answer is None:
                self._kill()
        return answer

    @staticmethod
    def _wait(  # noqa: PLR0917 - one caller
        connection: "Connection[Any, Any]",
        columns: Columns,
        expected_s: float,
        on_progress: Progress | None,
        stop: threading.Event | None,
        on_start: Callable[[float], None] | None,
    ) -> Outcome | EdgewiseError:
        counters = columns.counters
        began_s = told_s = monotonic()
        told_stop = False
        while not connection.poll(_POLL_S):
            now_s = monotonic()
            if on_start is not None and counters[4]:
                on_start(counters[4] / 1e9)
                on_start = None
            if on_progress is not None and now_s - told_s >= _PROGRESS_S:
                told_s = now_s
                on_progress(int(counters[0]), int(counters[1]), int(counters[2]))
            if stop is not None and stop.is_set() and not told_stop:
                told_stop = True
                connection.send(STOP)
            if now_s - began_s > expected_s + _HUNG_S and now_s - counters[3] / 1e9 > _HUNG_S:
                raise UnavailableError(f"the engine's process has shown no life for {_HUNG_S:g} s")
        answer: Outcome | EdgewiseError = connection.recv()
        if on_start is not None and counters[4]:
            on_start(counters[4] / 1e9)
        if on_progress is not None:
            on_progress(int(counters[0]), int(counters[1]), int(counters[2]))
        return answer

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.kill()
        self.close()


def _check(job: Job) -> None:
    """Raises: InvalidArgumentError: the job is impossible."""
    asking = job.asking
    count = len(job.due_ns)
    wrong = {
        f"{count} due times for {len(job.question_index)} questions": count != len(job.question_index),
        "the due times have to rise from 0 on": count
        and (job.due_ns[0] < 0 or np.any(job.due_ns[1:] < job.due_ns[:-1])),
        f"a question is asked for that is not there; there are {len(asking.questions)}, from 0 on": (
            len(job.question_index) and int(job.question_index.max()) >= len(asking.questions)
        ),
        f"a timeout of {job.timeout_s:g} s is impossible: it has to be over 0, and at most {_MAX_TIMEOUT_S:g}": (
            not 0 < job.timeout_s <= _MAX_TIMEOUT_S
        ),
        f"a deadline of {job.deadline_ms:g} ms is impossible: it has to be 0, for none, or more": (
            not (job.deadline_ms >= 0 and np.isfinite(job.deadline_ms))
        ),
        f"{job.max_connections} connections are too few: at least 1 is needed": job.max_connections < 1,
        f"the transport {asking.transport!r} is unknown; expected http or grpc": asking.transport
        not in {"http", "grpc"},
        f"{asking.port} is no port; expected 1 to 65535": not 0 < asking.port < 65536,
    }
    for text in (
        asking.host,
        asking.path,
        asking.content_type,
        *(part for header in asking.headers for part in header),
    ):
        wrong[f"{text!r} has characters that are not ASCII; percent-encode them"] = not text.isascii()
    for what, is_so in wrong.items():
        if is_so:
            raise InvalidArgumentError(what)
