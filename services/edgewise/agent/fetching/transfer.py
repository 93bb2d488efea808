"""One file of a source onto the disk: hashed while it is written, tried again, resumed where it was cut."""

import contextlib
import hashlib
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from edgewise.agent.fetching.disk import check_room, disk_errors
from edgewise.agent.fetching.port import Body, Piece, Source, TransferError
from edgewise.agent.fetching.progress import Progress, shown_bytes
from edgewise.agent.fetching.retries import MAX_RETRY_AFTER_S, RetryPolicy
from edgewise.agent.fetching.tree import MAX_BYTES, Written
from edgewise.core.errors import DeadlineExceededError, FailedPreconditionError, UnavailableError

# A try that brought this much further was not in vain: the next failure is the first in a row again.
WORTHWHILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Terms:
    """What bounds a transfer.

    Attributes:
        policy: of retries.
        deadline_s: when all of it must have ended, on the clock of `now_s`.
        max_bytes: the greatest file that is taken.
        now_s, wait_s, draw: a monotonic clock, what waits so many seconds, and uniform draws in [0, 1).
    """

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    deadline_s: float = float("inf")
    max_bytes: int = MAX_BYTES
    now_s: Callable[[], float] = time.monotonic
    wait_s: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random

    def check_deadline(self) -> None:
        """Refuse to go on once the time is over.

        Raises:
            DeadlineExceededError: it is.
        """
        if self.now_s() >= self.deadline_s:
            raise DeadlineExceededError("the time for this fetch is over; give it more with --timeout SECONDS")


class Retries:
    """Waits between tries, and gives up."""

    def __init__(self, terms: Terms, say: Callable[[str], None]) -> None:
        self._terms = terms
        self._say = say
        self._failures = 0

    def succeeded(self) -> None:
        """The next failure is the first in a row."""
        self._failures = 0

    def wait(self, error: TransferError) -> None:
        """Wait before the next try.

        Raises:
            UnavailableError: there have been enough.
            DeadlineExceededError: the time is over.
        """
        self._failures += 1
        terms = self._terms
        delay_s = terms.policy.delay_s(self._failures, retry_after_s=error.retry_after_s, draw=terms.draw())
        if delay_s is None:
            if error.retry_after_s is not None and error.retry_after_s > MAX_RETRY_AFTER_S:
                raise UnavailableError(
                    f"{error.message}; it asks to come back in {error.retry_after_s:.0f} s, which is too long to wait here"
                ) from error
            times = "once" if self._failures == 1 else f"{self._failures} times in a row"
            raise UnavailableError(f"{error.message}; it was tried {times}") from error
        terms.check_deadline()
        self._say(f"{error.message}; trying again in {delay_s:.1f} s")
        terms.wait_s(min(delay_s, max(0.0, terms.deadline_s - terms.now_s())))
        terms.check_deadline()


def receive(source: Source, piece: Piece, target: Path, *, terms: Terms, progress: Progress) -> Written:
    """Bring one piece to a file that does not exist yet, and make it last.

    Raises:
        UnavailableError: it failed too often in a row.
        DeadlineExceededError: the time is over.
        ResourceExhaustedError: there is no room for it.
        FailedPreconditionError: it is larger than what is taken, or not what its digest or size says.
        EdgewiseError: what the source says; trying again would not help.
    """
    retries = Retries(terms, progress.say)
    best_bytes = 0
    with disk_errors(target), target.open("xb", buffering=0) as file:
        arrival = _Arrival(file, target.parent, piece, terms, progress)
        while True:
            try:
                arrival.take(source.open(piece, arrival.size_bytes))
                break
            except TransferError as error:
                if arrival.size_bytes >= best_bytes + WORTHWHILE_BYTES:
                    best_bytes = arrival.size_bytes
                    retries.succeeded()
                retries.wait(error)
        os.fsync(file.fileno())
        written = arrival.written()
    if piece.sha256 and written.sha256 != piece.sha256:
        raise FailedPreconditionError(
            f"{piece.name or piece.locator} has the SHA-256 {written.sha256}, expected {piece.sha256}: the source is damaged"
        )
    return written


class _Arrival:
    """A file that grows, and may begin anew."""

    def __init__(self, file: BinaryIO, directory: Path, piece: Piece, terms: Terms, progress: Progress) -> None:
        self._file = file
        self._directory = directory
        self._piece = piece
        self._terms = terms
        self._progress = progress
        self._digest = hashlib.sha256()
        self._roomy = False
        self.size_bytes = 0

    def take(self, body: Body) -> None:
        with contextlib.closing(body):
            self._begin(body)
            for chunk in body.chunks:
                self._write(memoryview(chunk))
                self._terms.check_deadline()
        if body.total_bytes is not None and self.size_bytes < body.total_bytes:
            raise TransferError(
                f"the connection was cut after {shown_bytes(self.size_bytes)} of {shown_bytes(body.total_bytes)}"
            )

    def written(self) -> Written:
        return Written(self.size_bytes, self._digest.hexdigest())

    def _begin(self, body: Body) -> None:
        expected_bytes = self._piece.size_bytes
        total_bytes = body.total_bytes if body.total_bytes is not None else expected_bytes
        if expected_bytes is not None and total_bytes != expected_bytes:
            raise FailedPreconditionError(
                f"{self._piece.name or self._piece.locator} has {total_bytes} bytes, expected {expected_bytes}: "
                "it was changed at the source meanwhile"
            )
        if total_bytes is not None:
            if total_bytes > self._terms.max_bytes:
                raise self._too_large(total_bytes)
            if not self._roomy:
                check_room(self._directory, total_bytes - body.start_bytes)
                self._roomy = True
        if expected_bytes is None and total_bytes is not None:
            self._progress.total_bytes = total_bytes
        if body.start_bytes != self.size_bytes:
            self._progress.add(-self.size_bytes)
            self._file.seek(0)
            self._file.truncate()
            self._digest = hashlib.sha256()
            self.size_bytes = 0

    def _write(self, chunk: memoryview) -> None:
        size_bytes = self.size_bytes + len(chunk)
        if size_bytes > self._terms.max_bytes:
            raise self._too_large(size_bytes)
        left = chunk
        while left:
            left = left[self._file.write(left) :]
        self._digest.update(chunk)
        self.size_bytes = size_bytes
        self._progress.add(len(chunk))

    def _too_large(self, size_bytes: int) -> FailedPreconditionError:
        return FailedPreconditionError(
            f"{self._piece.name or self._piece.locator} has {shown_bytes(size_bytes)} or more; "
            f"{shown_bytes(self._terms.max_bytes)} is the most that is taken"
        )
