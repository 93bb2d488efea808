"""A target that is asked as the engine asks a real one, on virtual time: decoding beside the model, instances or batches."""

import heapq
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from edgewise.study.engine.job import OTHER_ANSWER, Asking, Job, Question, Recording, State

ASKING = Asking(
    "http", "127.0.0.1", 8501, "/v1/models/pets:predict", (Question(b"x" * 20_000), Question(b"x" * 24_000))
)


@dataclass
class SimulatedTarget:
    """Events in a heap; the station's rate follows how many it serves.

    Attributes:
        beside_s: before the station, in parallel with whatever else goes on (decoding), and as long again in sum behind it.
        service_s: of one alone.
        service_scv: of the service times, which are gamma distributed.
        instances: served at once; with all of them at work each is slower by `slowdown`.
        largest_batch: taken together; each more than one adds `per_more_s`.
        stalls: every so many services, one takes `stall_s` longer.
        rests_after_s, rest_cost_s: after having nothing to do for that long, the next service takes so much longer.
        failing: every so many requests are answered with an error; 0 for none.
    """

    service_s: float = 0.010
    service_scv: float = 0.02
    beside_s: float = 0.002
    instances: int = 1
    slowdown: float = 1.0
    largest_batch: int = 1
    per_more_s: float = 0.0
    stalls: int = 0
    stall_s: float = 0.0
    rests_after_s: float = 0.0
    rest_cost_s: float = 0.0
    failing: int = 0
    seed: int = 1
    jobs: list[Job] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._served = 0

    def __call__(self, job: Job) -> Recording:
        self.jobs.append(job)
        count = len(job.due_ns)
        due_s = job.due_ns / 1e9
        ended_s = np.full(count, np.nan)
        line: deque[int] = deque()
        queue: deque[int] = deque()
        batches: dict[int, list[int]] = {}
        # Work that is left of what is in service, in seconds of one alone; all of it goes on at one speed.
        left_s: dict[int, float] = {}
        state = {"now": 0.0, "inside": 0, "batch": 0, "version": 0, "idle_since": 0.0, "cold": 0.0}
        events: list[tuple[float, int, str, int]] = []
        ticks = iter(range(1 << 40))

        def at(when_s: float, what: str, which: int) -> None:
            heapq.heappush(events, (when_s, next(ticks), what, which))

        def speed() -> float:
            full = self.instances > 1 and len(left_s) == self.instances
            return 1 / self.slowdown if full else 1.0

        def advance(now_s: float) -> None:
            done_s = (now_s - state["now"]) * speed()
            for key in left_s:
                left_s[key] -= done_s
            state["now"] = now_s

        def reschedule() -> None:
            state["version"] += 1
            if left_s:
                at(state["now"] + max(0.0, min(left_s.values())) / speed(), "served", state["version"])

        def serve() -> None:
            while queue and len(left_s) < self.instances:
                taken = [queue.popleft() for _ in range(min(len(queue), self.largest_batch))]
                self._served += 1
                work_s = self.service_s + self.per_more_s * (len(taken) - 1)
                if self.service_scv:
                    work_s *= self._rng.gamma(1 / self.service_scv, self.service_scv)
                if self.stalls and self._served % self.stalls == 0:
                    work_s += self.stall_s
                work_s += state["cold"]
                state["cold"] = 0.0
                state["batch"] += 1
                batches[state["batch"]] = taken
                left_s[state["batch"]] = work_s
            reschedule()

        def begin() -> None:
            while line and state["inside"] < job.max_connections:
                row = line.popleft()
                if not state["inside"] and state["now"] - state["idle_since"] >= self.rests_after_s:
                    state["cold"] = self.rest_cost_s
                state["inside"] += 1
                at(state["now"] + self.beside_s / 2 * self._rng.uniform(0.8, 1.2), "decoded", row)

        for row in range(count):
            at(float(due_s[row]), "due", row)
        while events:
            when_s, _, what, which = heapq.heappop(events)
            if what == "served" and which != state["version"]:
                continue
            advance(when_s)
            if what == "due":
                line.append(which)
                begin()
            elif what == "decoded":
                queue.append(which)
                serve()
            elif what == "served":
                over = min(left_s, key=left_s.__getitem__)
                del left_s[over]
                for row in batches.pop(over):
                    at(when_s + self.beside_s / 2, "answered", row)
                serve()
            else:
                ended_s[which] = when_s
                state["inside"] -= 1
                state["idle_since"] = when_s
                begin()
        states = np.full(count, State.OK, np.uint8)
        if self.failing:
            states[:: self.failing] = State.ERROR
        recording = Recording(
            due_ns=job.due_ns,
            sent_ns=job.due_ns.copy(),
            ended_ns=(ended_s * 1e9).astype(np.int64),
            state=states,
            code=np.full(count, 200, np.int16),
            question=job.question_index,
            answer=np.zeros(count, np.uint16) if not self.failing else np.full(count, OTHER_ANSWER, np.uint16),
            site=np.zeros(count, np.uint8),
            attempts=np.ones(count, np.uint8),
            version=np.ones(count, np.int32),
            answers=[b"a" * 600],
            errors={"500 broken": int((states != State.OK).sum())} if self.failing else {},
        )
        self.recordings.append(recording)
        return recording

    def open_loop(self, rate: float, requests: int, seed: int = 3) -> Recording:
        """What a run at that rate would show, arrivals being Poisson."""
        gaps = np.random.default_rng(seed).standard_exponential(requests) / rate
        due_ns = (np.cumsum(gaps) * 1e9).astype(np.int64)
        return self(Job(ASKING, due_ns, np.zeros(requests, np.uint16), max_connections=100_000))


def mean_latency_ms(recording: Recording, leave_out: int = 0) -> float:
    """Of all, the first left out."""
    return float((recording.ended_ns - recording.due_ns)[leave_out:].mean() / 1e6)
