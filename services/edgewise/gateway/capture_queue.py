"""Between the loop and the spool: a bounded queue, and the thread that makes samples of what is in it.

The loop puts references there and goes on. Where the thread cannot follow, what comes then is dropped and counted: no request waits for a
disk.
"""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from edgewise.gateway.capture_samples import Taken, UnusableError, agreed, record_of
from edgewise.spool import SpoolCounters

_LOG: Final = logging.getLogger(__name__)
MAX_WAITING: Final = 256
MAX_WAITING_BYTES: Final = 32 << 20
QUEUE_FULL: Final = "queue-full"
FAILED: Final = "failed"
_FLUSH_S: Final = 1.0
_COMPLAIN_S: Final = 60.0
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
        self.dropped: Counter[str] = Counter()
        self._site = site
        self._monotonic_s = monotonic_s
        self._queue: queue.SimpleQueue[Taken | None] = queue.SimpleQueue()
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
        if (
            self._closed
            or self._put - self._got >= MAX_WAITING
            or self._put_bytes - self._got_bytes + size_bytes > MAX_WAITING_BYTES
        ):
            self.dropped[QUEUE_FULL] += 1
            return False
        self._put += 1
        self._put_bytes += size_bytes
        self._queue.put(taken)
        return True

    def close(self) -> None:
        """Write what waits, and close the spool; may take some seconds. Nothing can be put afterwards."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(_CLOSE_TIMEOUT_S)
            if self._thread.is_alive():
                _LOG.error("the samples that wait were not written within %g s and are lost", _CLOSE_TIMEOUT_S)

    # --- the thread

    def _run(self) -> None:
        flush_s = self._monotonic_s() + _FLUSH_S
        going = True
        while going:
            try:
                taken = self._queue.get(timeout=max(0.0, flush_s - self._monotonic_s()))
            except queue.Empty:
                pass
            else:
                going = taken is not None
                if taken is not None:
                    self._quietly(lambda taken=taken: self._write(taken))  # type: ignore[misc]
                    self._got += 1
                    self._got_bytes += taken.size_bytes
                del taken
            now_s = self._monotonic_s()
            if now_s >= flush_s:
                flush_s = now_s + _FLUSH_S
                self._quietly(self._keep)
        self._quietly(self.spool.close)

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

    def _quietly(self, work: Callable[[], None]) -> None:
        """Whatever goes wrong with samples is counted and told once a minute; apps never notice."""
        try:
            work()
        except Exception:  # noqa: BLE001 - see above
            self.dropped[FAILED] += 1
            now_s = self._monotonic_s()
            if now_s - self._complained_s >= _COMPLAIN_S:
                self._complained_s = now_s
                _LOG.exception("a sample could not be kept; further ones are counted and not told of for a minute")
