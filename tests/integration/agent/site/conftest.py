"""A hub, and an edge node with real processes: a model server, a gateway with two workers, an agent."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from edgewise.model_server.building import tiny
from support import mounting
from support.rest_questions import RestQuestions
from support.site_hub import SiteHub

ROW = {"instances": [[0.5] * tiny.INPUT_SIZE]}


@pytest.fixture
def hub(tmp_path):
    hub = SiteHub(tmp_path / "hub")
    yield hub
    hub.close()


class EdgeNode:
    """One edge node.

    Attributes:
        state: the agent's directory.
        server, gateway, agent: the processes.
    """

    def __init__(self, directory, hub, start_server, start_gateway):
        self.directory = directory
        self.state = directory / "agent"
        self.hub = hub
        self._start_server = start_server
        self._start_gateway = start_gateway
        self.server = self.gateway = self.agent = None

    def enroll(self, site="edge-1"):
        word = self.hub.enrollment(site)
        command("agent", "enroll", word, "--state", str(self.state))

    def start(self, *words, adopt=None, gateway=True):
        """Everything, the agent first: it writes the files that the others follow."""
        self.start_servers(gateway=gateway)
        self.start_agent(*words, *(("--adopt", str(adopt)) if adopt else ()))

    def start_servers(self, *, gateway=True):
        self.server = self._start_server(
            "--config", str(self.state / "models.config"), "--poll-interval-s", "0.1", "--site", "edge"
        )
        if gateway:
            self.gateway = self._start_gateway(
                *("--edge", self.server.rest_url, "--default-route", "edge-only", "--workers", "2"),
                *("--canaries", str(self.state / "canaries.json")),
            )

    def start_agent(self, *words):
        way = ("--gateway", self.gateway.rest_url) if self.gateway else ("--no-gateway",)
        self.agent = self._start_server(
            *("run", "--state", str(self.state), "--model-server", self.server.rest_url, *way),
            *("--reserve", "1MB", *words),
            command="agent",
        )

    def ask(self, path="/v1/models/tiny:predict"):
        return RestQuestions((self.gateway or self.server).rest_url).rest(path, ROW)

    def version(self):
        """Which one answers who asks for none."""
        answer = self.ask()
        return int(answer.headers["x-edgewise-model-version"]) if answer.status == 200 else answer.status

    def stop(self):
        for process in (self.agent, self.gateway, self.server):
            if process is not None:
                process.stop(signal.SIGTERM)
                # Shown when the test failed.
                print(process.log)


@pytest.fixture
def node(tmp_path, hub, start_server, start_gateway):
    node = EdgeNode(tmp_path / "node", hub, start_server, start_gateway)
    yield node
    node.stop()


@pytest.fixture
def second_node(tmp_path, hub, start_server, start_gateway):
    node = EdgeNode(tmp_path / "second", hub, start_server, start_gateway)
    yield node
    node.stop()


class Load:
    """Apps that ask, one after another, until it ends.

    Attributes:
        answers: (moment, status, version) of each.
    """

    def __init__(self, ask, rate_hz=100.0, threads=2):
        self.answers = []
        self._ask = ask
        self._pause_s = threads / rate_hz
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        while not self._over.wait(self._pause_s):
            answer = self._ask()
            version = answer.headers["x-edgewise-model-version"]
            self.answers.append((time.monotonic(), answer.status, int(version or 0)))

    def failed(self):
        return [answer for answer in self.answers if answer[1] != 200]


@pytest.fixture
def load():
    return Load


def command(*words, code=0):
    """Run `edgewise WORDS...` to its end; its output, or its complaint."""
    done = subprocess.run(
        [sys.executable, "-m", "edgewise", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def edgewise():
    return command


@pytest.fixture
def build_tiny(tmp_path):
    """Makes versions of `tiny`, in a directory of their own."""

    def build(version, **words):
        tiny.build(tmp_path / "built", version=version, **words)
        return tmp_path / "built" / "tiny" / str(version)

    return build


@pytest.fixture
def small_disk(tmp_path):
    """A disk of three megabytes; needs root."""
    with mounting.small_disk(tmp_path / "disk", "3m") as place:
        yield place
