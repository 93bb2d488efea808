"""What several suites need: model repositories made once, and real servers in processes of their own."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from edgewise.net import http_connection

START_TIMEOUT_S = 60.0
LONGEST = re.compile(r".*/tests/(e2e/test_rollout_story\.py|e2e/study/test_run\.py|integration/(study|train)/)")
COMPILED = not http_connection.__file__.endswith(".py")


# An example that takes long beside other work is no fault of what is tested: speed is for the benchmarks.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")


def pytest_configure():
    # A shell without job control starts what it puts in the background with SIGINT ignored, which every process of the
    # tests would inherit: what is to end by it never would.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header():
    return f"hot path: {'compiled' if COMPILED else 'interpreted'}"


def pytest_collection_modifyitems(items):
    # What takes for minutes by itself begins first: at the end nobody would be left to do anything beside it.
    items.sort(key=lambda item: not LONGEST.match(item.path.as_posix()))
    if COMPILED:
        for item in items:
            if item.get_closest_marker("interpreted"):
                item.add_marker(pytest.mark.skip(reason="the hot path is compiled"))


@dataclass
class Server:
    """A running `edgewise serve` (or another command that prints its ready line)."""

    process: subprocess.Popen[bytes]
    rest_port: int
    grpc_port: int
    log_path: Path
    ready_line: str
    scheme: str = "http"

    @property
    def log(self) -> str:
        """What the server has written to its standard error."""
        return self.log_path.read_text(errors="replace")

    @property
    def rest_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.rest_port}"

    @property
    def grpc_target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def stop(self, how: int = signal.SIGTERM, timeout_s: float = 40.0) -> int:
        """Signal the server and wait for its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout_s)
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.stdout.close()
        return code


def _ready_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """The first output line that says where the server listens."""
    assert process.stdout is not None
    seen = b""
    while True:
        readable, _, _ = select.select([process.stdout], [], [], timeout_s)
        chunk = os.read(process.stdout.fileno(), 65536) if readable else b""
        if not chunk:
            process.kill()
            process.wait()
            process.stdout.close()
            pytest.fail(f"the server did not become ready; it printed:\n{seen.decode(errors='replace')}")
        seen += chunk
        found = re.search(rb"^edgewise: ready.*\n", seen, re.MULTILINE)
        if found:
            return found.group()


ServerFactory = Callable[..., Server]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFactory]:
    """A function that starts `edgewise WORDS...`, waits until it is ready, and gives the server."""
    started: list[Server] = []

    def start(*words: str, command: str = "serve", environment: dict[str, str] | None = None) -> Server:
        log = tmp_path_factory.mktemp("server") / "stderr.log"
        ports = ("--rest-port", "0", "--grpc-port", "0") if command in {"serve", "gateway"} else ()
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "edgewise", command, *ports, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                env={**os.environ, **(environment or {})},
            )
        try:
            line = _ready_line(process, START_TIMEOUT_S)
        except BaseException:
            print(log.read_text(errors="replace"))
            raise
        ports_found = {name: int(port) for name, port in re.findall(rb"(rest|grpc)=[^ ]*?(\d+)(?: |\n|$)", line)}
        scheme = "https" if b"rest=https://" in line else "http"
        server = Server(process, ports_found.get(b"rest", 0), ports_found.get(b"grpc", 0), log, line.decode(), scheme)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        if server.process.stdout is not None:
            with contextlib.suppress(OSError):
                server.process.stdout.close()


@pytest.fixture(scope="session")
def start_gateway(start_server: ServerFactory) -> ServerFactory:
    """A function that starts `edgewise gateway WORDS...` on free ports, waits until it is ready, and gives it."""

    def start(*words: str, environment: dict[str, str] | None = None) -> Server:
        return start_server(*words, command="gateway", environment=environment)

    return start


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with `tiny`, versions 1 and 2."""
    from edgewise.model_server.building import tiny

    directory = tmp_path_factory.mktemp("tiny")
    for version in (1, 2):
        tiny.build(directory, version=version)
    return directory


@pytest.fixture(scope="session")
def pets_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with `pets`, the edge variant."""
    from support import built_models

    return built_models.pets(tmp_path_factory.mktemp("pets"))


@pytest.fixture(scope="session")
def images() -> Path:
    """The example photographs."""
    return Path(__file__).parent.parent / "examples" / "images"
