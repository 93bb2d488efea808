"""The doggy door as it is typed, in front of a real gateway, model server and link; pictures appear in a folder."""

import contextlib
import http.client
import itertools
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import doggy_door
import pytest
from doggy_door.actuator import ActuatorError, DryActuator, FileActuator

from edgewise.model_server.building import pets
from support.waiting import wait_for

PROGRAM = str(Path(doggy_door.__file__).parent)
EACH_S = 0.08


class Link:
    """A running `edgewise link`."""

    def __init__(self, server):
        words = dict(word.split("=", 1) for word in server.ready_line.split()[2:])
        self.url = f"http://{words['link']}"
        self._control = words["control"].removeprefix("http://")

    def set(self, **state):
        connection = http.client.HTTPConnection(self._control, timeout=20)
        with contextlib.closing(connection):
            connection.request("PUT", "/state", json.dumps(state))
            assert connection.getresponse().status == 200


class Cameraman:
    """Puts a picture into a folder, over and over; which one is his to say."""

    def __init__(self, folder, images):
        self.shown = "dog"
        self.folder = folder
        self._images = images
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._shoot)
        self._thread.start()

    def _shoot(self):
        for number in itertools.count():
            picture = self._images / f"{self.shown}.jpg"
            hidden = self.folder / ".next"
            hidden.write_bytes(picture.read_bytes() if picture.exists() else b"no picture at all")
            hidden.rename(self.folder / f"{number:05}-{self.shown}.jpg")
            if self._stopped.wait(EACH_S):
                return

    def stop(self):
        self._stopped.set()
        self._thread.join()


class DoorProgram:
    """`python examples/doggy_door` with a lock that is a file."""

    def __init__(self, where, gateway, *words):
        self.lock, self._log = where / "lock", where / "log.jsonl"
        self._log.unlink(missing_ok=True)
        self.lock.write_text("?")
        self.process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    PROGRAM,
                    "--gateway",
                    gateway,
                    "--log",
                    str(self._log),
                    "--lock-file",
                    str(self.lock),
                ),
                *("--settings", str(where / "door.toml"), *words),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def lines(self):
        text = self._log.read_text() if self._log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def next(self, **what):
        """Wait for a line, of those that are written from now on, that says this."""
        before = len(self.lines)
        return wait_for(
            lambda: next((line for line in self.lines[before:] if line.items() >= what.items()), None), timeout_s=20
        )

    def is_open(self):
        return self.lock.read_text() == "1"

    def stop(self, how=signal.SIGTERM):
        """Its exit code."""
        self.process.send_signal(how)
        self.out, _ = self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture(scope="module")
def server(tmp_path_factory, start_server):
    repository = tmp_path_factory.mktemp("pets")
    # The cloud's variant is built in a second.
    pets.build(repository, variant="cloud", report=lambda _: None)
    return start_server("--repository", str(repository), "--site", "house", "--tier", "edge")


@pytest.fixture(scope="module")
def link(server, start_server):
    to = f"127.0.0.1:{server.rest_port}"
    return Link(start_server("--listen", "127.0.0.1:0", "--to", to, "--control", "127.0.0.1:0", command="link"))


@pytest.fixture
def sites(server, link):
    """The same server twice: over the link it stands for the cloud."""
    return "--cloud", link.url, "--edge", server.rest_url


@pytest.fixture
def where(tmp_path):
    (tmp_path / "in").mkdir()
    # Far from what is usual where a busy machine would be slower; the lock's heartbeat has to be told more often.
    (tmp_path / "door.toml").write_text(
        "deadline_ms = 1500\nfps = 10\n[lock]\nheartbeat_s = 2\n[door]\nwindow_s = 10\nsilent_s = 2\nstale_s = 5\nveto_s = 0.5\nhold_s = 10"
    )
    return tmp_path


@pytest.fixture
def cameraman(where, images):
    man = Cameraman(where / "in", images)
    yield man
    man.stop()


@pytest.fixture
def door_program(where):
    """Starts programs, and ends those that still run after the test."""
    started = []

    def start(gateway, *words):
        started.append(DoorProgram(where, gateway, *words))
        return started[-1]

    yield start
    for program in started:
        if program.process.returncode is None:
            program.process.kill()
            program.process.communicate()


def test_it_opens_for_the_dog_through_a_cut_and_shuts_for_a_cat_and_without_a_gateway(
    cameraman, door_program, sites, link, start_gateway
):
    gateway = start_gateway(*sites)
    program = door_program(gateway.rest_url, "--watch", str(cameraman.folder), "--route", "prefer-cloud")
    # The dog, as the cloud says.
    assert program.next(moved="open", tier="cloud")["verdict"] == "dog"
    wait_for(program.is_open)
    # The link is cut: the edge says so too, and the door stays open.
    link.set(fault="blackhole")
    program.next(seen="dog", tier="edge", door="open")
    assert program.next(seen="dog", tier="edge", degraded="failover")["door"] == "open"
    assert [line["moved"] for line in program.lines if "moved" in line] == ["open"]
    link.set(fault=None)
    # A cat shuts at once, and keeps the door shut for the dog after it until the veto is over.
    cameraman.shown = "cat"
    assert program.next(moved="shut")["why"] == "a cat was seen"
    wait_for(lambda: not program.is_open())
    cameraman.shown = "dog"
    program.next(seen="dog", door="veto")
    program.next(moved="open")
    # A picture that is none: nobody's fault, no answer either.
    cameraman.shown = "broken"
    program.next(spoiled="the image is not a JPEG, PNG or WebP file", door="open")
    cameraman.shown = "dog"
    program.next(seen="dog", door="open")
    # The gateway stops; it holds its connections, and answers nothing.
    gateway.process.send_signal(signal.SIGSTOP)
    assert program.next(moved="shut")["why"] == "nothing was answered for 2 s"
    wait_for(lambda: not program.is_open())
    missed = next(line["missed"] for line in reversed(program.lines) if "missed" in line)
    assert missed == f"no answer from {gateway.rest_url} before the deadline"
    # It recovers by itself.
    gateway.process.send_signal(signal.SIGCONT)
    program.next(moved="open")
    wait_for(program.is_open)
    # The gateway is gone.
    assert gateway.stop(signal.SIGKILL) == -signal.SIGKILL
    program.next(moved="shut")
    wait_for(lambda: not program.is_open())
    assert program.next(door="shut")["missed"].startswith(f"cannot connect to {gateway.rest_url}: ")
    assert program.stop() == 0
    assert program.lock.read_text() == "0"
    assert "doggy_door: shut; " in program.out


def test_killed_it_holds_nothing_open(cameraman, door_program, server):
    program = door_program(server.rest_url, "--watch", str(cameraman.folder))
    program.next(moved="open")
    wait_for(program.is_open)
    program.stop(signal.SIGKILL)
    wait_for(lambda: not program.is_open())


def test_told_to_stop_it_shuts(cameraman, door_program, server):
    program = door_program(server.rest_url, "--watch", str(cameraman.folder))
    program.next(moved="open")
    assert program.stop() == 0
    assert program.lock.read_text() == "0"
    assert program.lines[-1].items() >= {"ended": True, "moved": "shut"}.items()


def test_a_folder_of_all_sorts_opens_nothing_and_says_what_it_saw(images, door_program, server):
    # One dog and two cats among many other things: one picture never opens.
    program = door_program(server.rest_url, "--folder", str(images), "--fps", "60")
    program.out, _ = program.process.communicate(timeout=30)
    assert program.process.returncode == 0
    seen = {line["frame"]: line["seen"] for line in program.lines}
    assert {name for name, what in seen.items() if what == "cat"} == {"cat.jpg", "kitten.jpg"}
    assert seen["dog.jpg"] == "dog"
    assert len(seen) == len(list(images.glob("*.jpg")))
    assert not any("moved" in line for line in program.lines)
    assert program.lock.read_text() == "0"
    assert "is not served" not in program.out


def test_what_cannot_be_used_ends_it_with_a_word(where):
    def said(*words):
        done = subprocess.run(
            [sys.executable, PROGRAM, *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    assert said("--folder", str(where / "in"))[0] == 2
    code, text = said("--folder", str(where / "none"), "--gateway", "localhost:80")
    assert code == 2
    assert "the folder" in text
    assert "none cannot be read: No such file" in text


def test_a_lock_that_hears_nothing_falls_shut_and_one_that_cannot_be_moved_is_told(tmp_path):
    path = tmp_path / "value"
    with pytest.raises(ActuatorError, match="the lock's file .*value is not there"):
        FileActuator(path)
    path.write_text("?")
    with FileActuator(path, opened="on", shut="off", heartbeat_s=0.3) as lock:
        wait_for(lambda: path.read_text() == "off")
        lock.tell(is_open=True)
        wait_for(lambda: path.read_text() == "on")
        # Nothing more is told.
        wait_for(lambda: path.read_text() == "off")
        lock.tell(is_open=True)
        wait_for(lambda: path.read_text() == "on")
        lock.tell(is_open=False)
        wait_for(lambda: path.read_text() == "off")
        lock.tell(is_open=True)
        wait_for(lambda: path.read_text() == "on")
        lock._keeper.kill()
        with pytest.raises(ActuatorError, match="the lock cannot be moved: its keeper ended with code -9; it was shut"):
            wait_for(lambda: lock.tell(is_open=True))
        assert path.read_text() == "off"
    dry = DryActuator()
    for is_open in (False, True, True):
        dry.tell(is_open=is_open)
    dry.close()
    assert dry.moves == [True, False]
