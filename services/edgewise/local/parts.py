"""The parts of the local system: which commands they are, where they listen, and how one is started and stopped.

Every part is the same command that a user would type, in a process of its own, so that what runs here is what runs
elsewhere. State lies in one directory: `models/SITE/`, `PART.log`, `PART.pid`.
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
        words: the command line behind `edgewise`; "{models}" stands for the directory of models.
        ports: where it listens.
        ready_port, ready_path: answer 200 once it works.
        variant: of the model `pets` that it serves; "" when it serves none.
        what: for people.
    """

    name: str
    words: tuple[str, ...]
    ports: tuple[int, ...]
    ready_port: int
    ready_path: str
    variant: str
    what: str


def _server(name: str, rest_port: int, grpc_port: int) -> Part:
    where = ("--rest-port", str(rest_port), "--grpc-port", str(grpc_port))
    words = ("serve", "--repository", f"{{models}}/{name}", *where, "--site", name, "--tier", name)
    what = f"model server, REST on port {rest_port}, gRPC on {grpc_port}"
    return Part(name, words, (rest_port, grpc_port), rest_port, "/v2/health/ready", name, what)


CLOUD = _server("cloud", 8501, 8500)
EDGE = _server("edge", 8511, 8510)
LINK_PORT, CONTROL_PORT = 8521, 8522
PROFILE = "4g"
LINK = Part(
    "link",
    (
        "link",
        *("--listen", f"{HOST}:{LINK_PORT}", "--to", f"{HOST}:{CLOUD.ready_port}", "--profile", PROFILE),
        *("--control", f"{HOST}:{CONTROL_PORT}"),
    ),
    (LINK_PORT, CONTROL_PORT),
    CONTROL_PORT,
    "/state",
    "",
    f"a {PROFILE} network between gateway and cloud, port {LINK_PORT}, controlled on {CONTROL_PORT}",
)
REST_PORT, GRPC_PORT = 8080, 8081
GATEWAY = Part(
    "gateway",
    (
        "gateway",
        *("--cloud", f"http://{HOST}:{LINK_PORT}", "--edge", f"http://{HOST}:{EDGE.ready_port}"),
        *("--rest-port", str(REST_PORT), "--grpc-port", str(GRPC_PORT)),
    ),
    (REST_PORT, GRPC_PORT),
    REST_PORT,
    "/v2/health/ready",
    "",
    f"the one endpoint for apps, REST on port {REST_PORT}, gRPC on {GRPC_PORT}",
)
PARTS = (CLOUD, LINK, EDGE, GATEWAY)
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
    words = [word.format(models=state / "models") for word in part.words]
    with log.open("ab") as sink:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "edgewise", *words],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    (state / f"{part.name}.pid").write_text(str(process.pid))
    started_s = time.monotonic()
    while not is_ready(part):
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
    """Whether the part works."""
    connection = http.client.HTTPConnection(HOST, part.ready_port, timeout=2)
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
    return pid if part.words[0].encode() in words and part.words[-1].encode() in words else None


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
