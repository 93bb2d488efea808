"""The parts of the local system: which commands they are, where they listen, and how one is started and stopped.

Every part is the same command that a user would type, in a process of its own, so that what runs here is what runs
elsewhere. State lies in one directory: `models/TIER/` as they were built, `hub/`, `agents/SITE/`, `PART.log`, `PART.pid`.
"""

import contextlib
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from edgewise.core.errors import FailedPreconditionError, UnavailableError

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the local system.

    Attributes:
        name: of its log and pid file.
        words: the command line behind `edgewise`; "{state}" stands for the directory of the system's state.
        ports: where it listens.
        ready_path: answers 200 at the first port once it works; "" when it listens nowhere, and says in its log that it is ready.
        what: for people.
    """

    name: str
    words: tuple[str, ...]
    ports: tuple[int, ...]
    ready_path: str
    what: str


HUB_PORT = 8600
HUB = Part(
    "hub",
    ("hub", "serve", "--state", "{state}/hub", "--host", HOST, "--port", str(HUB_PORT)),
    (HUB_PORT,),
    "/healthz",
    f"rollouts to all sites, with its pages, port {HUB_PORT}",
)
LINK_PORT, CONTROL_PORT = 8521, 8522
SHOP_LINK_PORT, SHOP_CONTROL_PORT = 8541, 8542
REST_PORT, GRPC_PORT = 8080, 8081
PROFILE = "4g"
POLL_S = "4"
"""How long an agent's question to the hub waits: short, so that a rollout may call a site silent after some seconds."""


def _server(name: str, tier: str, rest_port: int, grpc_port: int) -> Part:
    where = ("--rest-port", str(rest_port), "--grpc-port", str(grpc_port))
    files = ("--config", f"{{state}}/agents/{name}/models.config", "--poll-interval-s", "0.2")
    words = ("serve", *files, *where, "--tier", tier, "--site", name)
    what = f"model server, REST on port {rest_port}, gRPC on {grpc_port}"
    return Part(name, words, (rest_port, grpc_port), "/v2/health/ready", what)


def _link(name: str, port: int, to: int, control: int, what: str) -> Part:
    words = (
        "--listen",
        f"{HOST}:{port}",
        "--profile",
        PROFILE,
        "--to",
        f"{HOST}:{to}",
        "--control",
        f"{HOST}:{control}",
    )
    what = f"a {PROFILE} network between {what}, port {port}, controlled on {control}"
    return Part(name, ("link", *words), (control, port), "/state", what)


def _agent(name: str, models: str, server: Part, *gateway: str) -> Part:
    own = ("--state", f"{{state}}/agents/{name}", "--adopt", f"{{state}}/models/{models}")
    beside = ("--model-server", f"http://{HOST}:{server.ports[0]}", *gateway)
    words = ("agent", "run", *own, *beside, "--poll-s", POLL_S)
    return Part(f"{name}-agent", words, (), "", f"makes the site {name} match what the hub wants")


CLOUD = _server("cloud", "cloud", 8501, 8500)
EDGE = _server("edge", "edge", 8511, 8510)
SHOP = _server("shop", "edge", 8531, 8530)
SHOP_LINK = _link("shop-link", SHOP_LINK_PORT, HUB_PORT, SHOP_CONTROL_PORT, "the site shop and the hub")
LINK = _link("link", LINK_PORT, CLOUD.ports[0], CONTROL_PORT, "gateway and cloud")
GATEWAY = Part(
    "gateway",
    (
        "gateway",
        *("--cloud", f"http://{HOST}:{LINK_PORT}", "--edge", f"http://{HOST}:{EDGE.ports[0]}"),
        *("--rest-port", str(REST_PORT), "--grpc-port", str(GRPC_PORT)),
        *("--canaries", "{state}/agents/edge/canaries.json"),
        *("--config", "{state}/gateway.toml"),
    ),
    (REST_PORT, GRPC_PORT),
    "/v2/health/ready",
    f"the one endpoint for apps, REST on port {REST_PORT}, gRPC on {GRPC_PORT}",
)
AGENTS = (
    _agent("cloud", "cloud", CLOUD, "--no-gateway"),
    _agent(
        *("edge", "edge", EDGE),
        *("--gateway", f"http://{HOST}:{REST_PORT}", "--gateway-site", "edge", "--samples", "{state}/samples"),
    ),
    _agent("shop", "edge", SHOP, "--no-gateway"),
)
SERVERS = (CLOUD, EDGE, SHOP)
CONTROL = (HUB, SHOP_LINK)
"""What has to work before a site can be enrolled."""
PARTS = (*CONTROL, *AGENTS, CLOUD, LINK, EDGE, SHOP, GATEWAY)
"""In the order in which they start; they stop in the opposite one."""


def check_ports(part: Part) -> None:
    """See to it that the part can listen.

    Raises: FailedPreconditionError: another program has one of its ports.
    """
    for port in part.ports:
        if _taken(port):
            raise FailedPreconditionError(
                f"port {port} is taken by another program; stop it (or an earlier system: make down) and try again"
            )


def start(part: Part, state: Path) -> float:
    """Start a part and wait until it is ready.

    Returns: seconds that took.
    Raises: UnavailableError: it did not become ready; the message names its log.
    """
    log = state / f"{part.name}.log"
    with log.open("ab") as sink:
        before_bytes = sink.tell()
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "edgewise", *_words(part, state)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    (state / f"{part.name}.pid").write_text(str(process.pid))
    started_s = time.monotonic()
    while not (is_ready(part) if part.ports else _said_ready(log, before_bytes)):
        if process.poll() is not None:
            raise UnavailableError(f"{part.name} stopped with exit code {process.returncode}; its log is {log}")
        if time.monotonic() - started_s > READY_TIMEOUT_S:
            raise UnavailableError(f"{part.name} was not ready within {READY_TIMEOUT_S:.0f} s; its log is {log}")
        time.sleep(0.05)
    return time.monotonic() - started_s


def stop(part: Part, state: Path) -> str:
    """Stop a part with SIGTERM and wait until it has gone.

    Returns: what happened, for people; it begins with "cannot" when it still runs.
    """
    pid = running(part, state)
    if pid is None:
        return "not running"
    if not _stopped(pid):
        return f"cannot stop process {pid}: it still runs after {STOP_TIMEOUT_S:.0f} s"
    (state / f"{part.name}.pid").unlink(missing_ok=True)
    return f"stopped process {pid}"


def is_ready(part: Part) -> bool:
    """Whether the part works; of one that listens nowhere, nothing is known from outside but that its process runs."""
    if not part.ports:
        return True
    connection = http.client.HTTPConnection(HOST, part.ports[0], timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", part.ready_path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def running(part: Part, state: Path) -> int | None:
    """The process of the part, if it still is that: a pid may have been given to another program since."""
    try:
        pid = int((state / f"{part.name}.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    own = [word.encode() for word in _words(part, state)]
    return pid if words[-len(own) - 1 : -1] == own else None


def _words(part: Part, state: Path) -> list[str]:
    # In full: a relative path would be another one from elsewhere.
    return [word.format(state=state.resolve()) for word in part.words]


def _said_ready(log: Path, before_bytes: int) -> bool:
    with log.open("rb") as file:
        file.seek(before_bytes)
        return b"edgewise: ready" in file.read()


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
        return False


def _stopped(pid: int) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        readable, _, _ = select.select([descriptor], [], [], STOP_TIMEOUT_S)
        return bool(readable)
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)
