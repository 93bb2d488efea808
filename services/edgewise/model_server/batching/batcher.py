"""Runs one loaded version of a model: carries out what `core.batching` decides.

    event loop                                            worker threads (one per instance)
    ──────────                                            ─────────────────────────────────
    submit, cancel ─▶ events ─ call_soon ─▶ BatchQueue ─ Run ─▶ run the batch ─▶ BatchQueue.handle(Finished)
                                             │     ▲                 ▲                    │
                             Expire, Reject ◀┘     │ timer           └───── next Run ─────┤
                                                                                          │
    done(...) ◀──────────────────── one call_soon_threadsafe a batch ◀────────────────────┘

The queue is behind a lock so that a worker asks for its next batch itself: between two batches of a busy model there
is no turn of the event loop. What is submitted in one turn of the loop is handed to the queue together. A run known to
be shorter than a thread switch is made on the loop (see `core.batching.run_times`). Unless batch sizes are
prescribed, batches grow only as far as that makes them quicker per row (see `core.batching.worthwhile`).

`done`, `on_batch` and every method belong to the event loop; only the queue and `Runner.run` are touched by threads.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from numpy.typing import NDArray

from edgewise.core.batching import (
    Arrived,
    BatchQueue,
    BatchSettings,
    Cancelled,
    Event,
    Expire,
    Finished,
    Instruction,
    Reject,
    Run,
)
from edgewise.core.errors import (
    DeadlineExceededError,
    EdgewiseError,
    ResourceExhaustedError,
    UnavailableError,
)
from edgewise.model_server.backends.port import LoadedModel
from edgewise.model_server.batching.runs import BatchRun, Done, Kinds, Runner, Ticket, size
from edgewise.model_server.batching.workers import Threads, Workers
from edgewise.model_server.config.model_config import Batching

_log = logging.getLogger(__name__)

# After this long on the loop, further short runs wait for a turn, so that sockets are not starved.
_INLINE_TURN_S = 0.001
_NEVER_S = float("inf")


class BatchStats(NamedTuple):
    """One run of the backend.

    Attributes:
        requests, rows: that were answered by it; rows counts 1 for each request that cannot be batched.
        padded_rows: rows added to reach an allowed size.
        queue_s: how long the request that waited longest had waited.
        compute_s: from the start to the outputs.
        inline: whether it was made on the event loop.
    """

    signature: str
    requests: int
    rows: int
    padded_rows: int
    queue_s: float
    compute_s: float
    inline: bool


class Batcher:
    """Queues, batches and runs the requests for one version.

    Args:
        threads: where runs are made; by default threads of its own, one per instance. A pool that is given stays open
            after `close`, and must have a thread for every instance of every batcher that uses it.
        on_batch: told of every run, on the loop.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: Batching,
        *,
        loop: asyncio.AbstractEventLoop,
        threads: Threads | None = None,
        on_batch: Callable[[BatchStats], None] | None = None,
    ) -> None:
        self._runner = Runner(model)
        self._settings = settings
        self._loop = loop
        self._on_batch = on_batch
        self._own_workers = Workers(settings.instances)
        self._threads: Threads = threads or self._own_workers
        self._queue: BatchQueue[Ticket] = BatchQueue(
            BatchSettings(
                max_batch_size=settings.max_batch_size,
                max_delay_s=settings.max_delay_ms / 1e3,
                allowed_batch_sizes=settings.allowed_batch_sizes,
                max_queue=settings.max_queue,
                instances=settings.instances,
            )
        )
        self._lock = Lock()
        # Where sizes are prescribed, they are the ones to use.
        self._learns = not settings.allowed_batch_sizes
        self._kinds = Kinds(model, settings)
        self._pending = 0
        self._on_cancel = self._cancel
        self._events: list[Event[Ticket]] = []
        self._flushing = False
        self._short_runs: deque[Run[Ticket]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = _NEVER_S
        self._drainers: list[asyncio.Future[None]] = []
        self._closed = False

    # --- for the dataplane

    @property
    def pending(self) -> int:
        """Requests that have no answer yet and were not cancelled."""
        return self._pending

    @property
    def running(self) -> int:
        """Runs under way. The model may be closed once the batcher is closed and this is 0."""
        return self._queue.running

    def submit(
        self,
        signature: str,
        inputs: dict[str, NDArray[Any]],
        outputs: tuple[str, ...],
        *,
        rows: int | None,
        deadline_s: float | None,
        done: Done,
    ) -> Ticket:
        """Queue a request.

        Args:
            signature: a name among the model's.
            inputs: fit the signature; not to be changed until `done` is called.
            outputs: names of the outputs wanted, at least one.
            rows: examples, the length of dimension 0 of every input; None when they cannot be counted, and the request
                cannot be batched.
            deadline_s: on the scale of `time.monotonic()`, which is that of `loop.time()`; None for none.
            done: called once, on the loop and never from within `submit`, with the outputs by name or an error, the
                seconds spent waiting and the seconds spent running. Arrays may be views of larger ones and are
                not to be written to.
        """
        kind = self._kinds.find(signature, inputs, outputs)
        if not kind.batchability.possible:
            rows = None
        ticket = Ticket(kind, inputs, rows or 0, monotonic(), done, self._on_cancel)
        most_rows = kind.worthwhile.rows if self._learns else None
        self._events.append(Arrived(ticket, kind, rows, deadline_s, most_rows))
        self._pending += 1
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return ticket

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is pending and no run is under way.

        Returns: whether that came about within `timeout_s`.
        """
        if self._is_idle():
            return True
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._drainers.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            if waiter in self._drainers:
                self._drainers.remove(waiter)
        return True

    def close(self) -> None:
        """Refuse what waits and what is submitted from now on, with UnavailableError; runs under way are answered."""
        if self._closed:
            return
        self._closed = True
        self._flush()
        with self._lock:
            waiting = list(self._queue.waiting_ids())
            self._queue.handle(monotonic(), *[Cancelled(ticket) for ticket in waiting])
        for ticket in waiting:
            self._settle(ticket, _unloading(), monotonic() - ticket.submitted_s)
        self._set_timer()
        self._own_workers.close()
        self._wake_drainers()

    # --- on the loop

    def _cancel(self, ticket: Ticket) -> None:
        ticket.done = None
        ticket.inputs = None
        self._pending -= 1
        self._events.append(Cancelled(ticket))
        self._flush_soon()

    def _flush(self) -> None:
        """Hand the queue what came since the last turn, and time."""
        self._flushing = False
        events = self._events
        self._events = []
        if self._closed:
            events = self._refuse(events)
        with self._lock:
            instructions = self._queue.handle(monotonic(), *events)
        self._carry_out(instructions)
        self._run_short()

    def _refuse(self, events: list[Event[Ticket]]) -> list[Event[Ticket]]:
        for event in events:
            if isinstance(event, Arrived):
                self._settle(event.id, _unloading(), 0.0)
        return [event for event in events if not isinstance(event, Arrived)]

    def _carry_out(self, instructions: list[Instruction[Ticket]]) -> None:
        for instruction in instructions:
            if isinstance(instruction, Run):
                if self._is_short(instruction):
                    self._short_runs.append(instruction)
                else:
                    self._start(instruction)
            elif isinstance(instruction, Expire):
                ticket = instruction.id
                error = DeadlineExceededError("the deadline passed before the model answered; allow more time")
                self._settle(ticket, error, monotonic() - ticket.submitted_s)
            else:
                self._reject(instruction)
        if self._queue.next_wakeup_s < self._timer_s:
            self._set_timer()

    def _reject(self, instruction: Reject[Ticket]) -> None:
        retry_after_s = instruction.retry_after_s
        message = (
            f"the model's queue is full ({self._settings.max_queue} requests wait); retry in {retry_after_s:.2g} s"
        )
        self._settle(instruction.id, ResourceExhaustedError(message, retry_after_s=retry_after_s), 0.0)

    def _is_short(self, run: Run[Ticket]) -> bool:
        ids = run.ids
        kind = ids[0].kind
        if kind.never_inline:
            return False
        return kind.times(size(run)).inline

    def _start(self, run: Run[Ticket]) -> None:
        try:
            self._threads.submit(self._work, run)
        except RuntimeError:
            # The pool was shut down while requests waited.
            for ticket in run.ids:
                self._settle(ticket, _unloading(), monotonic() - ticket.submitted_s)
            self._events.append(Finished(run.batch_id))
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _run_short(self) -> None:
        """Make the runs that are shorter than a thread switch."""
        short_runs = self._short_runs
        if short_runs:
            turn_ends_s = monotonic() + _INLINE_TURN_S
            while short_runs:
                run = short_runs.popleft()
                batch = self._runner.run(run, inline=True)
                with self._lock:
                    instructions = self._queue.handle(monotonic(), Finished(run.batch_id))
                self._deliver(batch)
                if instructions:
                    self._carry_out(instructions)
                if short_runs and monotonic() > turn_ends_s:
                    self._flush_soon()
                    break
        if self._drainers:
            self._wake_drainers()

    def _finished(self, batch: BatchRun, instructions: list[Instruction[Ticket]]) -> None:
        """A worker made a run; `instructions` is what it could not carry out itself."""
        self._deliver(batch)
        self._carry_out(instructions)
        self._run_short()

    def _deliver(self, batch: BatchRun) -> None:
        tickets, results, started_s, compute_s, rows, padded_rows, inline = batch
        kind = tickets[0].kind
        if rows:
            kind.ran(rows + padded_rows, compute_s, inline=inline)
        if self._on_batch is not None and rows:
            queue_s = started_s - min([ticket.submitted_s for ticket in tickets])
            try:
                self._on_batch(BatchStats(kind.signature, len(tickets), rows, padded_rows, queue_s, compute_s, inline))
            except Exception:  # noqa: BLE001 - a caller's fault must not stop the queue
                _log.exception("counting a batch failed")
        for ticket, result in zip(tickets, results, strict=True):
            done = ticket.done
            if done is not None and result is not None:
                ticket.done = None
                ticket.inputs = None
                self._pending -= 1
                try:
                    done(result, started_s - ticket.submitted_s, compute_s)
                except Exception:  # noqa: BLE001 - a caller's fault must not stop the queue
                    _log.exception("delivering an answer failed")

    def _settle(self, ticket: Ticket, error: EdgewiseError, queue_s: float) -> None:
        """End a request without a run."""
        done = ticket.done
        if done is not None:
            ticket.done = None
            ticket.inputs = None
            self._pending -= 1
            try:
                done(error, queue_s, 0.0)
            except Exception:  # noqa: BLE001 - a caller's fault must not stop the queue
                _log.exception("delivering an error failed")

    def _set_timer(self) -> None:
        """Wake up when the queue wants it. A timer that is early costs less than one moved with every request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wakeup_s = self._timer_s = self._queue.next_wakeup_s
        if wakeup_s < _NEVER_S:
            self._timer = self._loop.call_later(max(0.0, wakeup_s - monotonic()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_s = _NEVER_S
        self._flush()

    def _is_idle(self) -> bool:
        return self._pending == 0 and self._queue.running == 0

    def _wake_drainers(self) -> None:
        if self._is_idle():
            for waiter in self._drainers:
                if not waiter.done():
                    waiter.set_result(None)

    # --- in worker threads

    def _work(self, run: Run[Ticket]) -> None:
        """Make a run, and the next as long as there is one for a thread."""
        next_run: Run[Ticket] | None = run
        while next_run is not None:
            run, next_run = next_run, None
            batch = self._runner.run(run, inline=False)
            with self._lock:
                instructions = self._queue.handle(monotonic(), Finished(run.batch_id))
                for index, instruction in enumerate(instructions):
                    if isinstance(instruction, Run) and not self._is_short(instruction):
                        next_run = instruction
                        del instructions[index]
                        break
            try:
                self._loop.call_soon_threadsafe(self._finished, batch, instructions)
            except RuntimeError:
                # The loop is closed: nobody waits for this answer nor for any that follows.
                return


def _unloading() -> UnavailableError:
    return UnavailableError("this version of the model is being unloaded; try again", retry_after_s=1.0)
