"""What the suite asks of podman, and containers that are gone when a test is over."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
SETUP = ROOT.parent / "shared" / "containers" / "setup"
BASE = "python:3.11-slim-bookworm"
LABEL = "edgewise.test"
COMMAND_TIMEOUT_S = 120.0
# systemd keeps the time of podman's health checks; where it does not run, podman complains and starts the container.
NO_TIMER = "unable to get systemd connection"


def ran(*words, timeout_s=COMMAND_TIMEOUT_S, env=None, check=True):
    """Run a program to its end.

    Returns: what `subprocess.run` does, its output as text.
    """
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False, env=env, cwd=ROOT)
    assert not check or done.returncode == 0, f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr[-4000:]}"
    return done


def podman(*words, **options):
    """The standard output of a podman command that succeeds."""
    return ran("podman", *words, **options).stdout.strip()


def install():
    """See to it that podman is there and has the base image."""
    if shutil.which("podman") and ran("podman", "image", "exists", BASE, check=False).returncode == 0:
        return
    if SETUP.exists() and os.geteuid() == 0:
        ran("bash", str(SETUP), timeout_s=900)
    elif shutil.which("podman") is None:
        pytest.fail("the containers suite needs podman, which is not installed: apt-get install podman")
    else:
        ran("podman", "pull", BASE, timeout_s=900)


def remove_leftovers():
    """Remove the containers of suites that were killed."""
    for line in podman(
        "ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}'
    ).splitlines():
        container, _, owner = line.partition(" ")
        if owner.isdigit() and not Path("/proc", owner).exists():
            podman("rm", "--force", "--time", "0", container)


def free_port():
    """A port of 127.0.0.1 that nobody listens on, nor gets who asks for any: a container takes seconds until it listens."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Container:
    """A container that runs in the background, read-only and without rights."""

    def __init__(self, container, ports):
        self.id = container
        self.ports = ports

    def url(self, port):
        """Where a port of the container is reached over HTTP."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def inspected(self, template):
        return podman("inspect", "--format", template, self.id)

    def run(self, *words, check=True):
        """Run a command inside.

        Returns: what `subprocess.run` does.
        """
        return ran("podman", "exec", self.id, *words, check=check)

    def log(self):
        """Standard output and error so far."""
        done = ran("podman", "logs", self.id)
        return done.stdout + done.stderr

    def started_s(self):
        """When the container's process started, as `time.time` tells it."""
        return datetime.fromisoformat(
            self.inspected('{{.State.StartedAt.Format "2006-01-02T15:04:05.000000Z07:00"}}')
        ).timestamp()

    def rss_bytes(self):
        """The memory that its first process has, of which it alone uses most."""
        status = self.run("cat", "/proc/1/status").stdout
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def health(self):
        """What podman makes of the health check, asked now.

        Returns: the exit code of the check, and the container's state of health.
        """
        code = ran("podman", "healthcheck", "run", self.id, check=False).returncode
        return code, self.inspected("{{.State.Health.Status}}")

    def stop(self):
        """Send SIGTERM and wait for the end.

        Returns: the exit code.
        """
        podman("kill", "--signal", "TERM", self.id)
        return self.wait()

    def wait(self):
        """Wait for the end.

        Returns: the exit code.
        """
        return int(podman("wait", self.id))


@contextlib.contextmanager
def container(image, *words, ports=(), options=()) -> Iterator[Container]:
    """A container in the background.

    Args:
        words: its arguments.
        ports: of the container, each published on a free port of 127.0.0.1.
        options: for `podman run`.
    """
    published = {port: free_port() for port in ports}
    done = ran(
        *("podman", "run", "--detach", "--label", f"{LABEL}={os.getpid()}"),
        *("--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges"),
        *(word for port, outside in published.items() for word in ("--publish", f"127.0.0.1:{outside}:{port}")),
        *options,
        image,
        *words,
    )
    unit = Container(done.stdout.strip(), published)
    try:
        yield unit
    finally:
        podman("rm", "--force", "--time", "0", unit.id)


def ended(image, *words, options=()):
    """Run a container to its end.

    Returns: the exit code, and what it said.
    """
    done = ran(
        *("podman", "run", "--rm", "--label", f"{LABEL}={os.getpid()}", "--read-only", "--network", "none"),
        *options,
        image,
        *words,
        check=False,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if NO_TIMER not in line]
    return done.returncode, "\n".join(said)


def python(image, script):
    """What a script prints in an image, run by the image's Python."""
    code, said = ended(image, "-c", script, options=("--entrypoint", "python"))
    assert code == 0, said
    return json.loads(said)


def asked(url, body=None, headers=None, timeout_s=30.0):
    """Ask over HTTP.

    Returns: the answer's headers and its body.
    Raises: OSError: there was none, or it was an error.
    """
    request = urllib.request.Request(url, data=body, headers=headers or {})
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return answer.headers, answer.read()


def answered(url, body=None, headers=None):
    """The first answer that is no error, asked again and again.

    Returns: as `asked`, and when it came, as `time.time` tells it.
    """

    def attempt():
        try:
            return *asked(url, body, headers), time.time()
        except OSError:
            return None

    return wait_for(attempt)
