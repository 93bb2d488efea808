"""The plan: stages, the ways of loading, the settings, and what came of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench_serve.generator import Measured

from bench_gateway import questions
from bench_gateway.proxies import Starter
from bench_gateway.questions import Question
from bench_gateway.sites import Sites

THROUGHPUT, LATENCY, GRPC = "throughput", "latency", "gRPC"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of loading a proxy.

    Attributes:
        kind: THROUGHPUT runs wrk; LATENCY and GRPC run bench_serve's generators, which look at every answer.
        question: what is asked over HTTP/1.1.
        connections, streams: concurrency is their product; `streams` counts for gRPC alone.
        awake: the cores are kept from sleeping.
    """

    title: str
    kind: str
    question: Question = questions.SMALL
    connections: int = 1
    streams: int = 1
    awake: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """Sites, the proxies before them, and the ways in which each is loaded."""

    title: str
    sites: Callable[[set[int], Path], Sites]
    proxies: Mapping[str, Starter]
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how often.

    Attributes:
        window_s: whole seconds, of wrk.
        latency_window_s: of each measurement by bench_serve's generators, after `warmup_s`.
        foreign_limit: more CPU seconds a second than this used by programs that are none of the bench's make a
            measurement void.
        patience_s: how long a measurement waits at most for other programs to use less than `foreign_limit`.
        proxy_cpus, load_cpus: the cores of the proxies; of the load and the sites.
    """

    rounds: int
    window_s: int
    warmup_s: float
    latency_window_s: float
    foreign_limit: float
    patience_s: float
    proxy_cpus: frozenset[int]
    load_cpus: frozenset[int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement in its round.

    Attributes:
        measured: CPU a request is that of the proxy; the generator's share is in seconds a second.
        proxy_share, load_share: of their cores, busy with anything.
        foreign: CPU seconds a second, over all cores, of programs that are none of the bench's.
        sent_ratio: requests that the sites got for each request asked; None where it is not counted.
        edge_ratio: of these, sent to the edge; health checks are among them.
        direct: the sites asked with nothing between, just before and just after; None but for LATENCY.
    """

    measured: Measured
    proxy_share: float
    load_share: float
    foreign: float
    sent_ratio: float | None = None
    edge_ratio: float | None = None
    direct: Measured | None = None


Case = tuple[str, Way]
"""A contestant, loaded one way."""


@dataclass(slots=True)
class StageResult:
    """What a stage gave; `samples[case][round]`, None where a measurement was void.

    Attributes:
        link_changes: what the gateways logged of their links by contestant; nothing is cut here, so each is a false alarm
            or its end.
    """

    stage: Stage
    names: tuple[str, ...]
    samples: dict[Case, list[Sample | None]] = field(default_factory=dict)
    voids: list[str] = field(default_factory=list)
    link_changes: dict[str, list[str]] = field(default_factory=dict)
