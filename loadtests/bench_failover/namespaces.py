"""Two network namespaces, the app's and the cloud's, joined by a wire."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from bench_failover.children import Child

PREFIX: Final = "edgewise-bench"
APP_ADDRESS: Final = "10.77.0.1"
CLOUD_ADDRESS: Final = "10.77.0.2"
SUBNET: Final = "10.77.0.0/24"
CLOUD_NAME: Final = "cloud.test"
_ETC: Final = Path("/etc/netns")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


def possible() -> str:
    """Why namespaces cannot be had here; "" when they can."""
    if os.geteuid():
        return "not root"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun"
    name = f"{PREFIX}-{os.getpid()}-try"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except (OSError, subprocess.SubprocessError) as error:
        return f"`ip netns add` failed: {error}"
    return ""


def sweep() -> None:
    """Remove what runs that were killed have left."""
    for entry in [*Path("/run/netns").glob(f"{PREFIX}-*"), *_ETC.glob(f"{PREFIX}-*")]:
        pid = entry.name.removeprefix(f"{PREFIX}-").split("-")[0]
        if Path(f"/proc/{pid}").exists():
            continue
        if entry.parent == _ETC:
            shutil.rmtree(entry)
        else:
            subprocess.run(["ip", "netns", "del", entry.name], check=False, capture_output=True, timeout=10)


class Namespaces:
    """The pair of them, and the wire.

    Args:
        key: tells several pairs of this process apart.
        rtt_ms: of the wire.
    """

    def __init__(self, key: str, rtt_ms: float) -> None:
        self.app = f"{PREFIX}-{os.getpid()}-{key}-app"
        self.cloud = f"{PREFIX}-{os.getpid()}-{key}-cloud"
        self.app_etc = _ETC / self.app
        for name in (self.app, self.cloud):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        # `ip netns exec` lays these over /etc: the app's side knows the cloud by name as long as this file says so.
        self.app_etc.mkdir(parents=True)
        self.restore_names()
        self.wire = Child([sys.executable, str(Path(__file__).with_name("wire.py")), self.app, self.cloud, str(rtt_ms)])
        self.wire.read()
        for name, address in ((self.app, APP_ADDRESS), (self.cloud, CLOUD_ADDRESS)):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "wire0")
            self._up(name, address)

    def inside(self, namespace: str, command: list[str]) -> list[str]:
        """The command that runs `command` in a namespace, as a process of the same pid."""
        return ["ip", "netns", "exec", namespace, *command]

    @staticmethod
    def _up(namespace: str, address: str) -> None:
        _ip("-n", namespace, "link", "set", "wire0", "up")
        # Linux's usual congestion control, whatever this machine prefers: BBR's pacing adds a third of an RTT to 20 kB.
        _ip("-n", namespace, "route", "replace", SUBNET, "dev", "wire0", "src", address, "congctl", "cubic")

    def set_wire(self, **state: Any) -> float:
        """Give the wire a state; see `wire.py`. Returns when it held."""
        self.wire.write(state)
        return float(self.wire.read()["at_s"])

    def take_down(self) -> None:
        """Take the app's end of the wire down: the interface is there, and its routes are gone."""
        _ip("-n", self.app, "link", "set", "wire0", "down")

    def bring_up(self) -> None:
        """Bring it up again."""
        self._up(self.app, APP_ADDRESS)

    def remove_names(self) -> None:
        """From now on lookups in the app's namespace ask a server that never answers."""
        self._write("hosts", "127.0.0.1 localhost\n")

    def restore_names(self) -> None:
        """Let the app's namespace know the cloud's name again."""
        self._write("hosts", f"127.0.0.1 localhost\n{CLOUD_ADDRESS} {CLOUD_NAME}\n")
        self._write("resolv.conf", "nameserver 10.77.0.53\n")

    def _write(self, name: str, content: str) -> None:
        # In place: a bind mount goes on showing the file it was made of.
        with (self.app_etc / name).open("w") as file:
            file.write(content)

    def close(self) -> None:
        """Take everything away; the processes inside have to be gone."""
        self.wire.stop()
        for name in (self.app, self.cloud):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=10)
        shutil.rmtree(self.app_etc)
