"""The gateways, and what one of them used while it was asked."""

import json
import os
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_failover.children import Child
from bench_serve.processes import free_port

_READY_S = 60.0
OFF = "off"
AGAIN = "off, once more"

_HEAD = 'directory = "{name}"\nsite = "bench"\nmodels = ["pets"]\nmax_bytes = {bound}\n'
_NOTHING_ELSE = "low_confidence = 0\ndrift = false\ndisagreement = false\n"
_NO_LIMITS = "".join(f"{rule}_per_second = 10000\n{rule}_per_hour = 36000000\n" for rule in ("all", "sampled"))
WAYS = {
    "the default rules": "",
    "a tenth of all, without a limit": f"sampled = 0.1\n{_NOTHING_ELSE}{_NO_LIMITS}",
    "all, without a limit": f"all = true\nsampled = 0\n{_NOTHING_ELSE}{_NO_LIMITS}",
}


@dataclass(frozen=True, slots=True)
class Gateway:
    """One of them.

    Attributes:
        pid: of its one process.
    """

    name: str
    port: int
    child: Child

    def cpu_s(self) -> tuple[float, float]:
        """Processor time so far of all its threads, and of the loop's, in user space and for its system calls."""
        total_ns = loop_ns = 0
        for task in Path(f"/proc/{self.child.pid}/task").iterdir():
            used_ns = int((task / "schedstat").read_text().split()[0])
            total_ns += used_ns
            if task.name == str(self.child.pid):
                loop_ns = used_ns
        return total_ns / 1e9, loop_ns / 1e9

    def captured(self) -> dict[str, Any]:
        """What it says of capturing."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/edgewise/v1/capture", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def start(
    directory: Path, *, cpus: set[int], gateway_cpus: set[int], bound_bytes: int
) -> tuple[list[Child], dict[str, Gateway]]:
    """The site and the gateways. Returns: all children, and the gateways by name."""
    port = free_port()
    site = _child(directory, "site", ["-m", "bench_capture.site", str(port)], cpus)
    gateways = {}
    for number, (name, capture) in enumerate({OFF: None, AGAIN: None, **WAYS}.items()):
        config = directory / f"gateway-{number}.toml"
        text = f'[[site]]\nname = "edge"\ntier = "edge"\nrest = "http://127.0.0.1:{port}"\n'
        if capture is not None:
            text += "[capture]\n" + _HEAD.format(name=f"spool-{number}", bound=bound_bytes) + capture
        config.write_text(text)
        own = free_port()
        words = ["gateway", "--config", str(config), "--rest-port", str(own), "--grpc-port", "0"]
        child = _child(directory, f"gateway-{number}", ["-m", "edgewise", *words], gateway_cpus)
        gateways[name] = Gateway(name, own, child)
    return [site, *(one.child for one in gateways.values())], gateways


def _child(directory: Path, name: str, words: list[str], cpus: set[int]) -> Child:
    log = directory / f"{name}.log"
    log.touch()
    pinned = ["taskset", "--cpu-list", ",".join(map(str, sorted(cpus))), sys.executable]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    child = Child([*pinned, *words], log=log, talks=False, env={"PYTHONPATH": paths})
    until_s = time.monotonic() + _READY_S
    while b"ready" not in log.read_bytes():
        child.check()
        if time.monotonic() > until_s:
            raise TimeoutError(f"{name} is not ready after {_READY_S:.0f} s: {log.read_text()[-2000:]}")
        time.sleep(0.05)
    return child
