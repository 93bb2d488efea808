"""Between the loop and the spool: a bounded queue, and the thread that makes samples of what is in it.

The loop puts references there and goes on. Where the thread cannot follow, what comes then is dropped and counted: no request waits for a
disk. The thread wakes once a second, or when some have come together: each time it does it finds the caches cold, and has the first sample
cost ten times what the next ones do.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from edgewise.gateway.capture_samples import TOO_LARGE, UNREADABLE, Taken, UnusableError, agreed, record_of
from edgewise.spool import SpoolCounters

_LOG: Final = logging.getLogger(__name__)
MAX_WAITING: Final = 256
MAX_WAITING_BYTES: Final = 32 << 20
WAKE_AT: Final = 32
"""So many are worth waking the thread for."""
_WAKE_AT_BYTES: Final = MAX_WAITING_BYTES // 8
QUEUE_FULL: Final = "queue-full"
FAILED: Final = "failed"
KEEP_S: Final = 1.0
"""What was taken is on the disk so much later."""
_COMPLAIN_S: Final = 60.0
_NOT_KEPT: Final = "a sample could not be kept"
_NOT_TENDED: Final = "the spool could not be flushed or closed"
_CLOSE_TIMEOUT_S: Final = 5.0


class Spool(Protocol):
    """What is asked of a `SpoolWriter`."""

    counters: SpoolCounters

    def offer(self, sample_id: str, priority: int, record: bytes) -> bool:
        """Take a record in; False where it was refused, which it counts."""
        ...

    def flush(self) -> int:
        """Have the disk hold what was taken in."""
        ...

    def tick(self) -> None:
        """Close segments that are old."""
        ...

    def close(self) -> None:
        """Accept what was taken in, and close all segments."""
        ...


class SampleQueue:
    """One process' way to the spool.

    Args:
        spool: used by this queue's thread alone from now on.
        site: where samples are captured.
        monotonic_s: for the limit of disagreements.

    Attributes:
        written: samples that the spool took.
        dropped: what became no sample, by reason; what the spool refused is in its own counters.
        compared, disagreed: requests that two sites answered, and those that they answered differently.
    """

    def __init__(self, spool: Spool, site: str, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.spool = spool
        self.written = 0
        self.compared = self.disagreed = 0
        # All keys are there from the start: the loop reads while the thread counts.
        self.dropped: Counter[str] = Counter({QUEUE_FULL: 0, TOO_LARGE: 0, UNREADABLE: 0, FAILED: 0})
        self._site = site
        self._monotonic_s = monotonic_s
        self._waiting: deque[Taken] = deque()
        self._wake = threading.Event()
        # One number is written by the loop alone, the other by the thread alone: what waits is between them.
        self._put = self._put_bytes = 0
        self._got = self._got_bytes = 0
        self._complained_s = float("-inf")
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)

    def start(self) -> None:
        """Have the thread run."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._put - self._got

    def put(self, taken: Taken) -> bool:
        """Hand one over; on the loop's thread.

        Returns: False where it was dropped, since too many wait.
        """
        size_bytes = taken.size_bytes
        count = self._put - self._got
        waiting_bytes = self._put_bytes - self._got_bytes + size_bytes
        if self._closed or count >= MAX_WAITING or waiting_bytes > MAX_WAITING_BYTES:
            self.dropped[QUEUE_FULL] += 1
            return False
        self._put += 1
        self._put_bytes += size_bytes
        self._waiting.append(taken)
        if (count >= WAKE_AT or waiting_bytes >= _WAKE_AT_BYTES) and not self._wake.is_set():
            self._wake.set()
        return True

    def end(self) -> None:
        """Nothing can be put from now on. On the loop's thread, so that nothing comes behind what the thread takes for the last."""
        self._closed = True
        self._wake.set()

    def close(self) -> None:
        """Write what waits, and close the spool; may take some seconds, and needs not be on the loop's thread after `end`."""
        self.end()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_TIMEOUT_S)
            if self._thread.is_alive():
                _LOG.error("the samples that wait were not written within %g s and are lost", _CLOSE_TIMEOUT_S)

    # --- the thread

    def _run(self) -> None:
        keep_s = self._monotonic_s() + KEEP_S
        going = True
        while going:
            self._wake.wait(max(0.0, keep_s - self._monotonic_s()))
            self._wake.clear()
            # Looked at before the queue: what is in it then is the last there will be.
            going = not self._closed
            self._write_waiting()
            now_s = self._monotonic_s()
            if now_s >= keep_s:
                keep_s = now_s + KEEP_S
                self._quietly(self._keep, _NOT_TENDED)
        self._quietly(self.spool.close, _NOT_TENDED)

    def _write_waiting(self) -> None:
        # What comes meanwhile is for the next turn: under a load that never ends, the spool has to be flushed as well.
        for _ in range(len(self._waiting)):
            taken = self._waiting.popleft()
            size_bytes = taken.size_bytes
            if not self._quietly(partial(self._write, taken), _NOT_KEPT):
                self.dropped[FAILED] += 1
            self._got += 1
            self._got_bytes += size_bytes

    def _keep(self) -> None:
        self.spool.flush()
        self.spool.tick()

    def _write(self, taken: Taken) -> None:
        if taken.other is not None:
            self._compare(taken)
        if not taken.reasons:
            return
        try:
            sample, record = record_of(taken, self._site)
        except UnusableError as error:
            self.dropped[str(error)] += 1
            return
        self.written += self.spool.offer(sample.sample_id, sample.priority, record)

    def _compare(self, taken: Taken) -> None:
        same = agreed(taken)
        if same is None:
            return
        self.compared += 1
        if not same:
            self.disagreed += 1
            taken.reasons = taken.chooser.disagreed(taken.reasons, self._monotonic_s())

    def _quietly(self, work: Callable[[], None], problem: str) -> bool:
        """Whether it was done; whatever goes wrong is told once a minute, and apps never notice."""
        try:
            work()
        except Exception:  # noqa: BLE001 - see above
            now_s = self._monotonic_s()
            if now_s - self._complained_s >= _COMPLAIN_S:
                self._complained_s = now_s
                _LOG.exception("%s; what fails within the next minute is not told of", problem)
            return False
        return True
