"""The invariants of a rollout, at every step of every agent and every word of the hub.

answered      at every moment some version that is loaded and warm answers every request of a site
told          no request reaches the new version at a site that was never told to run it
proved        no request reaches the new version before it is loaded and has given the golden answers
table         sites and rollout move as the transition tables say; nothing is doubled, nothing left out
wave          no site is told to run the release before its wave has opened, and waves open in their order
cap           no more sites of a wave are told at a time than may switch at once
end           when all links are whole again everything comes to rest: everybody who could has what the rollout ended with
"""

from collections import Counter, defaultdict
from typing import Final

from edgewise.core.rollout.events import RUNNING, RolloutMoved, SiteJoined, SiteMoved, Want, WaveMoved, WavePhase
from edgewise.core.rollout.rollout import Rollout
from edgewise.core.rollout.rollout_state import TRANSITIONS as ROLLOUT_TRANSITIONS
from edgewise.core.rollout.rollout_state import RolloutState
from edgewise.core.rollout.site_plan import Advance, Move, Revert, Step
from edgewise.core.rollout.site_state import SETTLED, SiteState
from edgewise.core.rollout.specification import Specification
from rollout_simulator.agents import NEW, OLD, Agent

TOLD_OF_EACH: Final = 5
_ROLLOUT_MOVES: Final = frozenset((before, after) for (before, _), after in ROLLOUT_TRANSITIONS.items())
_RESTING: Final = frozenset(
    {RolloutState.COMPLETED, RolloutState.ROLLED_BACK, RolloutState.FAILED, RolloutState.PAUSED}
)


class Ledger:
    """Watches one run."""

    def __init__(self, specification: Specification) -> None:
        self._specification = specification
        self.found: Counter[str] = Counter()
        self.texts: list[str] = []
        self.checks = 0
        self.reverts = 0
        self._sites: dict[str, SiteState] = defaultdict(lambda: SiteState.PENDING)
        self._rollout = RolloutState.PLANNED
        self._waves = 0

    def step(self, agent: Agent, step: Step) -> None:
        """An agent is about to do this."""
        self.checks += 1
        self.reverts += isinstance(step, Revert)
        self._look_at(agent)
        if isinstance(step, Move | Revert | Advance) and agent.disk.record.state == SiteState.ROLLED_BACK:
            self._violated("table", f"{agent.name} goes on after it went back: {step}")

    def _look_at(self, agent: Agent) -> None:
        machine = agent.machine
        answering = {NEW} if machine.share == 1.0 else {OLD} if machine.share == 0.0 else {OLD, NEW}
        if not answering <= machine.loaded:
            self._violated("answered", f"{agent.name}: share {machine.share:g} with {sorted(machine.loaded)} loaded")
        if machine.share or machine.shadow:
            if agent.disk.want == Want.NOTHING or (
                agent.disk.want == Want.STAGE and agent.disk.record.state == SiteState.STAGED
            ):
                self._violated("told", f"{agent.name} runs the release untold")
            golden = agent.disk.findings.golden
            if self._specification.gates.golden and (golden.complete == 0 or golden.wrong):
                self._violated("proved", f"{agent.name}: golden {golden} with share {machine.share:g}")

    def moved(self, move: SiteMoved | SiteJoined | RolloutMoved | WaveMoved) -> None:
        """The hub has written this down."""
        self.checks += 1
        match move:
            case SiteMoved(site, before, after):
                if before != self._sites[site] or before == after:
                    self._violated("table", f"hub: {site} moved from {before} to {after}, was {self._sites[site]}")
                self._sites[site] = after
            case SiteJoined(site, state):
                if site in self._sites:
                    self._violated("table", f"hub: {site} joined, was {self._sites[site]}")
                self._sites[site] = state
            case RolloutMoved(before, after):
                if before != self._rollout or (before, after) not in _ROLLOUT_MOVES:
                    self._violated("table", f"rollout moved from {before} to {after}, was {self._rollout}")
                self._rollout = after
            case WaveMoved(wave, phase):
                if phase == WavePhase.OPEN and wave != self._waves:
                    self._violated("wave", f"wave {wave} opened when {self._waves} have passed")
                self._waves += phase == WavePhase.PASSED

    def told(self, site: str, want: Want, rollout: Rollout) -> None:
        """The hub told a site something new."""
        self.checks += 1
        view = rollout.view()
        number = view.sites[site].wave
        if want in RUNNING and view.waves[number].phase == WavePhase.WAITING:
            self._violated("wave", f"{site} told to run before wave {number} opened")
        if want == Want.RUN:
            named = [known for known in view.sites.values() if known.wave == number]
            switching = [
                known
                for known in named
                if known.want in RUNNING and known.state not in SETTLED and known.state != SiteState.UNREACHABLE
            ]
            cap = self._specification.waves[number].max_concurrent.at_least_one_of(len(named))
            if len(switching) > cap:
                self._violated("cap", f"wave {number}: {len(switching)} switch at once, {cap} may")

    def end(self, rollout: Rollout, agents: dict[str, Agent]) -> None:
        """Everything is whole again and has had time to come to rest."""
        view = rollout.view()
        if view.state not in _RESTING:
            self._violated("end", f"the rollout is still {view.state}: {view.why}")
        for name, agent in agents.items():
            self._look_at(agent)
            if name not in view.sites:
                if agent.machine.loaded != {OLD} or view.state == RolloutState.COMPLETED:
                    self._violated("end", f"{name} did not join, and has {sorted(agent.machine.loaded)} loaded")
                continue
            known, record, share = view.sites[name], agent.disk.record, agent.machine.share
            if known.state not in {record.state, SiteState.PENDING} and known.state != SiteState.SUPERSEDED:
                self._violated("end", f"{name} is {record.state}, the hub believes {known.state}")
            if view.state == RolloutState.COMPLETED and record.state not in SETTLED:
                self._violated("end", f"{name} has come to rest at {record.state}, told {agent.disk.want}")
            if (record.state == SiteState.ACTIVE) != (share == 1.0) and record.state in SETTLED:
                self._violated("end", f"{name} is {record.state} with share {share:g}")
            if view.state == RolloutState.ROLLED_BACK and (share or NEW in agent.machine.loaded):
                self._violated("end", f"{name} still has the release: share {share:g}, told {agent.disk.want}")

    def _violated(self, invariant: str, text: str) -> None:
        self.found[invariant] += 1
        if self.found[invariant] <= TOLD_OF_EACH:
            self.texts.append(f"{invariant}: {text}")
