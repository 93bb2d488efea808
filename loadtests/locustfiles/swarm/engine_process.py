"""The open-loop engine in a process of its own, for a locust process that tells it the rate and reads what became of requests.

Nothing of gevent is here, and nothing of asyncio there. Standard input: a frame with a `Setup`, then lines: `rate 12.5`, and
`finish` for no more requests. The end of input ends the process. Standard output: frames with `Batch`es.
"""

import asyncio
import contextlib
import gc
import itertools
import os
import signal
import sys
from time import monotonic_ns
from typing import Any, BinaryIO

import numpy as np
import uvloop
from numpy.typing import NDArray

from edgewise.core.errors import EdgewiseError
from edgewise.net.memory import keep_freed_memory
from edgewise.study.engine.columns import PENDING, Columns, create
from edgewise.study.engine.driver import Driver, resolve
from edgewise.study.engine.job import OTHER_ANSWER, Job, State
from edgewise.study.engine.scheduling import Cores, raise_priority
from swarm import answers
from swarm.engine_messages import Batch, Setup, empty_batch, frame, read_frame
from swarm.live_schedule import LiveSchedule

_AHEAD_NS = 80_000_000
_FEED_S = 0.02
_REPORT_S = 0.2
_LEG_ROWS = 1 << 20
"""Requests that one driver keeps: 36 MB. The next driver is opened when the last quarter is begun."""
_NEVER = 1 << 62


class LiveDriver(Driver):
    """A driver whose rows get their due times while it runs."""

    def __init__(self, job: Job, columns: Columns, addresses: list[Any]) -> None:
        super().__init__(job, columns, addresses)
        self._count = 0

    @property
    def taken_up(self) -> int:
        """Rows that were due so far."""
        return self._next

    def extend(self, count: int) -> None:
        """So many rows have due times now."""
        idle = self._next >= self._count
        self._count = count
        if idle:
            self._arm()

    def finish(self) -> None:
        """No more rows will have any."""
        self.ledger.leave_unsent(self._count)


class Leg:
    """One driver and its rows.

    Args:
        generator: draws the questions.
        rows: at most.

    Attributes:
        room: rows without a due time.
        task: runs the driver.
    """

    def __init__(
        self, setup: Setup, addresses: list[Any], generator: np.random.Generator, rows: int = _LEG_ROWS
    ) -> None:
        fd = create(rows)
        try:
            columns = Columns(fd, rows)
        finally:
            os.close(fd)
        columns.arrays["state"][:] = PENDING
        self.room = rows
        self._columns = columns
        self._arrays = columns.arrays
        self._generator = generator
        self._protocol = setup.protocol
        self._questions = len(setup.job.asking.questions)
        self._count = 0
        self._seen = 0
        self._reported = np.zeros(rows, np.bool_)
        # By answer of the ledger, whose distinct answers are few; behind them those that found no room there.
        self._lengths = np.zeros(OTHER_ANSWER + 1, np.int64)
        self._complaints: list[str] = []
        self._wrong = np.zeros(OTHER_ANSWER + 1, np.bool_)
        self._errors: dict[str, int] = {}
        self._driver = LiveDriver(setup.job, columns, addresses)
        self.task = asyncio.ensure_future(self._driver.run())

    @property
    def start_ns(self) -> int:
        """The zero of its due times on the clock of `monotonic_ns`; far away while connections are being opened."""
        return self._driver.ledger.start_ns if self._columns.counters[3] else _NEVER

    def put(self, due_ns: NDArray[np.int64]) -> None:
        """Add requests.

        Args:
            due_ns: int64 [n], rising, after `start_ns`.
        """
        begin, end = self._count, self._count + len(due_ns)
        arrays = self._arrays
        for name, empty in (("sent_ns", -1), ("ended_ns", -1), ("code", -1), ("answer", OTHER_ANSWER)):
            arrays[name][begin:end] = empty
        arrays["due_ns"][begin:end] = due_ns
        arrays["question"][begin:end] = self._generator.integers(0, self._questions, len(due_ns), np.uint16)
        self._count = end
        self.room -= len(due_ns)
        self._driver.extend(end)

    def finish(self) -> None:
        """Nothing more is added."""
        self._driver.finish()
        self.room = 0

    def report(self) -> Batch:
        """What has ended since it was asked last."""
        arrays, ledger = self._arrays, self._driver.ledger
        window = slice(self._seen, self._driver.taken_up)
        rows = self._seen + np.flatnonzero((arrays["state"][window] != PENDING) & ~self._reported[window])
        self._reported[rows] = True
        behind = np.flatnonzero(~self._reported[window])
        self._seen = self._seen + int(behind[0]) if len(behind) else window.stop
        self._look_into(ledger.answers)
        answer, state = arrays["answer"][rows], arrays["state"][rows]
        errors = {text: count - self._errors.get(text, 0) for text, count in ledger.errors.items()}
        self._errors = dict(ledger.errors)
        for row in np.flatnonzero(self._wrong[answer]):
            state[row] = State.ERROR
            complaint = self._complaints[answer[row]]
            errors[complaint] = errors.get(complaint, 0) + 1
        due_ns = arrays["due_ns"][rows]
        return Batch(
            latency_ms=(arrays["ended_ns"][rows] - due_ns) / 1e6,
            lag_ms=(arrays["sent_ns"][rows] - due_ns) / 1e6,
            state=state,
            length_bytes=self._lengths[answer],
            errors={text: count for text, count in errors.items() if count},
        )

    def _look_into(self, bodies: dict[bytes, int]) -> None:
        """Whether new answers are predictions."""
        for body in itertools.islice(bodies, len(self._complaints), None):
            index = len(self._complaints)
            self._complaints.append(answers.complaint(self._protocol, body))
            self._lengths[index] = len(body)
            self._wrong[index] = bool(self._complaints[index])


class LiveEngine:
    """Sends at the rate that it is told, until it is told to finish.

    Args:
        output: batches go there.
    """

    def __init__(self, setup: Setup, addresses: list[Any], output: asyncio.WriteTransport) -> None:
        self._setup = setup
        self._addresses = addresses
        self._output = output
        self._schedule = LiveSchedule(setup.process, setup.seed, setup.phase)
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((*setup.seed, 1))))
        self._start_ns = 0
        self._rate = 0.0
        self._finishing = False
        self._leg = self._new_leg()
        self._next_leg: Leg | None = None
        self._legs = [self._leg]

    def _new_leg(self) -> Leg:
        return Leg(self._setup, self._addresses, self._generator)

    def command(self, line: str) -> None:
        """Do what a line of the input says."""
        word, _, rest = line.partition(" ")
        if word == "rate":
            self._rate = float(rest)
        elif word == "finish":
            self._finishing = True

    async def run(self) -> None:
        """Until it was told to finish and every request has ended."""
        # The driver tells nobody that it has begun.
        while self._leg.start_ns == _NEVER and not self._leg.task.done():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.001)
        self._start_ns = self._leg.start_ns
        reported_ns = monotonic_ns()
        while not self._finishing and not self._failed():
            self._feed()
            if monotonic_ns() - reported_ns >= _REPORT_S * 1e9:
                reported_ns = monotonic_ns()
                self._report()
            await asyncio.sleep(_FEED_S)
        self._leg.finish()
        if self._next_leg is not None:
            self._next_leg.finish()
        while self._legs:
            await asyncio.wait([leg.task for leg in self._legs], timeout=_REPORT_S)
            self._report()

    def _failed(self) -> bool:
        return any(leg.task.done() for leg in (self._leg, self._next_leg) if leg is not None)

    def _feed(self) -> None:
        """Fix the schedule for the next moment."""
        until_ns = max(self._schedule.fixed_until_ns, monotonic_ns() - self._start_ns + _AHEAD_NS)
        due_ns = self._schedule.extend(until_ns, self._rate)
        while len(due_ns):
            part = due_ns[: self._leg.room]
            self._leg.put(part + (self._start_ns - self._leg.start_ns))
            due_ns = due_ns[len(part) :]
            if len(due_ns):
                if self._next_leg is None or self._next_leg.start_ns == _NEVER:
                    # Only a rate that fills a quarter of a leg before a connection opens comes here.
                    raise RuntimeError("the engine's rows are full")
                self._leg.finish()
                self._leg, self._next_leg = self._next_leg, None
        if self._next_leg is None and self._leg.room < _LEG_ROWS // 4:
            self._next_leg = self._new_leg()
            self._legs.append(self._next_leg)

    def _report(self) -> None:
        # A reader that is busy gets it all later; the rows are kept.
        if self._output.get_write_buffer_size():
            return
        for leg in list(self._legs):
            over = leg.task.done()
            batch = leg.report()
            if len(batch.state):
                self._output.write(frame(batch))
            if over:
                self._legs.remove(leg)
                # A driver that ends gives the collector back to whoever comes next, which is the other driver here.
                if self._legs:
                    gc.disable()
                leg.task.result()


async def _serve(setup: Setup, source: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    drained = asyncio.Event()
    output, _ = await loop.connect_write_pipe(lambda: _Output(drained), sys.stdout)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    try:
        Cores().use(setup.job.cpus)
        engine = LiveEngine(setup, resolve(setup.job.asking.host, setup.job.asking.port), output)
        running = asyncio.ensure_future(engine.run())
        listening = asyncio.ensure_future(_listen(reader, engine))
        await asyncio.wait([running, listening], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            return  # whoever asked is gone
        listening.cancel()
        running.result()
        output.write(frame(empty_batch(ended=True)))
    except EdgewiseError as error:
        output.write(frame(empty_batch(error=str(error), ended=True)))
    finally:
        output.close()
        await drained.wait()


class _Output(asyncio.BaseProtocol):
    """Says when all that was written is out, or has no reader any more."""

    def __init__(self, drained: asyncio.Event) -> None:
        self._drained = drained

    def connection_lost(self, _: Exception | None) -> None:
        self._drained.set()


async def _listen(reader: asyncio.StreamReader, engine: LiveEngine) -> None:
    """Until the end of the input."""
    while line := await reader.readline():
        engine.command(line.decode().strip())


def main() -> None:
    """Until the input ends or everything asked for is done."""
    # Ctrl-C and systemd reach the whole group; the process of locust says what it means, and its end is the end of the input.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    with contextlib.suppress(EOFError):
        # Unbuffered: what is behind the first frame is for the loop.
        source = os.fdopen(0, "rb", buffering=0)
        setup = read_frame(source)
        keep_freed_memory()
        raise_priority()
        uvloop.run(_serve(setup, source))


if __name__ == "__main__":
    main()
