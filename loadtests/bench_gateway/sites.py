"""What stands behind the proxies: a cloud and an edge at two addresses, with fixed answers."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from bench_serve.processes import Server, ask, free_port, start
from bench_serve.questions import http_get

from bench_gateway import programs, questions

HEALTH = http_get("/health")


@dataclass(frozen=True, slots=True)
class Sites:
    """Two sites that run.

    Attributes:
        servers: their processes: one for both, or the cloud's and the edge's.
        cloud_grpc, edge_grpc: ports that speak gRPC over HTTP/2; 0 where they do not.
        counts: whether `handled` works.
    """

    servers: tuple[Server, ...]
    cloud: int
    edge: int
    cloud_grpc: int = 0
    edge_grpc: int = 0
    counts: bool = False

    def handled(self) -> tuple[int, int]:
        """Requests that the cloud and the edge have been sent so far, health checks among them."""
        return _handled(self.cloud), _handled(self.edge)


def _handled(port: int) -> int:
    _, body = ask(port, http_get("/count"))
    match = re.search(rb"\n\s*\d+ \d+ (\d+)", body)
    assert match is not None
    return int(match[1])


def small(cpus: set[int], directory: Path) -> Sites:
    """nginx, a process each: the quickest answer to be had, with `return`, and requests are counted."""
    servers, ports = [], []
    for name in ("cloud", "edge"):
        ports.append(free_port())
        values = {"PORT": ports[-1], "SMALL_ANSWER": questions.SMALL_ANSWER.decode()}
        path = programs.configuration("upstream-nginx.conf", directory / f"site-{name}", values)
        command = [programs.debian("nginx"), "-c", str(path)]
        servers.append(start(f"nginx as the {name}", command, cpus=cpus, log=directory / f"site-{name}.log", env={}))
    return Sites(tuple(servers), ports[0], ports[1], counts=True)


def large(cpus: set[int], directory: Path) -> Sites:
    """HAProxy, which waits for a whole body before it answers."""
    cloud, edge = free_port(), free_port()
    values = {
        "CLOUD_PORT": cloud,
        "EDGE_PORT": edge,
        "SMALL_ANSWER": questions.SMALL_ANSWER.decode(),
        "LARGE_ANSWER_PATH": questions.LARGE_PATH,
        **questions.write_files(directory),
    }
    path = programs.configuration("upstream-haproxy.cfg", directory / "sites-large", values)
    command = [programs.debian("haproxy"), "-f", str(path)]
    server = start("HAProxy as the sites", command, cpus=cpus, log=directory / "sites-large.log", env={})
    return Sites((server,), cloud, edge)


def grpc(cpus: set[int], directory: Path) -> Sites:
    """baselines/grpc_site.py."""
    ports = free_port(), free_port(), free_port(), free_port()
    files = questions.write_files(directory)
    command = [sys.executable, str(programs.BASELINES / "grpc_site.py"), str(files["GRPC_ANSWER_FILE"])]
    command += [str(port) for port in ports]
    server = start("the gRPC sites", command, cpus=cpus, log=directory / "sites-grpc.log", env={})
    return Sites((server,), *ports)
