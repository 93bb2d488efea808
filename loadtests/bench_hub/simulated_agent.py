"""One simulated agent: it decides by the real plan, on the real clock, and talks to the hub over the real protocol."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from time import monotonic, time

import aiohttp
from rollout_simulator.agents import Agent

from edgewise.core.rollout.events import Want
from edgewise.core.rollout.reports import Inventory, Progress, SiteReport
from edgewise.protocols.desired_state import MAX_DESIRED_BYTES, decode_desired
from edgewise.protocols.desired_state import PAYLOAD_TYPE as DESIRED
from edgewise.protocols.documents import time_text
from edgewise.protocols.site_report import PAYLOAD_TYPE as REPORT
from edgewise.protocols.site_report import encode_report
from edgewise.trust.envelopes import opened, seal
from edgewise.trust.keys import SigningKey, VerifyingKey

POLL_S = 20.0
LOOK_S = 1.0
COUNTS_S = 10.0
"""As the real agent: a move is told at once, counts alone at most so often."""
RETRY_S = (0.2, 2.0)


@dataclass
class Measured:
    """What agents measured together.

    Attributes:
        reports_s: how long the hub took for each report.
        failures: requests without an answer, by what went wrong.
    """

    reports_s: list[float] = field(default_factory=list)
    polls: int = 0
    changes: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    def failed(self, error: Exception | str) -> None:
        """Count one."""
        name = error if isinstance(error, str) else type(error).__name__
        self.failures[name] = self.failures.get(name, 0) + 1


class SimulatedAgent:
    """A site that is enrolled."""

    def __init__(
        self,
        agent: Agent,
        session: aiohttp.ClientSession,
        *,
        token: str,
        key: SigningKey,
        hub_keys: Callable[[], Iterable[VerifyingKey]],
        measured: Measured,
        random: Random,
    ) -> None:
        self.agent = agent
        self._session = session
        self.headers = {"Authorization": f"Bearer {token}"}
        self._key = key
        self._hub_keys = hub_keys
        self._measured = measured
        self._random = random
        self._rollout = ""
        self._sequence = 0
        self._etag = ""
        self._told: tuple[object, ...] = ()
        self._told_s = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        await asyncio.gather(self._follow(), self._act())

    async def _follow(self) -> None:
        while True:
            if not self.agent.online:
                await asyncio.sleep(self._random.uniform(*RETRY_S))
                continue
            try:
                await self._poll()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._measured.failed(error)
                await asyncio.sleep(self._random.uniform(*RETRY_S))

    async def _poll(self) -> None:
        path = f"/api/v1/sites/{self.agent.name}/desired?wait_s={POLL_S:g}"
        headers = {**self.headers, "If-None-Match": self._etag} if self._etag else self.headers
        async with self._session.get(path, headers=headers) as answer:
            self._measured.polls += 1
            if answer.status == 304 or not self.agent.online:
                return
            if answer.status != 200:
                self._measured.failed(f"desired answered {answer.status}")
                await asyncio.sleep(self._random.uniform(*RETRY_S))
                return
            envelope = await answer.read()
        payload = opened(envelope, DESIRED, self._hub_keys(), what="the desired state", max_bytes=MAX_DESIRED_BYTES)
        desired = decode_desired(payload)
        self._etag = answer.headers["ETag"]
        self._measured.changes += 1
        for order in desired.orders:
            self._rollout = order.rollout
            self.agent.hear(order.want, desired.generation)

    async def _act(self) -> None:
        await asyncio.sleep(self._random.uniform(0.0, LOOK_S))
        while True:
            pause_s = self.agent.look(monotonic())
            if self.agent.online and self.agent.disk.want != Want.NOTHING:
                try:
                    await self._report()
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    self._measured.failed(error)
            await asyncio.sleep(pause_s)

    async def _report(self) -> None:
        found = self.agent.report(monotonic())
        if found is None:
            return
        said, _ = found
        moved = (said.state, said.want, said.waiting, said.why)
        if moved == self._told and monotonic() - self._told_s < COUNTS_S:
            return
        self._sequence += 1
        progress = Progress(self._rollout, said.state, said.want, 0, said.waiting, said.findings, said.why)
        report = SiteReport(
            site=self.agent.name,
            sequence=self._sequence,
            generation=self.agent.disk.generation,
            inventory=Inventory(agent="simulated", clock=time_text(time()), serving={"pets": 1}),
            rollouts=(progress,),
        )
        body = seal(encode_report(report), REPORT, self._key)
        started_s = monotonic()
        path = f"/api/v1/sites/{self.agent.name}/reports"
        async with self._session.post(path, data=body, headers=self.headers) as answer:
            text = await answer.read()
        self._measured.reports_s.append(monotonic() - started_s)
        if answer.status == 200 and json.loads(text)["sequence"] == self._sequence:
            self.agent.has_reported(said)
            self._told, self._told_s = moved, monotonic()
        else:
            self._measured.failed(f"report answered {answer.status}")
