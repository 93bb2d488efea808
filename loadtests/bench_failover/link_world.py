"""The world where namespaces are not to be had: everything on the loopback interface, the cloud behind link emulators.

A relay acknowledges in the far side's place and knows no packets; see `edgewise link --help` for what that leaves out.
"""

import json
import socket
import sys
from pathlib import Path
from typing import Any

from bench_failover.children import Child
from bench_failover.opponents import Sites
from bench_failover.world import CLOUD, ENVIRONMENT, World, WorldSettings


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that nobody listens on right now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class LinkWorld(World):
    """Sites on loopback, a relay in front of the cloud."""

    def __init__(self, settings: WorldSettings, directory: Path) -> None:
        super().__init__(settings, directory)
        self.gateway_port, *ports = free_ports(7)
        self._cloud_ports, self._edge_ports, relay_ports = ports[:2], ports[2:4], ports[4:]
        self.sites = Sites("127.0.0.1", *relay_ports, "127.0.0.1", *self._edge_ports)
        ways = list(zip(relay_ports, self._cloud_ports, strict=True))
        command = [sys.executable, "-m", "bench_failover.link_host"]
        command.append(json.dumps({"rtt_ms": settings.rtt_ms, "ways": ways}))
        self._link = Child(command, log=directory / "link.log", env=ENVIRONMENT)
        self._link.read()

    def cloud_side(self, command: list[str]) -> list[str]:
        return command

    def app_side(self, command: list[str]) -> list[str]:
        return command

    def _ports(self, name: str) -> dict[str, Any]:
        rest_port, grpc_port = self._cloud_ports if name == CLOUD else self._edge_ports
        return {"host": "127.0.0.1", "rest_port": rest_port, "grpc_port": grpc_port}

    def _tell(self, **command: Any) -> float:
        return float(self._link.ask(command)["at_s"])

    def cut(self, way: str) -> float:
        # The gateway's resets would end what is held; a relay does not see them in the cut.
        return self._tell(fault="blackhole", direction=way, held="drop")

    def swallow(self, over_bytes: int) -> float:
        return self._tell(fault="stall-above", bytes=over_bytes, held="drop")

    def reset(self) -> float:
        return self._tell(fault="reset")

    def squeeze(self, bits_per_s: int) -> float:
        return self._tell(conditions={"up_kbit_s": bits_per_s / 1e3, "down_kbit_s": bits_per_s / 1e3})

    def mend(self) -> float:
        return self._tell(heal=True, conditions={"up_kbit_s": None, "down_kbit_s": None})

    def close(self) -> None:
        super().close()
        self._link.stop()
