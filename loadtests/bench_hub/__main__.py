"""`make bench-hub`, or `python loadtests/bench_hub.py [--sites 1000] [--database postgresql+psycopg://...]`.

One hub process on one core; on the other, agents that decide by the real plan and talk over the real protocol (long polls, signed
documents both ways), three in ten of them offline at random and one in twenty crashing again and again. A release goes to all of them in
three waves while a prober asks for a desired state twenty times a second. Exits with 1 when a site is in a wrong state at the end.
"""

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from rollout_simulator.agents import Agent
from rollout_simulator.scenario import Release, Scenario

from bench_hub.hub_process import HubProcess
from bench_hub.releases import desired_key, publish
from bench_hub.simulated_agent import Measured, SimulatedAgent
from edgewise.core.rollout.site_state import SiteState
from edgewise.core.rollout.specification import Specification
from edgewise.protocols.rollout_specification import read_specification
from edgewise.trust.keys import SigningKey, VerifyingKey

SPECIFICATION = """
model = "pets"
version = 2
silent_after = "60s"
patience = "10m"
gates = {errors = {margin = "2%"}, latency = "off"}
canary = {shares = ["10%", "50%"], each_for = "5s", bake = "10s"}
waves = [
    {name = "canary", sites = "ring=canary", at_once = 25, may_fail = "10%"},
    {name = "quarter", take = "25%", at_once = "100%", may_fail = "10%"},
    {name = "rest", at_once = "100%", may_fail = "10%"},
]
"""
ENROLL_AT_ONCE = 16
PROBE_S = 0.05
OFFLINE_S = (5.0, 60.0)
ENDED = {"Completed", "RolledBack", "Failed"}


def main() -> int:
    """Run, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", default="", metavar="URL", help="SQLite beside the hub by default")
    parser.add_argument("--longest-s", type=float, default=900.0, help="give up after so long (default 900)")
    parser.add_argument("--port", type=int, default=8650)
    arguments = parser.parse_args()
    if arguments.sites < 1:
        parser.error("at least one site is needed")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-hub-") as scratch:
        hub = HubProcess(
            Path(scratch),
            core=min(range(os.cpu_count() or 1)),
            database=arguments.database,
            port=arguments.port,
        )
        with hub.serving():
            return asyncio.run(Bench(hub, arguments.sites, arguments.seed, arguments.longest_s).run())


class Bench:
    """One run."""

    def __init__(self, hub: HubProcess, sites: int, seed: int, longest_s: float) -> None:
        self._hub = hub
        self._random = Random(seed)
        self._longest_s = longest_s
        self._specification: Specification = read_specification(SPECIFICATION, "toml")
        self._scenario = Scenario(
            self._specification,
            Release(),
            sites=sites,
            quick_s=1.0,
            crash_ratio=0.02,
            rate_hz=(20.0, 60.0),
            fetch_s=(2.0, 20.0),
            load_s=(1.0, 5.0),
        )
        self._names = [f"site-{number:04}" for number in range(sites)]
        self._measured = Measured()
        self._probes_s: list[float] = []
        self._session: aiohttp.ClientSession

    async def run(self) -> int:
        """Enroll, roll out, look."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=60.0)
        async with aiohttp.ClientSession(self._hub.url, connector=connector, timeout=timeout) as session:
            self._session = session
            await asyncio.to_thread(publish, self._hub.url, self._hub.token, self._hub.trust)
            key = desired_key(self._hub.public_keys)
            started_s = time.monotonic()
            agents = await self._enrolled([VerifyingKey(key)])
            print(f"{len(agents)} sites enrolled in {time.monotonic() - started_s:.1f} s", flush=True)
            tasks = [asyncio.create_task(agent.run()) for agent in agents]
            tasks += [asyncio.create_task(self._cut_links(agents)), asyncio.create_task(self._probe(agents[0]))]
            try:
                status, took_s = await self._roll_out(tasks)
                peak_bytes, cpu_s = self._hub.peak_bytes, self._hub.cpu_s
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return self._report(agents, status, took_s, peak_bytes, cpu_s)

    async def _enrolled(self, hub_keys: list[VerifyingKey]) -> list[SimulatedAgent]:
        gate = asyncio.Semaphore(ENROLL_AT_ONCE)

        async def enrolled(number: int, name: str) -> SimulatedAgent:
            async with gate:
                key = SigningKey.generated()
                token = await self._enroll(name, "canary" if number % 20 == 0 else "rest", key)
            agent = Agent(name, self._scenario, self._random, lambda *_: None)
            agent.crashing = self._random.random() < self._scenario.crashing_share
            return SimulatedAgent(
                agent,
                self._session,
                token=token,
                key=key,
                hub_keys=lambda: hub_keys,
                measured=self._measured,
                random=self._random,
            )

        return list(await asyncio.gather(*(enrolled(*each) for each in enumerate(self._names))))

    async def _enroll(self, name: str, ring: str, key: SigningKey) -> str:
        asked = {"site": name, "tier": "edge", "labels": {"ring": ring}, "expires_s": 3600}
        enrollment = await self._post("/api/v1/enrollments", asked)
        content = enrollment["enrollment"].removeprefix("ew1.")
        one_time = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))["token"]
        said = {"token": one_time, "public_key": key.public_hex, "tier": "edge", "labels": {"ring": ring}}
        return str((await self._post("/api/v1/enroll", said))["site_token"])

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._hub.token}"}
        async with self._session.post(path, json=body, headers=headers) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"{path} answered {answer.status}: {(await answer.text())[:500]}")
            return dict(await answer.json())

    async def _cut_links(self, agents: Sequence[SimulatedAgent]) -> None:
        """Three in ten are away for a while, some from the beginning; in the end all are back."""

        async def cut(agent: Agent) -> None:
            await asyncio.sleep(self._random.choice([0.0, self._random.uniform(0.0, 60.0)]))
            agent.online = False
            await asyncio.sleep(self._random.uniform(*OFFLINE_S))
            agent.online = True

        away = [one.agent for one in agents if self._random.random() < self._scenario.offline_share]
        await asyncio.gather(*map(cut, away))

    async def _probe(self, agent: SimulatedAgent) -> None:
        """How long a poll takes that has not to wait."""
        path = f"/api/v1/sites/{agent.agent.name}/desired?wait_s=0"
        while True:
            started_s = time.monotonic()
            async with self._session.get(path, headers=agent.headers) as answer:
                await answer.read()
            self._probes_s.append(time.monotonic() - started_s)
            await asyncio.sleep(PROBE_S)

    async def _roll_out(self, tasks: Sequence["asyncio.Task[None]"]) -> tuple[dict[str, Any], float]:
        started_s = time.monotonic()
        name = (
            await self._post("/api/v1/rollouts", {"specification": SPECIFICATION, "format": "toml", "start": True})
        )["name"]
        headers = {"Authorization": f"Bearer {self._hub.token}"}
        while True:
            for task in tasks:
                if task.done() and not task.cancelled() and (error := task.exception()):
                    raise error
            async with self._session.get(f"/api/v1/rollouts/{name}", headers=headers) as answer:
                status = await answer.json()
            took_s = time.monotonic() - started_s
            states = Counter(site["state"] for site in status["sites"])
            print(f"{took_s:6.1f} s  {status['state']}: {dict(states.most_common())}", flush=True)
            if status["state"] == "Paused":
                await self._post(f"/api/v1/rollouts/{name}/resume", {"why": "the bench goes on"})
            settled = states[SiteState.ACTIVE.value] == len(self._names)
            if (status["state"] in ENDED and settled) or took_s > self._longest_s:
                return status, took_s
            await asyncio.sleep(5.0)

    def _report(
        self,
        agents: Sequence[SimulatedAgent],
        status: dict[str, Any],
        took_s: float,
        peak_bytes: int,
        cpu_s: float,
    ) -> int:
        states = Counter(one.agent.disk.record.state for one in agents)
        wrong = [one.agent.name for one in agents if one.agent.machine.share != 1.0]
        probes = sorted(self._probes_s)
        reports = sorted(self._measured.reports_s)
        print(
            f"\n{len(agents)} sites, rollout {status['state']} after {took_s:.0f} s; "
            f"{', '.join(f'{count} {state.value}' for state, count in states.most_common())}; "
            f"{len(wrong)} in a wrong state\n"
            f"polls: {self._measured.polls} by agents, {self._measured.changes} with something new; "
            f"{len(probes)} probes, p50 {_quantile_ms(probes, 0.5):.1f} ms, p99 {_quantile_ms(probes, 0.99):.1f} ms\n"
            f"reports: {len(reports)}, p50 {_quantile_ms(reports, 0.5):.1f} ms, p99 {_quantile_ms(reports, 0.99):.1f} ms\n"
            f"hub: at most {peak_bytes / 2**20:.0f} MB, {cpu_s:.1f} s of processor time; "
            f"failed requests: {self._measured.failures or 'none'}"
        )
        return 1 if wrong or states[SiteState.ACTIVE] != len(agents) else 0


def _quantile_ms(values_s: Sequence[float], quantile: float) -> float:
    """Of sorted values; 0 of none."""
    return values_s[min(int(quantile * len(values_s)), len(values_s) - 1)] * 1e3 if values_s else 0.0


if __name__ == "__main__":
    sys.exit(main())
