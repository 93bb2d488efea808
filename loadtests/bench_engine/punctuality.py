"""How punctual the engine is: its lag behind the schedule, on one core, with `edgewise serve` on another."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_serve.processes import free_port, start, wait_for
from bench_serve.questions import http_get

from edgewise.study.arrivals import CONSTANT, schedule
from edgewise.study.engine.job import Asking, Job, Question, State
from edgewise.study.engine.process import Engine
from edgewise.wire import inference_pb2

MS = 1e6
ROW = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


@dataclass(frozen=True)
class Load:
    """One way to ask, at one rate."""

    way: str
    rate: float


@dataclass(frozen=True)
class Kept:
    """How one round went.

    Attributes:
        lag_ms: p50, p99, p99.9 and the greatest.
        latency_ms: p50 and p99.
        share: of one core, that the engine used.
        waited_ms: that it was ready to run and had no core.
        resident_bytes: of the engine, the most so far.
    """

    requests: int
    ok: int
    lag_ms: tuple[float, ...]
    latency_ms: tuple[float, ...]
    share: float
    waited_ms: float
    scheduling: str
    resident_bytes: int


@contextmanager
def serving(repository: Path, cpus: set[int], directory: Path) -> Iterator[dict[str, Asking]]:
    """`edgewise serve` with the network `tiny`: how it is asked, by the way."""
    from edgewise.model_server.building import tiny  # noqa: PLC0415 - needs the `models` extra

    tiny.build(repository)
    rest, grpc = free_port(), free_port()
    command = [sys.executable, "-m", "edgewise", "serve", "--repository", str(repository), "--threads", "1"]
    command += ["--rest-port", str(rest), "--grpc-port", str(grpc)]
    server = start("edgewise serve", command, cpus=cpus, log=directory / "serve.log", env={})
    try:
        wait_for(server, rest, http_get("/v2/health/ready"))
        request = inference_pb2.ModelInferRequest(model_name="tiny")
        tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 8])
        tensor.contents.fp32_contents.extend(ROW)
        json_text = f'{{"instances": [{ROW}]}}'.encode()
        yield {
            "REST JSON": Asking(
                *("http", "127.0.0.1", rest, "/v1/models/tiny:predict", (Question(json_text),)),
                content_type="application/json",
            ),
            "gRPC": Asking(
                *("grpc", "127.0.0.1", grpc, "/inference.GRPCInferenceService/ModelInfer"),
                (Question(request.SerializeToString()),),
            ),
        }
    finally:
        server.stop()


def keep(engine: Engine, asking: Asking, rate: float, duration_s: float, *, seed: int, cpus: tuple[int, ...]) -> Kept:
    """One round."""
    due_ns = schedule("poisson", rate, duration_s, CONSTANT, seed)
    recording = engine.run(Job(asking, due_ns, np.zeros(len(due_ns), np.uint16), cpus=cpus))
    ok = int((recording.state == State.OK).sum())
    if not ok:
        raise RuntimeError(f"nothing was answered: {recording.errors}")
    return Kept(
        requests=len(due_ns),
        ok=ok,
        lag_ms=tuple(np.quantile(recording.lag_ns(), (0.5, 0.99, 0.999, 1), method="inverted_cdf") / MS),
        latency_ms=tuple(np.quantile(recording.latency_ns(), (0.5, 0.99), method="inverted_cdf") / MS),
        share=recording.cpu_s / duration_s,
        waited_ms=recording.waited_s * 1e3,
        scheduling=recording.scheduling,
        resident_bytes=_most_resident(engine.pid),
    )


def _most_resident(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
