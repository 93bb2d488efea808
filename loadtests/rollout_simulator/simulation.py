"""Runs a scenario on virtual time."""

import heapq
import zlib
from itertools import count
from random import Random

from edgewise.core.rollout.events import Commanded, Event, Heard, RolloutMoved, Ticked, Verb
from edgewise.core.rollout.rollout_state import RolloutState
from rollout_simulator.agents import Agent
from rollout_simulator.hub import Hub, HubDownError
from rollout_simulator.ledger import Ledger
from rollout_simulator.scenario import Scenario

TICK_S = 1.0
RESTART_S = 5.0


class Simulation:
    """One run."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        random = Random(scenario.seed)
        self._random = random
        self.ledger = Ledger(scenario.specification)
        names = [f"site-{number:04}" for number in range(scenario.sites)]
        labels = {name: {"ring": "canary" if number % 20 == 0 else "rest"} for number, name in enumerate(names)}
        self.agents = {name: Agent(name, scenario, random, self.ledger.step) for name in names}
        self.late = {name for name in names if scenario.late_share and random.random() < scenario.late_share}
        self.hub = Hub(scenario, labels, self.late, random)
        self.now_s = 0.0
        self.events = 0
        self.digest = 0
        self.ended: list[tuple[float, RolloutState, str]] = []
        self._queue: list[tuple[float, int, str, bool]] = []
        self._order = count()
        self._hub_back_s = 0.0
        self._moves = 0
        self._wants = dict(self.hub.wants)
        self._prepare(names)

    def run(self) -> None:
        """To the end."""
        scenario = self.scenario
        ends_s = scenario.duration_s + scenario.settle_s
        while self._queue and self._queue[0][0] <= ends_s:
            self.now_s, _, name, online = heapq.heappop(self._queue)
            self.events += 1
            if name == "tick":
                self._tick()
            elif name in self.agents:
                self._look(self.agents[name])
            elif name == "heal":
                self._heal()
            elif name.startswith("link:"):
                self.agents[name[5:]].online = online or self.hub.healed
            elif name.startswith("verb:"):
                self._command(Verb(name[5:]))
            elif name.startswith("enroll:"):
                self._enroll(name[7:])
        self.ledger.end(self.hub.rollout, self.agents)

    def _prepare(self, names: list[str]) -> None:
        scenario, random = self.scenario, self._random
        for name in names:
            from_s = random.uniform(0.0, scenario.quick_s)
            if name in self.late:
                from_s = random.uniform(0.0, scenario.duration_s)
                self._at(from_s, f"enroll:{name}")
            self._at(from_s, name)
            if random.random() < scenario.offline_share:
                from_s = random.choice([0.0, random.uniform(0.0, scenario.duration_s / 2.0)])
                self._at(from_s, f"link:{name}", online=False)
                self._at(from_s + random.uniform(1.0, scenario.offline_s), f"link:{name}", online=True)
            self.agents[name].crashing = random.random() < scenario.crashing_share
        self._at(scenario.quick_s, "verb:start")
        if scenario.abort_s is not None:
            self._at(scenario.abort_s, "verb:abort")
        if scenario.undo:
            self._at(scenario.duration_s + scenario.settle_s / 2.0, "verb:undo")
        self._at(scenario.duration_s, "heal")
        self._at(0.0, "tick")

    def _at(self, when_s: float, name: str, *, online: bool = True) -> None:
        heapq.heappush(self._queue, (when_s, next(self._order), name, online))

    def _tick(self) -> None:
        self._at(self.now_s + TICK_S, "tick")
        if self.now_s >= self._hub_back_s:
            self._ask(Ticked(self.now_s))

    def _command(self, verb: Verb) -> None:
        if self.now_s < self._hub_back_s or not self._ask(Commanded(verb, self.now_s)):
            # A person asks again; unless it was written down before the hub was killed.
            possible = {Verb.START: {RolloutState.PLANNED}, Verb.UNDO: {RolloutState.COMPLETED}}
            if self.hub.rollout.state in possible.get(verb, {RolloutState.PROGRESSING, RolloutState.PAUSED}):
                self._at(self.now_s + 1.0, f"verb:{verb.value}")

    def _enroll(self, name: str) -> None:
        try:
            if self.now_s >= self._hub_back_s:
                self.hub.enroll(name, self.now_s)
        except HubDownError:
            self._hub_down()
        self._take_note()
        # Whoever enrols it asks again, until it is in.
        if name not in self.hub.rollout.glance().sites:
            self._at(self.now_s + RESTART_S, f"enroll:{name}")

    def _look(self, agent: Agent) -> None:
        self._at(self.now_s + agent.look(self.now_s), agent.name)
        if not agent.online or self.now_s < self._hub_back_s or agent.name not in self.hub.rollout.glance().sites:
            return
        said = agent.report(self.now_s)
        if said is not None:
            report, number = said
            if not self._ask(report, number):
                return
            agent.has_reported(report)
        elif not self._ask(Heard(agent.name, self.now_s)):
            return
        agent.hear(*self.hub.wants[agent.name])

    def _ask(self, event: Event, number: int = 0) -> bool:
        """Whether the hub answered."""
        answered = True
        try:
            self.hub.handle(event, number)
        except HubDownError:
            self._hub_down()
            answered = False
        self._take_note()
        return answered

    def _hub_down(self) -> None:
        self._hub_back_s = self.now_s + self._random.uniform(0.0, RESTART_S)

    def _take_note(self) -> None:
        for move in self.hub.moves[self._moves :]:
            self.ledger.moved(move)
            self.digest = zlib.crc32(f"{self.now_s:.6f} {move}".encode(), self.digest)
            if isinstance(move, RolloutMoved):
                self.ended.append((self.now_s, move.after, move.why))
            self._moves += 1
        if self._wants != self.hub.wants:
            for name, told in self.hub.wants.items():
                if told != self._wants[name]:
                    self.ledger.told(name, told[0], self.hub.rollout)
            self._wants = dict(self.hub.wants)

    def _heal(self) -> None:
        self.hub.healed = True
        for agent in self.agents.values():
            agent.online = agent.healed = True
