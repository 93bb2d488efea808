"""An edge site outside of the cluster: a gateway and a model server in containers, on a bridge of their own."""

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from e2e.cluster.timeline import Timeline

NETWORK = "edgewise-e2e"
LABEL = "edgewise-e2e=cluster"
_HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges")


def podman(*words: str, check: bool = True) -> str:
    """What podman prints. Raises: AssertionError: it failed."""
    done = subprocess.run(["podman", *words], capture_output=True, text=True, check=False, timeout=120)
    assert not check or not done.returncode, f"podman {' '.join(words)}: {done.stderr.strip()}"
    return done.stdout.strip()


def sweep() -> None:
    """Take away what a run that was killed has left."""
    for container in podman("ps", "-a", "-q", "--filter", f"label={LABEL}").split():
        podman("rm", "--force", "--time", "1", container)
    podman("network", "rm", "--force", NETWORK, check=False)


class EdgeSite:
    """Its containers.

    Args:
        images: by name, as they are called in podman's store.
        repository: the models.
        directory: for the gateway's config.
    """

    def __init__(self, images: dict[str, str], repository: Path, directory: Path) -> None:
        self.images = images
        self.repository = repository
        self.directory = directory
        podman("network", "create", "--label", LABEL, NETWORK)
        (network,) = json.loads(podman("network", "inspect", NETWORK))
        self.subnet: str = network["subnets"][0]["subnet"]
        self.model_server = self._run(
            "edgewise-e2e-model-server",
            ["--volume", f"{repository}:/models:ro"],
            images["model-server"],
            ["serve", "--repository=/models", "--host=0.0.0.0", "--site=edge", "--tier=edge", "--threads=1"],
        )
        self.gateway = ""

    @contextlib.contextmanager
    def gateway_to(self, address: str, timeline: Timeline) -> Iterator[tuple[str, str]]:
        """A gateway before both sites, for some time; both of its links are UP. Gives: its doors.

        Args:
            address: HOST:PORT of the cluster's gateway, where it takes REST requests, and gRPC calls from another gateway.
            timeline: told what the gateway logged when something goes wrong.
        """
        self._start_gateway(address)
        try:
            timeline.wait("both links are UP", lambda: self.links() == {"cloud": "UP", "edge": "UP"})
            yield f"{self.gateway}:8080", f"{self.gateway}:8081"
        except BaseException:
            timeline.say("what the edge gateway logged:")
            timeline.show(self.logs("gateway"))
            raise
        finally:
            podman("rm", "--force", "--time", "1", "edgewise-e2e-gateway")

    def _start_gateway(self, address: str) -> None:
        config = self.directory / "edge-gateway.toml"
        config.write_text(
            f'[[site]]\nname = "cloud"\ntier = "cloud"\nrest = "http://{address}"\n\n'
            f'[[site]]\nname = "edge"\ntier = "edge"\nrest = "http://{self.model_server}:8501"\n\n'
            '[route]\nkind = "prefer-cloud"\n'
        )
        config.chmod(0o644)
        self.gateway = self._run(
            "edgewise-e2e-gateway",
            ["--volume", f"{config}:/etc/edgewise/gateway.toml:ro"],
            self.images["gateway"],
            ["gateway", "--config=/etc/edgewise/gateway.toml", "--host=0.0.0.0"],
        )

    def way_out(self) -> tuple[str, str]:
        """What iptables calls the packets between the gateway and everything but its own bridge, either way."""
        return f"FORWARD -s {self.gateway} ! -d {self.subnet}", f"FORWARD -d {self.gateway} ! -s {self.subnet}"

    def links(self) -> dict[str, str]:
        """The gateway's links: name to state; nothing while it does not answer."""
        with contextlib.suppress(OSError, ValueError):
            return link_states(ask(f"http://{self.gateway}:8080/edgewise/v1/links"))
        return {}

    def metric(self, name: str) -> float:
        """The sum of a metric of the gateway, over all labels."""
        text = ask(f"http://{self.gateway}:8080/metrics").decode()
        families = text_string_to_metric_families(text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def logs(self, name: str) -> str:
        """What a container has written."""
        words = ["podman", "logs", "--tail=50", f"edgewise-e2e-{name}"]
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=20
        )
        return done.stdout

    def close(self) -> None:
        """Take everything away."""
        sweep()

    def _run(self, name: str, options: list[str], image: str, command: list[str]) -> str:
        words = ["--name", name, "--label", LABEL, "--network", NETWORK, *_HARDENED, *options, image, *command]
        podman("run", "--detach", *words)
        (container,) = json.loads(podman("inspect", name))
        address: str = container["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
        return address


def ask(url: str, timeout_s: float = 5.0) -> bytes:
    """The body of an answer. Raises: OSError: there is none."""
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        body: bytes = answer.read()
        return body


def link_states(body: bytes) -> dict[str, str]:
    """Site to state, and SITE/HOST:PORT to state for endpoints that were discovered, of `/edgewise/v1/links`."""
    states = {}
    for site in json.loads(body)["sites"]:
        states[site["name"]] = site["state"]
        for endpoint in site.get("endpoints", ()):
            states[f"{site['name']}/{endpoint['name']}"] = endpoint["state"]
    return states
