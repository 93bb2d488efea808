"""One run inside the engine's process: requests are taken up when they are due, whatever became of those before.

A timer of the kernel wakes the loop for the next due time; what is due by then is sent, or put in line where all connections
are busy. Since due times rise and the patience is one for all, requests run out of it in their order: a pointer that moves
along the rows stands for a timer a request.
"""

import asyncio
import gc
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic_ns, process_time, time
from typing import Any, Final

from edgewise.core.errors import UnavailableError
from edgewise.study.engine.asker import Asker
from edgewise.study.engine.columns import PENDING, Columns
from edgewise.study.engine.grpc_asker import GrpcAsker
from edgewise.study.engine.http_asker import HttpAsker, SocketAddress
from edgewise.study.engine.job import Job, State
from edgewise.study.engine.ledger import Ledger
from edgewise.study.engine.outcome import Outcome
from edgewise.study.engine.scheduling import waited_s
from edgewise.study.engine.timer import ScheduleTimer

_AT_ONCE: Final = 64  # requests sent before the loop looks at answers again
_TEND_S: Final = 0.01
_LEAD_NS: Final = 20_000_000
_DRAIN_NS: Final = 2_000_000_000
_COLLECT_AFTER: Final = 100
_WARM_S: Final = 0.1
_MIN_WARM: Final = 4
_STOPPED: Final = "the run was stopped before an answer came"


class Driver:
    """One run. Used on the event loop's thread only.

    Args:
        job: without its arrays; the columns have them.
        columns: cleared, with due times and questions in them.
        addresses: of the target.
        on_start: called when all is prepared, just before the schedule begins.
    """

    def __init__(
        self,
        job: Job,
        columns: Columns,
        addresses: list[SocketAddress],
        on_start: Callable[[], None] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.ledger = Ledger(columns, job.timeout_s)
        self._job = job
        self._on_start = on_start
        self._counters = columns.counters
        self._count = len(columns.arrays["due_ns"])
        self._timeout_ns = int(job.timeout_s * 1e9)
        self._line: deque[int] = deque()
        self._next = 0
        self._next_ns = 0
        self._oldest = 0
        self._stopped_ns = 0
        self._collected = 0
        self._loop = loop
        self._over = asyncio.Event()
        self._fault: BaseException | None = None
        loop.set_exception_handler(lambda _, context: self.fault(context.get("exception") or _other(context)))
        kind = HttpAsker if job.asking.transport == "http" else GrpcAsker
        self._asker: Asker = kind(job, self, addresses, loop)
        self._timer = ScheduleTimer(loop, self._due)

    async def run(self) -> Outcome:
        """Send everything, and wait until each request has ended.

        Raises: RuntimeError: a request has ended twice, or never: a fault of the engine.
        """
        ledger = self.ledger
        try:
            ledger.start_ns = monotonic_ns()
            await self._asker.start(self._warm_connections())
            gc.collect()
            gc.freeze()
            gc.disable()
            if self._on_start is not None:
                self._on_start()
            began_s, cpu_s, core_s = time(), process_time(), waited_s()
            ledger.start_ns = monotonic_ns() + _LEAD_NS
            self._counters[4] = ledger.start_ns
            self._arm()
            self._tend()
            await self._over.wait()
            if self._fault is not None:
                raise RuntimeError("the run was given up for a fault of the engine") from self._fault
            ledger.check()
            return Outcome(
                answers=list(ledger.answers),
                sites=[name.decode("utf-8", "replace") for name in ledger.sites],
                errors=ledger.errors,
                started_wall_s=began_s + _LEAD_NS / 1e9,
                cpu_s=process_time() - cpu_s,
                waited_s=waited_s() - core_s,
                stopped=bool(self._stopped_ns),
                opened=self._asker.opened,
                resent=self._asker.resent,
            )
        finally:
            gc.enable()
            gc.unfreeze()
            self._timer.close()
            await self._asker.close()

    def stop(self) -> None:
        """Send nothing more; what is in flight gets a moment to end."""
        if not self._stopped_ns:
            self._stopped_ns = monotonic_ns()
            self._next_ns = 1 << 62
            self.ledger.leave_unsent(self._next)
            self._count = self._next

    def fault(self, error: BaseException) -> None:
        """See `Line`."""
        self._fault = self._fault or error
        self._over.set()

    # --- the schedule ---

    def _warm_connections(self) -> int:
        """As many as answers that take a tenth of a second would need, at the schedule's busiest."""
        due = self.ledger.due
        step = max(1, self._count // 1000)
        window_ns = int(_WARM_S * 1e9)
        most = behind = 0
        for row in range(0, self._count, step):
            while due[row] - due[behind] > window_ns:
                behind += 1
            most = max(most, row - behind + 1)
        return max(_MIN_WARM, most)

    def _arm(self) -> None:
        if self._next < self._count:
            self._next_ns = self.ledger.start_ns + self.ledger.due[self._next]
            self._timer.arm(self._next_ns)
        else:
            self._next_ns = 1 << 62

    def _due(self) -> None:
        ledger = self.ledger
        due, sent = ledger.due, ledger.sent
        start_ns = ledger.start_ns
        line = self._line
        begin = self._asker.begin
        row = self._next
        end = min(self._count, row + _AT_ONCE)
        now_ns = monotonic_ns() - start_ns
        while row < end and due[row] <= now_ns:
            sent[row] = now_ns
            # Before it is begun: whoever is told of an answer meanwhile looks for the next one.
            self._next = row + 1
            self._next_ns = 1 << 62
            if line or not begin(row):
                line.append(row)
                self._asker.wanted()
            row += 1
            now_ns = monotonic_ns() - start_ns
        self._arm()

    def answered(self) -> None:
        """See `Line`."""
        if monotonic_ns() >= self._next_ns:
            self._due()

    # --- the line ---

    def take(self) -> int:
        """See `Line`."""
        line, state = self._line, self.ledger.state
        while line:
            row = line.popleft()
            if state[row] == PENDING:
                return row
        return -1

    def put_back(self, row: int) -> None:
        """See `Line`."""
        self._line.appendleft(row)

    def waiting(self) -> int:
        """See `Line`."""
        return len(self._line)

    # --- from time to time ---

    def _tend(self) -> None:
        ledger = self.ledger
        now_ns = monotonic_ns()
        self._expire(now_ns - ledger.start_ns)
        self._asker.tend(now_ns)
        if self._stopped_ns and now_ns > self._stopped_ns + _DRAIN_NS:
            self._abandon()
        if ledger.failed - self._collected >= _COLLECT_AFTER:
            # Failures leave exceptions that refer to each other, and nobody else collects them now.
            self._collected = ledger.failed
            gc.collect()
        counters = self._counters
        counters[0] = self._next
        counters[1] = ledger.ended
        counters[2] = ledger.failed
        counters[3] = now_ns
        if ledger.ended >= len(ledger.state):
            self._over.set()
        else:
            self._loop.call_later(_TEND_S, self._tend)

    def _expire(self, now_ns: int) -> None:
        ledger = self.ledger
        state, due = ledger.state, ledger.due
        row = self._oldest
        before_ns = now_ns - self._timeout_ns
        while row < self._next:
            if state[row] == PENDING:
                if due[row] > before_ns:
                    break
                ledger.expire(row)
                self._asker.give_up(row)
            row += 1
        self._oldest = row
        line = self._line
        while line and state[line[0]] != PENDING:
            line.popleft()

    def _abandon(self) -> None:
        ledger = self.ledger
        self._line.clear()
        for row in range(self._oldest, self._next):
            if ledger.state[row] == PENDING:
                ledger.refused(row, ledger.now_ns(), State.LOST, -1, _STOPPED)
                self._asker.give_up(row)


def _other(context: dict[str, Any]) -> RuntimeError:
    return RuntimeError(str(context.get("message", "the event loop reports a fault")))


def resolve(host: str, port: int) -> list[SocketAddress]:
    """The addresses of a target.

    Raises: UnavailableError: its name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UnavailableError(f"the target {host}:{port} cannot be looked up: {why}") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))
