"""A stage under way: proxies on one core, rounds in which every one of them is loaded every way once."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench_serve.generator import Generator, Job, Measured
from bench_serve.processes import Server, ServerError, ask, cpu_s, tree, wait_for

from bench_gateway import cores, questions, wrk
from bench_gateway.awake import awake
from bench_gateway.plan import GRPC, LATENCY, THROUGHPUT, Case, Sample, Settings, Stage, StageResult, Way
from bench_gateway.proxies import DIRECT, Place, Running, Starter
from bench_gateway.questions import Exact, Question
from bench_gateway.sites import HEALTH, Sites

SETTLE_TIMEOUT_S, QUIET_S = 20.0, 0.5
LINK_CHANGE = re.compile(r"link (\S+: [A-Z]+ -> [A-Z]+: .*)")


def run_stage(
    stage: Stage, settings: Settings, generator: Generator, directory: Path, only: set[str] | None = None
) -> StageResult:
    """Start the sites and every proxy of the stage, run its rounds, stop them all.

    Args:
        only: proxies to run; None for all.

    A proxy that does not start or gives a wrong answer is left out.

    Raises: ServerError: the sites did not start, or a proxy ended under load. WrkError: wrk failed.
    """
    run = StageRun(stage, settings, generator, directory)
    try:
        run.start(only)
        return run.rounds()
    finally:
        run.stop()


class StageRun:
    """A stage under way.

    Attributes:
        voids: what does not count, and why.
    """

    def __init__(self, stage: Stage, settings: Settings, generator: Generator, directory: Path) -> None:
        self._stage = stage
        self._settings = settings
        self._generator = generator
        self._directory = directory
        self._servers: list[Server] = []
        self._spinners: list[int] = []
        self.voids: list[str] = []
        self._running: dict[str, Running] = {}
        self._counting: Sites | None = None
        self._answer_bytes: dict[tuple[str, Question], int] = {}

    def start(self, only: set[str] | None) -> None:
        """Start everything.

        Every proxy that is not left out has given a right answer to every question when this returns.
        """
        grpc = any(way.kind == GRPC for way in self._stage.ways)
        sites = self._stage.sites(set(self._settings.load_cpus), self._directory)
        self._servers += sites.servers
        for server, port in zip(sites.servers, (sites.cloud, sites.edge), strict=False):
            wait_for(server, port, HEALTH)
        self._counting = sites if sites.counts else None
        self._running[DIRECT] = Running(DIRECT, sites.servers[0], sites.cloud_grpc if grpc else sites.cloud)
        place = Place(sites, self._settings.proxy_cpus, self._directory)
        for way in self._stage.ways:
            self._await_answer(self._running[DIRECT], way)
        for name, starter in self._stage.proxies.items():
            if only is None or name in only:
                self._start(name, starter, place)

    def _start(self, name: str, starter: Starter, place: Place) -> None:
        running = starter(place)
        self._servers.append(running.server)
        try:
            for way in self._stage.ways:
                self._await_answer(running, way)
        except ServerError as error:
            self.voids.append(f"{self._stage.title}, {name}: left out: {str(error).splitlines()[0]}")
            print(f"    {name} is left out: {error}", flush=True)
            self._servers.remove(running.server)
            running.server.stop()
        else:
            self._running[name] = running

    def stop(self) -> None:
        """End every server, the sites last."""
        for server in reversed(self._servers):
            server.stop()

    def rounds(self) -> StageResult:
        """Run them."""
        names = tuple(self._running)
        result = StageResult(self._stage, names, voids=self.voids)
        for way in self._stage.ways:
            for name in names:
                self.once(name, way, warm_up=True)
        for number in range(self._settings.rounds):
            print(f"  round {number + 1} of {self._settings.rounds}", flush=True)
            # Nobody is always first, or always after the same one.
            turned = names[number % len(names) :] + names[: number % len(names)]
            for way in self._stage.ways:
                with self._kept_awake(way):
                    samples = self._way(turned, way)
                for case, sample in samples.items():
                    result.samples.setdefault(case, []).append(sample)
        for name, running in self._running.items():
            changes = LINK_CHANGE.findall(running.server.log.read_text(errors="replace"))
            if changes:
                result.link_changes[name] = changes
        return result

    @contextmanager
    def _kept_awake(self, way: Way) -> Iterator[None]:
        with awake(self._settings.proxy_cpus | self._settings.load_cpus if way.awake else ()) as self._spinners:
            yield
        self._spinners = []

    def _way(self, names: tuple[str, ...], way: Way) -> dict[Case, Sample | None]:
        """One way, every contestant; where it is about latency, the sites alone run before and after each."""
        if way.kind != LATENCY:
            return {(name, way): self._judged(name, way, self.once(name, way)) for name in names}
        samples: dict[Case, Sample | None] = {}
        before = first = self._judged(DIRECT, way, self.once(DIRECT, way))
        for name in names:
            if name == DIRECT:
                continue
            sample = self._judged(name, way, self.once(name, way))
            after = self._judged(DIRECT, way, self.once(DIRECT, way))
            around = [one.measured for one in (before, after) if one is not None]
            if sample is not None and around:
                sample = replace(sample, direct=_mean(around))
            samples[name, way] = sample
            before = after
        samples[DIRECT, way] = first
        return samples

    def once(self, name: str, way: Way, *, warm_up: bool = False) -> Sample:
        """One measurement."""
        running, settings = self._running[name], self._settings
        if not warm_up:
            self._wait_for_quiet()
        every = self._every()
        mine, all_before = self._handled(), cpu_s(every)
        busy, clock_s = cores.busy_s(), time.monotonic()
        if way.kind == THROUGHPUT:
            measured, generator_s = self._wrk(running, way, 1 if warm_up else settings.window_s)
        else:
            measured, generator_s = self._generate(running, way, 0.3 if warm_up else settings.latency_window_s)
        elapsed_s = time.monotonic() - clock_s
        shares = cores.shares(busy, elapsed_s)
        own = cpu_s(every) - all_before + generator_s
        handled = self._handled()
        running.server.check()
        sent_ratio = edge_ratio = None
        if mine is not None and handled is not None and measured.count and way.kind == THROUGHPUT:
            cloud, edge = (after - before for before, after in zip(mine, handled, strict=True))
            # wrk leaves one request a connection without an answer, and one answer is looked at.
            sent_ratio = (cloud + edge - way.connections - 1) / measured.count
            edge_ratio = edge / (cloud + edge)
        return Sample(
            measured=measured,
            proxy_share=sum(shares[cpu] for cpu in settings.proxy_cpus) / len(settings.proxy_cpus),
            load_share=sum(shares[cpu] for cpu in settings.load_cpus) / len(settings.load_cpus),
            foreign=max(0.0, sum(shares.values()) - own / elapsed_s),
            sent_ratio=sent_ratio,
            edge_ratio=edge_ratio,
        )

    def _every(self) -> list[int]:
        """The bench's processes but for the generators, which use nothing between measurements."""
        return [*self._spinners, *(pid for server in self._servers for pid in tree(server.process.pid))]

    def _wait_for_quiet(self) -> None:
        until_s = time.monotonic() + self._settings.patience_s
        foreign = self._settings.foreign_limit
        while time.monotonic() < until_s and foreign >= self._settings.foreign_limit:
            every = self._every()
            busy, mine = cores.busy_s(), cpu_s(every)
            time.sleep(QUIET_S)
            foreign = sum(cores.shares(busy, QUIET_S).values()) - (cpu_s(every) - mine) / QUIET_S

    def runs(self, name: str) -> bool:
        """Whether the proxy has been started and not left out."""
        return name in self._running

    def pid(self, name: str) -> int:
        """The process of a proxy that runs."""
        return self._running[name].server.process.pid

    def _handled(self) -> tuple[int, int] | None:
        return self._counting.handled() if self._counting is not None else None

    def _wrk(self, running: Running, way: Way, seconds: int) -> tuple[Measured, float]:
        body = self._directory / "body"
        body.write_bytes(way.question.body)
        load = wrk.Load(
            port=running.port,
            path=way.question.path,
            body=body,
            connections=way.connections,
            seconds=seconds,
            answer_bytes=self._answer_bytes[running.name, way.question],
            pids=tuple(tree(running.server.process.pid)),
        )
        done = wrk.run(load, self._settings.load_cpus)
        # wrk looks at no body: one is looked at before and one after.
        problem = done.problem or self._wrong(running, way.question)
        measured = Measured(
            requests_per_s=done.requests_per_s,
            p50_ms=done.p50_ms,
            p99_ms=done.p99_ms,
            server_cpu_ms=done.watched_cpu_s / max(1, done.requests) * 1e3,
            generator_share=done.wrk_cpu_s / seconds,
            count=done.requests,
            problem=problem,
        )
        return measured, done.wrk_cpu_s

    def _generate(self, running: Running, way: Way, window_s: float) -> tuple[Measured, float]:
        grpc = way.kind == GRPC
        job = Job(
            port=running.port,
            request=questions.GRPC_REQUEST if grpc else way.question.request(),
            grpc_path=questions.GRPC_PATH if grpc else b"",
            connections=way.connections,
            streams=way.streams,
            warmup_s=self._settings.warmup_s,
            window_s=window_s,
            server_pid=running.server.process.pid,
            right=Exact(questions.GRPC_ANSWER if grpc else way.question.answer),
        )
        measured = self._generator.measure(job)
        return measured, measured.generator_share * (self._settings.warmup_s + window_s)

    def _await_answer(self, running: Running, way: Way) -> None:
        """Wait until it answers, and see that the answer is right."""
        if way.kind == GRPC:
            until_s = time.monotonic() + SETTLE_TIMEOUT_S
            while (measured := self._generate(running, way, 0.05)[0]).problem and time.monotonic() < until_s:
                running.server.check()
                time.sleep(0.05)
            if measured.problem:
                raise ServerError(f"{running.name}: {measured.problem}\n{running.server.log_tail()}")
            return
        if (running.name, way.question) in self._answer_bytes:
            return
        wait_for(running.server, running.port, way.question.request())
        if wrong := self._wrong(running, way.question):
            raise ServerError(f"{running.name}: {wrong}")
        self._answer_bytes[running.name, way.question] = _whole_answer_bytes(running.port, way.question)

    @staticmethod
    def _wrong(running: Running, question: Question) -> str:
        try:
            status, body = ask(running.port, question.request())
        except OSError as error:
            return f"no answer: {error}"
        if status == 200 and body == question.answer:
            return ""
        return f"a wrong answer: {status} {body[:200]!r}"

    def _judged(self, name: str, way: Way, sample: Sample) -> Sample | None:
        problem = sample.measured.problem
        if not problem and sample.foreign > self._settings.foreign_limit:
            problem = f"other programs used {sample.foreign:.0%} of a core"
        if not problem:
            return sample
        self.voids.append(f"{self._stage.title}, {way.title}, {name}: {problem}")
        print(f"    void: {self.voids[-1]}", flush=True)
        return None


def _whole_answer_bytes(port: int, question: Question) -> int:
    """Bytes of an answer with its head."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(question.request())
        data = bytearray()
        while not data.endswith(question.answer):
            data += connection.recv(1 << 18)
    return len(data)


def _mean(measured: list[Measured]) -> Measured:
    def mean(name: str) -> float:
        return sum(float(getattr(one, name)) for one in measured) / len(measured)

    return Measured(
        requests_per_s=mean("requests_per_s"),
        p50_ms=mean("p50_ms"),
        p99_ms=mean("p99_ms"),
        server_cpu_ms=mean("server_cpu_ms"),
        generator_share=mean("generator_share"),
        count=sum(one.count for one in measured),
    )
