"""One kind of user in one test: whom and what it asks, and by which engine."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgewise.study.engine.job import Asking, Job, Question, State
from swarm.asking import GRPC_PROTOCOLS, Target
from swarm.engine_messages import Batch, Setup
from swarm.figures import CLOSED, OPEN, Figures
from swarm.phases import Phases

_FIRED_AT_ONCE = 200


class Lane:
    """What the users of one class do, in this process.

    Args:
        phases: which engine sends when.
        options: of the command line or the form.
        worker: number of this process among the workers.

    Attributes:
        name: of the row in locust's tables.
        kind: type of the row.
        headers: of HTTP requests.
        metadata: of gRPC calls.
        patience_s: of a user.
        in_flight: requests of users that have not ended.
    """

    def __init__(
        self, protocol: str, target: Target, asking: Asking, phases: Phases, options: Any, *, worker: int
    ) -> None:
        self.protocol = protocol
        self.target = target
        self.asking = asking
        self.row = f"{protocol} {options.model}"
        self.kind = "gRPC" if protocol in GRPC_PROTOCOLS else "REST"
        self.in_flight = 0
        self._phases = phases
        self._options = options
        self._worker = worker
        self._order = random.Random(f"{options.seed} {worker}")
        deadline_ms = options.deadline_ms
        self.patience_s = min(options.timeout_s, deadline_ms / 1000.0) if deadline_ms else options.timeout_s
        self.metadata = tuple(asking.headers)
        self.headers = {**dict(asking.headers), "content-type": asking.content_type, "accept-encoding": "identity"}
        if deadline_ms:
            self.headers["x-edgewise-deadline-ms"] = f"{deadline_ms:.0f}"

    def name(self, engine: str) -> str:
        """Of the row in locust's tables; both engines in one test have a row each."""
        return f"{self.row} ({engine})" if self._options.engine == "both" else self.row

    def context(self, engine: str) -> dict[str, str]:
        """Of a `request` event: which exact figures it belongs to."""
        return {"edgewise_engine": engine, "edgewise_row": self.row}

    # --- the closed loop ---

    def users_ask(self) -> bool:
        """Whether it is the users' turn."""
        return self._phases.engine() == CLOSED

    @contextlib.contextmanager
    def being_asked(self) -> Iterator[None]:
        """While a user waits for an answer."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def question(self) -> Question:
        """The next one, in an order that the seed and the worker's number give."""
        return self._order.choice(self.asking.questions)

    def part(self) -> float:
        """In [0, 1), from the same source as the order."""
        return self._order.random()

    def rate_per_user(self) -> float:
        """Requests a second that one user stands for; 0 for as many as it can."""
        return self._phases.rate_per_user()

    # --- the open loop ---

    def setup(self) -> Setup:
        """For the engine's process."""
        options = self._options
        nothing = np.zeros(0, np.int64)
        job = Job(self.asking, nothing, nothing.astype(np.uint16), options.timeout_s, options.deadline_ms)
        seed = (options.seed, self._worker)
        # The golden ratio spreads any number of workers evenly enough.
        return Setup(job, self.protocol, options.arrivals, seed, self._worker * 0.618034 % 1.0)

    def open_rate(self, users: int) -> float:
        """Requests a second that the engine of this process is to send.

        Args:
            users: of this process and class.
        """
        return users * self.rate_per_user() if self._phases.engine() == OPEN else 0.0


class BatchTeller:
    """Tells locust of what the engine's process has done.

    Args:
        fire: of locust's `request` event.
        pause: lets other greenlets run.
    """

    def __init__(self, lane: Lane, figures: Figures, fire: Any, pause: Any) -> None:
        self._lane = lane
        self._figures = figures
        self._fire = fire
        self._pause = pause

    def tell(self, batch: Batch) -> None:
        """Fire an event for each request of a batch."""
        lane = self._lane
        name, context = lane.name(OPEN), lane.context(OPEN)
        texts = [text for text, count in batch.errors.items() for _ in range(count)]
        columns = zip(
            batch.latency_ms.tolist(),
            batch.lag_ms.tolist(),
            batch.state.tolist(),
            batch.length_bytes.tolist(),
            strict=True,
        )
        for number, (latency_ms, lag_ms, state, length) in enumerate(columns):
            self._figures.lag.add(lag_ms, failed=False)
            failed = state != State.OK
            exception = RequestError(texts.pop() if texts else State(state).name.lower()) if failed else None
            self._fire(
                request_type=lane.kind,
                name=name,
                response_time=latency_ms,
                response_length=length,
                exception=exception,
                context=context,
                start_time=None,
                url=lane.asking.path,
                response=None,
            )
            if number % _FIRED_AT_ONCE == _FIRED_AT_ONCE - 1:
                self._pause()


class RequestError(Exception):
    """A request without a prediction; its text stands in locust's table of failures."""

    def __repr__(self) -> str:
        return str(self)
