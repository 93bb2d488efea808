"""A site on virtual time: its disk, its model server, its gateway, and the agent that makes them match what it is told."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

import numpy as np

from edgewise.core.rollout.events import Reported, Want
from edgewise.core.rollout.gates import NO_FINDINGS, Findings, GateName, Golden
from edgewise.core.rollout.sequential import Compared, Evidence, Observed, merged
from edgewise.core.rollout.site_plan import (
    Action,
    Advance,
    Move,
    Record,
    Revert,
    Seen,
    Step,
    Told,
    Weigh,
    is_waiting,
    next_step,
    written,
)
from edgewise.core.rollout.site_state import AGENT_STATES
from edgewise.core.rollout.specification import Specification
from rollout_simulator.scenario import Release, Scenario

OLD: Final = 1
NEW: Final = 2
OLD_ERRORS: Final = 0.002
OLD_SLOW: Final = 0.05
GOLDEN: Final = 10
RESTART_S: Final = (1.0, 20.0)
STEPS_AT_ONCE: Final = 20


@dataclass
class Disk:
    """What survives a crash of the agent."""

    record: Record = field(default_factory=Record)
    want: Want = Want.NOTHING
    generation: int = 0
    fetched_s: float = 0.0
    staged: bool = False
    findings: Findings = NO_FINDINGS
    reports: int = 0


@dataclass
class Machine:
    """What runs beside the agent, and goes on when the agent crashes."""

    loaded: set[int]
    share: float = 0.0
    shadow: float = 0.0


class CrashError(Exception):
    """The agent is killed here."""


class Agent:
    """One site."""

    def __init__(self, name: str, scenario: Scenario, random: Random, told: Callable[["Agent", Step], None]) -> None:
        self.name = name
        self.disk = Disk()
        self.machine = Machine({OLD})
        self.online = True
        self.crashing = False
        self.healed = False
        self.release: Release = scenario.release
        if random.random() >= scenario.release.bad_share:
            self.release = Release()
        self.rate_hz = random.uniform(*scenario.rate_hz)
        self._fetch_s = random.uniform(*scenario.fetch_s)
        self._load_s = random.uniform(*scenario.load_s)
        self._random = random
        self._chance = np.random.default_rng(random.getrandbits(64))
        self._scenario = scenario
        self._specification: Specification = scenario.specification
        self._told = told
        self._looked_s = 0.0
        self._stage_since_s = 0.0
        self._loading_s: float | None = None
        self._problem = ""
        self.reported: tuple[object, ...] = ()
        self.harmed = 0
        self.steps = 0

    def look(self, now_s: float) -> float:
        """Go round once.

        Returns: when to look again, in seconds from now.
        """
        self._serve(now_s - self._looked_s)
        self._looked_s = now_s
        try:
            for _ in range(STEPS_AT_ONCE):
                if not self._step(now_s):
                    break
        except CrashError:
            self._forget(now_s)
            return self._random.uniform(*RESTART_S)
        return self._scenario.quick_s

    def hear(self, want: Want, generation: int) -> None:
        """What the hub wants now; kept, as the hub may be away afterwards."""
        if generation > self.disk.generation:
            self.disk.want, self.disk.generation = want, generation

    def report(self, now_s: float) -> tuple[Reported, int] | None:
        """What there is to say, with the report's number; None when the hub has heard it all."""
        record = self.disk.record
        told, seen = self._around(now_s)
        state = record.state
        if state not in AGENT_STATES:
            return None
        waiting = is_waiting(record, told, seen)
        said = (state, self.disk.want, self.disk.findings, waiting, record.why)
        if said == self.reported:
            return None
        self.disk.reports += 1
        return Reported(
            self.name, state, self.disk.want, now_s, self.disk.findings, waiting, record.why
        ), self.disk.reports

    def has_reported(self, report: Reported) -> None:
        """The hub has it."""
        self.reported = (report.state, report.want, report.findings, report.waiting, report.why)

    def _around(self, now_s: float) -> tuple[Told, Seen]:
        told = Told(self.disk.want, NEW, OLD, self._specification.gates, self._specification.canary)
        seen = Seen(
            staged=self.disk.staged,
            problem=self._problem,
            loaded=frozenset(self.machine.loaded),
            share=self.machine.share,
            shadow=self.machine.shadow,
            findings=self.disk.findings,
            stage_s=now_s - self._stage_since_s,
        )
        return told, seen

    def _step(self, now_s: float) -> bool:
        """Whether something changed, so that there may be more to do at once."""
        told, seen = self._around(now_s)
        step = next_step(self.disk.record, told, seen)
        self.steps += 1
        self._may_crash()
        self._told(self, step)
        changed = self._do(step, now_s)
        self._may_crash()
        return changed

    def _do(self, step: Step, now_s: float) -> bool:
        """Whether something changed."""
        match step:
            case Move() | Revert() | Advance():
                self.disk.record = written(self.disk.record, step)
                self._forget(now_s, reports=False)
            case Weigh(share, shadow):
                self.machine.share, self.machine.shadow = share, shadow
                self._stage_since_s = now_s
            case _:
                return self._act(step, now_s)
        return True

    def _act(self, action: Action, now_s: float) -> bool:
        changed = True
        match action:
            case Action.LOAD | Action.LOAD_PREVIOUS:
                changed = self._load(NEW if action == Action.LOAD else OLD, now_s)
            case Action.UNLOAD | Action.UNLOAD_PREVIOUS:
                self.machine.loaded.discard(NEW if action == Action.UNLOAD else OLD)
            case Action.ASK_GOLDEN:
                wrong = min(self.release.golden_wrong, GOLDEN)
                self.disk.findings = replace(self.disk.findings, golden=Golden(1, 1, wrong))
            case _:
                if action == Action.FETCH:
                    self._fetch()
                changed = False
        return changed

    def _fetch(self) -> None:
        """What has come stays on the disk. Without a link nothing comes."""
        if self.online:
            self.disk.fetched_s += self._scenario.quick_s
            self.disk.staged = self.disk.fetched_s >= self._fetch_s

    def _load(self, version: int, now_s: float) -> bool:
        if version == NEW and not self.release.loads:
            self._problem = "the model server cannot load it"
            return True
        if self._loading_s is None:
            self._loading_s = now_s
            return False
        if now_s - self._loading_s >= self._load_s:
            self.machine.loaded.add(version)
            self._loading_s = None
            return True
        return False

    def _serve(self, took_s: float) -> None:
        """What apps asked since the last look, and what the gateway counted of it."""
        share = self.machine.share
        if not share:
            return
        chance = self._chance
        asked = int(chance.poisson(self.rate_hz * took_s))
        new = int(chance.binomial(asked, share))
        old = asked - new
        new_errors = int(chance.binomial(new, self.release.error_ratio))
        new_slow = int(chance.binomial(new, self.release.slow_ratio))
        self.harmed += new_errors
        counts = {
            GateName.ERRORS: (new_errors, int(chance.binomial(old, OLD_ERRORS)), OLD_ERRORS),
            GateName.LATENCY: (new_slow, int(chance.binomial(old, OLD_SLOW)), OLD_SLOW),
        }
        sampled = dict(self.disk.findings.sampled)
        for name, (new_hits, old_hits, reference) in counts.items():
            more: Evidence = (
                Compared(share, new, new_hits, old, old_hits) if share < 1.0 else Observed(new, new_hits, reference)
            )
            sampled[name] = merged((*sampled.get(name, ()), more))
        self.disk.findings = replace(self.disk.findings, sampled=sampled)

    def _may_crash(self) -> None:
        if self.crashing and not self.healed and self._random.random() < self._scenario.crash_ratio:
            raise CrashError

    def _forget(self, now_s: float, *, reports: bool = True) -> None:
        """What an agent that starts anew does not know, nor what it knew of a step that is over."""
        self._stage_since_s = now_s
        self._loading_s = None
        self._problem = ""
        if reports:
            self.reported = ()
