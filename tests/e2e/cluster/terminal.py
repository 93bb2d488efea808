"""Commands as a person types them, and what a person starts on an edge node."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from e2e.cluster.timeline import Timeline
from support.sockets import free_port

COMMAND_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 30.0
_SECRET = re.compile(r"ew[t1][_.]\S+")
_KEYS = ("--with-offline-keys", "trust")


class Operator:
    """A person at a terminal, in a directory of their own.

    Args:
        url: of the hub that is asked.
    """

    def __init__(self, directory: Path, timeline: Timeline, url: str) -> None:
        self.directory = directory
        self.timeline = timeline
        self.environment = {**os.environ, "EDGEWISE_HUB": url, "HOME": str(directory)}

    def __call__(self, *words: str, code: int = 0, shown: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run(
            _edgewise(*words),
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
        )
        said = _SECRET.sub("…", done.stdout + done.stderr)
        if shown:
            self.timeline.say(_SECRET.sub("…", f"$ edgewise {' '.join(words)}"))
            self.timeline.show(said)
        assert done.returncode == code, said
        return done.stdout

    @contextlib.contextmanager
    def hub(self, host: str, port: int) -> Iterator[None]:
        """A hub that serves."""
        said = self("hub", "init", "--state", "hub", "--url", self.environment["EDGEWISE_HUB"], *_KEYS)
        found = re.search(r"ewt_\S+", said)
        assert found, said
        self.environment["EDGEWISE_HUB_TOKEN"] = found[0]
        words = ("hub", "serve", "--state", "hub", "--host", host, "--port", str(port))
        with started(self.directory, "hub", *words):
            yield

    def enrollment(self, site: str, *words: str) -> str:
        """The word with which a site begins."""
        said = self("sites", "enroll", site, *words)
        found = re.search(r"ew1\.\S+", said)
        assert found, said
        return found[0]


class EdgeNode:
    """An edge node of a few processes: a link to the hub, an agent, a model server and a gateway.

    Attributes:
        site: what the hub calls it.
        rest: "host:port" of its gateway.
    """

    def __init__(self, operator: Operator, site: str, hub: str) -> None:
        self.site = site
        self._directory = operator.directory / site
        self._hub = hub
        self._link_port, self._server_port, self._gateway_port = free_port(), free_port(), free_port()
        self._link = contextlib.ExitStack()
        self._rest = contextlib.ExitStack()
        self.rest = f"127.0.0.1:{self._gateway_port}"
        self._directory.mkdir()
        self.connect()
        word = operator.enrollment(site, "--tier", "edge")
        there = f"http://127.0.0.1:{self._link_port}"
        operator("agent", "enroll", word, "--state", str(self._directory / "agent"), "--tier", "edge", "--hub", there)

    def start(self, repository: Path) -> None:
        """Have everything run.

        Args:
            repository: what the node serves at first; it was there before the agent.
        """
        state, server = self._directory / "agent", f"http://127.0.0.1:{self._server_port}"
        for name, words in {
            "agent": (
                *("run", "--state", str(state), "--adopt", str(repository), "--poll-s", "5"),
                *("--model-server", server, "--gateway", f"http://{self.rest}", "--gateway-site", "edge"),
            ),
            "serve": (
                *("--config", str(state / "models.config"), "--poll-interval-s", "0.2", "--threads", "1"),
                *("--rest-port", str(self._server_port), "--grpc-port", "0", "--site", self.site),
            ),
            "gateway": (
                *("--edge", server, "--default-route", "edge-only", "--canaries", str(state / "canaries.json")),
                *("--rest-port", str(self._gateway_port), "--grpc-port", "0"),
            ),
        }.items():
            self._rest.enter_context(started(self._directory, name, name, *words))

    def connect(self) -> None:
        """Have a way to the hub."""
        words = ("link", "--listen", f"127.0.0.1:{self._link_port}", "--to", self._hub, "--control", "none")
        self._link.enter_context(started(self._directory, "link", *words))

    def disconnect(self) -> None:
        """Have none: nothing listens where the agent finds its hub."""
        self._link.close()

    def close(self) -> None:
        """End all of it."""
        self._rest.close()
        self._link.close()


@contextlib.contextmanager
def started(directory: Path, name: str, *words: str) -> Iterator[None]:
    """A process that has said that it is ready; it ends with the block."""
    path = directory / f"{name}.log"
    with path.open("a") as log:
        process = subprocess.Popen(
            _edgewise(*words), cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, path.read_text()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=STOP_TIMEOUT_S)


def _edgewise(*words: str) -> list[str]:
    return [sys.executable, "-m", "edgewise", *words]
