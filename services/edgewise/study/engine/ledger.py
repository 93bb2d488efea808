"""What became of each request, written down once.

PENDING ──`end`──► one `State`, for good. Whoever ends a request twice, or leaves one, has a fault: it is raised.
"""

from time import monotonic_ns
from typing import Final

import numpy as np

from edgewise.study.engine.columns import PENDING, Columns
from edgewise.study.engine.job import OTHER_ANSWER, State

MAX_ANSWERS: Final = 4096
MAX_ANSWERS_BYTES: Final = 64 << 20
MAX_ANSWER_BYTES: Final = 64 << 10
"""A longer answer is not looked up: that would cost more than sending the next request."""
MAX_ERRORS: Final = 64
OTHER_ERRORS: Final = "(other errors)"
_MAX_SITES: Final = 255
_MAX_TEXT: Final = 300
_OK: Final = int(State.OK)
LATE: Final = "no answer within the timeout"
"""How a request ends whose asker ran out of patience."""
_LOST: Final = int(State.LOST)

Origin = tuple[int, int, int]
"""Who answered: index of the site, attempts, version of the model."""
NOBODY: Final[Origin] = (0, 0, 0)


class Ledger:
    """The rows of one run.

    Args:
        columns: cleared, with the due times in them.
        timeout_s: an answer that comes later than this after the due time is none.

    Attributes:
        start_ns: the run's zero on the clock of `monotonic_ns`.
        due, sent, state: of the columns, by row.
        ended, failed: requests that have ended, and of them those without a prediction.
        answers, sites, errors: see `Recording`.
    """

    def __init__(self, columns: Columns, timeout_s: float) -> None:
        views = columns.views
        self.due = views["due_ns"]
        self.sent = views["sent_ns"]
        self.state = views["state"]
        self.question = views["question"]
        self._ended = views["ended_ns"]
        self._code = views["code"]
        self._answer = views["answer"]
        self._site = views["site"]
        self._attempts = views["attempts"]
        self._version = views["version"]
        self._columns = columns
        self._timeout_ns = int(timeout_s * 1e9)
        self.start_ns = 0
        self.ended = 0
        self.failed = 0
        self.answers: dict[bytes, int] = {}
        self.errors: dict[str, int] = {}
        self.sites: dict[bytes, int] = {b"": 0}
        self._answers_bytes = 0

    def now_ns(self) -> int:
        """Since the start."""
        return monotonic_ns() - self.start_ns

    def predicted(self, row: int, now_ns: int, code: int, body: bytes | bytearray | memoryview, origin: Origin) -> None:
        """A prediction came.

        Args:
            now_ns: since the start.
            code: HTTP or gRPC status.
        """
        if now_ns - self.due[row] > self._timeout_ns:
            self.expire(row)
            return
        self._end(row, now_ns, _OK, code)
        if origin is not NOBODY:
            self._site[row], self._attempts[row], self._version[row] = origin
        if len(body) <= MAX_ANSWER_BYTES:
            key = body if type(body) is bytes else bytes(body)
            index = self.answers.get(key)
            if index is None:
                index = self._new_answer(key)
            self._answer[row] = index

    def refused(  # noqa: PLR0917 - as often as `predicted` where a server is over its capacity
        self, row: int, now_ns: int, state: State, code: int, text: str, origin: Origin = NOBODY
    ) -> None:
        """There is no prediction: another answer came, or none will.

        Args:
            state: any but OK.
            code: HTTP or gRPC status, -1 when nobody answered.
            text: why, for people.
        """
        if code >= 0 and now_ns - self.due[row] > self._timeout_ns:
            self.expire(row)
            return
        self._end(row, now_ns, state, code)
        self._site[row], self._attempts[row], self._version[row] = origin
        self._note(text)

    def expire(self, row: int) -> None:
        """The asker's patience is over; whether that was noticed at once or later makes no difference."""
        self._end(row, self.due[row] + self._timeout_ns, _LOST, -1)
        self._note(LATE)

    def site(self, name: bytes) -> int:
        """The index of a site's name; 0, of the nameless one, for names beyond the table."""
        index = self.sites.get(name)
        if index is None:
            if len(self.sites) >= _MAX_SITES:
                return 0
            index = self.sites[name] = len(self.sites)
        return index

    def leave_unsent(self, first: int) -> None:
        """The run was stopped before the requests from this one on were due."""
        states = self._columns.arrays["state"][first:]
        if len(states) and not np.all(states == PENDING):
            raise RuntimeError("a request that was not due yet has ended")
        states[:] = int(State.UNSENT)
        self.ended += len(states)

    def check(self) -> None:
        """Each request has ended.

        Raises: RuntimeError: otherwise.
        """
        states = self._columns.arrays["state"]
        left = int(np.count_nonzero(states == PENDING))
        if left or self.ended != len(states):
            raise RuntimeError(f"of {len(states)} requests {left} have no end, and {self.ended} ends were counted")

    def _end(self, row: int, ended_ns: int, state: int, code: int) -> None:
        if self.state[row] != PENDING:
            raise RuntimeError(f"request {row} ended twice")
        self.state[row] = state
        self._ended[row] = ended_ns
        self._code[row] = code
        self.ended += 1
        if state != _OK:
            self.failed += 1

    def _new_answer(self, body: bytes) -> int:
        if len(self.answers) >= MAX_ANSWERS or self._answers_bytes + len(body) > MAX_ANSWERS_BYTES:
            return OTHER_ANSWER
        self._answers_bytes += len(body)
        index = self.answers[body] = len(self.answers)
        return index

    def _note(self, text: str) -> None:
        text = text[:_MAX_TEXT]
        errors = self.errors
        if text not in errors and len(errors) >= MAX_ERRORS - 1:
            text = OTHER_ERRORS
        errors[text] = errors.get(text, 0) + 1
