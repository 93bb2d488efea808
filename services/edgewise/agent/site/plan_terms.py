"""What the plan is told and sees, made of what an agent knows: pure, one answer for each look."""

import math
from dataclasses import replace
from typing import Final

from edgewise.agent.site.board import Situation
from edgewise.agent.site.journal import Entry
from edgewise.agent.site.port import StageView, View
from edgewise.core.rollout.events import RUNNING, Want
from edgewise.core.rollout.gates import Gates
from edgewise.core.rollout.site_plan import Action, Move, Revert, Seen, Step, Told, Weigh, shares
from edgewise.core.rollout.site_state import SiteEvent, SiteState
from edgewise.core.rollout.specification import Canary

BEFORE_LOADING: Final = frozenset({SiteState.PENDING, SiteState.DOWNLOADING, SiteState.STAGED, SiteState.FAILED})
_AT_ONCE: Final = Canary(shares=(), shadow_share=0.0, shadow_s=0.0)
_NOTHING_ASKED: Final = Gates(errors=None, latency=None, disagreement=None, golden=False)
_UNSETTLED: Final = Weigh(math.nan, math.nan)
_NOTHING: Final = Weigh(0.0, 0.0)
_EVERYTHING: Final = Weigh(1.0, 0.0)


def told_of(entry: Entry, want: Want, *, divides: bool) -> Told:
    """What the desired state says, as far as it can be done here.

    Args:
        divides: whether requests can be divided between two versions at this site.
    """
    order = entry.order
    if entry.is_running_already:
        # Nothing else ran before, so nothing else is loaded, let go, or gone back to.
        return Told(want, order.version, 0, _NOTHING_ASKED, replace(_AT_ONCE, bake_s=0.0))
    # Where requests cannot be divided, or nothing runs beside it, the new version takes over at once and is observed.
    canary = order.canary if divides and entry.previous else replace(_AT_ONCE, bake_s=order.canary.bake_s)
    return Told(want, order.version, entry.previous, order.gates, canary)


def goes_back(entry: Entry, told: Told) -> bool:
    """Whether the site is on its way back, or is to be."""
    return told.want == Want.BACK or entry.record.reverting


def stage_weights(entry: Entry, told: Told) -> Weigh:
    """As the present stage of the canary has them."""
    stages = shares(told.canary)
    return stages[min(entry.record.stage, len(stages) - 1)]


def stage_as_ordered(entry: Entry, told: Told) -> int:
    """The present stage as whoever made the order counts stages, who does not know that some are left out here."""
    if stage_weights(entry, told) == _EVERYTHING:
        return len(shares(entry.order.canary)) - 1
    return entry.record.stage


def weights_in_force(entry: Entry, told: Told, view: View) -> Weigh:
    """Of the new version; not a number while something else was asked for than is in force."""
    if not view.settled:
        return _UNSETTLED
    if view.division is not None and view.division.new == told.version:
        return Weigh(view.division.share, view.division.shadow)
    if not told.previous and goes_back(entry, told):
        # Alone there is nothing to weigh it against: it answers for as long as it is loaded.
        return _NOTHING
    if not told.previous and entry.record.state == SiteState.VERIFYING:
        return stage_weights(entry, told)
    return _EVERYTHING if view.serving == told.version else _NOTHING


def in_memory(entry: Entry, told: Told, view: View) -> frozenset[int]:
    """What counts as loaded. On the way back so does a release that is still coming, or could not be loaded: for as long as the model server
    is to have it, it would load it later, and at each start.
    """
    named = view.coming | view.failed.keys()
    return view.loaded | {told.version} if goes_back(entry, told) and told.version in named else view.loaded


def unchanged(entry: Entry, told: Told, seen: Seen) -> Seen:
    """Nothing switches where the release answered before: each stage is there already, and the way back leads nowhere else."""
    if goes_back(entry, told):
        return replace(seen, share=0.0, shadow=0.0, loaded=seen.loaded - {told.version})
    stage = stage_weights(entry, told)
    return replace(seen, share=stage.share, shadow=stage.shadow, stage_s=math.inf, loaded=seen.loaded | {told.version})


def below_floor(entry: Entry, situation: Situation) -> str:
    """Why the version may not run; "" when it may."""
    order = entry.order
    floor = situation.floors.get(order.model, 0)
    if order.version >= floor:
        return ""
    return f"version {order.version} of {order.model} may not run: the signed policy names {floor} as the lowest"


def problem(entry: Entry, told: Told, view: View, stage: StageView, situation: Situation) -> str:
    """What cannot be had at the moment, and why; "" when nothing stands in the way."""
    state = entry.record.state
    if goes_back(entry, told):
        return view.failed.get(told.previous, "")
    if state in BEFORE_LOADING:
        return stage.problem or below_floor(entry, situation)
    return view.failed.get(told.version, "") if state in {SiteState.ACTIVATING, SiteState.VERIFYING} else ""


def must_check(entry: Entry, told: Told, view: View, stage: StageView) -> bool:
    """Whether the files are to be compared with the release before anything else: just before they are used."""
    if goes_back(entry, told) or not stage.present or stage.checked:
        return False
    match entry.record.state:
        case SiteState.DOWNLOADING:
            return True
        case SiteState.STAGED:
            return told.want in RUNNING
        case SiteState.ACTIVATING:
            known = view.loaded | view.coming
            return told.version not in known and told.version not in view.failed
        case _:
            return False


def allowed(step: Step, entry: Entry, told: Told, hold: str) -> Step:
    """The step, unless it would begin something new while that is not allowed.

    Args:
        hold: why it is not; "" when it is.
    """
    if not hold or goes_back(entry, told) or entry.record.state == SiteState.ACTIVE:
        return step
    harmless = {SiteEvent.FETCHING, SiteEvent.FAILED, SiteEvent.SPOILED}
    if isinstance(step, Revert) or (isinstance(step, Move) and step.event in harmless):
        return step
    return Action.WAIT


def is_settled(entry: Entry, view: View) -> bool:
    """Whether the new version answers everything by itself, and nothing of the way there is left, nor of a rollout that was overtaken
    before it had let its old version go.
    """
    version = entry.order.version
    return view.serving == view.meant == version and view.division is None and view.loaded <= {version}
