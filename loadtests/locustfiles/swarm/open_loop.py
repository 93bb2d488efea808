"""The open-loop engine as a locust process has it: a process of its own, told the rate, whose results come through a pipe.

Pipes of the patched `subprocess` yield to other greenlets while they wait.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gevent
from gevent.queue import Queue

from swarm.engine_messages import Batch, Setup, empty_batch, frame, read_frame

_ENDING_S = 5.0


class OpenLoop:
    """One engine, from its start until it is finished.

    Args:
        on_batch: told of requests that ended, in a greenlet; the last time with `ended`.
    """

    def __init__(self, setup: Setup, on_batch: Callable[[Batch], None]) -> None:
        self._on_batch = on_batch
        self._timeout_s = setup.job.timeout_s
        self._rate = 0.0
        self._finished = False
        places = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "swarm.engine_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
        )
        self._outbox: Queue[bytes] = Queue()
        # Questions of megabytes fill the pipe until the process has started to read; the test goes on meanwhile.
        self._writer = gevent.spawn(self._write)
        self._reader = gevent.spawn(self._read)
        self._outbox.put(frame(setup))

    def set_rate(self, rate: float) -> None:
        """Requests a second from now on, give or take a tenth of a second."""
        if rate != self._rate and not self._finished:
            self._rate = rate
            self._outbox.put(f"rate {rate!r}\n".encode())

    def finish(self) -> None:
        """Send nothing more, and wait until everything has ended: at most the asker's patience, and a moment."""
        if not self._finished:
            self._finished = True
            self._outbox.put(b"finish\n")
        self._reader.join(self._timeout_s + _ENDING_S)
        self.kill()

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._finished = True
        gevent.killall([self._reader, self._writer])
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            # What was to be written has no reader.
            with contextlib.suppress(OSError):
                pipe.close()

    def _write(self) -> None:
        # Where it has died, the reader tells.
        with contextlib.suppress(OSError):
            for data in self._outbox:
                self._process.stdin.write(data)
                self._process.stdin.flush()

    def _read(self) -> None:
        ended = False
        try:
            while not ended:
                batch = read_frame(self._process.stdout)
                ended = batch.ended
                self._on_batch(batch)
        except EOFError:
            code = self._process.wait()
            self._on_batch(empty_batch(error=f"the open-loop engine died (exit code {code})", ended=True))
