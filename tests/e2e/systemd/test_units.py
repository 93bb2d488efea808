"""What systemd itself says of the units, and what it would say of a program that is told to speak to it."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from edgewise.model_server.building import tiny
from support import environments
from support.site_hub import SiteHub
from support.sockets import free_port
from support.waiting import wait_for

UNITS = Path(__file__).parents[3] / "deploy" / "systemd" / "units"
CONTAINERS = UNITS.parent / "containers"
AGENT = "edgewise-agent.service"
SERVICES = ("edgewise-model-server.service", "edgewise-gateway.service", "edgewise-fetch@.service", AGENT)
MAX_EXPOSURE = 1.5
WAIT_S = 60.0
EDGEWISE = str(Path(sys.executable).parent / "edgewise")


class Unit:
    """What a unit file says, line continuations undone."""

    def __init__(self, path):
        self.path = path
        text = re.sub(r"\\\n\s*", "", path.read_text())
        self.lines = [line for line in text.splitlines() if line and line[0] not in "#;["]

    def values(self, key):
        return [value for name, _, value in (line.partition("=") for line in self.lines) if name == key]

    def value(self, key):
        (value,) = self.values(key)
        return value

    def environment(self):
        return dict(word.split("=", 1) for word in self.values("Environment"))

    def command(self, environment):
        """ExecStart with its variables put in as systemd does: ${NAME} one word, $NAME as many as it has."""
        words = []
        for word in self.value("ExecStart").split():
            if re.fullmatch(r"\$[A-Z_]+", word):
                words += environment.get(word[1:], "").split()
            else:
                words.append(re.sub(r"\$\{([A-Z_]+)\}", lambda found: environment[found[1]], word))
        return words


def unit(name):
    return Unit(UNITS / name)


@pytest.fixture(scope="module")
def systemd_analyze():
    try:
        environments.programs(["systemd-analyze"])
    except environments.InstallError as error:
        pytest.skip(str(error))
    program = shutil.which("systemd-analyze")

    def analyze(*words):
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return analyze


@pytest.fixture(scope="module")
def copied_units(tmp_path_factory):
    """The units with a command that is there."""
    directory = tmp_path_factory.mktemp("units")
    for path in UNITS.iterdir():
        (directory / path.name).write_text(path.read_text().replace("/opt/edgewise/bin/edgewise", EDGEWISE))
    return directory


def test_the_units_are_free_of_mistakes(systemd_analyze, copied_units):
    names = sorted(str(path) for path in copied_units.iterdir())
    assert systemd_analyze("verify", "--man=no", *names) == (0, "")


def test_the_units_of_the_containers_are_free_of_mistakes(systemd_analyze, copied_units, tmp_path):
    for path in (*CONTAINERS.iterdir(), copied_units / "edgewise.target"):
        # Whether podman is here does not matter for what they say.
        (tmp_path / path.name).write_text(path.read_text().replace("/usr/bin/podman", sys.executable))
    names = sorted(str(path) for path in tmp_path.iterdir())
    assert systemd_analyze("verify", "--man=no", *names) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_little_of_the_machine_is_exposed(systemd_analyze, copied_units, name):
    code, report = systemd_analyze(
        "security", "--offline=true", "--no-pager", f"--threshold={round(MAX_EXPOSURE * 10)}", str(copied_units / name)
    )
    left = [line.removeprefix("✗ ") for line in report.splitlines() if line.startswith("✗")]
    (score,) = re.findall(r"exposure level for .*: ([\d.]+)", report)
    print(f"\n{name}: exposure {score} of 10; what is left:\n  " + "\n  ".join(left))
    assert code == 0, report
    assert float(score) <= MAX_EXPOSURE


class Manager:
    """The end of NOTIFY_SOCKET that systemd holds."""

    def __init__(self, directory):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"{directory}/notify")
        self.heard = []

    def listen(self, timeout_s=WAIT_S):
        """The next message as lines; None when there was none in time."""
        self.socket.settimeout(timeout_s)
        try:
            message = self.socket.recv(4096).decode().split("\n")
        except TimeoutError:
            return None
        self.heard.append(message)
        return message

    def listen_for(self, word):
        ends_s = time.monotonic() + WAIT_S
        while time.monotonic() < ends_s:
            message = self.listen()
            assert message is not None, f"no {word} came; heard {self.heard}"
            if word in message:
                return message
        pytest.fail(f"no {word} came; heard {self.heard}")


@pytest.fixture
def manager(tmp_path):
    made = Manager(tmp_path)
    yield made
    made.socket.close()


@pytest.fixture
def start(manager, tmp_path):
    """A function that starts a unit's ExecStart as systemd would."""
    started = []

    def go(name, *, watchdog_s, **settings):
        one = unit(name)
        environment = {
            **one.environment(),
            "EDGEWISE_REST_PORT": str(free_port()),
            "EDGEWISE_GRPC_PORT": "0",
            **settings,
        }
        command = [EDGEWISE, *one.command(environment)[1:]]
        told = {"NOTIFY_SOCKET": manager.socket.getsockname(), "WATCHDOG_USEC": str(round(watchdog_s * 1e6))}
        with (tmp_path / "stderr").open("wb") as sink:
            process = subprocess.Popen(
                command, env={**os.environ, **environment, **told}, stdout=subprocess.DEVNULL, stderr=sink
            )
        process.rest_url = f"http://127.0.0.1:{environment['EDGEWISE_REST_PORT']}"
        started.append(process)
        return process

    yield go
    for process in started:
        process.kill()
        process.wait()


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.fixture
def models(tmp_path):
    tiny.build(tmp_path / "models")
    return tmp_path / "models"


def test_the_model_server_is_ready_once_it_answers_alive_while_its_loop_turns_and_says_that_it_stops(
    start, manager, models
):
    process = start("edgewise-model-server.service", watchdog_s=1.0, EDGEWISE_MODELS=str(models))
    ready = manager.listen_for("READY=1")
    assert status(f"{process.rest_url}/v2/health/ready") == 200
    assert ready[1].startswith("STATUS=ready: rest=")
    assert ["STATUS=model tiny version 1 is AVAILABLE"] in manager.heard
    before = [message for message in manager.heard if "WATCHDOG=1" in message]
    assert before
    assert all("EXTEND_TIMEOUT_USEC=1000000" in message for message in before)
    for _ in range(3):
        assert manager.listen_for("WATCHDOG=1") == ["WATCHDOG=1"]
    process.send_signal(signal.SIGTERM)
    manager.listen_for("STOPPING=1")
    assert process.wait(WAIT_S) == 0


@pytest.fixture
def site(tmp_path):
    """The directory of a site that was enrolled, and whose hub has gone."""
    directory = tmp_path / "agent"
    hub = SiteHub(tmp_path / "hub")
    try:
        words = ("agent", "enroll", hub.enrollment(), "--state", str(directory))
        subprocess.run([EDGEWISE, *words], check=True, capture_output=True, timeout=WAIT_S)
    finally:
        hub.close()
    return directory


def test_the_agent_is_ready_and_alive_without_its_hub_and_says_that_it_stops(start, manager, models, site):
    process = start(AGENT, watchdog_s=1.0, EDGEWISE_AGENT=str(site), EDGEWISE_MODELS=str(models))
    assert manager.listen_for("READY=1")[1].startswith("STATUS=site edge-1 of http://127.0.0.1:")
    # What the node served before is what the model server is told to serve.
    assert 'name: "tiny"' in (site / "models.config").read_text()
    for _ in range(3):
        assert manager.listen_for("WATCHDOG=1") == ["WATCHDOG=1"]
    process.send_signal(signal.SIGTERM)
    manager.listen_for("STOPPING=1")
    assert process.wait(float(unit(AGENT).value("TimeoutStopSec"))) == 0


def test_a_server_whose_model_does_not_load_is_alive_and_not_ready_and_says_why(start, manager, models):
    (models / "tiny" / "1" / "model.onnx").write_bytes(b"")
    process = start("edgewise-model-server.service", watchdog_s=0.5, EDGEWISE_MODELS=str(models))
    why = manager.listen_for("WATCHDOG=1")
    while not any(line.startswith("STATUS=model tiny version 1 is END: ") for line in why):
        why = manager.listen()
    for _ in range(5):
        assert manager.listen_for("WATCHDOG=1") == ["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=500000"]
    assert not any("READY=1" in message for message in manager.heard)
    assert status(f"{process.rest_url}/v2/health/ready") == 503
    tiny.build(models, force=True)
    manager.listen_for("READY=1")
    assert status(f"{process.rest_url}/v2/health/ready") == 200


@pytest.mark.parametrize("name", ["edgewise-model-server.service", "edgewise-gateway.service"])
def test_a_server_that_hangs_falls_silent(start, manager, models, tmp_path, name):
    process = start(name, watchdog_s=1.0, EDGEWISE_MODELS=str(models), EDGEWISE_CONFIG=str(gateway_toml(tmp_path)))
    manager.listen_for("READY=1")
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: stopped(process.pid))
    with contextlib.suppress(BlockingIOError):
        manager.socket.setblocking(False)
        while True:
            manager.socket.recv(4096)
    # Longer than the interval in which systemd would have to hear something.
    assert manager.listen(2.0) is None
    process.send_signal(signal.SIGCONT)
    manager.listen_for("WATCHDOG=1")


def stopped(pid):
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def gateway_toml(directory):
    file = directory / "gateway.toml"
    file.write_text(f'[[site]]\nname = "edge"\ntier = "edge"\nrest = "http://127.0.0.1:{free_port()}"\n')
    return file


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_gateway_is_ready_without_any_site(start, manager, tmp_path, workers):
    process = start(
        "edgewise-gateway.service",
        watchdog_s=2.0,
        EDGEWISE_CONFIG=str(gateway_toml(tmp_path)),
        EDGEWISE_WORKERS=workers,
        EDGEWISE_GRPC_PORT=str(free_port()),
    )
    manager.listen_for("READY=1")
    assert status(f"{process.rest_url}/v2/health/live") == 200
    for _ in range(3):
        manager.listen_for("WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    manager.listen_for("STOPPING=1")
    assert process.wait(WAIT_S) == 0


@pytest.fixture
def start_container(manager, tmp_path):
    """A function that starts a container's ExecStart as systemd would, under a name of the test's own."""
    started = []

    def go(name, **settings):
        one = Unit(CONTAINERS / name)
        environment = {
            **one.environment(),
            "EDGEWISE_REST_PORT": str(free_port()),
            "EDGEWISE_GRPC_PORT": "0",
            **settings,
        }
        image = environment["EDGEWISE_IMAGE"]
        if (
            shutil.which("podman") is None
            or subprocess.run(["podman", "image", "exists", image], check=False).returncode
        ):
            pytest.skip(f"there is no image {image}; deploy/images/build makes it")
        mine = f"{name.removesuffix('.service')}-{os.getpid()}"
        command = [mine if word == name.removesuffix(".service") else word for word in one.command(environment)]
        told = {"NOTIFY_SOCKET": manager.socket.getsockname(), "WATCHDOG_USEC": "2000000"}
        with (tmp_path / "podman").open("wb") as sink:
            process = subprocess.Popen(command, env={**os.environ, **told}, stdout=sink, stderr=sink)
        process.rest_url = f"http://127.0.0.1:{environment['EDGEWISE_REST_PORT']}"
        process.container = mine
        started.append(process)
        return process

    yield go
    for process in started:
        subprocess.run(
            ["podman", "rm", "--force", "--ignore", "--time", "0", process.container], capture_output=True, check=False
        )
        process.wait(WAIT_S)


@pytest.mark.parametrize("name", ["edgewise-model-server.service", "edgewise-gateway.service"])
def test_a_container_says_how_it_is_and_stops_in_order(start_container, manager, models, tmp_path, name):
    config = tmp_path / "config"
    config.mkdir()
    gateway_toml(config)
    for place in (tmp_path, *tmp_path.rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)
    process = start_container(name, EDGEWISE_MODELS=str(models), EDGEWISE_CONFIG_DIRECTORY=str(config))
    manager.listen_for("READY=1")
    assert status(f"{process.rest_url}/v2/health/live") == 200
    for _ in range(3):
        manager.listen_for("WATCHDOG=1")
    subprocess.run(["podman", "stop", "--time", "60", process.container], check=True, capture_output=True, timeout=90)
    assert process.wait(WAIT_S) == 0


def test_a_reload_of_the_gateway_is_told(start, manager, tmp_path):
    file = gateway_toml(tmp_path)
    process = start("edgewise-gateway.service", watchdog_s=30.0, EDGEWISE_CONFIG=str(file))
    manager.listen_for("READY=1")
    process.send_signal(signal.SIGHUP)
    manager.listen_for("RELOADING=1")
    assert manager.listen_for("READY=1") == ["READY=1", "STATUS=the config was read again"]
    file.write_text("[[site")
    process.send_signal(signal.SIGHUP)
    manager.listen_for("RELOADING=1")
    _, why = manager.listen_for("READY=1")
    assert str(file) in why
    assert why.endswith("the config that was in force stays so")


def test_stopping_takes_no_longer_than_systemd_waits():
    server = unit("edgewise-model-server.service")
    drain_s = float(server.environment()["EDGEWISE_DRAIN_TIMEOUT_S"])
    assert float(server.value("TimeoutStopSec")) >= 5 + 5.25 + 2 * (drain_s + 5)
    gateway = unit("edgewise-gateway.service")
    drain_s = float(gateway.environment()["EDGEWISE_DRAIN_TIMEOUT_S"])
    assert float(gateway.value("TimeoutStopSec")) >= 5 + 5.25 + drain_s + 5 + 10
