"""Debian's Prometheus: its programs, fetched where they are missing, and a server that a test starts and asks.

The package is unpacked and not installed, so that no service of it starts.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from support.sockets import free_port
from support.waiting import wait_for

HOME = Path(__file__).parents[2] / "build" / "debian-prometheus"
FETCH_TIMEOUT_S = 300
ASK_TIMEOUT_S = 20


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`."""
    found = shutil.which(name)
    if found is not None:
        return found
    unpacked = HOME / "usr" / "bin" / name
    if not unpacked.exists():
        _fetch()
    return str(unpacked)


def _fetch() -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.fail("prometheus and promtool are missing; install Debian's package prometheus")
    packages = HOME.parent / "debian-packages"
    packages.mkdir(parents=True, exist_ok=True)
    if not _ran("apt-get", "-qq", "download", "prometheus", directory=packages):
        if os.geteuid() == 0:
            _ran("apt-get", "-qq", "update", directory=packages)
        if not _ran("apt-get", "-qq", "download", "prometheus", directory=packages):
            pytest.fail("Debian's package prometheus could not be fetched; install it: apt-get install prometheus")
    newest = max(packages.glob("prometheus_*.deb"), key=lambda file: file.stat().st_mtime)
    partial = HOME.with_name(f"{HOME.name}.{os.getpid()}")
    subprocess.run(["dpkg-deb", "--extract", newest, partial], check=True, timeout=FETCH_TIMEOUT_S)
    with contextlib.suppress(OSError):
        partial.rename(HOME)


def _ran(*words: str, directory: Path) -> bool:
    done = subprocess.run(words, cwd=directory, capture_output=True, timeout=FETCH_TIMEOUT_S, check=False)
    return done.returncode == 0


def promtool(*words: str) -> tuple[int, str]:
    """Exit code and output of promtool."""
    done = subprocess.run(
        [program("promtool"), *words], capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
    )
    return done.returncode, done.stdout + done.stderr


class Prometheus:
    """A running Prometheus.

    Args:
        config: of the scrapes.
        directory: for its data and its log.
    """

    def __init__(self, config: Path, directory: Path) -> None:
        self.port = free_port()
        self.log = directory / "prometheus.log"
        words = [f"--config.file={config}", f"--storage.tsdb.path={directory}/data", "--log.level=warn"]
        words.append(f"--web.listen-address=127.0.0.1:{self.port}")
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen([program("prometheus"), *words], stdout=sink, stderr=subprocess.STDOUT)
        try:
            wait_for(self._is_ready, timeout_s=60)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=ASK_TIMEOUT_S):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)

    def ask(self, path: str, **words: str) -> Any:
        """What its HTTP API answers."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(words)}"
        try:
            with urllib.request.urlopen(url, timeout=ASK_TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{words}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values of an expression now."""
        found = self.ask("query", query=expression)
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    def value(self, expression: str) -> float | None:
        """The one value of an expression now; None when there is none."""
        found = self.query(expression)
        assert len(found) < 2, found
        return found[0][1] if found else None

    def range(self, expression: str, seconds: float) -> list[tuple[dict[str, str], list[float]]]:
        """Labels and values of an expression over the last seconds."""
        now_s = time.time()
        words = {"start": str(now_s - seconds), "end": str(now_s), "step": "1"}
        found = self.ask("query_range", query=expression, **words)
        return [(one["metric"], [float(value) for _, value in one["values"]]) for one in found["result"]]

    def alerts(self) -> dict[str, list[dict[str, Any]]]:
        """The alerts that wait or fire, by name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in self.ask("alerts")["alerts"]:
            found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def scrapes(self) -> dict[str, str]:
        """The health of each target, by its URL."""
        return {target["scrapeUrl"]: target["health"] for target in self.ask("targets")["activeTargets"]}
