"""Several processes behind the same ports: a parent that starts them, restarts one that died, and ends them together.

The parent answers nothing. It keeps the ports (bound with SO_REUSEPORT, not listening), so that every worker finds the
same ones, and it forks: what was imported is shared.

A worker is told to stop by the end of the pipe that the parent holds, and not by a signal: a supervisor that signals the
whole group would make a second SIGTERM of it, which ends a worker at once. It also ends when the parent is killed.

Where a service manager expects beats (`net/sd_notify`), the parent sends them, and expects them of its workers in turn: the system
goes on giving connections to a worker that hangs, so it is killed and started again, while the others answer.
"""

import asyncio
import contextlib
import logging
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from edgewise.core.errors import EdgewiseError, FailedPreconditionError
from edgewise.net.sd_notify import BEATS_IN_INTERVAL, notifier

_LOG: Final = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_STABLE_S: Final = 10.0
_GRACE_S: Final = 10.0
_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class WorkerSeat:
    """What one worker is given.

    Attributes:
        number: which one it is, from 0 on.
        count: how many there are.
        directory: for the sockets between them.
        stop_fd: reads as ended when the worker is to stop.
        ready_fd: where it writes its number once it answers, and with each beat.
        beat_interval_s: seconds between beats; 0 expects none.
    """

    number: int
    count: int
    directory: Path
    stop_fd: int
    ready_fd: int
    beat_interval_s: float = 0.0

    def say_ready(self) -> None:
        """Tell the parent that this worker answers."""
        with contextlib.suppress(OSError):
            os.write(self.ready_fd, bytes((self.number,)))

    def keep_beating(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell the parent that this worker answers, now and for as long as the loop turns."""
        self.say_ready()
        if self.beat_interval_s:
            loop.call_later(self.beat_interval_s, self.keep_beating, loop)


@dataclass(slots=True)
class _Worker:
    number: int
    pid: int = 0
    stop_fd: int = -1
    started_s: float = 0.0
    beat_s: float = field(default=float("inf"))
    pause_s: float = _FIRST_PAUSE_S
    restart_s: float = field(default=float("inf"))


def hold_port(host: str, port: int | None) -> tuple[int | None, list[socket.socket]]:
    """Bind a port for the workers without listening on it.

    Args:
        port: 0 picks a free one; None binds nothing.
    Returns: the port, and the sockets to keep open.
    Raises: OSError: the address cannot be used.
    """
    if port is None:
        return None, []
    sockets: list[socket.socket] = []
    bound = port
    try:
        for family, kind, _, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                held = socket.socket(family, kind)
            except OSError:
                # A machine without IPv6 still names its address.
                continue
            sockets.append(held)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            held.bind((address[0], bound, *address[2:]))
            bound = held.getsockname()[1]
    except OSError:
        for held in sockets:
            held.close()
        raise
    return bound, sockets


class Workers:
    """The parent of the worker processes.

    Args:
        count: how many.
        work: what each does; its result is the exit code. Called in the child.
        on_ready: called once, when all of them answer for the first time.
        drain_timeout_s: how long they may take to end; then they are killed.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[WorkerSeat], int],
        *,
        on_ready: Callable[[], None],
        drain_timeout_s: float,
    ) -> None:
        self._work = work
        self._on_ready = on_ready
        self._drain_timeout_s = drain_timeout_s
        self._workers = [_Worker(number) for number in range(count)]
        self._ready: set[int] = set()
        self._told_ready = False
        self._stop_s = float("inf")
        self._code = 0
        self._watchdog_s = notifier().watchdog_s
        self._beat_interval_s = self._watchdog_s / BEATS_IN_INTERVAL
        self._next_beat_s = float("inf")
        self._directory: Path
        self._ready_read = self._ready_write = -1
        self._wakeup_read = self._wakeup_write = -1

    def run(self) -> int:
        """Start them, and watch over them until SIGTERM or SIGINT.

        Returns: the exit code: 0 after an orderly end of all.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="edgewise-gateway-"))
        self._ready_read, self._ready_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup_read, self._wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = {number: signal.signal(number, _remember) for number in _HANDLED}
        wakeup_before = signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        if self._watchdog_s:
            self._next_beat_s = time.monotonic()
        try:
            for worker in self._workers:
                self._start(worker)
            self._watch()
        finally:
            for worker in self._workers:
                if worker.pid:
                    _kill(worker.pid, signal.SIGKILL)
                    os.waitpid(worker.pid, 0)
                self._let_go(worker)
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            for descriptor in (self._ready_read, self._ready_write, self._wakeup_read, self._wakeup_write):
                os.close(descriptor)
            shutil.rmtree(self._directory, ignore_errors=True)
        return self._code

    # --- one worker ---

    def _start(self, worker: _Worker) -> None:
        stop_read, stop_write = os.pipe2(os.O_CLOEXEC)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(stop_write)
            self._be_worker(
                WorkerSeat(
                    *(worker.number, len(self._workers), self._directory, stop_read, self._ready_write),
                    beat_interval_s=self._beat_interval_s,
                )
            )
        os.close(stop_read)
        worker.pid = pid
        worker.stop_fd = stop_write
        worker.started_s = time.monotonic()
        worker.beat_s = float("inf")
        worker.restart_s = float("inf")

    def _be_worker(self, seat: WorkerSeat) -> NoReturn:
        code = 1
        notifier().forget()
        try:
            # Ctrl-C reaches the whole foreground group; the parent alone decides what it means.
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in _HANDLED:
                # A worker that starts reads the config anyway; by default SIGHUP would end it.
                signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
            for other in self._workers:
                # Held by a sibling, the pipe of another worker would not end with the parent.
                if other.stop_fd >= 0:
                    os.close(other.stop_fd)
            code = self._work(seat)
        except EdgewiseError as error:
            print(f"edgewise: {error.message}", file=sys.stderr)  # noqa: T201
        except BaseException:  # noqa: BLE001 - it must not go on as a second parent
            _LOG.exception("worker %d failed", seat.number)
        finally:
            logging.shutdown()
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _let_go(self, worker: _Worker) -> None:
        if worker.stop_fd >= 0:
            os.close(worker.stop_fd)
            worker.stop_fd = -1

    # --- all of them ---

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._ready_read, selectors.EVENT_READ)
            selector.register(self._wakeup_read, selectors.EVENT_READ)
            while any(worker.pid for worker in self._workers) or self._stop_s == float("inf"):
                now_s = time.monotonic()
                due_s = min(self._stop_s, self._next_beat_s, *(worker.restart_s for worker in self._workers))
                selector.select(None if due_s == float("inf") else max(0.0, due_s - now_s))
                self._note_ready()
                for number in _read(self._wakeup_read):
                    self._on_signal(number)
                self._reap()
                self._act(time.monotonic())

    def _note_ready(self) -> None:
        beats = _read(self._ready_read)
        self._ready.update(beats)
        now_s = time.monotonic()
        for number in set(beats):
            self._workers[number].beat_s = now_s
        if not self._told_ready and len(self._ready) == len(self._workers):
            self._told_ready = True
            self._on_ready()

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            for worker in self._workers:
                if worker.pid:
                    _kill(worker.pid, signal.SIGHUP)
        elif number in (signal.SIGTERM, signal.SIGINT):
            name = signal.Signals(number).name
            if self._stop_s < float("inf"):
                _LOG.warning("%s again: ending at once", name)
                self._code = 128 + number
                self._stop_s = 0.0
            else:
                _LOG.info("%s: stopping the workers; once more ends them at once", name)
                self._stop()

    def _stop(self) -> None:
        notifier().stopping("finishing what is in flight")
        self._stop_s = time.monotonic() + self._drain_timeout_s + _GRACE_S
        for worker in self._workers:
            worker.restart_s = float("inf")
            self._let_go(worker)

    def _reap(self) -> None:
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                worker.pid = 0
                self._let_go(worker)
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, code: int) -> None:
        if self._stop_s < float("inf"):
            self._code = self._code or (code if code >= 0 else 128 - code)
        elif not self._told_ready:
            # What keeps one from starting keeps all of them from it.
            self._code = code if code > 0 else 1
            self._stop()
        else:
            now_s = time.monotonic()
            worker.pause_s = (
                _FIRST_PAUSE_S if now_s - worker.started_s > _STABLE_S else min(2.0 * worker.pause_s, _LONGEST_PAUSE_S)
            )
            worker.restart_s = now_s + worker.pause_s
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            _LOG.error("worker %d ended (%s); starting it again in %.1f s", worker.number, how, worker.pause_s)

    def _act(self, now_s: float) -> None:
        if now_s >= self._stop_s:
            for worker in self._workers:
                if worker.pid:
                    _LOG.error("worker %d did not end in time; killing it", worker.number)
                    _kill(worker.pid, signal.SIGKILL)
                    self._code = self._code or 1
            # They end now; each is taken note of as it does.
            self._stop_s = now_s + _GRACE_S
        if now_s >= self._next_beat_s:
            late_s = now_s - self._next_beat_s
            self._next_beat_s = now_s + self._beat_interval_s
            notifier().beat()
            self._end_hung(now_s, late_s)
        for worker in self._workers:
            if now_s >= worker.restart_s:
                self._start(worker)

    def _end_hung(self, now_s: float, late_s: float) -> None:
        for worker in self._workers:
            # Whatever held this process up may have held the worker up as well: that time does not count, now or at the next look.
            worker.beat_s += late_s
            if worker.pid and now_s - worker.beat_s > self._watchdog_s:
                _LOG.error("worker %d has hung for %.1f s; killing it", worker.number, now_s - worker.beat_s)
                worker.beat_s = float("inf")
                _kill(worker.pid, signal.SIGKILL)


def _remember(_number: int, _frame: object) -> None:
    """The signal's number arrives through the wake-up pipe."""


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except BlockingIOError:
        return b""


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def cannot_listen(host: str, port: int | None, error: OSError) -> FailedPreconditionError:
    """What is told of an address that cannot be listened on."""
    # The loop's own text of the error repeats the address.
    why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    return FailedPreconditionError(
        f"cannot listen on {host_and_port(host, port)}: {why}; choose another port or --host"
    )


def host_and_port(host: str, port: int | None) -> str:
    """An address for people to read."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
