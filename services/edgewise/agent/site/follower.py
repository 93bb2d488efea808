"""Follows one rollout at a site: looks, asks the plan, writes down, does. One step at a time, each of which may be done again."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from edgewise.agent.site.board import Situation
from edgewise.agent.site.journal import Entry, Journal
from edgewise.agent.site.plan_terms import (
    BEFORE_LOADING,
    allowed,
    below_floor,
    goes_back,
    in_memory,
    is_settled,
    must_check,
    problem,
    stage_as_ordered,
    stage_weights,
    told_of,
    unchanged,
    weights_in_force,
)
from edgewise.agent.site.port import Comparison, Division, Examiner, SiteActuator, StageView, Staging, View
from edgewise.core.releases import GOLDEN_INPUT
from edgewise.core.rollout.events import Want
from edgewise.core.rollout.gates import Findings, GateName, Golden
from edgewise.core.rollout.orders import Order
from edgewise.core.rollout.reports import Progress
from edgewise.core.rollout.site_plan import (
    Action,
    Advance,
    Move,
    Revert,
    Seen,
    Step,
    Told,
    Weigh,
    is_waiting,
    next_step,
    written,
)
from edgewise.core.rollout.site_state import BEFORE_SWITCH, SiteEvent, SiteState

KEEP_COUNTS_S: Final = 5.0
"""Counts are written down so often; whoever counts knows them besides."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Around:
    """What one look has found.

    Attributes:
        told, seen: as the plan takes them.
        hold: why nothing new may be begun; "" when it may.
    """

    view: View
    stage: StageView
    told: Told
    seen: Seen
    hold: str


class Follower:
    """One rollout of one model.

    Args:
        examiner: compares the release with what ran before; None where that cannot be done.
        now_s: a monotonic clock.

    Attributes:
        entry: what was written down last, with the counts of now.
        around: what the last look has found; None when it failed.
    """

    def __init__(
        self,
        entry: Entry,
        journal: Journal,
        actuator: SiteActuator,
        staging: Staging,
        *,
        examiner: Examiner | None = None,
        now_s: Callable[[], float],
    ) -> None:
        self.entry = entry
        self.around: Around | None = None
        self._journal = journal
        self._actuator = actuator
        self._staging = staging
        self._examiner = examiner
        self._now_s = now_s
        # In memory only: time in a stage begins anew when the agent does.
        self._stage: tuple[SiteState, int] | None = None
        self._since_s = 0.0
        self._kept_s = now_s()

    @property
    def is_quick(self) -> bool:
        """Something is under way that apps notice, so that one looks again soon."""
        record = self.entry.record
        return record.state == SiteState.ACTIVATING or record.reverting or self.entry.order.want == Want.BACK

    def told(self, order: Order) -> None:
        """Something else is asked in the same rollout.

        Raises: EdgewiseError: the disk refuses.
        """
        self._keep(replace(self.entry, order=order))

    def step(self, situation: Situation, *, overtaken: bool) -> bool:
        """Do what is next.

        Args:
            overtaken: another rollout waits; whatever was told, this one goes back.
        Returns: whether something was written down, so that there is more to do at once.
        Raises: EdgewiseError: the site cannot be seen, or the disk refuses; the next look may go better.
        """
        self.around = None
        around = self.around = self._look(situation, overtaken=overtaken)
        entry, told = self.entry, around.told
        if must_check(entry, told, around.view, around.stage):
            self._staging.check(entry.order)
            return False
        if entry.record.state == SiteState.ACTIVE and not goes_back(entry, told) and not is_settled(entry, around.view):
            self._settle(around.view)
            return False
        step = allowed(self._next(around, situation), entry, told, around.hold)
        match step:
            case Move() | Revert() | Advance():
                self._write(step, told)
                return True
            case Weigh():
                self._weigh(step, around)
            case _:
                self._act(step, around)
        self._keep_counts()
        return False

    def progress(self, trouble: str) -> Progress:
        """What there is to tell of it.

        Args:
            trouble: why it could not be followed just now; "" when it could.
        """
        entry, around = self.entry, self.around
        record = entry.record
        held = around.hold if around is not None and record.state in BEFORE_LOADING else ""
        stage = self._staging.look(entry.order)
        told = self._told(entry.order.want)
        return Progress(
            rollout=entry.order.rollout,
            state=record.state,
            want=entry.order.want,
            stage=stage_as_ordered(entry, told),
            waiting=around is not None and is_waiting(record, around.told, around.seen),
            findings=self._findings(told),
            why="; ".join(dict.fromkeys(filter(None, (record.why, held, trouble)))),
            bytes_done=stage.bytes_done,
            bytes_total=stage.bytes_total,
        )

    # ---- looking

    def _look(self, situation: Situation, *, overtaken: bool) -> Around:
        order = self.entry.order
        told = self._told(Want.BACK if overtaken else order.want)
        if self._examiner is not None and not self._compares(told):
            # Also of a model server that cannot be seen: it would be asked for as long as there is patience.
            self._examiner.end(order.rollout, order.model)
        view = self._actuator.look(order.model)
        stage = self._staging.look(order)
        self._count(told)
        compared = self._compared(told)
        weights = weights_in_force(self.entry, told, view)
        seen = Seen(
            staged=stage.present,
            problem=problem(self.entry, told, view, stage, situation) or compared.problem,
            loaded=in_memory(self.entry, told, view),
            share=weights.share,
            shadow=weights.shadow,
            findings=self._findings(told),
            stage_s=self._stage_s(weights, told),
            compares=self._examiner is not None,
        )
        if self.entry.is_running_already:
            seen = unchanged(self.entry, told, seen)
        return Around(view, stage, told, seen, situation.hold)

    def _told(self, want: Want) -> Told:
        return told_of(self.entry, want, divides=self._actuator.divides)

    def _stage_s(self, weights: Weigh, told: Told) -> float:
        record = self.entry.record
        present = (record.state, record.stage)
        if self._stage != present:
            if weights != stage_weights(self.entry, told):
                return 0.0
            self._stage, self._since_s = present, self._now_s()
        return self._now_s() - self._since_s

    # ---- counts

    def _findings(self, told: Told) -> Findings:
        return self.entry.tally.findings(stage_weights(self.entry, told).share, self.entry.order.gates)

    def _count(self, told: Told) -> None:
        entry = self.entry
        if entry.record.state != SiteState.VERIFYING:
            return
        reading = self._actuator.reading(entry.order.model)
        if reading is None or reading.key != self._key():
            return
        tally = entry.tally.read(reading, stage_weights(entry, told).share, entry.order.gates)
        changed = replace(entry, tally=tally)
        if (tally.epoch, tally.slow_s) != (entry.tally.epoch, entry.tally.slow_s):
            self._keep(changed)
        self.entry = changed

    def _compared(self, told: Told) -> Comparison:
        """How the held-out examples are answered, while that decides whether the new version may answer; once known, it is kept."""
        entry = self.entry
        if self._examiner is None or not self._compares(told):
            return Comparison()
        compared = self._examiner.look(entry.order.rollout, entry.order.model)
        if compared.paired is not None and GateName.ACCURACY not in entry.tally.kept.sampled:
            self._keep(replace(entry, tally=entry.tally.with_comparison(compared.paired)))
        return compared

    def _compares(self, told: Told) -> bool:
        """Whether how the held-out examples are answered matters now."""
        return self.entry.record.state == SiteState.ACTIVATING and not goes_back(self.entry, told)

    def _keep_counts(self) -> None:
        if self._now_s() - self._kept_s >= KEEP_COUNTS_S:
            self._kept_s = self._now_s()
            if self._journal.get(self.entry.order.rollout) != self.entry:
                self._keep(self.entry)

    def _keep(self, entry: Entry) -> None:
        # First on the disk: whatever follows may be cut short anywhere.
        self._journal.write(entry)
        self.entry = entry
        self._kept_s = self._now_s()

    def _key(self) -> str:
        return self.entry.tally.key(self.entry.order.rollout, self.entry.record.stage)

    # ---- deciding

    def _next(self, around: Around, situation: Situation) -> Step:
        record, told, view = self.entry.record, around.told, around.view
        below = below_floor(self.entry, situation)
        if goes_back(self.entry, told):
            floor = situation.floors.get(self.entry.order.model, 0)
            would_begin = view.meant == told.version and told.previous not in (0, told.version)
            # Nothing that the policy forbids begins to answer; what answers now goes on.
            return Action.WAIT if would_begin and told.previous < floor else next_step(record, told, around.seen)
        if record.state == SiteState.VERIFYING and told.version in view.coming:
            # A model server that was started anew: it is about to have it again.
            return Action.WAIT
        if below and record.state in BEFORE_SWITCH:
            return Move(SiteEvent.FAILED, below)
        if below and record.state in {SiteState.ACTIVATING, SiteState.VERIFYING}:
            return Revert(below)
        if record.state == SiteState.ACTIVATING and not around.stage.present:
            return Revert(around.stage.problem or "its files are not on the disk any more")
        return next_step(record, told, around.seen)

    # ---- doing

    def _write(self, step: Move | Revert | Advance, told: Told) -> None:
        entry = self.entry
        after = written(entry.record, step)
        tally = entry.tally
        if isinstance(step, Advance) or step == Move(SiteEvent.PROVED):
            tally = tally.turned(stage_weights(entry, told).share, entry.order.gates)
        if isinstance(step, Revert) and step.why.startswith(GOLDEN_INPUT):
            tally = tally.with_golden(Golden(1, 1, 1))
        self._keep(replace(entry, record=after, tally=tally))
        _log.info(
            "%s: %s/%d is %s%s%s",
            entry.order.rollout,
            entry.order.model,
            entry.order.version,
            after.state.value,
            f", stage {after.stage}" if after.state == SiteState.VERIFYING else "",
            f": {after.why}" if after.why else "",
        )

    def _act(self, action: Action, around: Around) -> None:
        order = self.entry.order
        match action:
            case Action.FETCH:
                self._staging.fetch(order)
            case Action.LOAD:
                self._actuator.load(order.model, order.version)
            case Action.LOAD_PREVIOUS:
                self._actuator.load(order.model, self.entry.previous)
            case Action.UNLOAD:
                self._unload(order.model, (around.view.loaded | {order.version}) - {self.entry.previous})
            case Action.UNLOAD_PREVIOUS:
                self._actuator.unload(order.model, self.entry.previous)
            case Action.ASK_GOLDEN:
                # The model server asks them itself before a version is loaded, and does not have one that is wrong about them.
                self.entry = replace(self.entry, tally=self.entry.tally.with_golden(Golden(1, 1, 0)))
            case Action.COMPARE if self._examiner is not None:
                self._examiner.compare(order.rollout, order.model, self.entry.previous, order.version)
            case Action.WAIT:
                self._divide_anew(around)

    def _weigh(self, step: Weigh, around: Around) -> None:
        model, previous = self.entry.order.model, self.entry.previous
        if self.entry.record.state == SiteState.VERIFYING and not goes_back(self.entry, around.told):
            # Alone there is nothing to divide.
            wanted = self._division(step) if previous and (step.share or step.shadow) else None
            self._actuator.divide(model, wanted)
            return
        self._actuator.divide(model, None)
        if step.share == 1.0:
            self._actuator.serve(model, self.entry.order.version)
        elif previous and around.view.meant == self.entry.order.version:
            self._actuator.serve(model, previous)

    def _division(self, weights: Weigh) -> Division:
        slow_s = self.entry.tally.slow_s
        return Division(
            old=self.entry.previous,
            new=self.entry.order.version,
            share=weights.share,
            shadow=weights.shadow,
            key=self._key(),
            slow_ms=None if slow_s is None else slow_s * 1000.0,
        )

    def _divide_anew(self, around: Around) -> None:
        """Have what is counted be counted under the present key, by what is slow here."""
        entry, told = self.entry, around.told
        weights = stage_weights(entry, told)
        if entry.record.state != SiteState.VERIFYING or goes_back(entry, told) or entry.is_running_already:
            return
        if (
            entry.previous
            and weights_in_force(entry, told, around.view) == weights
            and (weights.share or weights.shadow)
        ):
            self._actuator.divide(entry.order.model, self._division(weights))

    def _settle(self, view: View) -> None:
        """The new version answers everything by itself: first whoever asks for none is given it, then the gateway divides no more,
        and last every other version is let go.
        """
        entry = self.entry
        model, version = entry.order.model, entry.order.version
        if version not in view.loaded:
            self._actuator.load(model, version)
        elif view.serving != version or view.meant != version:
            self._actuator.serve(model, version)
        elif view.division is not None:
            self._actuator.divide(model, None)
        elif view.settled:
            self._unload(model, view.loaded - {version})

    def _unload(self, model: str, versions: frozenset[int]) -> None:
        for version in sorted(versions):
            self._actuator.unload(model, version)
