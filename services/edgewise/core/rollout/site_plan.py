"""What the agent of a site does next: one function of what it has written down, what it is told and what it sees.

The agent goes round and round: it looks, asks `next_step`, writes a move to its disk before anything follows from it, carries the step out,
and looks again. A step that is done already does no harm when it is done once more, so it does not matter where a crash came between.

    told STAGE   Downloading: fetch --> Staged
    told RUN     Staged --> Activating: load beside the old version, ask known inputs --> Verifying: shadow, shares 1, 2, ..., all --> Active
    told BACK, or a gate failed: the old version answers everything at once, then the new one is let go --> RolledBack

The new version answers nobody before it is loaded, warm and right about the golden inputs, nor where it was found worse about the held-out
examples. Each share is kept for a while, and left for the next one unless a gate failed; the last share below all is left only when every gate passed, by the site's own evidence or by that of
all sites together (told GRANTED). The old version stays loaded until the bake is over, so going back is one change of a weight.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from edgewise.core.errors import FailedPreconditionError
from edgewise.core.rollout.events import RUNNING, Want
from edgewise.core.rollout.gates import NO_FINDINGS, Findings, GateName, Gates, Golden, Verdict
from edgewise.core.rollout.site_state import TRANSITIONS, SiteEvent, SiteState
from edgewise.core.rollout.specification import Canary


@dataclass(frozen=True, slots=True)
class Record:
    """What an agent has written down of a rollout.

    Attributes:
        stage: of the canary: 0 for shadowing, 1 for the first share, and so on; see `shares`.
        reverting: a gate failed here; whatever it is told, it goes back.
        why: what failed.
    """

    state: SiteState = SiteState.PENDING
    stage: int = 0
    reverting: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What the desired state of a site says of a model.

    Attributes:
        version, previous: of the model; previous is 0 when nothing ran before.
    """

    want: Want
    version: int
    previous: int
    gates: Gates = field(default_factory=Gates)
    canary: Canary = field(default_factory=Canary)


@dataclass(frozen=True, slots=True)
class Seen:
    """What an agent sees around it.

    Attributes:
        staged: all files of the release are on the disk, checked.
        problem: what the last step failed with, when it is not worth trying again; "" otherwise.
        loaded: versions of the model that the model server has loaded and warm.
        share: of the requests that the gateway gives to the new version.
        shadow: share of the requests that the gateway asks of the new version as well.
        findings: what was counted so far; the golden inputs, once they were asked.
        stage_s: for how long the present stage has been kept.
        compares: both versions can be asked the release's held-out examples here.
    """

    staged: bool = False
    problem: str = ""
    loaded: frozenset[int] = frozenset()
    share: float = 0.0
    shadow: float = 0.0
    findings: Findings = NO_FINDINGS
    stage_s: float = 0.0
    compares: bool = False


class Action(StrEnum):
    """What can be done at a site without a number to it."""

    FETCH = "fetch"  # have the release's files on the disk, checked
    LOAD = "load"  # have the release loaded and warm
    LOAD_PREVIOUS = "load-previous"
    ASK_GOLDEN = "ask-golden"
    COMPARE = "compare"  # ask both versions the held-out examples
    UNLOAD = "unload"  # let the release go from memory
    UNLOAD_PREVIOUS = "unload-previous"
    WAIT = "wait"  # for time, evidence, or another word from the hub


@dataclass(frozen=True, slots=True)
class Move:
    """Write this down first; the state follows by the table, the stage and the rest as given."""

    event: SiteEvent
    why: str = ""


@dataclass(frozen=True, slots=True)
class Revert:
    """Write down that it goes back, whatever it is told."""

    why: str


@dataclass(frozen=True, slots=True)
class Advance:
    """Write down that the canary is at this stage now."""

    stage: int


@dataclass(frozen=True, slots=True)
class Weigh:
    """Have the gateway give the new version this share of the requests, and ask that share of it besides."""

    share: float
    shadow: float


Step: TypeAlias = Action | Move | Revert | Advance | Weigh


def shares(canary: Canary) -> tuple[Weigh, ...]:
    """The stages of a canary: shadowing, each share, everything."""
    return (
        Weigh(0.0, canary.shadow_share),
        *(Weigh(share, 0.0) for share in canary.shares),
        Weigh(1.0, 0.0),
    )


def written(record: Record, step: Move | Revert | Advance) -> Record:
    """The record after a step that is to be written down.

    Raises: FailedPreconditionError: the table has no such move.
    """
    match step:
        case Revert(why):
            return replace(record, reverting=True, why=why)
        case Advance(stage):
            return replace(record, stage=stage)
        case Move(event, why):
            after = TRANSITIONS.get((record.state, event))
            if after is None:
                raise FailedPreconditionError(f"a site that is {record.state.value} cannot be {event.value}")
            return replace(record, state=after, stage=0 if event == SiteEvent.ANSWERING else record.stage, why=why)


def next_step(record: Record, told: Told, seen: Seen) -> Step:
    """What to do next. `Action.WAIT` when there is nothing to do before something else changes."""
    if told.want == Want.BACK or record.reverting:
        return _back(record, told, seen)
    if told.want == Want.NOTHING or record.state not in _NEXT:
        return Action.WAIT
    return _NEXT[record.state](record, told, seen)


def _pending(_record: Record, _told: Told, _seen: Seen) -> Step:
    return Move(SiteEvent.FETCHING)


def _staged(_record: Record, told: Told, seen: Seen) -> Step:
    if not seen.staged:
        return Move(SiteEvent.SPOILED, "what was staged is not on the disk any more")
    return Move(SiteEvent.LOADING) if told.want in RUNNING else Action.WAIT


def _failed(_record: Record, _told: Told, seen: Seen) -> Step:
    return Action.WAIT if seen.problem else Move(SiteEvent.RETRIED)


def _fetched(_record: Record, _told: Told, seen: Seen) -> Step:
    if seen.staged:
        return Move(SiteEvent.STAGED)
    return Move(SiteEvent.FAILED, seen.problem) if seen.problem else Action.FETCH


def _activated(_record: Record, told: Told, seen: Seen) -> Step:
    if seen.problem:
        return Revert(seen.problem)
    if told.version not in seen.loaded:
        return Action.LOAD
    return _examined(told, seen) or Move(SiteEvent.ANSWERING)


def _examined(told: Told, seen: Seen) -> Step | None:
    """What is still to be known before the new version may answer anybody."""
    if told.gates.golden:
        match seen.findings.golden.verdict():
            case Verdict.FAIL:
                return Revert(_golden_text(seen.findings.golden))
            case Verdict.INCONCLUSIVE:
                return Action.ASK_GOLDEN
    gate = told.gates.accuracy
    if gate is None or not told.previous:
        return None
    evidence = seen.findings.sampled.get(GateName.ACCURACY, ())
    if not evidence:
        return Action.COMPARE if seen.compares else None
    # What is not proven is no failure yet; it is settled with the other gates, before the new version answers everything.
    return Revert(f"gate failed: {GateName.ACCURACY.value}") if gate.verdict(evidence) == Verdict.FAIL else None


def _verified(record: Record, told: Told, seen: Seen) -> Step:
    if told.version not in seen.loaded:
        return Revert(seen.problem or f"version {told.version} is not loaded any more")
    verdicts = told.gates.verdicts(seen.findings)
    failed = [name.value for name, verdict in verdicts.items() if verdict == Verdict.FAIL]
    if failed:
        return Revert(f"gate failed: {', '.join(failed)}")
    stages = shares(told.canary)
    everything = len(stages) - 1
    stage = min(record.stage, everything)
    if Weigh(seen.share, seen.shadow) != stages[stage]:
        return stages[stage]
    if seen.stage_s < _least_s(record, told.canary):
        return Action.WAIT
    proved = told.want == Want.GRANTED or set(verdicts.values()) <= {Verdict.PASS}
    deciding = everything - 1 if told.canary.shares else everything
    if stage == deciding and not proved:
        return Action.WAIT
    return Move(SiteEvent.PROVED) if stage == everything else Advance(stage + 1)


def _kept(_record: Record, told: Told, seen: Seen) -> Step:
    """Active stays so: a model server or a gateway that was started anew is told again."""
    if told.version not in seen.loaded:
        return Action.LOAD
    if Weigh(seen.share, seen.shadow) != Weigh(1.0, 0.0):
        return Weigh(1.0, 0.0)
    return Action.UNLOAD_PREVIOUS if told.previous in seen.loaded else Action.WAIT


def _back(record: Record, told: Told, seen: Seen) -> Step:
    if record.state == SiteState.ROLLED_BACK:
        return Action.WAIT
    if told.previous and told.previous not in seen.loaded:
        # It is on the disk, and the new version answers until it can take over.
        return (
            Move(SiteEvent.FAILED, seen.problem)
            if seen.problem and record.state != SiteState.FAILED
            else Action.LOAD_PREVIOUS
        )
    if (seen.share, seen.shadow) != (0.0, 0.0):
        return Weigh(0.0, 0.0)
    if told.version in seen.loaded:
        return Action.UNLOAD
    return Move(SiteEvent.REVERTED, record.why)


def _least_s(record: Record, canary: Canary) -> float:
    """For how long the present stage is kept at least."""
    if record.stage == 0:
        return canary.shadow_s
    return canary.bake_s if record.stage > len(canary.shares) else canary.stage_s


def is_waiting(record: Record, told: Told, seen: Seen) -> bool:
    """Whether the site has all the time behind it that a stage needs, and lacks evidence alone."""
    return (
        record.state == SiteState.VERIFYING
        and next_step(record, told, seen) == Action.WAIT
        and seen.stage_s >= _least_s(record, told.canary)
    )


def _golden_text(golden: Golden) -> str:
    return f"{golden.wrong} golden {'answer was' if golden.wrong == 1 else 'answers were'} not the known one"


_NEXT: Final[Mapping[SiteState, Callable[[Record, Told, Seen], Step]]] = MappingProxyType(
    {
        SiteState.PENDING: _pending,
        SiteState.DOWNLOADING: _fetched,
        SiteState.STAGED: _staged,
        SiteState.ACTIVATING: _activated,
        SiteState.VERIFYING: _verified,
        SiteState.ACTIVE: _kept,
        SiteState.FAILED: _failed,
    }
)
"""What follows from each state; from those that are not here nothing does."""
