"""A process of its own in which MLPerf's load generator runs: `python -m edgewise.study.mlperf_loadgen FD`.

Loadgen is global state with C++ threads; here it can crash or hang without taking the study along. The job is read from the
file descriptor FD. Standard output carries two lines: how long the run takes at most, and its outcome; what loadgen itself
prints goes to standard error. Standard input is a lifeline: when it ends, who asked for the run is gone, and so is this.

Two threads share the work: loadgen issues queries from the main one, an event loop in the other asks over the network and
tells loadgen of answers.

Source: MLCommons LoadGen 6.0, `loadgen/bindings/python_api.cc`, `loadgen/mlperf.conf`.
"""

import asyncio
import contextlib
import ctypes
import gc
import math
import os
import sys
import threading
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

import uvloop

from edgewise.study.engine.scheduling import raise_priority
from edgewise.study.mlperf_network import Sender, sender
from edgewise.study.mlperf_port import MlperfJob, MlperfOutcome, decode_job, encode_limit, encode_outcome

_T = TypeVar("_T")

# One thread must not hold the interpreter while a query waits to be issued.
_SWITCH_INTERVAL_S: Final = 0.0002
_MODEL: Final = "edgewise"
"""No name of mlperf.conf, so that only what it says of every model applies."""

STREAMS: Final = 8
"""Samples of a MultiStream query. Source: mlperf.conf."""

_LONE_PROBES: Final = 8
_PROBE_S: Final = 1.0
# Loadgen draws its queries beforehand: for twice the duration, at the latency that it was told to expect. An expectation that
# is too high ends the run early and makes it invalid; one that is too low costs some memory.
_EXPECTED_LATENCY_RATIO: Final = 0.5
_EXPECTED_RATE_RATIO: Final = 1.4


_MAX_DRAWN: Final = 2_000_000
"""Samples that loadgen draws on a guess; it takes some 0.4 kB for a query of one."""

# Distinct ones: servers may put a number of the request in theirs.
_MAX_REASONS: Final = 64


class NoPredictionError(Exception):
    """The target gave no prediction before the run."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How quick the target is, as a short look before the run shows.

    Attributes:
        lone_s: the quickest answer to a lone request.
        query_s: to all samples of a MultiStream query.
        rate: samples a second with the window full.
    """

    lone_s: float
    query_s: float
    rate: float


def user_conf(job: MlperfJob, pace: Pace) -> str:
    """What goes before mlperf.conf, in its format; times in milliseconds.

    Source: MLCommons LoadGen, `test_settings_internal.cc`, `TestSettings::FromConfig`.
    """
    expected_ms = {"SingleStream": pace.lone_s, "MultiStream": pace.query_s}.get(job.scenario, 0.0) * 1000.0
    settings: dict[str, float] = {
        "min_duration": round(job.min_duration_s * 1000.0),
        "min_query_count": job.min_queries,
    }
    if job.scenario in {"SingleStream", "MultiStream"}:
        # A quicker target than this runs out of queries in a long run, and loadgen says so.
        streams = STREAMS if job.scenario == "MultiStream" else 1
        least_ms = 2.0 * job.min_duration_s * 1000.0 * streams / _MAX_DRAWN
        settings["target_latency"] = max(expected_ms * _EXPECTED_LATENCY_RATIO, least_ms)
    elif job.scenario == "Server":
        settings["target_qps"] = job.target_qps
        # Loadgen reads whole milliseconds here; `_measured` sets what is exact.
        settings["target_latency"] = math.ceil(job.target_latency_ms)
    else:
        settings["target_qps"] = min(pace.rate * _EXPECTED_RATE_RATIO, _MAX_DRAWN / job.min_duration_s)
    return "".join(f"*.{job.scenario}.{key} = {_number(value)}\n" for key, value in settings.items())


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}"


def expected_s(job: MlperfJob, pace: Pace) -> float:
    """How long a run takes when the target keeps the pace that it showed."""
    questions = len(job.asking.questions)
    if job.accuracy:
        rate = job.target_qps if job.scenario == "Server" else 1.0 / pace.lone_s
        return questions / rate
    if job.scenario == "SingleStream":
        return max(job.min_duration_s, job.min_queries * pace.lone_s)
    if job.scenario == "MultiStream":
        return max(job.min_duration_s, job.min_queries * pace.query_s)
    if job.scenario == "Server":
        return max(job.min_duration_s, job.min_queries / job.target_qps)
    return max(job.min_duration_s * _EXPECTED_RATE_RATIO * 1.1, job.min_queries / pace.rate)


class Network:
    """Takes loadgen's queries to the target, on the thread of the event loop, and its answers back."""

    def __init__(self, job: MlperfJob, loadgen: Any) -> None:
        self.samples = 0
        self.failed = 0
        self.failures: dict[str, int] = {}
        self.first_s = 0.0
        self.last_s = 0.0
        self._job = job
        self._loadgen = loadgen
        self._issued: deque[tuple[int, int]] = deque()
        self._loop = uvloop.new_event_loop()
        self._sender: Sender
        self._limit: asyncio.TimerHandle | None = None
        # Loadgen copies an answer while it is told of it, so all can lie in one place.
        self._answer = ctypes.create_string_buffer(64 * 1024)
        self._address = ctypes.addressof(self._answer)
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Let the event loop do something, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Close every connection and end the thread."""
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        # For this thread alone, as for that of loadgen: what either waits for a core is counted as the target's.
        raise_priority()
        self._sender = sender(self._job.asking, window=self._job.window, timeout_s=self._job.timeout_s)

    async def _stop(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        await self._sender.close()

    # --- what loadgen calls, on its threads ---

    def issue(self, samples: Sequence[Any]) -> None:
        """Take a query: its samples have an `id` and an `index` in the library."""
        if not self.first_s:
            self.first_s = monotonic()
        self._issued.extend([(sample.id, sample.index) for sample in samples])
        self._loop.call_soon_threadsafe(self._take)

    def name(self) -> str:
        """The system's name, after the round trip that the rules ask for.

        Source: MLPerf Inference Rules, "QDL Constraints".
        """
        self.run(self._ask_together(1))
        return f"Network SUT: {self._job.name}"

    # --- on the thread of the event loop ---

    def _take(self) -> None:
        issued = self._issued
        while issued:
            tag, index = issued.popleft()
            self.samples += 1
            self._sender.ask(index, tag, self._ended)

    def _ended(self, tag: int, body: bytes | bytearray | memoryview, problem: str) -> None:
        size = 0
        if problem:
            self.failed += 1
            if problem not in self.failures and len(self.failures) >= _MAX_REASONS:
                problem = "another reason"
            self.failures[problem] = self.failures.get(problem, 0) + 1
        else:
            size = len(body)
            if size > len(self._answer):
                self._answer = ctypes.create_string_buffer(2 * size)
                self._address = ctypes.addressof(self._answer)
            ctypes.memmove(self._address, bytes(body), size)
        loadgen = self._loadgen
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(tag, self._address, size)])
        self.last_s = monotonic()

    async def _ask_together(self, count: int) -> str:
        """Ask some questions at once.

        Returns: why one got no prediction; "" when all did.
        """
        outcomes: list[str] = []
        over = self._loop.create_future()

        def ended(_tag: int, _body: bytes | bytearray | memoryview, problem: str) -> None:
            outcomes.append(problem)
            if len(outcomes) == count and not over.done():
                over.set_result(None)

        for number in range(count):
            self._sender.ask(number % len(self._job.asking.questions), number, ended)
        await over
        return next((problem for problem in outcomes if problem), "")

    async def look(self) -> Pace:
        """See how quick the target is, which warms it up as well.

        Raises: NoPredictionError: it is not there, or answers something else.
        """
        lone_s = await self._quickest(1)
        query_s = rate = 0.0
        if self._job.scenario == "MultiStream":
            query_s = await self._quickest(STREAMS)
        elif self._job.scenario == "Offline":
            # A look that another process disturbed must not make the query too small.
            rate = max(await self._full_rate(), 1.0 / lone_s)
        elif self._job.scenario == "Server":
            await self._asked(min(self._job.window, STREAMS))
        return Pace(lone_s, query_s or lone_s, rate or 1.0 / lone_s)

    async def _asked(self, count: int) -> float:
        start_s = monotonic()
        problem = await self._ask_together(count)
        if problem:
            raise NoPredictionError(problem)
        return monotonic() - start_s

    async def _quickest(self, count: int) -> float:
        end_s = monotonic() + _PROBE_S
        quickest_s = await self._asked(count)
        for _ in range(_LONE_PROBES):
            quickest_s = min(quickest_s, await self._asked(count))
            if monotonic() > end_s:
                break
        return quickest_s

    async def _full_rate(self) -> float:
        questions = len(self._job.asking.questions)
        start_s = monotonic()
        end_s = start_s + _PROBE_S
        over = self._loop.create_future()
        asked = ended = 0
        problems: list[str] = []

        def next_one(_tag: int, _body: bytes | bytearray | memoryview, problem: str) -> None:
            nonlocal asked, ended
            ended += 1
            if problem:
                problems.append(problem)
            elif not problems and monotonic() < end_s:
                asked += 1
                self._sender.ask(asked % questions, asked, next_one)
            if ended == asked and not over.done():
                over.set_result(None)

        asked = self._job.window
        for number in range(self._job.window):
            self._sender.ask(number % questions, number, next_one)
        await over
        if problems:
            raise NoPredictionError(problems[0])
        return ended / (monotonic() - start_s)

    async def limit(self, seconds: float) -> None:
        """Give up what is unanswered after so many seconds, so that loadgen comes to its end."""
        self._limit = self._loop.call_later(
            seconds, lambda: self._sender.give_up(f"given up: the run took longer than {seconds:.3g} s")
        )


def _run(job: MlperfJob, loadgen: Any, say: "_Say") -> MlperfOutcome:
    try:
        network = Network(job, loadgen)
    except ValueError as error:
        return MlperfOutcome("bad-settings", f"the target cannot be asked so: {error}")
    with contextlib.closing(network):
        try:
            pace = network.run(network.look())
        except NoPredictionError as error:
            return MlperfOutcome("no-predictions", str(error))
        return _measured(job, loadgen, network, pace, say)


def _measured(job: MlperfJob, loadgen: Any, network: Network, pace: Pace, say: "_Say") -> MlperfOutcome:
    directory = Path(job.directory)
    conf = directory / "user.conf"
    conf.write_text(user_conf(job, pace), encoding="utf-8")
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, job.scenario)
    settings.mode = loadgen.TestMode.AccuracyOnly if job.accuracy else loadgen.TestMode.PerformanceOnly
    if settings.FromConfig(str(conf), _MODEL, job.scenario):
        return MlperfOutcome("bad-settings", f"loadgen does not take {conf.read_text(encoding='utf-8').split()!r}")
    settings.server_target_latency_ns = round(job.target_latency_ms * 1e6)
    logs = loadgen.LogSettings()
    logs.log_output.outdir = str(directory)
    logs.log_output.copy_summary_to_stdout = False
    logs.enable_trace = False
    questions = len(job.asking.questions)
    library = loadgen.ConstructQSL(questions, questions, lambda _: None, lambda _: None)
    system = loadgen.ConstructQDL(network.issue, lambda: None, network.name)
    limit_s = job.patience * expected_s(job, pace) + job.timeout_s
    say.limit(limit_s)
    network.run(network.limit(limit_s))
    gc.collect()
    gc.freeze()
    gc.disable()
    raise_priority()
    loadgen.StartTestWithLogSettings(system, library, settings, logs, "")
    loadgen.DestroyQDL(system)
    loadgen.DestroyQSL(library)
    return MlperfOutcome(
        "run",
        samples=network.samples,
        failed=network.failed,
        failures=network.failures,
        duration_s=network.last_s - network.first_s,
        lone_ms=pace.lone_s * 1000.0,
    )


class _Say:
    """The way back to who asked for the run: what was standard output, while loadgen's own words go to standard error."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)

    def limit(self, seconds: float) -> None:
        os.write(self._descriptor, encode_limit(seconds))

    def outcome(self, outcome: MlperfOutcome) -> None:
        with os.fdopen(self._descriptor, "wb") as pipe:
            pipe.write(encode_outcome(outcome))


def _hold_lifeline() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def main() -> int:
    """Run the job that comes on the file descriptor of the first argument."""
    say = _Say()
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        file.seek(0)
        job = decode_job(file.read())
    threading.Thread(target=_hold_lifeline, name="lifeline", daemon=True).start()
    try:
        import mlperf_loadgen  # noqa: PLC0415 - it is of an extra, and its absence is to be told in words
    except ImportError as error:
        say.outcome(MlperfOutcome("no-loadgen", str(error)))
        return 0
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    say.outcome(_run(job, mlperf_loadgen, say))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
