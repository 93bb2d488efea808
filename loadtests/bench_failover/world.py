"""The world of one run: two sites, a way between them and the app, and the hands that break it."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bench_failover import namespaces
from bench_failover.children import Child, ChildError
from bench_failover.faults import Step
from bench_failover.opponents import Sites

CLOUD: Final = "cloud"
EDGE: Final = "edge"
ENVIRONMENT: Final = {
    "PYTHONPATH": os.pathsep.join(
        filter(None, (str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")))
    )
}
"""What children need to find this package."""
_REST_PORT: Final = 8501
_GRPC_PORT: Final = 8500
_EDGE_REST_PORT: Final = 8601
_EDGE_GRPC_PORT: Final = 8600
GATEWAY_PORT: Final = 8080
READY_TIMEOUT_S: Final = 20.0
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """How the sites are.

    Attributes:
        by_name: the gateway is given the cloud's name, not its address.
        repository: of a model `tiny`: the sites are real model servers then, without records; None for the bench's own.
    """

    rtt_ms: float
    cloud_workers: int = 16
    cloud_service_ms: float = 8.0
    edge_workers: int = 1
    edge_service_ms: float = 3.0
    service: str = "exponential"
    seed: int = 1
    by_name: bool = False
    repository: Path | None = None


class World(ABC):
    """What all worlds can do. A context manager; closing it ends every process.

    Args:
        directory: for logs and records.

    Attributes:
        sites: their addresses as the gateway is given them.
        gateway_port: where the gateway is to listen.
    """

    sites: Sites
    gateway_port: int

    def __init__(self, settings: WorldSettings, directory: Path) -> None:
        self.settings = settings
        self.directory = directory
        self.cloud: Child
        self.edge: Child
        self._others: list[Child] = []

    # --- processes ---

    @abstractmethod
    def cloud_side(self, command: list[str]) -> list[str]:
        """The command that runs `command` on the cloud's side."""

    @abstractmethod
    def app_side(self, command: list[str]) -> list[str]:
        """The command that runs `command` on the app's side."""

    def start(self, command: list[str], log: str) -> Child:
        """Start something on the app's side; it ends with the world."""
        env = ENVIRONMENT
        child = Child(self.app_side(command), log=self.directory / log, env=env, talks=False)
        self._others.append(child)
        return child

    def executions(self, name: str) -> Path:
        """The record of a site."""
        return self.directory / f"{name}.executions"

    def site_arguments(self, name: str) -> dict[str, Any]:
        """What a site is told: its `SiteSettings`."""
        settings = self.settings
        cloud = name == CLOUD
        return {
            "name": name,
            "tier": name,
            "workers": settings.cloud_workers if cloud else settings.edge_workers,
            "service_ms": settings.cloud_service_ms if cloud else settings.edge_service_ms,
            "service": settings.service,
            "seed": settings.seed,
            "executions": str(self.executions(name)),
            **self._ports(name),
        }

    @abstractmethod
    def _ports(self, name: str) -> dict[str, Any]:
        """Where a site listens: host, rest_port, grpc_port."""

    def _start_site(self, name: str) -> Child:
        if self.settings.repository is not None:
            return self._start_server(name, self.settings.repository)
        command = [sys.executable, "-m", "bench_failover.site", json.dumps(self.site_arguments(name))]
        inside = self.cloud_side(command) if name == CLOUD else self.app_side(command)
        child = Child(inside, log=self.directory / f"{name}.log", env=ENVIRONMENT)
        child.read()
        return child

    def _start_server(self, name: str, repository: Path) -> Child:
        ports = self._ports(name)
        command = [sys.executable, "-m", "edgewise", "serve", "--repository", str(repository), "--host", ports["host"]]
        command += ["--site", name, "--tier", name, "--threads", "1", "--poll-interval-s", "0"]
        command += ["--rest-port", str(ports["rest_port"]), "--grpc-port", str(ports["grpc_port"])]
        inside = self.cloud_side(command) if name == CLOUD else self.app_side(command)
        child = Child(inside, log=self.directory / f"{name}.log", talks=False)
        self.executions(name).touch()
        self.wait_for(child, ports["host"], ports["rest_port"], on_cloud_side=name == CLOUD)
        return child

    def wait_for(self, child: Child, host: str, port: int, *, on_cloud_side: bool = False) -> None:
        """Wait until a child accepts connections.

        Raises: ChildError: it ended, or does not listen in time.
        """
        script = f"import socket; socket.create_connection(({host!r}, {port}), 1).close()"
        command = [sys.executable, "-S", "-c", script]
        inside = self.cloud_side(command) if on_cloud_side else self.app_side(command)
        until_s = time.monotonic() + READY_TIMEOUT_S
        while subprocess.run(inside, check=False, capture_output=True).returncode:
            child.check()
            if time.monotonic() > until_s:
                raise ChildError(f"port {port} is not open after {READY_TIMEOUT_S:.0f} s{child.log_tail()}")

    def start_sites(self) -> None:
        """Start both."""
        self.cloud, self.edge = self._start_site(CLOUD), self._start_site(EDGE)

    # --- faults: each returns when it holds, as `time.monotonic()` ---

    def carry_out(self, step: Step) -> float:
        """Do one step."""
        done_s: float = getattr(self, step.action)(**step.arguments)
        return done_s

    @abstractmethod
    def cut(self, way: str) -> float:
        """Let nothing through: "both" ways, "up" or "down"."""

    @abstractmethod
    def swallow(self, over_bytes: int) -> float:
        """Let nothing through that is larger."""

    @abstractmethod
    def reset(self) -> float:
        """Answer everything with a reset."""

    @abstractmethod
    def squeeze(self, bits_per_s: int) -> float:
        """Be a slow line."""

    @abstractmethod
    def mend(self) -> float:
        """Be a sound way again."""

    def freeze(self) -> float:
        """Stop the cloud's process; its kernel goes on acknowledging."""
        self.cloud.signal(signal.SIGSTOP)
        return time.monotonic()

    def thaw(self) -> float:
        """Let it run again."""
        self.cloud.signal(signal.SIGCONT)
        return time.monotonic()

    def kill(self) -> float:
        """End the cloud's process without a word."""
        now_s = time.monotonic()
        self.cloud.kill()
        return now_s

    def revive(self) -> float:
        """Start it anew; it holds once it listens."""
        self.cloud = self._start_site(CLOUD)
        return time.monotonic()

    def kill_edge(self) -> float:
        """End the edge's process without a word."""
        now_s = time.monotonic()
        self.edge.kill()
        return now_s

    def revive_edge(self) -> float:
        """Start it anew."""
        self.edge = self._start_site(EDGE)
        return time.monotonic()

    def slow(self, factor: float) -> float:
        """Let every request at the cloud take so many times as long."""
        return float(self.cloud.ask({"slow": factor})["at_s"])

    def drip(self, *, on: bool) -> float:
        """Let the cloud's answers come byte by byte."""
        return float(self.cloud.ask({"drip": on})["at_s"])

    def leave(self) -> float:
        """Close the cloud's connections and its ports, in an orderly way."""
        now_s = time.monotonic()
        self.cloud.ask({"close": True})
        return now_s

    def come_back(self) -> float:
        """Listen again."""
        return float(self.cloud.ask({"listen": True})["at_s"])

    # --- the end ---

    def close(self) -> None:
        """End every process."""
        for child in (*self._others, *(getattr(self, name) for name in (CLOUD, EDGE) if hasattr(self, name))):
            child.stop()

    def __enter__(self) -> Self:
        try:
            self.start_sites()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class NamespaceWorld(World):
    """Sites in network namespaces of their own, real packets between them."""

    def __init__(self, settings: WorldSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self._pair = namespaces.Namespaces(str(next(_numbers)), settings.rtt_ms)
        cloud_host = namespaces.CLOUD_NAME if settings.by_name else namespaces.CLOUD_ADDRESS
        self.sites = Sites(cloud_host, _REST_PORT, _GRPC_PORT, "127.0.0.1", _EDGE_REST_PORT, _EDGE_GRPC_PORT)
        self.gateway_port = GATEWAY_PORT

    def cloud_side(self, command: list[str]) -> list[str]:
        return self._pair.inside(self._pair.cloud, command)

    def app_side(self, command: list[str]) -> list[str]:
        return self._pair.inside(self._pair.app, command)

    def _ports(self, name: str) -> dict[str, Any]:
        if name == CLOUD:
            return {"host": namespaces.CLOUD_ADDRESS, "rest_port": _REST_PORT, "grpc_port": _GRPC_PORT}
        return {"host": "127.0.0.1", "rest_port": _EDGE_REST_PORT, "grpc_port": _EDGE_GRPC_PORT}

    def cut(self, way: str) -> float:
        return self._pair.set_wire(drop=way)

    def swallow(self, over_bytes: int) -> float:
        return self._pair.set_wire(over_bytes=over_bytes)

    def reset(self) -> float:
        return self._pair.set_wire(reset=True)

    def squeeze(self, bits_per_s: int) -> float:
        return self._pair.set_wire(bits_per_s=bits_per_s)

    def mend(self) -> float:
        return self._pair.set_wire()

    def take_down(self) -> float:
        """Take the app's interface down."""
        self._pair.take_down()
        return time.monotonic()

    def bring_up(self) -> float:
        """Bring it up again."""
        self._pair.bring_up()
        return time.monotonic()

    def forget_names(self) -> float:
        """From now on nobody can look the cloud's name up."""
        self._pair.remove_names()
        return time.monotonic()

    def close(self) -> None:
        super().close()
        self._pair.close()


def why_no_namespaces() -> str:
    """Why real packets cannot be had here; "" when they can."""
    if os.environ.get("EDGEWISE_BENCH_WORLD") == "link":
        return "EDGEWISE_BENCH_WORLD says link"
    return namespaces.possible()
