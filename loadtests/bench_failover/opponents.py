"""What is compared: ours and the opponents, each started in the app's place with the sites' addresses."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BASELINES: Final = Path(__file__).with_name("baselines")
OURS: Final = "edgewise"
REST: Final = "rest"
GRPC: Final = "grpc"


@dataclass(frozen=True, slots=True)
class Sites:
    """Where the sites listen, as the gateway sees them."""

    cloud_host: str
    cloud_rest: int
    cloud_grpc: int
    edge_host: str
    edge_rest: int
    edge_grpc: int


@dataclass(frozen=True, slots=True)
class Opponent:
    """One of those compared.

    Attributes:
        name: on the command line and in tables.
        program: found in PATH or beside this Python.
        protocols: it is compared over these.
        version: the arguments that make it tell its version.
        command: makes what to run from (protocol, port, sites, a directory of its own).
    """

    name: str
    program: str
    protocols: tuple[str, ...]
    version: tuple[str, ...]
    command: Callable[[str, int, Sites, Path], list[str]]

    def missing(self) -> bool:
        """Whether it is not installed."""
        return find(self.program) is None


def find(program: str) -> str | None:
    """A program beside this Python, in PATH or in /usr/sbin."""
    beside = Path(sys.executable).with_name(program)
    if beside.exists():
        return str(beside)
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def _path(program: str) -> str:
    found = find(program)
    if found is None:
        raise FileNotFoundError(f"{program} is not installed; `make bench-failover` installs what it compares with")
    return found


def _fill(template: str, protocol: str, port: int, sites: Sites, directory: Path) -> Path:
    rest = protocol == REST
    values = {
        "@PORT@": port,
        "@CLOUD_HOST@": sites.cloud_host,
        "@CLOUD_PORT@": sites.cloud_rest if rest else sites.cloud_grpc,
        "@EDGE_HOST@": sites.edge_host,
        "@EDGE_PORT@": sites.edge_rest if rest else sites.edge_grpc,
        "@DIR@": directory,
    }
    text = (BASELINES / template).read_text()
    for key, value in values.items():
        text = text.replace(key, str(value))
    path = directory / template
    path.write_text(text)
    return path


def _ours(protocol: str, port: int, sites: Sites, _directory: Path) -> list[str]:
    ports = {REST: 0, GRPC: 0, protocol: port}
    command = [sys.executable, "-m", "edgewise", "gateway"]
    command += ["--cloud", f"http://{sites.cloud_host}:{sites.cloud_rest}"]
    command += ["--edge", f"http://{sites.edge_host}:{sites.edge_rest}"]
    return [*command, "--rest-port", str(ports[REST]), "--grpc-port", str(ports[GRPC])]


def _envoy(protocol: str, port: int, sites: Sites, directory: Path) -> list[str]:
    config = _fill(f"envoy-{protocol}.yaml", protocol, port, sites, directory)
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return [_path("envoy"), "--config-path", str(config), *options]


def _haproxy(protocol: str, port: int, sites: Sites, directory: Path) -> list[str]:
    return [_path("haproxy"), "-db", "-f", str(_fill("haproxy.cfg", protocol, port, sites, directory))]


def _nginx(protocol: str, port: int, sites: Sites, directory: Path) -> list[str]:
    return [_path("nginx"), "-p", str(directory), "-c", str(_fill("nginx.conf", protocol, port, sites, directory))]


OPPONENTS: Final = {
    opponent.name: opponent
    for opponent in (
        Opponent(OURS, "python", (REST, GRPC), (), _ours),
        Opponent("envoy", "envoy", (REST, GRPC), ("--version",), _envoy),
        Opponent("haproxy", "haproxy", (REST,), ("-v",), _haproxy),
        Opponent("nginx", "nginx", (REST,), ("-v",), _nginx),
    )
}
