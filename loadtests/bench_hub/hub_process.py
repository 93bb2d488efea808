"""The hub that is measured: `edgewise hub serve` in a process of its own, on one core."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

READY_S = 60.0
STOP_S = 30.0


class HubProcess:
    """A hub.

    Attributes:
        url: where it listens.
        token: of its administrator.
        trust: the directory with the offline keys.
        public_keys: the file that names the hub's own keys.
    """

    def __init__(self, state: Path, *, core: int, database: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.trust = state / "trust"
        self._state = state / "hub"
        self.public_keys = self._state / "public-keys.json"
        self._core = core
        self._port = port
        self._database = database
        self.token = self._init()
        self._process: subprocess.Popen[str] | None = None

    def _init(self) -> str:
        words = ("hub", "init", "--state", str(self._state), "--with-offline-keys", str(self.trust), "--url", self.url)
        if self._database:
            words = (*words, "--database", self._database)
        done = subprocess.run([sys.executable, "-m", "edgewise", *words], check=True, capture_output=True, text=True)
        (token,) = [word for word in done.stdout.split() if word.startswith("ewt_")]
        return token

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """It serves inside."""
        words = ["hub", "serve", "--state", str(self._state), "--port", str(self._port)]
        if self._database:
            words += ["--database", self._database]
        with (self._state.parent / "hub.log").open("a") as log:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(self._core), sys.executable, "-m", "edgewise", *words],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert self._process.stdout is not None
            readable, _, _ = select.select([self._process.stdout], [], [], READY_S)
            line = self._process.stdout.readline() if readable else ""
            if "ready" not in line:
                raise RuntimeError(f"the hub did not become ready; its log is {self._state.parent / 'hub.log'}")
            yield
        finally:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(STOP_S)

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()

    @property
    def peak_bytes(self) -> int:
        """The most memory that it had at once."""
        assert self._process is not None
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    @property
    def cpu_s(self) -> float:
        """Processor time so far."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
