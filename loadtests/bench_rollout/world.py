"""One hub, one site: the processes that a user would start, the link between them, and the commands that a user would type."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
from bench_failover.children import Child
from bench_serve.processes import free_port

from bench_rollout.agent_log import AgentLog, StuckError
from bench_rollout.networks import Network, write
from bench_rollout.relay import Relay
from edgewise.study.engine.job import Asking, Question

SITE = "site"
READY_S = 60.0
_ENDED = frozenset({"Completed", "RolledBack", "Failed", "Paused"})
_LOOK_S = 0.02


class World:
    """Everything, below one directory.

    Args:
        site_cpus: of the agent, the model server and the gateway; everything else is kept off them.

    Attributes:
        relay: between the agent and the hub.
        log: of the agent.
        app_port: where the gateway listens.
    """

    def __init__(self, directory: Path, *, cpus: set[int], site_cpus: set[int]) -> None:
        self._directory = directory
        self._cpus = cpus
        self._site_cpus = site_cpus
        self._hub_port, self._server_port, self.app_port = free_port(), free_port(), free_port()
        self.relay = Relay(self._hub_port)
        self.log = AgentLog(directory / "agent.log")
        self._children: list[Child] = []
        self._hub: Child | None = None
        url = f"http://127.0.0.1:{self._hub_port}"
        made = self._edgewise(
            "hub", "init", "--state", str(directory / "hub"), "--with-offline-keys", str(self._trust), "--url", url
        )
        (token,) = [word for word in made.split() if word.startswith("ewt_")]
        self._token_file = directory / "token"
        self._token_file.touch(mode=0o600)
        self._token_file.write_text(token)
        self._connection = ("--hub", url, "--token-file", str(self._token_file))
        headers = {"Authorization": f"Bearer {token}"}
        self._api = httpx.Client(base_url=url, headers=headers, timeout=60.0, trust_env=False)
        self._server = httpx.Client(base_url=f"http://127.0.0.1:{self._server_port}", timeout=5.0, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._api.close()
        self._server.close()
        for child in reversed(self._children):
            child.stop()

    @property
    def _trust(self) -> Path:
        return self._directory / "trust"

    # ---- processes

    def start_hub(self) -> None:
        """Have a hub; the one that was killed is started anew."""
        words = ("hub", "serve", "--state", str(self._directory / "hub"), "--port", str(self._hub_port))
        self._hub = self._start("hub", words, self._cpus)

    def kill_hub(self) -> float:
        """As a power cut would. Returns: when it had gone, in seconds since the epoch."""
        assert self._hub is not None
        self._hub.kill()
        self._children.remove(self._hub)
        return time.time()

    def start_site(self, model: str, version: int) -> None:
        """Enrol it, and have its three processes; what it serves at first was there before them."""
        word = self._edgewise("sites", "enroll", SITE, *self._connection).split()[0]
        state = str(self._directory / SITE)
        there = f"http://127.0.0.1:{self.relay.port}"
        self._edgewise("agent", "enroll", word, "--state", state, "--tier", "edge", "--hub", there)
        server, gateway = f"http://127.0.0.1:{self._server_port}", f"http://127.0.0.1:{self.app_port}"
        at_first = self._directory / "at-first" / model
        at_first.mkdir(parents=True)
        (at_first / str(version)).symlink_to(self._repository / model / str(version))
        parts = {
            "agent": (
                *("agent", "run", "--state", state, "--adopt", str(at_first.parent)),
                *("--model-server", server, "--gateway", gateway, "--gateway-site", "edge"),
            ),
            "server": (
                *("serve", "--config", f"{state}/models.config", "--poll-interval-s", "0.2", "--threads", "1"),
                *("--rest-port", str(self._server_port), "--grpc-port", "0", "--site", SITE),
            ),
            "gateway": (
                *("gateway", "--edge", server, "--canaries", f"{state}/canaries.json"),
                *("--rest-port", str(self.app_port), "--grpc-port", "0"),
            ),
        }
        for name, words in parts.items():
            self._start(name, words, self._site_cpus)
        self.wait_until_loaded(model, {version})

    def _start(self, name: str, words: tuple[str, ...], cpus: set[int]) -> Child:
        log = self._directory / f"{name}.log"
        before = log.stat().st_size if log.exists() else 0
        pinned = ("taskset", "--cpu-list", ",".join(map(str, sorted(cpus))))
        child = Child([*pinned, sys.executable, "-m", "edgewise", *words], log=log, talks=False)
        self._children.append(child)
        until_s = time.monotonic() + READY_S
        while b"ready" not in log.read_bytes()[before:]:
            child.check()
            if time.monotonic() > until_s:
                raise StuckError(f"{name} is not ready after {READY_S:.0f} s{child.log_tail()}")
            time.sleep(_LOOK_S)
        return child

    def _edgewise(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "edgewise", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
        if done.returncode:
            raise StuckError(f"edgewise {' '.join(words[:3])} ... ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout

    # ---- releases and rollouts

    @property
    def _repository(self) -> Path:
        return self._directory / "built"

    def release(self, model: str, version: int, network: Network) -> int:
        """Make a version and release it. Returns: its bytes."""
        directory = write(self._repository, model, version, network)
        self._edgewise(
            *("release", "create", model, str(version), "--all", str(directory)),
            *("--trust", str(self._trust), *self._connection),
        )
        return sum(path.stat().st_size for path in directory.iterdir())

    def roll_out(self, specification: str) -> str:
        """Start a rollout. Returns: its name."""
        asked = {"specification": specification, "format": "toml", "start": True}
        answer = self._api.post("/api/v1/rollouts", json=asked)
        if answer.is_error:
            raise StuckError(f"the hub refused the rollout with {answer.status_code}: {answer.text[:500]}")
        return str(answer.json()["name"])

    def wait_until_ended(self, rollout: str, timeout_s: float) -> str:
        """Returns: the state in which the hub says that a rollout has ended.

        Raises: StuckError: it has not.
        """
        until_s = time.monotonic() + timeout_s
        status: Mapping[str, Any] = {}
        while time.monotonic() < until_s:
            status = self._api.get(f"/api/v1/rollouts/{rollout}").raise_for_status().json()
            if status["state"] in _ENDED:
                return str(status["state"])
            time.sleep(0.2)
        raise StuckError(f"{rollout} has not ended after {timeout_s:.0f} s: {status}")

    def wait_until_loaded(self, model: str, versions: set[int], timeout_s: float = READY_S) -> float:
        """Wait until these versions are loaded and no other is. Returns: when, in seconds since the epoch."""
        until_s = time.monotonic() + timeout_s
        found: set[int] = set()
        while time.monotonic() < until_s:
            found = self._loaded(model)
            if found == versions:
                return time.time()
            time.sleep(_LOOK_S)
        raise StuckError(
            f"after {timeout_s:.0f} s versions {sorted(found)} of {model} are loaded, not {sorted(versions)}"
        )

    def _loaded(self, model: str) -> set[int]:
        with contextlib.suppress(httpx.HTTPError):
            answer = self._server.get(f"/v1/models/{model}")
            if answer.is_success:
                states = answer.json()["model_version_status"]
                # A version on its way out answers what it has begun.
                return {int(one["version"]) for one in states if one["state"] != "END"}
        return set()

    def asking(self, model: str, row: list[float]) -> Asking:
        """How an app asks, through the gateway."""
        return Asking(
            "http",
            "127.0.0.1",
            self.app_port,
            f"/v1/models/{model}:predict",
            (Question(f'{{"instances": [{row}]}}'.encode()),),
            headers=(("x-edgewise-route", "edge-only"),),
            content_type="application/json",
        )
